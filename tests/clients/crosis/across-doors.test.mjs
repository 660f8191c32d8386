// One program through several doors at once: whoever started it, the others see it, follow it, type into it, and end it.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { isDeepStrictEqual } from "node:util";

import { Exec, Terminal } from "./exec-service.mjs";
import { metrics } from "./metrics.mjs";
import { Agent, Closing, Crosis, Raw, alive, contract, eventually } from "./support.mjs";

const Cause = contract.root.lookupEnum("api.ProcessExited.Cause").values;

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

const sh = (script) => ["sh", "-c", script];

/** A message as a plain object with 64-bit numbers as numbers. */
const numbers = (message) => message.$type.toObject(message, { longs: Number, defaults: true });

/** What was printed on a channel of the `process` service. */
function output(id, stream = 0) {
  const pieces = raw.on(id).filter((command) => command.body === "processOutput" && command.processOutput.stream === stream);
  return Buffer.concat(pieces.map((command) => command.processOutput.data)).toString();
}

const seeOn = (id, wanted) => raw.heard.until(() => output(id).includes(wanted), `output with ${wanted}`);

async function exitedOn(id) {
  const isEnd = (command) => command.channel === id && command.body === "processExited";
  return numbers((await raw.see(isEnd, "processExited")).processExited);
}

async function request(id, body) {
  const answer = await raw.request(id, body);
  assert.notEqual(answer.body, "error", answer.error);
  return answer;
}

/** A program of the list, by its pid. */
async function listed(pid) {
  const id = await raw.channel("process");
  const { processes } = numbers((await request(id, { processList: {} })).processListResult);
  await raw.close(id);
  return processes.find((process) => process.pid === pid);
}

test("a program of ExecService is in the list, and is followed, typed into and signalled by `process`", async () => {
  const script = "trap 'echo caught' USR1; echo $$; while :; do read line && echo got $line; done";
  const exec = new Exec(agent).start(sh(script), {}, "a session");
  await exec.see("\n");
  const pid = Number(exec.text());
  const known = await listed(pid);
  assert.deepEqual(known.args, sh(script));
  assert.equal(known.terminal ?? null, null);
  const channels = [];
  for (const target of [{ id: known.id }, { pid }]) {
    const id = await raw.channel("process");
    const { processStarted } = await request(id, { processAttach: target });
    assert.deepEqual([Number(processStarted.id), processStarted.pid], [known.id, pid]);
    await seeOn(id, `${pid}\n`);
    channels.push(id);
  }
  const [one, two] = channels;
  await request(one, { processStdin: { data: Buffer.from("by process\n") } });
  exec.type("by exec\n");
  for (const text of ["got by process\n", "got by exec\n"]) {
    await exec.see(text);
    await seeOn(one, text);
    await seeOn(two, text);
  }
  await request(two, { processSignal: { signal: 10 } });
  await exec.see("caught\n");
  // Leaving ends nothing.
  await raw.close(one, Closing.CLOSE);
  assert.ok(alive(pid));
  await request(two, { processSignal: { signal: 9 } });
  assert.equal(await exec.exited(), 137);
  const end = await exitedOn(two);
  assert.deepEqual([end.signal, end.cause], [9, Cause.SIGNALLED]);
  await raw.close(two);
  exec.leave();
});

test("stderr of a program of ExecService is stderr for `process`", async () => {
  const exec = new Exec(agent).start(sh("echo out; echo err >&2; read line; exit 3"));
  await exec.see("out\n");
  await exec.until(() => exec.text("STDERR") === "err\n", "stderr");
  const { session_id: name } = exec.heard.items[0];
  const other = new Exec(agent).follow(`pid1://exec/${name}`);
  await other.see("out\n");
  await other.until(() => other.text("STDERR") === "err\n", "stderr of a follower");
  exec.type("go\n");
  assert.deepEqual([await exec.exited(), await other.exited()], [3, 3]);
  exec.leave();
  other.leave();
});

test("a terminal of ExecService: `process` sees its size, resizes it and interrupts what is in front", async () => {
  const exec = new Exec(agent).start(["bash", "--norc", "-i"], { tty: true, rows: 30, cols: 100, env: { PS1: "> " } });
  await exec.see("> ");
  exec.type("echo pid $$; stty size\n");
  const [, shell] = await exec.until(() => /pid (\d+)\r\n30 100\r\n/.exec(exec.text()), "pid and size");
  const id = await raw.channel("process");
  const { processStarted } = await request(id, { processAttach: { pid: Number(shell) } });
  assert.deepEqual(numbers(processStarted).terminal, { rows: 30, cols: 100 });
  await request(id, { resizeTerm: { rows: 11, cols: 22 } });
  exec.type("stty size\n");
  await exec.see("11 22\r\n");
  await request(id, { processStdin: { data: Buffer.from("sh -c 'echo be\"\"gun; exec sleep 1000'\n") } });
  await exec.see("begun\r\n");
  await request(id, { processSignal: { signal: 2 } });
  exec.type("echo status $?; exit 5\n");
  await seeOn(id, "status 130\r\n");
  assert.equal(await exec.exited(), 5);
  assert.equal((await exitedOn(id)).code, 5);
  await raw.close(id);
  exec.leave();
});

test("a session that ends with its client is told to who follows it by `process`", async () => {
  const exec = new Exec(agent).start(sh("echo $$; exec sleep 1000"));
  await exec.see("\n");
  const pid = Number(exec.text());
  const id = await raw.channel("process");
  await request(id, { processAttach: { pid } });
  exec.leave();
  const end = await exitedOn(id);
  assert.deepEqual([end.signal, end.cause], [15, Cause.STOPPED]);
  assert.ok(!alive(pid));
  await raw.close(id);
});

test("a program of `process` is followed by ExecService and stopped by TerminalAPI's interrupt", async () => {
  const id = await raw.channel("process");
  const started = (await request(id, { processStart: { args: sh("echo up; while read line; do echo got $line; done; sleep 1000") } })).processStarted;
  const { id: number, pid } = numbers(started);
  const exec = new Exec(agent).follow(`pid1://process/${number}`);
  const terminal = new Terminal(agent).control({ command: `pid1://process/${number}` });
  for (const door of [exec, terminal]) await door.see("up\n");
  exec.type("by exec\n");
  terminal.type("by terminal\n");
  await request(id, { processStdin: { data: Buffer.from("by process\n") } });
  for (const who of ["exec", "terminal", "process"]) {
    await exec.see(`got by ${who}\n`);
    await terminal.see(`got by ${who}\n`);
    await seeOn(id, `got by ${who}\n`);
  }
  assert.ok(alive(pid));
  terminal.control({ interrupt: 15 });
  assert.equal((await exitedOn(id)).signal, 15);
  assert.equal(await exec.exited(), 143);
  assert.equal((await terminal.over()).code, 0);
  await raw.close(id);
  exec.leave();
  terminal.leave();
});

test("whoever follows by ExecService or TerminalAPI ends nothing by leaving, nor by ending his half", async () => {
  const id = await raw.channel("process");
  const { processStarted } = await request(id, { processStart: { args: ["cat"], terminal: { rows: 5, cols: 50 } } });
  // Typed, and said again by `cat`.
  const twice = (text, word) => text.split(`${word}\r\n`).length === 3;
  for (const Door of [Exec, Terminal]) {
    for (const how of ["leave", "end"]) {
      const door = new Door(agent);
      if (door instanceof Exec) door.follow(`pid1://pid/${processStarted.pid}`);
      else door.control({ command: `pid1://pid/${processStarted.pid}` });
      const word = `${Door.name}-${how}`;
      door.type(`${word}\n`);
      await door.until(() => twice(door.text(), word), "the program's answer");
      if (how === "leave") door.leave();
      else door.call.end();
      if (door instanceof Exec) await door.over();
    }
  }
  assert.ok(alive(processStarted.pid));
  await request(id, { processStdin: { data: Buffer.from("still\n") } });
  await raw.heard.until(() => twice(output(id), "still"), "the program's answer");
  await raw.close(id, Closing.CLOSE);
  await eventually(() => !alive(processStarted.pid), "it ends with its channel");
});

test("a shell of the published client is one terminal for all doors", async () => {
  const crosis = await Crosis.connect(agent);
  const shell = await crosis.channel("shell", { name: "shared" });
  await shell.see("$ ");
  shell.type("echo pid $$\n");
  const [, text] = await shell.see(/pid (\d+)/);
  const pid = Number(text);
  const { id: number } = await listed(pid);
  const exec = new Exec(agent).follow(`pid1://process/${number}`);
  const terminal = new Terminal(agent).control({ command: `pid1://pid/${pid}`, terminal_size: { rows: 12, cols: 66 } });
  const id = await raw.channel("process");
  await request(id, { processAttach: { id: number } });
  const doors = [exec, terminal, { see: (wanted) => seeOn(id, wanted) }, shell];
  for (const door of doors) await door.see(`pid ${pid}`);
  exec.type("stty size\n");
  for (const door of doors) await door.see("12 66\r\n");
  terminal.type("sh -c 'echo be\"\"gun; exec sleep 1000'\n");
  for (const door of doors) await door.see("begun\r\n");
  terminal.control({ interrupt: 2 });
  await request(id, { processStdin: { data: Buffer.from("echo status $?\n") } });
  for (const door of doors) await door.see("status 130\r\n");
  shell.type("exit 3\n");
  assert.equal(await exec.exited(), 3);
  assert.equal((await exitedOn(id)).code, 3);
  assert.equal((await terminal.over()).code, 0);
  await raw.close(id);
  crosis.destroy();
  exec.leave();
  terminal.leave();
});

test("a program of `exec` is followed by its pid", async () => {
  const crosis = await Crosis.connect(agent);
  const channel = await crosis.channel("exec");
  const answer = channel.request({ exec: { args: sh("echo $$; read line; echo got $line; exit 9") } });
  const [, pid] = await channel.see(/(\d+)\n/);
  const exec = new Exec(agent).follow(`pid1://pid/${pid}`);
  await exec.see(`${pid}\n`);
  exec.type("it\n");
  assert.equal(await exec.exited(), 9);
  assert.equal((await answer).error, "exit status 9");
  assert.equal(channel.text(), `${pid}\ngot it\n`);
  await channel.close();
  crosis.destroy();
  exec.leave();
});

test("sessions of ExecService are counted for the instances that they name, as long as they run", async () => {
  const crosis = await Crosis.connect(agent);
  const counts = async () => {
    const { metric } = (await metrics(crosis)).get("pid1_exec_sessions");
    return Object.fromEntries(metric.filter(({ gauge }) => gauge.value > 0).map(({ label, gauge }) => [label[0].value, gauge.value]));
  };
  const come = (wanted) => eventually(async () => isDeepStrictEqual(await counts(), wanted), JSON.stringify(wanted));
  const start = (instance_id) => new Exec(agent).start(["cat"], { instance_id });
  const [one, two, other, unnamed] = [start("a"), start("a"), start("b"), start("")];
  for (const exec of [one, two, other, unnamed]) await exec.told("STARTED");
  await come({ a: 2, b: 1 });
  // The end of its program, another start on the same stream, and the end of the stream.
  one.send({ stdin_eof: {} });
  await one.exited();
  await come({ a: 1, b: 1 });
  two.start(["cat"], { instance_id: "c" });
  await come({ b: 1, c: 1 });
  two.leave();
  await come({ b: 1 });
  other.start(["no-such-program"], { instance_id: "d" });
  await other.exited();
  await come({});
  crosis.destroy();
  for (const exec of [one, other, unnamed]) exec.leave();
});
