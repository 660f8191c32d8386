// Closing channels: the three actions and the three statuses, what others are told, and races between two clients.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Agent, Closed, Closing, Crosis, Opened, Raw, alive, eventually, run } from "./support.mjs";

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

const closings = (raw, id) => raw.on(0).filter((command) => command.closeChanRes?.id === id);

test("DISCONNECT takes off whoever asks; a named channel lives on", async () => {
  const id = await one.channel("shell", { name: "left" });
  one.send(id, { input: "kept=$((6*7))\n" });
  assert.deepEqual(await one.close(id, Closing.DISCONNECT), { id, status: Closed.DISCONNECT });
  const back = await two.open("shell", { name: "left" });
  assert.deepEqual([back.id, back.state], [id, Opened.ATTACHED]);
  two.send(id, { input: "echo kept $kept\n" });
  await two.seeText(id, "kept 42");
  await two.close(id, Closing.CLOSE);
});

test("DISCONNECT of an anonymous channel destroys it: nobody can ever come back", async () => {
  const id = await one.channel("exec");
  assert.deepEqual(await one.close(id, Closing.DISCONNECT), { id, status: Closed.CLOSE });
});

test("TRY_CLOSE destroys only with nobody left", async () => {
  const id = await one.channel("shell", { name: "tried" });
  await two.channel("shell", { name: "tried" });
  assert.equal((await one.close(id, Closing.TRY_CLOSE)).status, Closed.DISCONNECT);
  assert.equal((await two.close(id, Closing.TRY_CLOSE)).status, Closed.CLOSE);
  const next = await one.open("shell", { name: "tried" });
  assert.equal(next.state, Opened.CREATED);
  assert.notEqual(next.id, id);
  await one.close(next.id);
  assert.equal(closings(two, id).length, 1, "each is told once");
});

test("CLOSE destroys for everybody, and the others are told without a ref", async () => {
  const id = await one.channel("shell", { name: "closed" });
  await two.channel("shell", { name: "closed" });
  assert.equal((await one.close(id, Closing.CLOSE)).status, Closed.CLOSE);
  const told = await two.see((command) => command.closeChanRes?.id === id, "the end");
  assert.deepEqual([told.ref, told.channel, told.closeChanRes.status], ["", 0, Closed.CLOSE]);
  assert.equal((await two.close(id, Closing.TRY_CLOSE)).status, Closed.NOTHING, "there is nothing left to close");
  assert.equal((await two.open("shell", { name: "closed" })).state, Opened.CREATED);
});

test("NOTHING is the answer for what one is not on", async () => {
  const own = await two.channel("exec");
  for (const action of [Closing.DISCONNECT, Closing.TRY_CLOSE, Closing.CLOSE]) {
    for (const id of [own, 123456789, 0, -1, 2147483647]) {
      assert.deepEqual(await one.close(id, action), { id, status: Closed.NOTHING });
    }
  }
  assert.equal((await two.request(own, { exec: { args: ["true"] } })).body, "ok", "nobody can close what is not theirs");
  await two.close(own);
});

test("a second close of the same channel is NOTHING", async () => {
  const id = await one.channel("exec");
  const [first, second] = await Promise.all([one.close(id), one.close(id)]);
  assert.deepEqual([first.status, second.status], [Closed.CLOSE, Closed.NOTHING]);
});

test("closing without a ref closes all the same, and the last member is told", async () => {
  const id = await one.channel("shell", { name: "no ref" });
  one.send(0, { closeChan: { id, action: Closing.TRY_CLOSE } });
  const told = await one.see((command) => command.closeChanRes?.id === id, "the end");
  assert.equal(told.closeChanRes.status, Closed.CLOSE);
  assert.equal((await one.open("shell", { name: "no ref" })).state, Opened.CREATED);
});

test("what was typed before the close is still typed", async () => {
  const id = await one.channel("shell", { name: "typed" });
  await two.channel("shell", { name: "typed" });
  one.send(id, { input: "echo last $((6*7)) words\n" });
  await one.close(id);
  await two.seeText(id, "last 42 words");
  await two.close(id, Closing.CLOSE);
});

test("a request that waits is answered before the farewell, once, when the channel is closed", async () => {
  const id = await one.channel("exec", { name: "waiting" });
  await two.channel("exec", { name: "waiting" });
  one.send(id, { exec: { args: ["sleep", "60"] } }, "running");
  one.send(id, { exec: { args: ["true"] } }, "queued");
  await one.see((command) => command.channel === id && command.body === "state", "it runs");
  await two.close(id, Closing.CLOSE);
  await one.see((command) => command.closeChanRes?.id === id, "the end");
  for (const ref of ["running", "queued"]) {
    const answers = one.frames.filter((command) => command.ref === ref);
    assert.equal(answers.length, 1, ref);
    assert.equal(answers[0].body, "error");
  }
  assert.equal(one.frames.at(-1).closeChanRes?.id, id, "the farewell is last");
});

test("after its own close a session hears nothing of a channel that others still use", async () => {
  const id = await one.channel("shell", { name: "loud" });
  await two.channel("shell", { name: "loud" });
  two.send(id, { input: "while :; do echo noise; done\n" });
  await one.seeText(id, "noise\r\nnoise");
  await one.close(id);
  const heard = one.frames.length;
  assert.equal(one.frames.at(-1).closeChanRes.id, id);
  const before = two.text(id).length;
  await two.heard.until(() => two.text(id).length > before + 100_000, "more noise for the other");
  await one.settle();
  assert.deepEqual(one.frames.slice(heard).map((command) => command.body), ["pong"]);
  await two.close(id, Closing.CLOSE);
});

test("one client closes for all while the other types: nothing breaks, and every ref is answered once", async () => {
  for (let round = 0; round < 40; round += 1) {
    const name = `race ${round}`;
    const id = await one.channel("shell", { name });
    await two.channel("shell", { name });
    const refs = [];
    const type = () => {
      refs.push(`${round}-${refs.length}`);
      two.send(id, { input: "#" }, refs.at(-1));
    };
    for (let burst = 0; burst < round % 5; burst += 1) type();
    const closing = one.close(id, Closing.CLOSE);
    for (let burst = 0; burst < 10; burst += 1) type();
    await closing;
    await two.see((command) => command.closeChanRes?.id === id, "the end");
    for (let burst = 0; burst < 3; burst += 1) type();
    await two.settle();
    for (const ref of refs) {
      const answers = two.frames.filter((command) => command.ref === ref);
      assert.equal(answers.length, 1, `${ref} of ${refs.length}`);
      assert.equal(answers[0].channel, id);
      assert.match(answers[0].body, /^(ok|error)$/);
    }
  }
});

test("both close at the same moment", async () => {
  for (let round = 0; round < 40; round += 1) {
    const name = `both ${round}`;
    const id = await one.channel("exec", { name });
    await two.channel("exec", { name });
    const action = round % 2 ? Closing.CLOSE : Closing.TRY_CLOSE;
    const [first, second] = await Promise.all([one.close(id, action), two.close(id, action)]);
    assert.deepEqual([first.id, second.id], [id, id]);
    assert.ok([first.status, second.status].includes(Closed.CLOSE), "one of them ended it");
    const next = await one.open("exec", { name });
    assert.equal(next.state, Opened.CREATED);
    await one.close(next.id);
  }
});

test("a client that does not know of such endings lives on, and types into nothing", async () => {
  const crosis = await Crosis.connect(agent);
  const channel = await crosis.channel("shell", { name: "pulled away" });
  await one.channel("shell", { name: "pulled away" });
  await one.close(channel.id, Closing.CLOSE);
  await crosis.crumbs.until(() => crosis.crumbs.items.some((entry) => entry.log?.cmd.closeChanRes), "the note arrives");
  channel.type("nobody is there\n");
  const answer = await channel.request({ input: "is anybody?" });
  assert.equal(answer.body, "error", "a request is answered, so that the program does not wait for ever");
  assert.equal(await channel.close(), Closed.NOTHING);
  const again = await crosis.channel("shell", { name: "pulled away" });
  assert.equal(await run(again, "echo new"), "new\n");
  crosis.destroy();
});

test("closing ends the shell and what it runs", async () => {
  const crosis = await Crosis.connect(agent);
  const shell = await crosis.channel("shell");
  const pids = (await run(shell, "sleep 1000 & echo $$ $!")).match(/(\d+) (\d+)\n$/).slice(1).map(Number);
  assert.ok(pids.every(alive));
  assert.equal(await shell.close(), Closed.CLOSE);
  await eventually(() => !pids.some(alive), "both are gone");
  crosis.destroy();
});
