// The process service, byte for byte: binary both ways, offsets, ends and their causes, signals, terminals, and the
// list. Its messages are not in the published package, so a bare socket speaks the repository's own contract.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Agent, Closing, Crosis, Raw, alive, contract, eventually } from "./support.mjs";

const Cause = contract.root.lookupEnum("api.ProcessExited.Cause").values;
const STDOUT = 0;
const STDERR = 1;

let agent;
let raw;
before(async () => {
  agent = await Agent.start();
  raw = await Raw.connect(agent, { codec: contract });
});
after(async () => {
  await raw.bye();
  await agent.stop();
});

const sha256 = (data) => createHash("sha256").update(data).digest("hex");
const sh = (script) => ["sh", "-c", script];

/** Starts a program on a new channel. */
async function start(args, more = {}, from = raw) {
  const id = await from.channel("process");
  const answer = await from.request(id, { processStart: { args, ...more } });
  assert.equal(answer.body, "processStarted", answer.error);
  return { id, ...numbers(answer.processStarted) };
}

/** A message as a plain object with 64-bit numbers as numbers; absent fields have their defaults. */
function numbers(message) {
  return message.$type.toObject(message, { longs: Number, defaults: true });
}

/** What one stream has sent so far; fails unless each piece begins where the one before it ended. */
function output(id, stream = STDOUT, from = raw) {
  const pieces = from.on(id).filter((command) => command.body === "processOutput" && command.processOutput.stream === stream);
  let next = 0;
  for (const { processOutput } of pieces) {
    assert.equal(Number(processOutput.offset), next, "without a hole and without a repetition");
    next += processOutput.data.length;
  }
  return Buffer.concat(pieces.map((command) => command.processOutput.data));
}

/** Waits for the program's end. */
async function exited(id, from = raw) {
  const isEnd = (command) => command.channel === id && command.body === "processExited";
  return numbers((await from.see(isEnd, "processExited")).processExited);
}

test("all 256 values of a byte, both ways, through cat", async () => {
  const { id, pid, stdinTaken } = await start(["cat"]);
  assert.ok(alive(pid));
  assert.equal(stdinTaken, 0);
  const data = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  const taken = await raw.request(id, { processStdin: { offset: 0, data, eof: true } });
  assert.equal(taken.body, "processStdinTaken");
  assert.equal(Number(taken.processStdinTaken.offset), 256);
  const end = await exited(id);
  assert.deepEqual(output(id), data);
  assert.deepEqual([end.code, end.cause, end.stdoutEnd, end.stderrEnd], [0, Cause.EXITED, 256, 0]);
  assert.equal(raw.on(id).at(-1).body, "processExited", "the end comes last");
  assert.ok(!alive(pid));
});

test("5 MB of random bytes through cat, in pieces of all sizes", async () => {
  const data = randomBytes(5_000_000);
  const { id } = await start(["cat"]);
  for (let offset = 0, piece = 1; offset < data.length; piece = (piece * 3) % 400_009) {
    const part = data.subarray(offset, offset + piece);
    const taken = await raw.request(id, { processStdin: { offset, data: part } });
    offset += part.length;
    assert.equal(Number(taken.processStdinTaken?.offset), offset, taken.error);
  }
  raw.send(id, { processStdin: { eof: true } });
  const end = await exited(id);
  assert.equal(sha256(output(id)), sha256(data));
  assert.equal(end.stdoutEnd, data.length);
});

test("stdout and stderr are apart, each with offsets of its own", async () => {
  const { id } = await start(sh("printf 'o\\000ut'; printf '\\377err' >&2; printf 2; printf 22 >&2"));
  const end = await exited(id);
  assert.deepEqual(output(id, STDOUT), Buffer.from("o\0ut2"));
  assert.deepEqual(output(id, STDERR), Buffer.from("\xfferr22", "latin1"));
  assert.deepEqual([end.stdoutEnd, end.stderrEnd], [5, 6]);
});

test("20 MB out, to the last byte", async () => {
  const { id } = await start(sh("head -c 20000000 /dev/urandom | tee copy; sha256sum copy >&2; rm copy"));
  await exited(id);
  const all = output(id);
  assert.equal(all.length, 20_000_000);
  assert.equal(sha256(all), output(id, STDERR).toString().slice(0, 64));
});

test("args, env and cwd arrive as they are", async () => {
  mkdirSync(join(agent.root, "a folder"));
  const script = 'printf "%s|" "$@"; printf "%s|" "$ADDED"; pwd';
  const { id } = await start(["sh", "-c", script, "sh", "", "a b", "ü\n"], { env: { ADDED: "日本" }, cwd: "a folder" });
  await exited(id);
  assert.equal(output(id).toString(), `|a b|ü\n|日本|${agent.root}/a folder\n`);
  const outside = await start(["pwd"], { cwd: "/usr" });
  await exited(outside.id);
  assert.equal(output(outside.id).toString(), "/usr\n");
});

test("exit codes, and signals by their number", async () => {
  for (const code of [0, 1, 42, 255]) {
    const { id } = await start(sh(`exit ${code}`));
    const end = await exited(id);
    assert.deepEqual([end.status ?? "code", end.code, end.cause], ["code", code, Cause.EXITED]);
  }
  for (const signal of [1, 2, 9, 15, 10]) {
    const { id } = await start(["sleep", "1000"]);
    assert.equal((await raw.request(id, { processSignal: { signal } })).body, "ok");
    const end = await exited(id);
    assert.deepEqual([end.signal, end.cause], [signal, Cause.SIGNALLED]);
    const late = await raw.request(id, { processSignal: { signal } });
    assert.equal(late.body, "error");
    assert.match(late.error, /has exited/);
  }
  const { id } = await start(["sleep", "1000"]);
  for (const signal of [0, -1, 65, 1000]) {
    assert.match((await raw.request(id, { processSignal: { signal } })).error, /no signal/);
  }
  await raw.close(id);
});

test("a signal reaches the whole group, and one that is handled ends nothing", async () => {
  const { id } = await start(sh("trap 'echo caught' USR1; sh -c 'echo $$; exec sleep 1000' & while :; do wait; done"));
  await raw.heard.until(() => output(id).includes("\n"), "the child's pid");
  const child = Number(output(id));
  assert.equal((await raw.request(id, { processSignal: { signal: 10 } })).body, "ok");
  await raw.heard.until(() => output(id).includes("caught"), "caught");
  await eventually(() => !alive(child), "the child, which does not handle it, is gone");
  assert.equal((await raw.request(id, { processSignal: { signal: 9 } })).body, "ok");
  assert.equal((await exited(id)).signal, 9);
});

test("what cannot start is answered by an error; then the channel is still free", async () => {
  const id = await raw.channel("process");
  const error = async (processStart) => (await raw.request(id, { processStart })).error;
  assert.equal(await error({ args: ["no-such-program"] }), 'exec: "no-such-program": executable file not found in $PATH');
  assert.equal(await error({ args: ["/etc"] }).then((text) => /denied|directory/.test(text)), true);
  assert.equal(await error({ args: [] }), "process: args is empty: nothing to run");
  assert.equal(await error({ args: ["true"], cwd: "missing" }), `chdir ${agent.root}/missing: no such file or directory`);
  for (const body of [{ processStdin: { data: Buffer.from("x") } }, { processSignal: { signal: 9 } }, { processAttach: {} }]) {
    assert.match((await raw.request(id, body)).error, /nothing was started on this channel/);
  }
  assert.equal((await raw.request(id, { processStart: { args: ["true"] } })).body, "processStarted");
  assert.match(await error({ args: ["true"] }), /has a program already/);
  await raw.close(id);
});

test("output of a program that exits while something in the background still writes", async () => {
  const { id } = await start(sh("(sleep 0.3; echo late) & echo early"));
  const end = await exited(id);
  assert.equal(end.code, 0);
  assert.equal(output(id).subarray(0, 6).toString(), "early\n");
  await raw.close(id);
});

test("with a terminal: its size, its echo, resizing, ctrl-C and a signal for the group in front", async () => {
  const { id, terminal } = await start(["bash", "--norc", "-i"], { terminal: { rows: 30, cols: 100 }, env: { PS1: "> " } });
  assert.deepEqual(terminal, { rows: 30, cols: 100 });
  let typed = 0;
  const type = async (text) => {
    const data = Buffer.from(text);
    const taken = await raw.request(id, { processStdin: { offset: typed, data } });
    typed += data.length;
    assert.equal(Number(taken.processStdinTaken.offset), typed);
  };
  const see = (text) => raw.heard.until(() => output(id).includes(text), text);
  await type("stty size\n");
  await see("30 100\r\n");
  assert.equal((await raw.request(id, { resizeTerm: { rows: 11, cols: 22 } })).body, "ok");
  await type("stty size\n");
  await see("11 22\r\n");
  for (const interrupt of [() => type("\u0003"), () => raw.request(id, { processSignal: { signal: 2 } })]) {
    const before = output(id).length;
    const seeNext = (text) => raw.heard.until(() => output(id).subarray(before).includes(text), text);
    await type("sh -c 'echo be\"\"gun; exec sleep 1000'\n");
    await seeNext("begun\r\n");
    await interrupt();
    await type("echo status $?\n");
    await seeNext("status 130\r\n");
  }
  await type("exit 6\n");
  const end = await exited(id);
  assert.equal(end.code, 6);
});

test("input without offsets, as several people at one terminal send it, is taken as it comes", async () => {
  const { id } = await start(["cat"]);
  for (const part of ["one ", "two ", "three"]) {
    const taken = await raw.request(id, { processStdin: { data: Buffer.from(part) } });
    assert.equal(taken.body, "processStdinTaken");
  }
  raw.send(id, { processStdin: { eof: true } });
  await exited(id);
  assert.equal(output(id).toString(), "one two three");
});

test("the list has what runs and what has ended", async () => {
  const { id, pid, id: channel } = await start(["sleep", "999.5"]);
  const short = await start(sh("exit 3"), { terminal: { rows: 5, cols: 6 } });
  await exited(short.id);
  const { processes } = numbers((await raw.request(channel, { processList: {} })).processListResult);
  const running = processes.find((process) => process.pid === pid);
  assert.deepEqual(running.args, ["sleep", "999.5"]);
  assert.ok(Math.abs(Date.now() - running.startedMs) < 60_000);
  assert.equal(running.exited ?? null, null);
  assert.equal(running.terminal ?? null, null);
  const ended = processes.find((process) => process.pid === short.pid);
  assert.deepEqual([ended.exited?.code, ended.exited?.cause], [3, Cause.EXITED]);
  await raw.close(id);
});

test("CLOSE stops the program and all of its tree", async () => {
  const { id, pid } = await start(sh("sleep 1000 & setsid sleep 1000 & echo $!; wait"));
  await raw.heard.until(() => output(id).includes("\n"), "a pid");
  const child = Number(output(id));
  assert.equal((await raw.close(id, Closing.CLOSE)).status, 1);
  await eventually(() => !alive(pid) && !alive(child), "both are gone");
});

test("the published client on such a channel skips what it does not know, and lives", async () => {
  const crosis = await Crosis.connect(agent);
  const channel = await crosis.channel("process", { name: "mixed" });
  const id = await raw.channel("process", { name: "mixed" });
  await raw.request(id, { processStart: { args: ["echo", "x"] } });
  await exited(id);
  assert.match((await channel.request({ input: "x" })).error, /input is not supported yet/);
  await raw.close(id, Closing.CLOSE);
  crosis.destroy();
});
