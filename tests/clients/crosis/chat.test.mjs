// The chat service, driven by the published client: as a chat window does it, which sends without waiting for answers.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";

import { Agent, Crosis } from "./support.mjs";

const messages = (channel) => channel.heard.items.flatMap((command) => command.chatMessage ?? []).map(({ text }) => text);
const say = (text, username = "ada") => ({ chatMessage: { username, text } });

async function join(crosis) {
  const channel = await crosis.channel("chat", { name: "chatter" });
  return { channel, shown: await scrollback(channel) };
}

/** What is shown in the `life`th life of the channel. */
const scrollback = (channel, life = 0) =>
  channel.heard.until(
    () => channel.lives[life]?.commands.find(({ body }) => body === "chatScrollback")?.chatScrollback.scrollback.map(({ text }) => text),
    "chatScrollback",
  );

test("a chat goes on where it was, also over kill -9 of the agent", async (t) => {
  let agent = await Agent.start();
  t.after(() => agent.stop());
  const [one, two] = [await Crosis.connect(agent), await Crosis.connect(agent)];
  const [ada, bob] = [await join(one), await join(two)];
  assert.deepEqual([ada.shown, bob.shown], [[], []]);
  ada.channel.send({ chatTyping: { username: "ada", typing: true } });
  ada.channel.send(say("hello"));
  bob.channel.send(say("hello yourself", "bob"));
  await bob.channel.heard.until(() => messages(bob.channel).length === 1, "the message");
  await ada.channel.heard.until(() => messages(ada.channel).length === 1, "the answer");
  assert.deepEqual([messages(ada.channel), messages(bob.channel)], [["hello yourself"], ["hello"]]);
  assert.equal(bob.channel.heard.items.find(({ body }) => body === "chatTyping").chatTyping.typing, true);
  assert.equal((await ada.channel.request(say("one more"))).body, "ok");

  agent.process.kill("SIGKILL");
  await once(agent.process, "exit");
  const { leftovers } = agent;
  agent = await Agent.start({ folder: agent.folder, port: agent.port });
  agent.leftovers = leftovers;
  const all = await scrollback(bob.channel, 1);
  assert.deepEqual([...all].sort(), ["hello", "hello yourself", "one more"]);
  assert.equal(all.at(-1), "one more");
  await ada.channel.opened(2);
  assert.equal((await bob.channel.request(say("back", "bob"))).body, "ok");
  await ada.channel.heard.until(() => messages(ada.channel).includes("back"), "the message of the next life");
  for (const client of [one, two]) client.destroy();
});
