// The snapshot service, driven by the published client.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Agent, Crosis } from "./support.mjs";

let agent, one, two;
before(async () => {
  agent = await Agent.start();
  [one, two] = await Promise.all([Crosis.connect(agent), Crosis.connect(agent)]);
});
after(async () => {
  for (const client of [one, two]) client.destroy();
  await agent.stop();
});

test("a snapshot is answered when all is on disk, also to many at once", async () => {
  const channel = await one.channel("snapshot");
  const answers = await Promise.all(Array.from({ length: 20 }, () => channel.request({ fsSnapshot: {} })));
  assert.deepEqual(new Set(answers.map(({ body }) => body)), new Set(["ok"]));
});

test("a lock is one session's, holds snapshots off, and ends with its channel", async () => {
  const [mine, theirs] = [await one.channel("snapshot"), await two.channel("snapshot")];
  const take = { fsTakeLock: { name: "install" } };
  const release = { fsReleaseLock: { name: "install" } };
  assert.match((await mine.request(release)).error, /the lock install is not held/);
  assert.equal((await mine.request(take)).body, "ok");
  assert.match((await mine.request(take)).error, /the lock install is held by session \d+/);
  assert.match((await theirs.request(take)).error, /the lock install is held by session \d+/);
  assert.match((await theirs.request(release)).error, /not yours to release/);

  let saved = false;
  const snapshot = theirs.request({ fsSnapshot: {} }).then((answer) => {
    saved = true;
    return answer;
  });
  // Answered behind the snapshot, if that were answered at all.
  assert.match((await theirs.request(take)).error, /is held/);
  assert.equal(saved, false);
  assert.equal((await mine.request(release)).body, "ok");
  assert.equal((await snapshot).body, "ok");

  assert.equal((await mine.request(take)).body, "ok");
  await mine.close();
  assert.equal((await theirs.request(take)).body, "ok");
  await theirs.close();
});
