// The files services, driven by the published client: every request, every error that clients look for.

import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";

import { Agent, api, BINARY, Crosis } from "./support.mjs";

const { DIRECTORY, REGULAR } = api.File.Type;

let agent, crosis, files, secret;
/** A folder of the workspace for each test, and paths in it. */
let number = 0;
const here = (path) => (path ? `test${number}/${path}` : `test${number}`);
const onDisk = (path) => join(agent.root, here(path));

before(async () => {
  agent = await Agent.start({ args: ["--jwt-audience", "here"], env: { PID1_JWT_SECRET: "k".repeat(32) } });
  secret = join(agent.folder, "secret");
  writeFileSync(secret, "k".repeat(32));
  crosis = await Crosis.connect(agent);
  files = await crosis.channel("gcsfiles");
});
after(async () => {
  crosis.destroy();
  await agent.stop();
});
beforeEach(() => {
  number += 1;
  mkdirSync(onDisk());
});

const bytes = (text) => new TextEncoder().encode(text);
const text = (command) => new TextDecoder().decode(command.file.content);

/** Asks for what must be done. */
async function done(body) {
  const answer = await files.request(body);
  assert.equal(answer.body, "ok", answer.error);
}

/** Asks for what must be refused; with which words. */
async function refused(body, channel = files) {
  const answer = await channel.request(body);
  assert.equal(answer.body, "error", JSON.stringify(answer));
  return answer.error;
}

const write = (path, content) => ({ write: { path: here(path), content: bytes(content) } });
const names = async (path) => (await files.request({ readdir: { path } })).files.files;

test("write makes a file, and its folders, and replaces one; read gives it back with its path", async () => {
  await done(write("a/b/c.txt", "one"));
  await done(write("a/b/c.txt", "zwei ✓"));
  const read = await files.request({ read: { path: here("a/b/c.txt") } });
  assert.equal(read.body, "file");
  assert.equal(read.file.path, here("a/b/c.txt"));
  assert.equal(text(read), "zwei ✓");
  assert.equal(readFileSync(onDisk("a/b/c.txt"), "utf8"), "zwei ✓");
});

test("an empty file is a file", async () => {
  await done(write("empty", ""));
  const read = await files.request({ read: { path: here("empty") } });
  assert.equal(read.file.path, here("empty"));
  assert.equal(read.file.content.length, 0);
});

test("a file of many bytes is the same on both ways", async () => {
  const content = new Uint8Array(3_000_000).map((_, at) => at * 7 + (at >> 8));
  await done({ write: { path: here("large"), content } });
  assert.deepEqual(new Uint8Array(readFileSync(onDisk("large"))), content);
  const read = await files.request({ read: { path: here("large") } });
  assert.deepEqual(new Uint8Array(read.file.content), content);
});

test("mkdir makes parents and minds none that is there", async () => {
  await done({ mkdir: { path: here("x/y/z") } });
  await done({ mkdir: { path: here("x/y") } });
  assert.ok(statSync(onDisk("x/y/z")).isDirectory());
});

test("readdir gives bare names and types, hidden ones too", async () => {
  mkdirSync(onDisk("folder"));
  for (const name of ["b", ".hidden", "a"]) writeFileSync(onDisk(name), "x");
  symlinkSync("folder", onDisk("link"));
  const listed = await names(here());
  assert.deepEqual(
    listed.map(({ path, type }) => [path, type]),
    [[".hidden", REGULAR], ["a", REGULAR], ["b", REGULAR], ["folder", DIRECTORY], ["link", REGULAR]],
  );
  const all = await names(".");
  assert.ok(all.some(({ path, type }) => path === here() && type === DIRECTORY));
});

test("stat says what is there, in seconds and bytes, and that nothing is", async () => {
  writeFileSync(onDisk("script"), "12345");
  chmodSync(onDisk("script"), 0o750);
  const { statRes } = await files.request({ stat: { path: here("script") } });
  assert.equal(statRes.exists, true);
  assert.equal(statRes.type, REGULAR);
  assert.equal(Number(statRes.size), 5);
  assert.equal(statRes.fileMode, "-rwxr-x---");
  assert.equal(Number(statRes.modTime), Math.floor(statSync(onDisk("script")).mtimeMs / 1000));
  const folder = (await files.request({ stat: { path: here() } })).statRes;
  assert.equal(folder.type, DIRECTORY);
  assert.match(folder.fileMode, /^d/);
  const nothing = await files.request({ stat: { path: here("none/at/all") } });
  assert.equal(nothing.body, "statRes");
  assert.equal(nothing.statRes.exists, false);
});

test("move renames files and folders", async () => {
  await done(write("a/file", "x"));
  await done({ move: { oldPath: here("a/file"), newPath: here("a/renamed") } });
  await done({ move: { oldPath: here("a"), newPath: here("b") } });
  assert.equal(readFileSync(onDisk("b/renamed"), "utf8"), "x");
  assert.ok(!existsSync(onDisk("a")));
});

test("remove takes away files and whole folders, tryRemove also what is not there", async () => {
  await done(write("deep/er/file", "x"));
  await done(write("file", "x"));
  await done({ remove: { path: here("deep") } });
  await done({ remove: { path: here("file") } });
  assert.ok(!existsSync(onDisk("deep")) && !existsSync(onDisk("file")));
  await done({ tryRemove: { path: here("file") } });
  await done(write("file", "x"));
  await done({ tryRemove: { path: here("file") } });
  assert.ok(!existsSync(onDisk("file")));
});

test("persist and persistMirror answer for one file and for all", async () => {
  await done(write("file", "x"));
  for (const path of [here("file"), ""]) {
    await done({ persist: { path } });
    await done({ persistMirror: { path } });
  }
});

test("errors hold the words that clients look for", async () => {
  await done(write("file", "x"));
  await done({ mkdir: { path: here("folder/inner") } });
  const path = (path) => ({ path: here(path) });
  const table = [
    [{ read: path("none") }, /^open .*: no such file or directory$/],
    [{ read: path("folder") }, /is a directory/],
    [{ read: path("file/below") }, /not a directory/],
    [write("folder", "x"), /is a directory|file exists/],
    [write("file/below", "x"), /not a directory/],
    [{ mkdir: path("file") }, /file exist/],
    [{ readdir: path("none") }, /no such file/],
    [{ readdir: path("file") }, /not a directory/],
    [{ remove: path("none") }, /no such file/],
    [{ move: { oldPath: here("none"), newPath: here("x") } }, /no such file/],
    [{ move: { oldPath: here("folder/inner"), newPath: here("folder") } }, /file exist/],
    [{ persist: path("none") }, /no such file/],
    [{ read: { path: "../out" } }, /leads out of the workspace/],
    [{ write: { path: "/etc/pid1-test", content: bytes("x") } }, /leads out of the workspace/],
    [{ remove: { path: "." } }, /the workspace itself/],
  ];
  for (const [body, words] of table) assert.match(await refused(body), words);
});

test("requests of one tick are done in their order", async () => {
  const answers = await Promise.all([
    files.request(write("a", "first")),
    files.request(write("a", "second")),
    files.request({ move: { oldPath: here("a"), newPath: here("b") } }),
    files.request({ read: { path: here("b") } }),
    files.request({ remove: { path: here("b") } }),
    files.request({ stat: { path: here("b") } }),
  ]);
  assert.deepEqual(answers.map(({ body }) => body), ["ok", "ok", "ok", "file", "ok", "statRes"]);
  assert.equal(text(answers[3]), "second");
  assert.equal(answers[5].statRes.exists, false);
});

test("two clients see each other's work", async () => {
  const other = await Crosis.connect(agent);
  const theirs = await other.channel("files");
  await done(write("shared", "by one"));
  assert.equal(text(await theirs.request({ read: { path: here("shared") } })), "by one");
  assert.equal((await theirs.request(write("shared", "by the other"))).body, "ok");
  assert.equal(text(await files.request({ read: { path: here("shared") } })), "by the other");
  other.destroy();
});

test("a viewer reads, and changes nothing", async () => {
  await done(write("file", "x"));
  const token = execFileSync(BINARY, ["token", "jwt", "--secret-file", secret, "--audience", "here", "--role", "viewer"]);
  const viewer = await Crosis.connect(agent, { metadata: () => ({ token: token.toString().trim() }) });
  const theirs = await viewer.channel("files");
  assert.equal(text(await theirs.request({ read: { path: here("file") } })), "x");
  assert.equal((await theirs.request({ stat: { path: here("file") } })).statRes.exists, true);
  assert.equal((await theirs.request({ readdir: { path: here() } })).files.files.length, 1);
  const one = { path: here("file") };
  for (const body of [
    write("file", "y"),
    { remove: one },
    { tryRemove: one },
    { mkdir: { path: here("folder") } },
    { move: { oldPath: here("file"), newPath: here("x") } },
    { persist: one },
    { persistMirror: one },
  ]) {
    assert.match(await refused(body, theirs), /needs the role editor/);
  }
  assert.equal(readFileSync(onDisk("file"), "utf8"), "x");
  viewer.destroy();
});

test("the agent says what it is where clients look for that", async () => {
  const about = JSON.parse(text(await files.request({ read: { path: ".config/goval/info" } })));
  assert.equal(about.server, "pid1");
  assert.ok(about.services.includes("gcsfiles") && Number.isInteger(about.uptime));
});

test("a client that lost its line has its files again", async () => {
  await done(write("file", "before"));
  crosis.cut();
  await files.opened(2);
  assert.equal(text(await files.request({ read: { path: here("file") } })), "before");
});

test("checkChanges tells what programs have changed since the last time, with content", async () => {
  await files.request({ checkChanges: {} });
  execFileSync("sh", ["-c", "echo built > out.txt"], { cwd: onDisk() });
  const changes = await files.request({ checkChanges: {} });
  assert.equal(changes.body, "changedFiles", changes.error);
  const found = changes.changedFiles.files.find((file) => file.path === here("out.txt"));
  assert.equal(new TextDecoder().decode(found.content), "built\n");
});
