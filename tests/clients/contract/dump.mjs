// Prints the contract that the published npm package carries, one fact per line, in the form of
// tests/fixtures/seed-table.txt. Renew the fixture with `npm run dump`; contract.test.mjs checks that it is
// current.
//
// The facts come from the reflection data that the package's own encoder works with, so they are what its
// users really send.

import { pathToFileURL } from "node:url";
import * as types from "@replit/protocol/esm/api/types";

const PACKAGE = "replit.goval.api.";
// Field types by their number in descriptor.proto. The holes are groups, messages and enums, which have names of
// their own.
const SCALARS = {
  1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 6: "fixed64", 7: "fixed32", 8: "bool",
  9: "string", 12: "bytes", 13: "uint32", 15: "sfixed32", 16: "sfixed64", 17: "sint32", 18: "sint64",
};

const local = (name) => (name.startsWith(PACKAGE) ? name.slice(PACKAGE.length) : name);

function typeName({ kind, T }) {
  if (kind === "scalar") return SCALARS[T];
  return local(kind === "enum" ? T()[0] : T().typeName);
}

function type(field) {
  return field.kind === "map" ? `map<${SCALARS[field.K]},${typeName(field.V)}>` : typeName(field);
}

function label(field) {
  if (field.kind === "map") return "map";
  if (field.repeat) return "repeated";
  if (field.oneof) return `oneof:${field.oneof}`;
  // A message can always be absent; the mark is only news for the others.
  return field.opt && field.kind !== "message" ? "optional" : "single";
}

const byNameThenNumber = (a, b) => (a[0] === b[0] ? a[1] - b[1] : a[0] < b[0] ? -1 : 1);

export function table() {
  const messages = Object.values(types).filter((value) => value?.typeName?.startsWith(PACKAGE));
  const fields = [];
  const enums = new Map();
  for (const message of messages) {
    for (const field of message.fields) {
      fields.push([local(message.typeName), field.no, field.name, type(field), label(field)]);
      const valued = field.kind === "map" ? field.V : field;
      if (valued.kind === "enum") {
        const [name, values, prefix = ""] = valued.T();
        enums.set(local(name), { values, prefix });
      }
    }
  }
  const values = [...enums].flatMap(([name, { values, prefix }]) =>
    Object.entries(values)
      .filter(([, number]) => typeof number === "number")
      .map(([value, number]) => [name, number, prefix + value]),
  );
  const lines = [
    ...messages.map((message) => `message ${local(message.typeName)}`).sort(),
    ...fields.sort(byNameThenNumber).map((row) => `field ${row.join(" ")}`),
    ...values.sort(byNameThenNumber).map((row) => `value ${row.join(" ")}`),
  ];
  return `${lines.join("\n")}\n`;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  process.stdout.write(table());
}
