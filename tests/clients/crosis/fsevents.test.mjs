// Watching files, as the published client's users do it: a tree that believes what it is told.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";

import { Agent, api, Crosis } from "./support.mjs";

const { Create, Move, Remove, Modify } = api.FileEvent.Op;
const { DIRECTORY, REGULAR } = api.File.Type;

let agent;
const clients = [];
/** A folder of the workspace for each test. */
let number = 0;
const here = (path) => (path ? `test${number}/${path}` : `test${number}`);
const onDisk = (path) => join(agent.root, here(path));

before(async () => {
  agent = await Agent.start();
});
after(async () => {
  for (const crosis of clients) crosis.destroy();
  await agent.stop();
});
beforeEach(() => {
  number += 1;
  mkdirSync(onDisk());
});

async function connect() {
  const crosis = await Crosis.connect(agent);
  clients.push(crosis);
  return crosis;
}

async function watch(...paths) {
  const channel = await (await connect()).channel("fsevents");
  const files = paths.map((path) => ({ path: here(path) }));
  assert.equal((await channel.request({ subscribeFile: { files } })).body, "ok");
  return channel;
}

const events = (channel) => channel.heard.items.flatMap((command) => command.fileEvent ?? []);
const find = (channel, op, path) =>
  channel.heard.until(
    () => events(channel).find((event) => event.op === op && event.file.path === here(path)),
    `an event of ${path}`,
  );

test("children of a watched folder come, change, move and go, each with its type", async () => {
  const channel = await watch("");
  writeFileSync(onDisk("file"), "one");
  assert.equal((await find(channel, Create, "file")).file.type, REGULAR);
  writeFileSync(onDisk("file"), "two");
  await find(channel, Modify, "file");
  mkdirSync(onDisk("folder"));
  assert.equal((await find(channel, Create, "folder")).file.type, DIRECTORY);
  renameSync(onDisk("folder"), onDisk("moved"));
  const move = await find(channel, Move, "folder");
  assert.equal(move.dest.path, here("moved"));
  assert.equal(move.file.type, DIRECTORY);
  rmSync(onDisk("moved"), { recursive: true });
  await find(channel, Remove, "moved");
});

test("a subscription needs no answer, and sets add up", async () => {
  const channel = await (await connect()).channel("fsevents");
  mkdirSync(onDisk("a"));
  channel.send({ subscribeFile: { files: [{ path: here() }] } });
  assert.equal((await channel.request({ subscribeFile: { files: [{ path: here("a") }] } })).body, "ok");
  writeFileSync(onDisk("a/inner"), "");
  writeFileSync(onDisk("outer"), "");
  await find(channel, Create, "a/inner");
  await find(channel, Create, "outer");
});

test("what leaves the set is removed, what enters it is created", async () => {
  mkdirSync(onDisk("in"));
  mkdirSync(onDisk("out"));
  writeFileSync(onDisk("in/file"), "");
  const channel = await watch("in");
  renameSync(onDisk("in/file"), onDisk("out/file"));
  await find(channel, Remove, "in/file");
  renameSync(onDisk("out/file"), onDisk("in/back"));
  await find(channel, Create, "in/back");
});

test("a path outside of the workspace is refused", async () => {
  const channel = await (await connect()).channel("fsevents");
  for (const path of ["..", "/etc/passwd"]) {
    const answer = await channel.request({ subscribeFile: { files: [{ path }] } });
    assert.match(answer.error, /^fsevents: /);
  }
});

/** What a tree in an editor has after these events. */
function believe(channel) {
  const known = new Set();
  const beneath = (path) => [...known].filter((other) => other === path || other.startsWith(`${path}/`));
  for (const { op, file, dest } of events(channel)) {
    if (op === Create) known.add(file.path);
    if (op === Remove) for (const path of beneath(file.path)) known.delete(path);
    if (op === Move) {
      for (const path of beneath(file.path)) {
        known.delete(path);
        known.add(dest.path + path.slice(file.path.length));
      }
    }
  }
  return [...known].sort();
}

test("two clients that subscribe to every folder that comes have what is on the disk", async () => {
  const trees = await Promise.all([0, 1].map(() => watch("")));
  for (const channel of trees) {
    const seen = new Set();
    channel.follow = () => {
      for (const { op, file } of events(channel)) {
        if (op === Create && file.type === DIRECTORY && !seen.has(file.path)) {
          seen.add(file.path);
          channel.send({ subscribeFile: { files: [{ path: file.path }] } });
        }
      }
    };
  }
  execFileSync("sh", [
    "-c",
    "mkdir -p a/b/c/d; echo x > a/b/c/d/f; for i in $(seq 200); do echo $i > a/b/$i; done; mv a/b z; rm z/1*; sed -i s/2/3/ z/2",
  ], { cwd: onDisk() });
  const wanted = () =>
    readdirSync(onDisk(), { recursive: true })
      .map((path) => here(path))
      .sort();
  for (const channel of trees) {
    await channel.heard.until(() => {
      channel.follow();
      return JSON.stringify(believe(channel)) === JSON.stringify(wanted());
    }, "the tree is what is on the disk");
  }
});
