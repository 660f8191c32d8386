// The meta service, driven by the published client. There the messages of 2020 are called requests; they are the same.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";

import { Agent, Crosis } from "./support.mjs";

let agent;
before(async () => {
  agent = await Agent.start();
});
after(() => agent.stop());

async function read(channel, key) {
  const answer = await channel.request({ readMetaRequest: { key } });
  assert.equal(answer.body, "readMetaRequest", answer.error);
  const { exists, data } = answer.readMetaRequest;
  return exists ? Buffer.from(data).toString() : null;
}

test("two clients append at once, and all of it outlives the agent", async () => {
  const clients = [await Crosis.connect(agent), await Crosis.connect(agent)];
  const channels = await Promise.all(clients.map((crosis) => crosis.channel("meta")));
  assert.equal(await read(channels[0], "log"), null);
  const append = (channel, text) => channel.request({ appendMetaRequest: { key: "log", data: Buffer.from(text) } });
  const numbers = Array.from({ length: 200 }, (_, number) => number);
  const answers = await Promise.all(channels.flatMap((channel, who) => numbers.map((number) => append(channel, `${who}:${number}\n`))));
  assert.deepEqual(new Set(answers.map(({ body }) => body)), new Set(["ok"]));
  const lines = (await read(channels[1], "log")).trimEnd().split("\n");
  for (const who of [0, 1]) {
    assert.deepEqual(lines.filter((line) => line.startsWith(`${who}:`)), numbers.map((number) => `${who}:${number}`));
  }
  assert.equal(lines.length, 400);
  // Without waiting in between.
  channels[0].send({ writeMetaRequest: { key: "é/b", data: Buffer.from("written") } });
  assert.equal(await read(channels[0], "é/b"), "written");
  assert.match((await channels[0].request({ writeMetaRequest: { key: "", data: Buffer.alloc(1) } })).error, /1 to 1024 bytes/);

  agent.process.kill("SIGKILL");
  await once(agent.process, "exit");
  const { leftovers } = agent;
  agent = await Agent.start({ folder: agent.folder, port: agent.port });
  agent.leftovers = leftovers;
  await channels[0].opened(2);
  assert.equal(await read(channels[0], "log"), `${lines.join("\n")}\n`);
  assert.equal(await read(channels[0], "é/b"), "written");
  for (const crosis of clients) crosis.destroy();
});
