// A storm of random opens, messages and closes by several clients at once. Every frame is kept, and afterwards the
// record of each client must show, for every channel: openChanRes first, closeChanRes last, no number twice, and one
// answer for each ref. PID1_SEED repeats a storm; PID1_LONG=1 makes it ten times as long.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Action, Agent, Closed, Closing, Crosis, Opened, Raw, eventually } from "./support.mjs";

const STEPS = process.env.PID1_LONG === "1" ? 50_000 : 5_000;
const SEED = Number(process.env.PID1_SEED ?? Date.now() % 2 ** 31);

let agent;
before(async () => (agent = await Agent.start()));
after(() => agent.stop());

/** A small generator of numbers below `bound`, so that a storm can be repeated. */
function dice(seed) {
  let state = seed || 1;
  return (bound) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % bound;
  };
}

/** One client's share: it opens, types, runs and closes without waiting, and knows what it asked. */
class Stormer {
  asked = [];
  known = [];

  constructor(raw, roll) {
    this.raw = raw;
    this.roll = roll;
  }

  ask(channel, body) {
    const ref = `q${this.asked.length}`;
    this.asked.push({ ref, channel, body });
    this.raw.send(channel, body, ref);
  }

  step() {
    const { raw, roll } = this;
    // Whatever has been opened by now may be used, closed ones and the same one twice included.
    this.known = raw.on(0).flatMap((command) => (command.openChanRes?.id ? [command.openChanRes.id] : []));
    const some = () => this.known[this.known.length - 1 - roll(Math.min(this.known.length, 12))] ?? 999_999;
    const name = ["", "", "a", "b", "c"][roll(5)];
    switch (roll(8)) {
      case 0:
      case 1:
      case 2:
        return this.ask(0, { openChan: { service: ["shell", "exec", "null", "process", "nope"][roll(20) % 5], name, action: roll(3) } });
      case 3:
      case 4:
        return this.ask(0, { closeChan: { id: some(), action: [Closing.TRY_CLOSE, Closing.CLOSE, Closing.DISCONNECT][roll(3)] } });
      case 5:
        return this.ask(some(), { input: "echo some output\n" });
      case 6:
        return this.ask(some(), { exec: { args: ["echo", "x".repeat(roll(2000))] } });
      default:
        return this.ask(some(), { runMain: {} });
    }
  }

  /** What has had no answer yet. Who closes a channel gives up the answers that are still on their way to it. */
  unanswered() {
    const answered = new Set(this.raw.frames.map(({ ref }) => ref));
    const left = this.raw.on(0).filter(({ ref, closeChanRes }) => ref !== "" && closeChanRes && closeChanRes.status !== Closed.NOTHING);
    const gaveUp = new Map(left.map(({ ref, closeChanRes }) => [closeChanRes.id, Number(ref.slice(1))]));
    return this.asked.filter(({ ref, channel }, number) => !answered.has(ref) && !(gaveUp.get(channel) > number));
  }

  /** The record of this client, against the rules. */
  check() {
    const open = new Set();
    const over = new Set();
    const answers = new Map();
    for (const command of this.raw.frames) {
      const { channel, ref, openChanRes: opened, closeChanRes: closed } = command;
      if (ref !== "") answers.set(ref, [...(answers.get(ref) ?? []), command]);
      if (opened?.state === Opened.ERROR) {
        assert.equal(opened.id, 0);
        assert.notEqual(opened.error, "");
      } else if (opened) {
        assert.ok(opened.id > 0);
        if (opened.state === Opened.CREATED) assert.ok(!open.has(opened.id) && !over.has(opened.id), `${opened.id} is new`);
        over.delete(opened.id); // a named channel may be joined again
        open.add(opened.id);
      } else if (closed && closed.status !== Closed.NOTHING) {
        assert.ok(open.delete(closed.id), `closeChanRes for ${closed.id}, which is open`);
        over.add(closed.id);
      } else if (channel !== 0 && ref === "") {
        assert.ok(open.has(channel), `${command.body} on channel ${channel}, which is ${over.has(channel) ? "over" : "not open"}`);
      } else if (channel !== 0 && over.has(channel)) {
        assert.equal(command.body, "error", `${ref} after the end of ${channel}`);
      }
    }
    for (const { ref, channel, body } of this.asked) {
      const [answer, ...more] = answers.get(ref) ?? [];
      if (!answer) continue; // looked at by `unanswered`
      assert.equal(more.length, 0, `${ref} is answered once`);
      assert.equal(answer.channel, channel);
      const wanted = body.openChan ? ["openChanRes"] : body.closeChan ? ["closeChanRes"] : ["ok", "error"];
      assert.ok(wanted.includes(answer.body), `${ref} ${Object.keys(body)} is answered by ${answer.body}`);
    }
  }
}

test(`a storm of opens and closes by four clients (seed ${SEED})`, async () => {
  const roll = dice(SEED);
  const stormers = [];
  for (let number = 0; number < 4; number += 1) stormers.push(new Stormer(await Raw.connect(agent), roll));
  for (let step = 0; step < STEPS; step += 1) {
    stormers[roll(4)].step();
    // Now and then the answers are let in, so that there are numbers to use.
    if (roll(20) === 0) await stormers[roll(4)].raw.settle();
  }
  for (const stormer of stormers) {
    const none = () => stormer.unanswered().length === 0;
    await stormer.raw.heard.until(none, "all answers", 20_000).catch((error) => {
      throw new Error(`${error.message}; first of those that are open: ${JSON.stringify(stormer.unanswered()[0])}`);
    });
    await stormer.raw.settle();
  }
  for (const stormer of stormers) stormer.check();
  const kinds = stormers.flatMap(({ raw }) => raw.frames).map((command) => command.openChanRes?.state ?? command.closeChanRes?.status + 10);
  for (const kind of [Opened.CREATED, Opened.ATTACHED, Opened.ERROR, Closed.CLOSE + 10, Closed.DISCONNECT + 10, Closed.NOTHING + 10]) {
    assert.ok(kinds.includes(kind), `the storm had ${kind}: else it was no storm`);
  }
  for (const { raw } of stormers) await raw.bye();
});

test("the published client in the midst of another's storm", async () => {
  const roll = dice(SEED + 1);
  const other = new Stormer(await Raw.connect(agent), roll);
  const crosis = await Crosis.connect(agent);
  const services = ["shell", "exec", "process", "null"];
  for (let step = 0; step < STEPS / 50; step += 1) {
    const channels = [1, 2, 3].map(() => crosis.openChannel(services[roll(4)], { name: roll(2) ? undefined : `own ${step}-${roll(1e9)}` }));
    for (let more = 0; more < 5; more += 1) other.step();
    channels[0].closeNow(); // before it is answered
    await Promise.all(channels.slice(1).map((channel) => channel.opened()));
    channels[1].send({ input: "echo x\n" });
    channels[1].closeNow();
    if (roll(3) === 0) await channels[2].close();
    else channels[2].closeNow();
    assert.deepEqual(crosis.errors, []);
  }
  await eventually(() => Object.keys(crosis.client.channels).length === 1, "all but channel 0 are closed");
  crosis.destroy();
  await other.raw.settle();
  await other.raw.bye();
});

test("after the storms nothing is left", async () => {
  const raw = await Raw.connect(agent);
  for (const name of ["a", "b", "c"]) {
    const { state, id } = await raw.open("null", { name, action: Action.ATTACH_OR_CREATE });
    if (state !== Opened.ERROR) await raw.close(id, Closing.CLOSE);
    for (const service of ["shell", "exec", "process"]) {
      const left = await raw.open(service, { name, action: Action.ATTACH });
      if (left.state !== Opened.ERROR) await raw.close(left.id, Closing.CLOSE);
    }
  }
  await eventually(() => agent.children().length === 0, "no program is left");
  await raw.bye();
});
