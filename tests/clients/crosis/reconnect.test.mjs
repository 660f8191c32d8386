// The published client over lost connections: channels are opened again, named ones are the same as before, requests
// that were under way end, and nothing of the old connection is left behind.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Agent, Crosis, Opened, alive, eventually, processes, run } from "./support.mjs";

let agent;
before(async () => (agent = await Agent.start()));
after(() => agent.stop());

const states = (crosis) => crosis.notes("requestOpenChannel:openChanRes").map((note) => note.state);

for (const [how, lose] of [
  ["closes its socket", (crosis) => crosis.client.ws.close()],
  ["loses its socket without a goodbye", (crosis) => crosis.cut()],
  ["is closed for the time being", (crosis) => crosis.client.close({ expectReconnect: true })],
]) {
  test(`a client that ${how} is back at once, with its channels`, async () => {
    const crosis = await Crosis.connect(agent);
    const named = await crosis.channel("shell", { name: `over ${how}` });
    const anonymous = await crosis.channel("shell");
    const [kept, lost] = [Number(await run(named, "echo $$")), Number(await run(anonymous, "echo $$"))];
    await run(named, "value=$((6*7)); echo shown before");
    lose(crosis);
    await Promise.all([named.opened(2), anonymous.opened(2)]);
    assert.equal(crosis.connected, 2);
    const { CREATED, ATTACHED } = Opened;
    assert.deepEqual(states(crosis), [CREATED, CREATED, ATTACHED, CREATED]);
    assert.equal(named.lives[1].id, named.lives[0].id);
    assert.notEqual(anonymous.lives[1].id, anonymous.lives[0].id);
    assert.deepEqual(named.ends, [{ initiator: "client", willReconnect: true }]);
    await named.see("shown before"); // its past
    assert.equal(await run(named, "echo $$ $value"), `${kept} 42\n`);
    assert.notEqual(Number(await run(anonymous, "echo $$")), lost);
    await eventually(() => !alive(lost), "the old anonymous shell is gone");
    crosis.destroy();
  });
}

test("a request under way when the line is lost ends in the client; the agent ends what it started", async () => {
  const crosis = await Crosis.connect(agent);
  const exec = await crosis.channel("exec");
  const waiting = exec.request({ exec: { args: ["sleep", "1234.5"] } });
  await exec.heard.until(() => exec.heard.items.length === 1, "Running");
  const running = () => [...processes().values()].includes("sleep 1234.5");
  await eventually(running, "it runs");
  crosis.cut();
  assert.deepEqual((await waiting).channelClosed, { initiator: "client", willReconnect: true });
  await eventually(() => !running(), "the program is ended");
  await exec.opened(2);
  assert.equal((await exec.request({ exec: { args: ["true"] } })).body, "ok");
  crosis.destroy();
});

test("a named exec goes on without its client, and whoever comes back hears the rest", async () => {
  const crosis = await Crosis.connect(agent);
  const exec = await crosis.channel("exec", { name: "goes on" });
  exec.send({ exec: { args: ["sh", "-c", "echo begin; while [ ! -e go-on ]; do sleep 0.02; done; echo end"] } });
  await exec.see("begin");
  crosis.cut();
  await exec.opened(2);
  const other = await crosis.channel("exec");
  assert.equal((await other.request({ exec: { args: ["touch", "go-on"] } })).body, "ok");
  await exec.see("end");
  assert.equal(exec.lives[1].id, exec.lives[0].id);
  crosis.destroy();
});

test("twenty losses in a row", async () => {
  const crosis = await Crosis.connect(agent);
  const shell = await crosis.channel("shell", { name: "twenty" });
  await run(shell, "count=0");
  for (let loss = 1; loss <= 20; loss += 1) {
    crosis.cut();
    await shell.opened(loss + 1);
    assert.equal(await run(shell, "count=$((count + 1)); echo $count"), `${loss}\n`);
  }
  assert.equal(crosis.fetched, 21, "a new token each time");
  assert.deepEqual(new Set(shell.lives.map((life) => life.id)).size, 1);
  crosis.destroy();
});

test("a channel that is being closed when the line is lost is not opened again", async () => {
  const crosis = await Crosis.connect(agent);
  const [stays, goes] = [await crosis.channel("exec"), await crosis.channel("shell", { name: "goes" })];
  goes.closeNow();
  crosis.cut();
  await stays.opened(2);
  assert.equal((await stays.request({ exec: { args: ["true"] } })).body, "ok");
  assert.equal(goes.lives.length, 1);
  crosis.destroy();
});

test("a client that goes for good takes its anonymous channels along", async () => {
  const crosis = await Crosis.connect(agent);
  const shell = await crosis.channel("shell");
  const pid = Number(await run(shell, "echo $$"));
  crosis.client.close();
  assert.deepEqual(shell.ends, [{ initiator: "client", willReconnect: false }]);
  await eventually(() => !alive(pid), "its shell is gone");
  assert.deepEqual(crosis.errors, []);
  crosis.destroy();
});

test("many clients come back at the same moment", async () => {
  const clients = await Promise.all(Array.from({ length: 40 }, () => Crosis.connect(agent)));
  const shells = await Promise.all(clients.map((client) => client.channel("shell", { name: "of all" })));
  await run(shells[0], "together=yes");
  for (const client of clients) client.cut();
  await Promise.all(shells.map((shell) => shell.opened(2)));
  assert.equal(new Set(shells.map((shell) => shell.id)).size, 1);
  assert.equal(await run(shells[39], "echo $together"), "yes\n");
  await Promise.all(shells.map((shell) => shell.see("yes\r\n")));
  for (const client of clients) client.destroy();
});
