// A terminal through the published client: the shell, sizes, keys, signals, ends, and what it is told when something
// goes wrong.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Line, Volt, alive, eventually, startAgent } from "./support.mjs";

const INVALID_ARGUMENT = 3;
const NOT_FOUND = 5;
const OK = 0;
const CANCELLED = 1;
const UNAVAILABLE = 14;

let agent;
let volt;
before(async () => {
  agent = await startAgent();
  volt = await Volt.connect(agent);
});
after(async () => {
  volt.close();
  await agent.stop();
});

const sh = (script, more) => volt.run("sh", ["-c", script], more);

test("an empty control opens the default shell, which shows its prompt and does what is typed", async () => {
  const call = volt.run();
  await call.see("$ ");
  call.type("echo $((6 * 7)) in $PWD\n");
  await call.see(`42 in ${agent.root}\r\n`);
  call.type("exit 3\n");
  assert.equal((await call.over()).code, OK, "an exit status is no failure of the call");
  assert.deepEqual(call.errors, []);
  assert.ok(call.heard.items.every((response) => response.status === null && response.data.length > 0), "data and nothing else");
});

test("the first size is what the program sees at once, later ones what it sees next", async () => {
  const call = sh("stty size; while read line; do stty size; done", { terminal_size: { rows: 40, cols: 120 } });
  await call.see("40 120\r\n");
  call.control({ terminal_size: { rows: 10, cols: 20 } });
  call.type("look\n");
  await call.see(/40 120\r\n[^]*\n10 20\r\n/);
  for (const terminal_size of [{ rows: 0, cols: 20 }, { rows: 5, cols: -1 }, {}]) call.control({ terminal_size });
  call.type("again\n");
  await call.see(/10 20\r\n[^]*\n10 20\r\n/);
  call.type("\u0004");
  await call.over();
});

test("without a size it is 24 by 80, and a resize is told to the program", async () => {
  const call = sh("stty size; trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done");
  await call.see("ready");
  assert.match(call.text(), /^24 80\r\n/);
  call.control({ terminal_size: { rows: 33, cols: 44 } });
  await call.see("33 44\r\n");
  call.control({ interrupt: 9 });
  await call.over();
});

test("input is echoed by the terminal and reaches the program, whatever bytes it has", async () => {
  const call = volt.run("cat");
  call.type("grüße 日本\n");
  await call.see("grüße 日本\r\ngrüße 日本\r\n");
  call.type("\u0004");
  assert.equal((await call.over()).code, OK);
  const raw = sh("stty raw -echo; echo ready; head -c 256 | od -An -v -tu1");
  await raw.see("ready");
  raw.type(Array.from({ length: 256 }, (_, byte) => byte));
  await raw.over();
  const numbers = raw.text().split("ready")[1].trim().split(/\s+/).map(Number);
  assert.deepEqual(numbers, Array.from({ length: 256 }, (_, byte) => byte));
});

test("one control has command, arguments and size; an interrupt in it is for nobody", async () => {
  const call = sh("stty size; echo alive", { terminal_size: { rows: 7, cols: 9 }, interrupt: 9 });
  await call.over();
  assert.equal(call.text(), "7 9\r\nalive\r\n");
  assert.deepEqual(call.errors, []);
});

test("an interrupt ends what is in front, and the shell behind it goes on", async () => {
  const call = volt.run();
  await call.see("$ ");
  for (const signal of [15, 2, 9]) {
    call.type(`sh -c 'echo be""gun-${signal}; exec sleep 1000'\n`);
    await call.see(`begun-${signal}\r\n`);
    call.control({ interrupt: signal });
    call.type("echo status-$?-\n");
    await call.see(`status-${128 + signal}-\r\n`);
  }
  call.type("exit\n");
  assert.equal((await call.over()).code, OK);
});

test("a program alone that an interrupt ends is the end of the call, and that is well", async () => {
  const call = sh("echo ready; exec sleep 1000");
  await call.see("ready");
  call.control({ interrupt: 15 });
  assert.equal((await call.over()).code, OK);
  assert.deepEqual(call.errors, []);
});

test("a signal that is none is an error event, and the call goes on", async () => {
  const call = volt.run("cat");
  for (const [count, interrupt] of [1000, -1, 65].entries()) {
    call.control({ interrupt });
    const error = await call.error(count + 1);
    assert.equal(error.code, INVALID_ARGUMENT);
    assert.match(error.message, new RegExp(`there is no signal ${interrupt}`));
  }
  assert.equal(call.ended, false);
  call.type("still here\n");
  await call.heard.until(() => call.text().includes("still here\r\nstill here\r\n"), "the program's answer");
  call.type("\u0004");
  assert.equal((await call.over()).code, OK);
});

test("whoever begins with input gets error 3, and the call is over", async () => {
  for (const first of [{ input: { data: Buffer.from("ls\n") } }, {}]) {
    const call = volt.call(first);
    const error = await call.error();
    assert.equal(error.constructor.name, "VoltClientError");
    assert.equal(error.code, INVALID_ARGUMENT);
    assert.match(error.message, /first message/);
    assert.ok(error.description);
    assert.equal((await call.over()).code, OK);
    assert.equal(call.errors.length, 1);
  }
});

test("an unknown program is error 5, then the call ends well", async () => {
  for (const command of ["no-such-program", "./missing", "/does/not/exist"]) {
    const call = volt.run(command);
    const error = await call.error();
    assert.equal(error.code, NOT_FOUND);
    assert.ok(error.message.includes(command), error.message);
    assert.ok(error.description);
    assert.equal((await call.over()).code, OK);
    assert.equal(call.text(), "");
  }
  const folder = volt.run("/etc");
  const error = await folder.error();
  assert.equal(error.code, 2, "it is there and cannot be run: unknown");
  assert.equal((await folder.over()).code, OK);
});

test("a second command is ignored while one runs; size and interrupt beside it are not", async () => {
  const call = sh("trap 'stty size; echo caught' USR1; echo ready; while :; do sleep 0.05; done");
  await call.see("ready");
  call.control({ command: "touch", arg: ["second"], terminal_size: { rows: 12, cols: 34 }, interrupt: 10 });
  await call.see("12 34\r\ncaught\r\n");
  call.control({ interrupt: 15 });
  await call.over();
  assert.equal(existsSync(join(agent.root, "second")), false);
  assert.deepEqual(call.errors, []);
});

test("what the contract does not use is ignored", async () => {
  const call = sh("echo ready; cat", { stop: "a", pause: "b", resume: "c", reset: "d" });
  await call.see("ready");
  call.control({ stop: "now", pause: "x", resume: "x", reset: "x" });
  call.write({});
  call.type("on\n");
  await call.see("on\r\non\r\n");
  call.type("\u0004");
  await call.over();
  assert.deepEqual(call.errors, []);
});

test("a call may be open for a while before its first message", async () => {
  const call = volt.call();
  // Another call, from its beginning to its end, comes in between.
  const other = sh("sleep 1.5; echo done");
  await other.over();
  assert.equal(call.ended, false);
  call.control({ command: "echo", arg: ["late"] });
  await call.over();
  assert.equal(call.text(), "late\r\n");
});

test("a call without any message ends well", async () => {
  const call = volt.call();
  call.halfClose();
  assert.equal((await call.over()).code, OK);
  assert.deepEqual(call.errors, []);
});

test("half-close is the end of input and no kill: the program finishes its work", async () => {
  const file = join(agent.root, "finished");
  const call = sh(`trap 'echo hung up > ${file}; exit' HUP; echo ready; until test -e go; do sleep 0.05; done; echo all done > finished`);
  await call.see("ready");
  call.halfClose();
  await call.heard.until(() => call.finished, "our half is ended");
  // One that came later has been served meanwhile, so the half-close has long arrived.
  await sh("echo > go").over();
  assert.equal((await call.over()).code, OK);
  assert.equal(readFileSync(file, "utf8"), "all done\n");
});

test("half-close after all was typed: the program reads it to the end", async () => {
  const call = sh("cat > typed; echo $? > status");
  call.type("one\ntwo\n");
  await call.see(/two\r\n/);
  call.halfClose();
  assert.equal((await call.over()).code, OK);
  assert.equal(readFileSync(join(agent.root, "typed"), "utf8"), "one\ntwo\n");
  assert.equal(readFileSync(join(agent.root, "status"), "utf8"), "0\n");
});

test("a client that goes away hangs its program up, and nothing of it is left", async () => {
  const away = [
    ["cancelled", (call) => call.cancel()],
    ["disconnected", (_call, line) => line.cut()],
    ["half-closed and gone", (call, line) => (call.halfClose(), line.cut())],
  ];
  for (const [how, leave] of away) {
    const line = await Line.to(agent);
    const client = await Volt.connect(agent, { port: line.port });
    const file = `hung-up-${how.length}`;
    const script = `trap 'echo HUP > ${file}; exit' HUP; sleep 1000 & echo $!; (trap '' HUP TERM; exec sleep 1000) & echo $!; echo $$; wait`;
    const call = client.run("sh", ["-c", script]);
    await call.see(/(\d+\r\n){3}/);
    const pids = call.text().trim().split("\r\n").map(Number);
    assert.ok(pids.every(alive));
    leave(call, line);
    await eventually(() => !pids.some(alive), `nothing is left: ${how}`);
    assert.equal(readFileSync(join(agent.root, file), "utf8"), "HUP\n", how);
    if (how === "cancelled") assert.equal((await call.heard.until(() => call.status, "a status")).code, CANCELLED);
    client.close();
    line.close();
  }
});

test("all that a program has printed arrives before the end, however much", async () => {
  const call = sh("stty -opost; seq 1 200000; printf last");
  await call.over();
  const lines = call.text().split("\n");
  assert.equal(lines.length, 200_001);
  assert.ok(lines.slice(0, -1).every((line, at) => Number(line) === at + 1));
  assert.equal(lines.at(-1), "last");
});

test("calls on one connection do not wait for each other", async () => {
  const calls = Array.from({ length: 20 }, () => volt.run("cat"));
  for (const [number, call] of [...calls.entries()].reverse()) {
    call.type(`number ${number}\n`);
    await call.see(`number ${number}\r\nnumber ${number}\r\n`);
  }
  for (const call of calls) call.type("\u0004");
  for (const call of calls) assert.equal((await call.over()).code, OK);
});

test("the agent's end is told to a call that runs, behind all that its program has printed", async () => {
  const other = await startAgent();
  const client = await Volt.connect(other);
  const call = client.run("sh", ["-c", "echo ready $$; seq 1 1000; touch printed; exec sleep 1000"]);
  const [, pid] = await call.see(/ready (\d+)/);
  await eventually(() => existsSync(join(other.root, "printed")), "all is printed");
  await other.stop();
  const status = await call.heard.until(() => call.status, "the end of the call");
  assert.equal(status.code, UNAVAILABLE);
  assert.equal(status.details, "the agent is stopping");
  assert.match(call.text(), /\r\n1000\r\n$/);
  assert.ok(!alive(Number(pid)));
  client.close();
});
