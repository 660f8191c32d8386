// The presence service, driven by the published client.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Agent, Crosis } from "./support.mjs";

let agent;
const clients = [];
before(async () => {
  agent = await Agent.start();
});
after(async () => {
  for (const crosis of clients) crosis.destroy();
  await agent.stop();
});

async function connect() {
  const crosis = await Crosis.connect(agent);
  clients.push(crosis);
  return crosis;
}

/** Joins, and knows its own number as a client of the protocol learns it: the roster is for this session alone. */
async function join(crosis, name) {
  const channel = await crosis.channel("presence", { name });
  const own = await heard(channel, "roster");
  channel.session = own.session;
  channel.roster = own.roster;
  return channel;
}

const heard = (channel, body, match = () => true) =>
  channel.heard.until(() => channel.heard.items.find((command) => command.body === body && match(command[body])), body);

test("everybody sees who comes, what they open and who goes", async () => {
  const [one, two] = [await connect(), await connect()];
  const first = await join(one, "presencer");
  assert.deepEqual(first.roster.user.map(({ session, name }) => [session, name]), [[first.session, `guest ${first.session}`]]);
  const second = await join(two, "presencer");
  assert.deepEqual(second.roster.user.map(({ session }) => session), [first.session, second.session]);
  assert.equal((await heard(first, "join")).join.session, second.session);

  assert.equal((await first.request({ openFile: { file: "src/main.py" } })).body, "ok");
  const { fileOpened } = await heard(second, "fileOpened");
  assert.deepEqual([fileOpened.file, fileOpened.session], ["src/main.py", first.session]);
  assert.ok(Math.abs(Number(fileOpened.timestamp.seconds) - Date.now() / 1000) < 600);
  const third = await join(await connect(), "presencer");
  assert.deepEqual(third.roster.files.map(({ file, session }) => [file, session]), [["src/main.py", first.session]]);

  two.cut();
  assert.equal((await heard(first, "part")).part.session, -second.session);
  // It is back by itself, as somebody new.
  const again = await heard(first, "join", (user) => user.session > third.session);
  await second.opened(2);
  assert.equal(second.lives[1].commands[0].roster.user.at(-1).session, again.join.session);
});

test("who is followed learns by whom", async () => {
  const [one, two] = [await join(await connect(), "followed"), await join(await connect(), "followed")];
  assert.equal((await one.request({ followUser: { session: two.session } })).body, "ok");
  assert.equal((await heard(two, "followUser")).followUser.session, one.session);
  assert.equal((await one.request({ unfollowUser: { session: two.session } })).body, "ok");
  assert.equal((await heard(two, "unfollowUser")).unfollowUser.session, one.session);
  assert.match((await one.request({ followUser: { session: 99999 } })).error, /nobody else is here/);
  assert.equal((await two.request({ updateSessionTimestamp: {} })).body, "ok");
  for (const channel of [one, two]) {
    assert.equal((await heard(channel, "sessionTimestampUpdated")).sessionTimestampUpdated.session, two.session);
  }
});
