// The fixture that the Rust contract test trusts must say what the installed package says.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";

import { table } from "./dump.mjs";

const FIXTURE = new URL("../../fixtures/npm-table.txt", import.meta.url);

test("the npm table in the fixtures is the installed package's own", async () => {
  const fixture = (await readFile(FIXTURE, "utf8")).split("\n");
  const installed = table().split("\n");
  // Compared as differences first: the whole tables are far too long to read in a failure.
  assert.deepEqual(
    {
      missing: installed.filter((line) => !fixture.includes(line)),
      stale: fixture.filter((line) => !installed.includes(line)),
    },
    { missing: [], stale: [] },
  );
  assert.deepEqual(fixture, installed);
});

test("the table is not empty by accident", () => {
  assert.match(table(), /^field Command 3 openChan OpenChannel oneof:body$/m);
  assert.match(table(), /^value OpenChannel\.Action 2 ATTACH_OR_CREATE$/m);
});
