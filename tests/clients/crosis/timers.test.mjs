// Liveness and frames: pings of both kinds, peers that fall silent, and messages that are no Command.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Agent, Crosis, Raw, api } from "./support.mjs";

let agent;
before(async () => (agent = await Agent.start({ args: ["--ping-interval", "0.2"] })));
after(() => agent.stop());

test("ping with a ref is answered by pong with that ref", async () => {
  const crosis = await Crosis.connect(agent);
  const pong = await crosis.chan0.request({ ping: {} });
  assert.equal(pong.body, "pong");
  assert.equal(pong.channel, 0);
  crosis.destroy();
});

test("ping without a ref is answered by pong without one, each time", async () => {
  const raw = await Raw.connect(agent);
  for (let sent = 0; sent < 5; sent += 1) raw.send(0, { ping: {} });
  await raw.heard.until(() => raw.frames.filter((command) => command.body === "pong").length === 5, "five pongs");
  await raw.settle();
  const pongs = raw.frames.filter((command) => command.body === "pong");
  assert.deepEqual(pongs.map((command) => command.ref), ["", "", "", "", "", "r1"]);
  await raw.bye();
});

test("a quiet client is pinged and stays as long as it answers", async () => {
  const raw = await Raw.connect(agent);
  let pings = 0;
  raw.socket.on("ping", () => {
    pings += 1;
    raw.heard.poke();
  });
  await raw.heard.until(() => pings >= 5, "five pings, which is more than twice the patience");
  assert.equal(raw.closed, undefined);
  await raw.settle();
  await raw.bye();
});

test("one that answers no ping is dropped", async () => {
  const raw = await Raw.connect(agent, { autoPong: false });
  await raw.ended();
  const other = await Raw.connect(agent);
  await other.bye();
});

test("WebSocket pings are answered with their own bytes", async () => {
  const raw = await Raw.connect(agent);
  const pongs = [];
  raw.socket.on("pong", (data) => {
    pongs.push(data.toString());
    raw.heard.poke();
  });
  raw.socket.ping("one");
  raw.socket.ping("");
  raw.socket.ping("x".repeat(125));
  await raw.heard.until(() => pongs.length === 3, "three pongs");
  assert.deepEqual(pongs, ["one", "", "x".repeat(125)]);
  await raw.bye();
});

test("text frames and empty binary frames are ignored", async () => {
  const raw = await Raw.connect(agent);
  raw.sendBytes("text");
  raw.sendBytes("");
  raw.sendBytes(new Uint8Array(0));
  const before = raw.frames.length;
  await raw.settle();
  assert.equal(raw.frames.length, before + 1, "nothing but the pong");
  await raw.bye();
});

test("fragments are joined", async () => {
  const raw = await Raw.connect(agent);
  const whole = api.Command.encode(api.Command.create({ channel: 0, ref: "in pieces", ping: {} })).finish();
  for (let at = 0; at < whole.length; at += 1) {
    raw.socket.send(whole.subarray(at, at + 1), { fin: at === whole.length - 1, binary: true });
  }
  assert.equal((await raw.see((command) => command.ref === "in pieces", "a pong")).body, "pong");
  await raw.bye();
});

test("a frame that is no Command is answered by protocolError; the tenth closes with 1007", async () => {
  const raw = await Raw.connect(agent);
  for (let bad = 1; bad <= 9; bad += 1) {
    raw.sendBytes(Uint8Array.of(0xff, 0xff, 0xff));
    await raw.settle();
    const errors = raw.frames.filter((command) => command.protocolError);
    assert.equal(errors.length, bad);
    assert.match(errors[0].protocolError.text, /3 bytes is no Command/);
    assert.equal(errors[0].channel, 0);
  }
  raw.sendBytes(Uint8Array.of(0xff, 0xff, 0xff));
  const { code, reason } = await raw.ended();
  assert.equal(code, 1007);
  assert.match(reason, /10 messages/);
});

test("a lone surrogate costs its message an error, and nothing else", async () => {
  const crosis = await Crosis.connect(agent);
  const exec = await crosis.channel("exec");
  for (let time = 0; time < 12; time += 1) {
    // protobufjs writes the surrogate as three bytes that are not UTF-8.
    const answer = await exec.request({ exec: { args: ["echo", "half \ud83d of it"] } });
    assert.equal(answer.body, "error", "each is answered, however many there are");
    assert.match(answer.error, /UTF-8/);
  }
  assert.equal((await exec.request({ exec: { args: ["true"] } })).body, "ok");
  crosis.destroy();
});

test("a message over the limit closes with 1009 and says the limit", async () => {
  const small = await Agent.start({ args: ["--max-message", "1"] });
  try {
    const raw = await Raw.connect(small);
    const id = await raw.channel("shell");
    raw.send(id, { input: "#".repeat((1 << 20) + 1) });
    const { code, reason } = await raw.ended();
    assert.equal(code, 1009);
    assert.match(reason, /1048576/);
  } finally {
    await small.stop();
  }
});

test("fields and messages of a later protocol are skipped", async () => {
  const raw = await Raw.connect(agent);
  const known = api.Command.encode(api.Command.create({ channel: 0, ref: "later", ping: {} })).finish();
  // Field 536870911, the highest there is, as bytes; and 1501 as a varint.
  const unknown = Uint8Array.of(0xfa, 0xff, 0xff, 0xff, 0x0f, 0x02, 0x61, 0x62, 0xe8, 0x5d, 0x07);
  raw.sendBytes(Buffer.concat([unknown, known]));
  assert.equal((await raw.see((command) => command.ref === "later", "an answer")).body, "pong");
  await raw.bye();
});
