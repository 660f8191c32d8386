// The contract as it is on the wire: the repository's own, byte for byte, and beside it the one that the published
// client has.

import assert from "node:assert/strict";
import { test } from "node:test";

import loader from "@grpc/proto-loader";
import { protoUtils } from "@tdxvolt/volt-client-grpc";

import { repository } from "../agent.mjs";

const PATH = "/tdx.volt_api.volt.v1.TerminalAPI/CommandStream";
const options = { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true, includeDirs: [repository("proto")] };
const ours = loader.loadSync("tdx/volt_api/volt/v1/terminal_api.proto", options)["tdx.volt_api.volt.v1.TerminalAPI"].CommandStream;
const theirs = protoUtils.getBuiltInServiceDescriptors().CommandStream;

/** Messages, and what they are on the wire. */
const REQUESTS = [
  [{ control: { interrupt: 15 } }, "0a02400f"],
  [{ control: { interrupt: -1 } }, "0a0b40ffffffffffffffffff01"],
  [{ control: { command: "ls", arg: ["-l", ""] } }, "0a0a0a026c7312022d6c1200"],
  [{ control: { stop: "a", pause: "b", resume: "c", reset: "d" } }, "0a0c1a0161220162" + "2a0163320164"],
  [{ control: { terminal_size: { rows: 40, cols: 120 } } }, "0a063a0408281078"],
  [{ input: { data: Buffer.from([0, 255]) } }, "12040a0200ff"],
];
const RESPONSES = [
  [{ data: Buffer.from("hi") }, "12026869"],
  [{ status: { code: 7, message: "m", description: "d" } }, "0a08080712016d1a0164"],
];

test("the repository's messages have the published numbers", () => {
  for (const [name, method] of Object.entries({ ours, theirs })) {
    assert.equal(method.path, PATH, name);
    for (const [message, hex] of REQUESTS) {
      const bytes = method.requestSerialize(message);
      assert.equal(Buffer.from(bytes).toString("hex"), hex, `${name}: ${JSON.stringify(message)}`);
    }
    for (const [message, hex] of RESPONSES) {
      assert.equal(Buffer.from(method.responseSerialize(message)).toString("hex"), hex, `${name}: ${JSON.stringify(message)}`);
    }
  }
  assert.ok(ours.requestStream && ours.responseStream, "it streams both ways");
});

test("what one of the two writes, the other reads", () => {
  for (const [writer, reader] of [[ours, theirs], [theirs, ours]]) {
    for (const [message] of REQUESTS) {
      const bytes = Buffer.from(writer.requestSerialize(message));
      assert.deepEqual(reader.requestDeserialize(bytes), writer.requestDeserialize(bytes));
    }
  }
});
