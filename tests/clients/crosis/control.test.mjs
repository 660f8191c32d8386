// Channel 0: what a session asks of the agent itself.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { metrics } from "./metrics.mjs";
import { Agent, Crosis, Raw, api, run } from "./support.mjs";

let agent;
let crosis;
before(async () => {
  agent = await Agent.start();
  crosis = await Crosis.connect(agent);
});
after(async () => {
  crosis.destroy();
  await agent.stop();
});

const ask = (body) => crosis.chan0.request(body);

test("hasCap says that the owner may write", async () => {
  const answer = await ask({ hasCap: true });
  assert.equal(answer.body, "hasCap");
  assert.equal(answer.hasCap, true);
  assert.equal((await ask({ hasCap: false })).hasCap, true, "whatever the question carries");
});

test("hello, incRef and debug are accepted", async () => {
  // incRef has gone from the published package; on the wire it is an empty message in field 13.
  const raw = await Raw.connect(agent);
  raw.sendBytes(Buffer.concat([api.Command.encode(api.Command.create({ ref: "inc" })).finish(), Buffer.from([0x6a, 0x00])]));
  assert.equal((await raw.see((command) => command.ref === "inc", "an answer")).body, "ok");
  for (const body of [
    { hello: { userid: 7, username: "somebody", token: "" } },
    { hello: { userid: 8, username: "x\u001b[31m".repeat(1000), token: "no token" } },
    { debug: { text: "a note\n\u001b[2J" } },
  ]) {
    assert.equal((await raw.request(0, body)).body, "ok");
    raw.send(0, body);
  }
  await raw.settle();
  assert.equal(raw.frames.at(-1).body, "pong", "without a ref nothing is answered");
  await raw.bye();
});

test("goodbye ends the session in good order", async () => {
  const raw = await Raw.connect(agent);
  const id = await raw.channel("null");
  raw.send(0, { goodbye: {} }, "bye");
  const { code } = await raw.ended();
  assert.equal(code, 1000);
  assert.deepEqual(raw.frames.filter((command) => command.ref === "bye").map((command) => command.body), ["ok"]);
  assert.ok(id > 0);
});

test("auth tells a good token from a bad one, and changes nothing", async () => {
  assert.equal((await ask({ auth: { token: agent.token } })).body, "ok");
  const bad = await ask({ auth: { token: `${agent.token}x` } });
  assert.equal(bad.error, "auth: the token is not accepted");
  assert.equal((await ask({ hasCap: true })).hasCap, true, "still the owner");
});

test("metrics are Prometheus families that count", async () => {
  const before = await metrics(crosis);
  for (const family of before.values()) {
    assert.match(family.name, /^pid1_[a-z_]+$/);
    assert.notEqual(family.help, "");
    if (family.name === "pid1_exec_sessions") {
      assert.deepEqual(family.metric, [], "one for each instance that has sessions, and none has");
      continue;
    }
    assert.equal(family.metric.length, 1);
    const { gauge, counter } = family.metric[0];
    assert.equal(Boolean(gauge), family.type === 1);
    assert.equal(Boolean(counter), family.type === 0);
    assert.ok((gauge ?? counter).value >= 0);
  }
  const shell = await crosis.channel("shell");
  await run(shell, ":");
  const raw = await Raw.connect(agent);
  raw.send(77_777, { input: "for nobody" });
  raw.sendBytes(Uint8Array.of(0xff));
  await raw.settle();
  const later = await metrics(crosis);
  const change = (name, kind) => later.get(name).metric[0][kind].value - before.get(name).metric[0][kind].value;
  assert.equal(change("pid1_sessions_total", "counter"), 1);
  assert.equal(change("pid1_commands_dropped_total", "counter"), 1);
  assert.equal(change("pid1_frames_undecodable_total", "counter"), 1);
  assert.equal(change("pid1_channels", "gauge"), 1);
  assert.equal(change("pid1_processes", "gauge"), 1);
  await raw.bye();
  await shell.close();
});

test("pid1Config sets folder and environment of programs that start later, until the next one", async () => {
  mkdirSync(join(agent.root, "below"));
  const early = await crosis.channel("shell");
  await run(early, ":");
  const printed = async () => {
    const exec = await crosis.channel("exec");
    const answer = await exec.request({ exec: { args: ["sh", "-c", 'echo "${SET-unset} $OWN"; pwd'], env: { OWN: "own" } } });
    assert.equal(answer.body, "ok", answer.error);
    await exec.close();
    return exec.text();
  };
  assert.equal((await ask({ pid1Config: { cwd: "below", env: { SET: "sét", OWN: "settings" } } })).body, "ok");
  assert.equal(await printed(), `sét own\n${agent.root}/below\n`, "the request's own variables win");
  const late = await crosis.channel("shell");
  assert.equal(await run(late, "echo $SET $OWN; pwd"), `sét settings\n${agent.root}/below\n`);
  assert.equal(await run(early, "echo ${SET-unset}; pwd"), `unset\n${agent.root}\n`, "what runs is not changed");

  const refused = await ask({ pid1Config: { cwd: "missing", env: { SET: "no" } } });
  assert.match(refused.error, /^pid1Config: .*missing is not a directory$/);
  assert.equal(await printed(), `sét own\n${agent.root}/below\n`, "what is refused changes nothing");

  assert.equal((await ask({ pid1Config: {} })).body, "ok");
  assert.equal(await printed(), `unset own\n${agent.root}\n`);
  await Promise.all([early.close(), late.close()]);
});

test("what the agent cannot do yet is refused by name", async () => {
  for (const [name, body] of Object.entries({
    pprofRequest: { id: "1", pprofHeapProfileRequest: {} },
    execInfo: { command: ["x"], reason: "none" },
    input: "for channel 0",
    fsSnapshot: {},
    exec: { args: ["true"] },
    runMain: {},
    subscribeFile: { files: [{ path: "." }] },
    bootStatus: {},
    containerState: {},
    openChanRes: {},
    pong: {},
  })) {
    const answer = await ask({ [name]: body });
    assert.equal(answer.error, `${name} is not supported yet`);
  }
});

test("an empty or unknown body is an error with a ref, and nothing without one", async () => {
  const raw = await Raw.connect(agent);
  const answer = await raw.request(0, {});
  assert.equal(answer.error, "the command on channel 0 has no body that this agent knows");
  raw.send(0, {});
  // Field 393 upwards of a later protocol: a body that nobody here knows.
  const unknown = Buffer.concat([
    api.Command.encode(api.Command.create({ ref: "later" })).finish(),
    Buffer.from([0xd2, 0x5d, 0x02, 0x08, 0x01]),
  ]);
  raw.sendBytes(unknown);
  assert.equal((await raw.see((command) => command.ref === "later", "an answer")).body, "error");
  await raw.bye();
});

test("messages on channel 0 are handled in the order sent", async () => {
  const raw = await Raw.connect(agent);
  const refs = [];
  for (let number = 0; number < 200; number += 1) {
    refs.push(`n${number}`);
    const bodies = [{ ping: {} }, { openChan: { service: "null" } }, { hasCap: true }, { metrics: {} }, { nothing: {} }];
    raw.send(0, bodies[number % bodies.length], refs.at(-1));
  }
  await raw.see((command) => command.ref === "n199", "the last answer");
  assert.deepEqual(raw.frames.map((command) => command.ref).filter(Boolean), refs);
  await raw.bye();
});
