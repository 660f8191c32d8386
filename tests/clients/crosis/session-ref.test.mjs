// Who is meant and who is answered: the session field, and one answer for each ref.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Agent, Closing, Crosis, Raw, State, api } from "./support.mjs";

let agent;
let one;
let two;
before(async () => {
  agent = await Agent.start();
  [one, two] = [await Raw.connect(agent), await Raw.connect(agent)];
});
after(async () => {
  await Promise.all([one.bye(), two.bye()]);
  await agent.stop();
});

/** The number of a client's own session, as the agent writes it. */
const own = async (raw) => (await raw.request(0, { ping: {} })).session;

test("sessions have numbers from 2 up, one each", async () => {
  const numbers = [await own(one), await own(two)];
  assert.ok(numbers.every((number) => number >= 2), numbers);
  assert.notEqual(numbers[0], numbers[1]);
  for (const command of one.on(0)) assert.equal(command.session, numbers[0], `${command.body} is for this session`);
  const third = await Raw.connect(agent);
  assert.ok(!numbers.includes(await own(third)));
  await third.bye();
});

test("replies carry the receiver's number, broadcasts carry 0", async () => {
  const id = await one.channel("exec", { name: "numbers" });
  await two.channel("exec", { name: "numbers" });
  const answer = await one.request(id, { exec: { args: ["echo", "x"] } });
  assert.equal(answer.session, await own(one));
  const stopped = (raw) => raw.see((command) => command.channel === id && command.state === State.Stopped, "Stopped");
  await Promise.all([stopped(one), stopped(two)]);
  assert.deepEqual(two.on(id).map(({ body, session }) => `${body} ${session}`), ["state 0", "output 0", "state 0"]);
  for (const command of one.on(id).filter((command) => command.ref === "")) assert.equal(command.session, 0);
  await one.close(id, Closing.CLOSE);
});

test("only members of a channel hear it", async () => {
  const id = await one.channel("exec");
  const heard = two.frames.length;
  assert.equal((await one.request(id, { exec: { args: ["echo", "private"] } })).body, "ok");
  await two.settle();
  assert.deepEqual(two.frames.slice(heard).map((command) => command.body), ["pong"]);
  await one.close(id);
});

test("the session a client writes is never believed", async () => {
  const victim = await own(two);
  const id = await two.channel("exec");
  // In the name of the other, on the other's channel: refused as anybody else's.
  for (const session of [victim, -victim, 0, 1, -1, 2147483647, -2147483648]) {
    one.send(id, { exec: { args: ["touch", "stolen"] } }, `as ${session}`, session);
    const answer = await one.see((command) => command.ref === `as ${session}`, "an answer");
    assert.deepEqual([answer.body, answer.channel, answer.session], ["error", id, await own(one)]);
    one.send(0, { closeChan: { id, action: Closing.CLOSE } }, `close as ${session}`, session);
    const closed = await one.see((command) => command.ref === `close as ${session}`, "an answer");
    assert.equal(closed.closeChanRes.status, api.CloseChannelRes.Status.NOTHING);
  }
  const alive = await two.request(id, { exec: { args: ["test", "!", "-e", "stolen"] } });
  assert.equal(alive.body, "ok", "its channel lives, and nothing was run on it");
  // On a shared channel the answer goes to the true sender.
  const shared = await one.channel("exec", { name: "shared by both" });
  await two.channel("exec", { name: "shared by both" });
  one.send(shared, { exec: { args: ["true"] } }, "whose", victim);
  await one.see((command) => command.ref === "whose", "an answer");
  await two.settle();
  assert.equal(two.frames.filter((command) => command.ref === "whose").length, 0);
});

test("a ref is answered exactly once, on the channel asked, whatever is asked", async () => {
  const exec = await one.channel("exec");
  const shell = await one.channel("shell");
  const inert = await one.channel("git");
  const foreign = await two.channel("shell");
  const bodies = [{}, { input: "#" }, { runMain: {} }, { exec: { args: ["true"] } }, { exec: { args: ["no-such"] } }, { ping: {} }];
  bodies.push({ openChan: { service: "null" } }, { closeChan: { id: 1 } }, { output: "mine" }, { ok: {} }, { error: "mine" }, { flush: {} });
  const asked = [];
  for (const channel of [exec, shell, inert, foreign, 987_654, -5]) {
    for (const body of bodies) {
      const ref = `${channel} ${Object.keys(body)} ${asked.length}`;
      asked.push({ ref, channel, body });
      one.send(channel, body, ref);
    }
  }
  for (const { ref } of asked) await one.see((command) => command.ref === ref, `an answer to ${ref}`);
  await one.settle();
  for (const { ref, channel } of asked) {
    const answers = one.frames.filter((command) => command.ref === ref);
    assert.equal(answers.length, 1, ref);
    assert.equal(answers[0].channel, channel);
    assert.match(answers[0].body, /^(ok|error)$/, ref);
  }
  const error = (ref) => one.frames.find((command) => command.ref.startsWith(ref)).error;
  assert.equal(error("987654 input"), "this session has no channel 987654 open");
  assert.equal(error(`${foreign} input`), `this session has no channel ${foreign} open`, "another's is as good as none");
  assert.equal(error(`${exec}  `), `the command on channel ${exec} has no body that this agent knows`);
  assert.equal(error(`${shell} runMain`), "runMain is not supported yet");
  assert.equal(error(`${inert} input`), "input is not supported yet");
  for (const channel of [exec, shell, inert]) await one.close(channel);
});

test("without a ref nothing of it is answered", async () => {
  const shell = await one.channel("null");
  const heard = one.frames.length;
  for (const channel of [shell, 987_654, -5, 2147483647]) {
    for (const body of [{}, { input: "#" }, { runMain: {} }, { ok: {} }]) one.send(channel, body);
  }
  await one.settle();
  assert.deepEqual(one.frames.slice(heard).map((command) => command.body), ["pong"]);
  await one.close(shell);
});

test("a ref is any text and comes back as it was", async () => {
  const id = await one.channel("exec");
  for (const ref of ["x", " ", "日本 🎉", "\u0000", "r".repeat(100_000)]) {
    one.send(id, { exec: { args: ["true"] } }, ref);
    await one.see((command) => command.ref === ref, "the same ref");
  }
  // The same ref twice is two questions.
  one.send(id, { exec: { args: ["true"] } }, "twice");
  one.send(id, { exec: { args: ["false"] } }, "twice");
  await one.heard.until(() => one.frames.filter((command) => command.ref === "twice").length === 2, "two answers");
  assert.deepEqual(one.frames.filter((command) => command.ref === "twice").map((command) => command.body), ["ok", "error"]);
  await one.close(id);
});

test("only the answer carries the ref, never the output before it", async () => {
  const crosis = await Crosis.connect(agent);
  const exec = await crosis.channel("exec");
  const answer = await exec.request({ exec: { args: ["sh", "-c", "for n in 1 2 3; do echo $n; sleep 0.02; done"] } });
  assert.equal(answer.body, "ok");
  assert.equal(exec.heard.items.filter((command) => command.ref !== "").length, 1);
  assert.equal(exec.text(), "1\n2\n3\n");
  crosis.destroy();
});

test("a flood of commands for channels that do not exist hurts nobody", async () => {
  for (let number = 0; number < 20_000; number += 1) one.send(1_000_000 + number, { input: "x" });
  await one.settle();
  const id = await two.channel("exec");
  assert.equal((await two.request(id, { exec: { args: ["true"] } })).body, "ok");
});
