// Opening channels: what is answered, names, attaching, errors, many at once, and closing before the open is answered.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Action, Agent, Crosis, Opened, Raw, eventually, run } from "./support.mjs";

let agent;
before(async () => (agent = await Agent.start()));
after(() => agent.stop());

const INERT = ["null", "open", "git", "nix", "nixmodule", "streamreader", "vnc"];

test("shell and exec are opened and closed, again and again", async () => {
  const crosis = await Crosis.connect(agent);
  for (const service of ["shell", "exec", "shell", "exec", "process"]) {
    const channel = await crosis.channel(service);
    assert.ok(channel.id > 0);
    const [note] = crosis.notes("requestOpenChannel:openChanRes").slice(-1);
    assert.equal(note.state, Opened.CREATED);
    await channel.close();
    assert.equal(channel.ends.length, 1);
  }
  crosis.destroy();
});

test("a name can be opened again as soon as its close is asked for", async () => {
  const crosis = await Crosis.connect(agent);
  const ids = new Set();
  let last = await crosis.channel("shell", { name: "again" });
  for (let round = 0; round < 10; round += 1) {
    ids.add(last.id);
    last.closeNow();
    const next = crosis.openChannel("shell", { name: "again" });
    await next.opened();
    assert.equal(last.ends.length, 1, "the first is over before the second opens");
    last = next;
  }
  ids.add(last.id);
  assert.equal(ids.size, 11, "each has a number of its own");
  const states = crosis.notes("requestOpenChannel:openChanRes").map((note) => note.state);
  assert.ok(states.every((state) => state === Opened.CREATED), "the last to leave had ended it each time");
  assert.equal(await run(last, "echo works"), "works\n");
  crosis.destroy();
});

test("a close that is asked for before the open is answered", async () => {
  const crosis = await Crosis.connect(agent);
  for (const name of [undefined, "soon over"]) {
    const channel = crosis.openChannel("shell", { name });
    channel.closeNow();
    const answers = () => crosis.notes("requestCloseChannel:closeChanRes").length;
    const before = answers();
    await crosis.crumbs.until(() => crosis.failed() || answers() > before, "closed");
    assert.equal(channel.lives.length, 0, "the program never hears of it");
  }
  const next = await crosis.channel("shell", { name: "soon over" });
  assert.equal(await run(next, "echo here"), "here\n");
  crosis.destroy();
});

test("200 anonymous exec channels asked for in one tick, each with its own run", async () => {
  const crosis = await Crosis.connect(agent);
  const channels = Array.from({ length: 200 }, () => crosis.openChannel("exec"));
  await Promise.all(channels.map((channel) => channel.opened()));
  assert.equal(new Set(channels.map((channel) => channel.id)).size, 200);
  const results = await Promise.all(
    channels.map((channel, number) => channel.request({ exec: { args: ["echo", `number ${number}`] } })),
  );
  assert.ok(results.every((result) => result.body === "ok"), JSON.stringify(results.find((result) => !result.ok)));
  channels.forEach((channel, number) => assert.equal(channel.text(), `number ${number}\n`));
  await Promise.all(channels.map((channel) => channel.close()));
  crosis.destroy();
});

test("channels asked for before the connection are opened by priority", async () => {
  const crosis = new Crosis(agent);
  const order = [];
  for (const [service, priority] of [["exec", 2], ["null", 1], ["shell", 0]]) {
    crosis.client.openChannel({ service, priority }, () => void order.push(service));
  }
  crosis.open();
  await crosis.ready();
  await eventually(() => order.length === 3, "all are open");
  assert.deepEqual(order, ["shell", "null", "exec"]);
  const ids = crosis.notes("requestOpenChannel:openChanRes").map((note) => note.id);
  assert.deepEqual(ids, [...ids].sort((a, b) => a - b), "answered in the order asked");
  crosis.destroy();
});

test("a second client attaches by name to the very same channel", async () => {
  const [one, two] = [await Crosis.connect(agent), await Crosis.connect(agent)];
  const first = await one.channel("shell", { name: "ours" });
  const second = await two.channel("shell", { name: "ours" });
  assert.equal(second.id, first.id);
  assert.equal(one.notes("requestOpenChannel:openChanRes").at(-1).state, Opened.CREATED);
  assert.equal(two.notes("requestOpenChannel:openChanRes").at(-1).state, Opened.ATTACHED);
  const third = await two.channel("shell");
  assert.notEqual(third.id, first.id, "without a name nothing is shared");
  one.destroy();
  two.destroy();
});

test("explicit actions: what opens and what is refused, with the reason", async () => {
  const [one, two] = [await Raw.connect(agent), await Raw.connect(agent)];
  const id = await one.channel("shell", { name: "taken", action: Action.CREATE });
  const error = async (service, options) => {
    const refused = await two.open(service, options);
    assert.equal(refused.state, Opened.ERROR);
    assert.equal(refused.id, 0);
    return refused.error;
  };
  assert.equal(await error("shell", { name: "taken", action: Action.CREATE }), "channel already exists: taken");
  assert.equal(await error("shell", { name: "missing", action: Action.ATTACH }), "channel not found: missing");
  const other = "channel taken is a shell channel, not exec";
  assert.equal(await error("exec", { name: "taken", action: Action.ATTACH }), other);
  assert.equal(await error("exec", { name: "taken" }), other);
  assert.equal(await error("exec", { name: "taken", action: Action.CREATE }), "channel already exists: taken");
  assert.equal(await error("nothing-of-that-name"), "unknown service: nothing-of-that-name");
  assert.equal(await error(""), "unknown service: ");
  assert.equal(await error("Shell"), "unknown service: Shell");
  assert.equal(await error("bad\u001b[31m\nname"), "unknown service: bad [31m name", "no control character comes back");
  assert.match(await error("shell", { name: "x".repeat(5000) }), /at most 4200 bytes, not 5000/);

  const attached = await two.open("shell", { name: "taken", action: Action.ATTACH });
  assert.deepEqual([attached.id, attached.state], [id, Opened.ATTACHED]);
  const anonymous = await two.open("shell", { action: Action.ATTACH });
  assert.equal(anonymous.state, Opened.CREATED, "without a name every action creates");
  await one.bye();
  await two.bye();
});

test("a refused open costs the connection nothing but itself", async () => {
  const raw = await Raw.connect(agent);
  const shell = await raw.channel("shell");
  await raw.open("no such service");
  raw.send(shell, { input: "echo still $((6*7))\n" });
  await raw.seeText(shell, "still 42");
  await raw.bye();
});

test("an open that is refused ends the published client, with the agent's words", async () => {
  const crosis = await Crosis.connect(agent);
  crosis.openChannel("nothing-of-that-name");
  await crosis.crumbs.until(() => crosis.errors.length > 0, "an error");
  assert.equal(crosis.errors[0].message, "Channel open resulted with an error: unknown service: nothing-of-that-name");
  crosis.client.destroy();
});

test("a name may hold any characters", async () => {
  const [one, two] = [await Crosis.connect(agent), await Crosis.connect(agent)];
  for (const name of ["ot:src/ünï/日本 🎉.txt", " ", "\n", "../../etc", "x".repeat(4200)]) {
    const first = await one.channel("exec", { name });
    const second = await two.channel("exec", { name });
    assert.equal(first.id, second.id);
  }
  one.destroy();
  two.destroy();
});

test("opening a name one is on already answers with the same channel", async () => {
  const raw = await Raw.connect(agent);
  const first = await raw.open("shell", { name: "twice" });
  const again = await raw.open("shell", { name: "twice" });
  assert.deepEqual([again.id, again.state], [first.id, Opened.ATTACHED]);
  raw.send(first.id, { input: "echo once $((6*7))\n" });
  await raw.seeText(first.id, /once 42[^]*\$ $/);
  assert.equal(raw.text(first.id).split("once 42").length, 2, "its output comes once");
  await raw.bye();
});

test("a session has room for 1,024 channels and is told so past them", async () => {
  const raw = await Raw.connect(agent);
  const ids = await Promise.all(Array.from({ length: 1024 }, () => raw.channel("null")));
  assert.equal(new Set(ids).size, 1024);
  const refused = await raw.open("null");
  assert.equal(refused.state, Opened.ERROR);
  assert.match(refused.error, /1024 channels/);
  await raw.close(ids[7]);
  await raw.channel("null");
  await raw.bye();
});

test("services that are not built yet open, and answer everything by an error", async () => {
  const crosis = await Crosis.connect(agent);
  for (const service of INERT) {
    const channel = await crosis.channel(service);
    const answer = await channel.request({ input: "x" });
    assert.equal(answer.body, "error");
    assert.equal(answer.error, "input is not supported yet");
    channel.send({ input: "without a ref" });
    await channel.close();
    assert.equal(channel.heard.items.length, 1);
  }
  crosis.destroy();
});
