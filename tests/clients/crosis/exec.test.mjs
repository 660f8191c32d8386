// Programs without a terminal: answers, order, queue, environment, stdin, what cannot start, and what becomes of
// everything that was started.

import assert from "node:assert/strict";
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Agent, Crosis, Raw, State, alive, eventually } from "./support.mjs";

let agent;
let crosis;
before(async () => {
  agent = await Agent.start({ env: { FROM_OUTSIDE: "outside" } });
  crosis = await Crosis.connect(agent);
});
after(async () => {
  crosis.destroy();
  await agent.stop();
});

/** Runs one program on a channel of its own: its answer, its output, and everything that was heard. */
async function runOnce(args, more = {}) {
  const exec = await crosis.channel("exec");
  const answer = await exec.request({ exec: { args, ...more } });
  await exec.close();
  return { answer, output: exec.text(), heard: exec.heard.items };
}

const sh = (script) => ["sh", "-c", script];

test("success is ok, after all output", async () => {
  const { answer, output } = await runOnce(["echo", "one", "two  three", "", "*"]);
  assert.equal(answer.body, "ok");
  assert.equal(output, "one two  three  *\n");
});

test("failure is error with the exit status", async () => {
  for (const status of [1, 2, 3, 126, 127, 128, 255]) {
    const { answer } = await runOnce(sh(`exit ${status}`));
    assert.equal(answer.error, `exit status ${status}`);
  }
});

test("a signal is named in the error", async () => {
  for (const [signal, text] of [
    ["KILL", "killed"],
    ["TERM", "terminated"],
    ["INT", "interrupt"],
    ["HUP", "hangup"],
    ["USR1", "user defined signal 1"],
    ["PIPE", "broken pipe"],
  ]) {
    const { answer } = await runOnce(sh(`kill -${signal} $$`));
    assert.equal(answer.error, `signal: ${text}`);
  }
  const { answer } = await runOnce(sh("ulimit -c 0; kill -SEGV $$"));
  assert.equal(answer.error, "signal: segmentation fault");
});

test("the order is state Running, output, the answer to the asker, state Stopped", async () => {
  const [one, two] = [await Raw.connect(agent), await Raw.connect(agent)];
  const id = await one.channel("exec", { name: "order" });
  await two.channel("exec", { name: "order" });
  one.send(id, { exec: { args: sh("echo out; echo err >&2; exit 7") } }, "asked");
  const stopped = (raw) => raw.see((command) => command.channel === id && command.state === State.Stopped, "Stopped");
  await Promise.all([stopped(one), stopped(two)]);
  const told = (raw) => {
    const kinds = raw.on(id).map(({ body, state, error, ref }) => (body === "state" ? `state ${state}` : [body, error, ref].join(" ").trim()));
    return kinds.filter((kind, at) => kind !== kinds[at - 1]); // pieces of output may be one or two
  };
  const [running, done] = [`state ${State.Running}`, `state ${State.Stopped}`];
  assert.deepEqual(told(one), [running, "output", "error exit status 7 asked", done]);
  assert.deepEqual(told(two), [running, "output", done], "the other sees all but the answer");
  assert.equal([...one.text(id)].sort().join(""), [..."out\nerr\n"].sort().join(""));
  await Promise.all([one.bye(), two.bye()]);
});

test("runs queue and come in order, whatever they say of blocking", async () => {
  const exec = await crosis.channel("exec");
  const ways = [{}, { blocking: true }, { blocking: false }, { lifecycle: 0 }, { lifecycle: 1 }, { lifecycle: 2 }];
  const order = [];
  const all = ways.concat(ways).map(async (way, number) => {
    const answer = await exec.request({ exec: { args: sh(`sleep 0.0${9 - (number % 9)}; echo ${number}`), ...way } });
    assert.equal(answer.body, "ok");
    order.push(number);
  });
  await Promise.all(all);
  const numbers = ways.concat(ways).map((_, number) => number);
  assert.deepEqual(order, numbers);
  assert.equal(exec.text(), numbers.map((number) => `${number}\n`).join(""));
  await exec.heard.until(() => exec.heard.items.at(-1).state === State.Stopped, "the last Stopped");
  const states = exec.heard.items.filter((command) => command.body === "state").map((command) => command.state);
  assert.deepEqual(states, numbers.flatMap(() => [State.Running, State.Stopped]));
  await exec.close();
});

test("channels do not wait for each other", async () => {
  const [slow, quick] = [await crosis.channel("exec"), await crosis.channel("exec")];
  slow.send({ exec: { args: ["sleep", "1000"] } });
  assert.equal((await quick.request({ exec: { args: ["true"] } })).body, "ok");
  await Promise.all([slow.close(), quick.close()]);
});

test("without a ref it runs all the same", async () => {
  const exec = await crosis.channel("exec");
  exec.send({ exec: { args: ["echo", "unasked"] } });
  await exec.heard.until(() => exec.heard.items.at(-1)?.state === State.Stopped, "Stopped");
  assert.deepEqual(exec.bodies(), ["state", "output", "state"]);
  await exec.close();
});

test("env is added to the container's, and the folder is the workspace", async () => {
  const script = sh('echo "$ADDED|$FROM_OUTSIDE|$HOME|$PID1_TOKEN|${TERM-none}"; pwd');
  const { output } = await runOnce(script, { env: { ADDED: "ünï = 'x'\n2", HOME: "/elsewhere" } });
  assert.equal(output, `ünï = 'x'\n2|outside|/elsewhere||none\n${agent.root}\n`);
  const next = await runOnce(sh('echo "${ADDED-unset} $FROM_OUTSIDE"'));
  assert.equal(next.output, "unset outside\n", "it holds for that run only");
});

test("PATH of the request is where the program is looked up", async () => {
  const folder = join(agent.root, "bin of its own");
  mkdirSync(folder);
  writeFileSync(join(folder, "only-here"), "#!/bin/sh\necho found by $0\n", { mode: 0o755 });
  const { output } = await runOnce(["only-here"], { env: { PATH: `${folder}:/usr/bin:/bin` } });
  assert.equal(output, `found by ${folder}/only-here\n`);
  const relative = await runOnce(["./bin of its own/only-here"]);
  assert.equal(relative.answer.body, "ok", "a relative path is taken from the workspace");
});

test("input goes to the running program's stdin, inputClose ends it", async () => {
  const exec = await crosis.channel("exec");
  const counted = exec.request({ exec: { args: sh("cat; echo end") } });
  await exec.heard.until(() => exec.heard.items[0]?.state === State.Running, "Running");
  exec.type("first ");
  assert.equal((await exec.request({ input: "second 日本\n" })).body, "ok");
  await exec.see("first second 日本\n");
  assert.equal((await exec.request({ inputClose: {} })).body, "ok");
  assert.equal((await counted).body, "ok");
  assert.equal(exec.text(), "first second 日本\nend\n");
  for (const body of [{ input: "late" }, { inputClose: {} }]) {
    assert.equal((await exec.request(body)).error, "exec: nothing is running on this channel");
  }
  await exec.close();
});

test("megabytes of input reach a program that reads slowly", async () => {
  const exec = await crosis.channel("exec");
  const counted = exec.request({ exec: { args: sh("sleep 0.3; wc -c") } });
  for (let piece = 0; piece < 50; piece += 1) exec.type("x".repeat(100_000));
  exec.send({ inputClose: {} });
  assert.equal((await counted).body, "ok");
  assert.equal(exec.text().trim(), "5000000");
  await exec.close();
});

test("a program that does not want its input is no failure", async () => {
  const exec = await crosis.channel("exec");
  const done = exec.request({ exec: { args: sh("exec <&-; echo closed; sleep 0.2") } });
  await exec.see("closed");
  for (let time = 0; time < 5; time += 1) assert.equal((await exec.request({ input: "unwanted\n" })).body, "ok");
  assert.equal((await done).body, "ok");
  await exec.close();
});

test("splitStderr keeps stderr apart; without it both are output", async () => {
  const script = sh("echo to out; echo to err >&2");
  const split = await runOnce(script, { splitStderr: true });
  assert.equal(split.output, "to out\n");
  assert.equal(split.heard.map((command) => command.stderr).join(""), "to err\n");
  const together = await runOnce(script);
  assert.equal(together.output, "to out\nto err\n");
  assert.equal(together.heard.map((command) => command.stderr).join(""), "");
});

test("what cannot start is answered with the reason, and the next run starts", async () => {
  const at = (name) => join(agent.root, name);
  mkdirSync(at("folder"));
  writeFileSync(at("plain"), "not executable\n");
  writeFileSync(at("no-interpreter"), "#!/does/not/exist\n", { mode: 0o755 });
  writeFileSync(at("garbage"), Buffer.from([0, 1, 2, 3]));
  chmodSync(at("garbage"), 0o755);
  symlinkSync("nowhere", at("dangling"));
  const exec = await crosis.channel("exec");
  for (const [args, error] of [
    [["no-such-program"], 'exec: "no-such-program": executable file not found in $PATH'],
    [["./missing"], 'exec: "./missing": no such file or directory'],
    [["./dangling"], 'exec: "./dangling": no such file or directory'],
    [["./folder"], /^exec: "\.\/folder": (permission denied|is a directory)$/],
    [["./plain"], 'exec: "./plain": permission denied'],
    [["./plain/below"], 'exec: "./plain/below": not a directory'],
    [["./no-interpreter"], 'exec: "./no-interpreter": its interpreter was not found: no such file or directory'],
    [["./garbage"], 'exec: "./garbage": exec format error'],
    [[""], 'exec: "": executable file not found in $PATH'],
    [[], "exec: args is empty: nothing to run"],
    [["a\u0000b"], /contains a NUL byte/],
  ]) {
    const answer = await exec.request({ exec: { args } });
    assert.equal(answer.body, "error");
    if (typeof error === "string") assert.equal(answer.error, error);
    else assert.match(answer.error, error);
  }
  assert.equal((await exec.request({ exec: { args: ["true"], env: { "A=B": "x" } } })).body, "error");
  assert.equal((await exec.request({ exec: { args: ["true"] } })).body, "ok");
  await exec.close();
});

test("a program that closes its output is waited for", async () => {
  const { answer, output } = await runOnce(sh("echo before; exec >&- 2>&-; sleep 0.2; exit 5"));
  assert.equal(answer.error, "exit status 5");
  assert.equal(output, "before\n");
});

test("the answer does not wait for what a program leaves in the background", async () => {
  const exec = await crosis.channel("exec");
  const answer = await exec.request({ exec: { args: sh("sleep 1000 & echo $!") } });
  assert.equal(answer.body, "ok");
  const pid = Number(exec.text());
  assert.ok(alive(pid));
  const later = await exec.request({ exec: { args: ["echo", "next"] } });
  assert.equal(later.body, "ok");
  await exec.close();
  await eventually(() => !alive(pid), "it is ended with the channel");
});

test("close ends the whole tree: children, grandchildren, other groups, those that ignore TERM", async () => {
  const script = sh(`
    sleep 1001 & echo $!
    (trap '' TERM HUP INT; sleep 1002 & echo $!; wait) &
    setsid sh -c 'echo $$; exec sleep 1003' &
    (sleep 1004 & echo $!)
    echo $$; wait; sleep 1005`);
  for (const end of ["close", "cut"]) {
    const own = await Crosis.connect(agent);
    const exec = await own.channel("exec");
    exec.send({ exec: { args: script } });
    await exec.see(/(\d+\n){5}/);
    const pids = exec.text().trim().split("\n").map(Number);
    assert.ok(pids.every(alive), pids);
    if (end === "close") await exec.close();
    else own.cut();
    own.destroy();
    await eventually(() => !pids.some(alive), `all of ${pids} are gone after ${end}`);
  }
});
