// The Run button: real projects, windows of all kinds on one run, stopping, failing, floods, and what is advised.

import assert from "node:assert/strict";
import { cp, mkdir, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { Agent, Crosis, State, alive, eventually, repository } from "./support.mjs";

/** An agent that serves a copy of a project. */
async function project(name, files = {}) {
  // The agent's home is its own, and Rust's tools look there for what they are.
  const [rustup, cargo] = ["RUSTUP_HOME", "CARGO_HOME"].map((home, at) => process.env[home] ?? join(homedir(), [".rustup", ".cargo"][at]));
  const agent = await Agent.start({ env: { RUSTUP_HOME: rustup, CARGO_HOME: cargo } });
  if (name) await cp(repository(`tests/fixtures/projects/${name}`), agent.root, { recursive: true });
  for (const [path, text] of Object.entries(files)) await writeFile(join(agent.root, path), text);
  const crosis = await Crosis.connect(agent);
  return {
    agent,
    crosis,
    async stop() {
      crosis.destroy();
      await agent.stop();
    },
  };
}

const all = (channel, body) => channel.heard.items.filter((command) => command.body === body);
const until = (channel, condition, what, deadlineMs) => channel.heard.until(condition, what, deadlineMs);
const states = (channel) => all(channel, "state").map((command) => command.state);
const runs = (channel) => until(channel, () => states(channel).at(-1) === State.Running, "it runs");
const stopped = (channel, times) =>
  until(channel, () => states(channel).filter((state) => state === State.Running).length >= times && states(channel).at(-1) === State.Stopped, "it has stopped");

for (const [name, label] of [["python", "Python"], ["node", "Node"], ["rust", "Rust"], ["c", "C"]]) {
  test(`a project in ${label} runs, asks, and ends; two windows see the same`, { timeout: 120_000 }, async () => {
    const here = await project(name);
    const [one, other] = [
      await here.crosis.channel("shellrun2", { name: "shellrunner" }),
      await here.crosis.channel("run2", { name: "runner" }),
    ];
    await one.see("\uEEA7");
    for (const round of [1, 2]) {
      const from = [one.text().length, other.text().length];
      assert.equal((await one.request({ runMain: {} })).body, "ok");
      await until(other, () => other.text().slice(from[1]).includes("name? "), "the question", 100_000);
      assert.equal((await other.request({ input: "Ann\n" })).body, "ok");
      for (const [at, channel] of [one, other].entries()) {
        await until(channel, () => channel.text().slice(from[at]).includes(`hello, Ann, from ${label}\r\n`), "the answer");
        await stopped(channel, round);
      }
      await until(one, () => one.text().slice(from[0]).includes("\uEEA7"), "the prompt again");
    }
    await here.stop();
  });
}

test("a run is stopped with all it has started, from another window, and runs again", async () => {
  const here = await project(null, { ".replit": 'run = ["sh", "-c", "sleep 1000 & echo pid=$!=; wait"]\n' });
  const [one, other] = [await here.crosis.channel("run", { name: "a" }), await here.crosis.channel("console", { name: "b" })];
  for (const round of [1, 2]) {
    await one.request({ runMain: {} });
    const pids = () => [...one.text().matchAll(/pid=(\d+)=/g)].map((found) => Number(found[1]));
    await until(one, () => pids().length === round, "the program's word");
    await runs(other);
    assert.equal((await other.request({ clear: {} })).body, "ok");
    await stopped(one, round);
    await eventually(() => !alive(pids().at(-1)), "what it had started is gone");
  }
  await here.stop();
});

test("a program that reads nothing is stopped by others behind a large paste", async () => {
  const here = await project(null, { ".replit": 'run = "echo up; exec sleep 1000"\n' });
  const crosis = await Crosis.connect(here.agent);
  const [pastes, other] = [
    await here.crosis.channel("shellrun2", { name: "shellrunner" }),
    await crosis.channel("shellrun2", { name: "shellrunner" }),
  ];
  // A little fills what the kernel has room for, and nothing waits with the agent.
  for (const [at, [stop, pieces, lines]] of [[{ input: "\x03" }, 12, 640], [{ clear: {} }, 12, 640], [{ input: "\x03" }, 1, 75]].entries()) {
    await pastes.request({ runMain: {} });
    await until(other, () => other.text().split("up\r\n").length > at + 1, "the program's word");
    for (let i = 0; i < pieces; i++) pastes.send({ input: `${"x".repeat(79)}\n`.repeat(lines) });
    // The paste is with the agent before the key.
    await pastes.request({ resizeTerm: { rows: 24, cols: 80 } });
    assert.equal((await other.request(stop)).body, "ok");
    await stopped(other, at + 1);
  }
  crosis.destroy();
  await here.stop();
});

test("a window that reads nothing holds up no other window", async () => {
  const here = await project(null, { ".replit": 'run = "yes 0123456789 | head -c 8000000; echo the end"\n' });
  const asleep = await Crosis.connect(here.agent);
  const window = await here.crosis.channel("run2", { name: "one" });
  await asleep.channel("console", { name: "other" });
  asleep.client.ws._socket.pause();
  for (const round of [1, 2]) {
    const from = window.text().length;
    await window.request({ runMain: {} });
    await until(window, () => window.text().slice(from).includes("the end\r\n"), `run ${round} to its end`);
    await stopped(window, round);
  }
  asleep.client.ws._socket.resume();
  asleep.destroy();
  await here.stop();
});

test("a crash says its status and a hint, and endless output is stopped", async () => {
  const here = await project(null, { "main.py": "import a_package_that_is_not_there\n" });
  const window = await here.crosis.channel("run2", { name: "runner" });
  await window.request({ runMain: {} });
  await window.see("ModuleNotFoundError");
  await window.see("exit status 1");
  await until(window, () => all(window, "hint").some(({ hint }) => hint.text.includes("a_package_that_is_not_there")), "a hint");
  await writeFile(join(here.agent.root, ".replit"), 'run = "yes endless"\n');
  await window.request({ runMain: {} });
  await window.see("endless\r\nendless\r\n");
  await window.request({ clear: {} });
  await stopped(window, 2);
  await here.stop();
});

test("a command finds the programs of packages, and is advised, in the language that is declared", async () => {
  const said = "\\033[1;35mModuleNotFoundError\\033[0m: \\033[35mNo module named 'flask'\\033[0m\\n";
  const here = await project(null, { "bot.py": "", "keep_alive.py": "", ".replit": 'language = "python3"\nrun = "mytool"\n' });
  await mkdir(join(here.agent.root, ".venv/bin"), { recursive: true });
  await writeFile(join(here.agent.root, ".venv/bin/mytool"), `#!/bin/sh\nprintf "${said}"\nexit 1\n`, { mode: 0o755 });
  const window = await here.crosis.channel("run2", { name: "runner" });
  await window.request({ runMain: {} });
  await window.see("exit status 1");
  await until(window, () => all(window, "hint").some(({ hint }) => hint.text.includes("pip install flask")), "a hint");
  await here.stop();
});

test("a window that comes late is shown the past and the state; the run outlives them all", async () => {
  const here = await project(null, { ".replit": 'run = "echo once; read line; echo got $line"\n' });
  const first = await here.crosis.channel("run2", { name: "runner" });
  await first.request({ runMain: {} });
  await first.see("once\r\n");
  await first.close();
  const late = await here.crosis.channel("interp2", { name: "interper" });
  await late.see("once\r\n");
  await runs(late);
  await late.request({ input: "it\n" });
  await late.see("got it\r\n");
  await here.stop();
});

test("output is a window that only looks on", async () => {
  const here = await project(null, { ".replit": 'run = "echo hello; exit 4"\n' });
  const output = await here.crosis.channel("output", { name: "output" });
  assert.match((await output.request({ input: "x" })).error, /not supported/);
  await output.request({ runMain: {} });
  await until(output, () => all(output, "outputBlockEndEvent").length === 1, "the block's end");
  assert.equal(all(output, "outputBlockEndEvent")[0].outputBlockEndEvent.exitCode, 4);
  assert.equal(all(output, "outputBlockStartEvent").length, 1);
  await here.stop();
});

test("hints that cost much freeze nobody", { timeout: 60_000 }, async () => {
  const heavy = Array.from({ length: 2_000 }, (_, at) => `[[hints]]\nregex = "(?:.{0,90}){2}b${at}"\nmessage = "x"\n`);
  const flood = `run = "for i in 1 2 3 4 5 6 7 8 9 10; do head -c 4000 /dev/zero | tr '\\\\0' a; echo; done; echo done; exit 1"\n`;
  const here = await project(null, { ".replit": flood + heavy.join("") });
  const window = await here.crosis.channel("run2", { name: "runner" });
  window.send({ runMain: {} });
  let worst = 0;
  while (!window.text().includes("exit status 1")) {
    const asked = Date.now();
    await here.crosis.chan0.request({ ping: {} });
    worst = Math.max(worst, Date.now() - asked);
  }
  assert.ok(worst < 1_000, `a ping took ${worst} ms`);
  await stopped(window, 1);
  await here.stop();
});

test("the run has the size of the window that was typed into last, and output has no say", async () => {
  const here = await project(null, { ".replit": 'run = "while read x; do echo size=$(stty size)=; done"\n' });
  const phone = await Crosis.connect(here.agent);
  const [one, other] = [await here.crosis.channel("run2", { name: "a" }), await phone.channel("console", { name: "b" })];
  const output = await phone.channel("output", { name: "c" });
  const size = async (channel, wanted) => {
    const from = one.text().length;
    await channel.request({ input: "\n" });
    await until(one, () => one.text().slice(from).includes(`size=${wanted}=`), wanted);
  };
  await one.request({ resizeTerm: { rows: 50, cols: 200 } });
  await other.request({ resizeTerm: { rows: 20, cols: 40 } });
  await output.request({ resizeTerm: { rows: 5, cols: 5 } });
  await one.request({ runMain: {} });
  await size(one, "50 200");
  await size(other, "20 40");
  await size(one, "50 200");
  await size(other, "20 40");
  await other.close();
  await size(one, "50 200");
  phone.destroy();
  await here.stop();
});

test("every shell of many that are opened at once has the prompt", async () => {
  const here = await project(null);
  const windows = await Promise.all(Array.from({ length: 30 }, (_, at) => here.crosis.channel("shellrun2", { name: `s${at}` })));
  for (const window of windows) await window.see("\uEEA7");
  await here.stop();
});

test("a window opened after a run has failed shows that, and nothing once it was cleared", async () => {
  const here = await project(null, { ".replit": 'run = "echo once; exit 2"\n' });
  const first = await here.crosis.channel("run2", { name: "runner" });
  await first.request({ runMain: {} });
  await stopped(first, 1);
  const late = await here.crosis.channel("console", { name: "late" });
  await late.see("once\r\nexit status 2\r\n");
  await first.request({ clear: {} });
  const cleared = await here.crosis.channel("run", { name: "cleared" });
  await until(cleared, () => states(cleared).length === 1, "the state");
  assert.equal(cleared.text(), "");
  await here.stop();
});
