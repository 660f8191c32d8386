// Connecting: the order of the boot, tokens good and bad, what the client does about them, URLs, redirects, sleep,
// and which origins and hosts are answered at all.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";

import { WebSocketServer } from "ws";

import { Agent, Crosis, Raw, State, api, eventually, run } from "./support.mjs";

const { Stage } = api.BootStatus;
const { State: Container } = api.ContainerState;

let agent;
before(async () => (agent = await Agent.start()));
after(() => agent.stop());

test("the printed line is a URL, with the token in its fragment if the agent made it", async () => {
  assert.equal(agent.page, `http://127.0.0.1:${agent.port}/`);
  const other = await Agent.start({ token: null });
  try {
    assert.match(other.page, /^http:\/\/127\.0\.0\.1:[0-9]+\/#token=[0-9a-z]{32}$/);
    const crosis = await Crosis.connect(other);
    crosis.destroy();
  } finally {
    await other.stop();
  }
});

test("the boot is HANDSHAKE, ACQUIRING, LOAD_BLOCK, COMPLETE, then READY", async () => {
  const raw = await Raw.connect(agent);
  const boot = raw.frames.map((command) => command.bootStatus?.stage ?? `state ${command.containerState?.state}`);
  assert.deepEqual(boot, [Stage.HANDSHAKE, Stage.ACQUIRING, Stage.LOAD_BLOCK, Stage.COMPLETE, `state ${Container.READY}`]);
  for (const command of raw.frames) {
    assert.equal(command.channel, 0);
    assert.equal(command.ref, "");
  }
  await raw.bye();
});

test("the client sees each stage of the boot and is connected", async () => {
  const stages = [];
  const crosis = new Crosis(agent);
  crosis.client.onBootStatus((status) => stages.push(status.stage));
  crosis.open();
  await crosis.ready();
  assert.deepEqual(crosis.notes("container:state"), [Container.READY]);
  assert.deepEqual(stages.slice(0, 3), [Stage.HANDSHAKE, Stage.ACQUIRING, Stage.LOAD_BLOCK]);
  assert.equal(crosis.fetched, 1);
  crosis.destroy();
});

test("a wrong token is closed with 1008, after the upgrade and without a word", async () => {
  for (const token of ["wrong", `${agent.token}x`, agent.token.slice(1), "%", "\u0000"]) {
    const raw = await Raw.connect(agent, { token, ready: false });
    const { code, reason } = await raw.ended();
    assert.equal(raw.error, undefined, "the upgrade itself succeeds");
    assert.equal(code, 1008);
    assert.equal(reason, "the token is not accepted");
    assert.deepEqual(raw.frames, [], "a stranger is told nothing of the boot");
  }
});

test("after 1008 the client asks for new metadata, even where it keeps it, and connects with the next token", async () => {
  const crosis = await Crosis.connect(agent, {
    metadata: (time) => (time < 3 ? { token: "not yet the right token" } : {}),
    reuseConnectionMetadata: true,
    getNextRetryDelayMs: () => 1,
  });
  assert.equal(crosis.fetched, 3);
  assert.equal(crosis.notes("status:retrying").length, 2);
  crosis.cut();
  await crosis.ready(2);
  assert.equal(crosis.fetched, 3, "a good token is kept over a reconnection");
  crosis.destroy();
});

test("a token of any characters arrives", async () => {
  const token = "spaces and ümlauts, 100% 日本 🎉 +&=";
  const other = await Agent.start({ token });
  try {
    const encoded = await Raw.connect(other);
    await encoded.bye();
    // The client puts it into the path as it is; what must be escaped there its WebSocket escapes.
    const crosis = await Crosis.connect(other);
    assert.equal(crosis.fetched, 1, "accepted at the first try");
    crosis.destroy();
  } finally {
    await other.stop();
  }
});

test("of the metadata's URL the path is dropped and the query is kept, and neither matters", async () => {
  const crosis = await Crosis.connect(agent, { metadata: () => ({ gurl: `${agent.gurl}/some/path?region=eu&x=%2F` }) });
  assert.equal(crosis.fetched, 1);
  assert.equal((await crosis.chan0.request({ ping: {} })).body, "pong");
  crosis.destroy();
});

test("no subprotocol is chosen", async () => {
  const raw = await Raw.connect(agent);
  assert.equal(raw.socket.protocol, "");
  await raw.bye();
});

test("an origin or host that is not this agent's is refused before the upgrade", async () => {
  const refused = async (options, status) => {
    const raw = await Raw.connect(agent, { ...options, ready: false });
    await raw.ended();
    assert.match(raw.error?.message ?? "no error", new RegExp(`: ${status}$`));
  };
  await refused({ origin: "https://elsewhere.example" }, 403);
  await refused({ origin: `https://127.0.0.1:${agent.port}` }, 403);
  await refused({ headers: { Host: "elsewhere.example" } }, 421);
  const own = await Raw.connect(agent, { origin: `http://127.0.0.1:${agent.port}` });
  await own.bye();
});

test("a redirect from another server brings the client here, before READY and after it", async () => {
  for (const late of [false, true]) {
    const asked = [];
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    await once(server, "listening");
    server.on("connection", (socket, request) => {
      asked.push(request.url);
      const say = (body) => socket.send(api.Command.encode(api.Command.create(body)).finish());
      if (late) say({ containerState: { state: Container.READY } });
      say({ redirect: { url: `${agent.gurl}/dropped` } });
    });
    const gurl = `ws://127.0.0.1:${server.address().port}`;
    const crosis = new Crosis(agent, { metadata: () => ({ gurl }) });
    const shell = crosis.openChannel("shell");
    crosis.open();
    await eventually(() => crosis.notes("client:handleRedirect").length === 1, "a redirect");
    await crosis.crumbs.until(() => crosis.failed() || (crosis.connected === (late ? 2 : 1) && shell.lives.length > 0), "here");
    assert.deepEqual(asked, [`/wsv2/${agent.token}`], "it asked there once, with the same token");
    assert.equal(await run(shell, "echo arrived"), "arrived\n");
    crosis.destroy();
    server.close();
  }
});

test("an agent that stops says SLEEP and 1001; the client finds the next one at the same address", async () => {
  const first = await Agent.start();
  const raw = await Raw.connect(first);
  const crosis = new Crosis(first, { getNextRetryDelayMs: () => 20 });
  const exec = crosis.openChannel("exec");
  const shell = crosis.openChannel("shell", { name: "kept" });
  crosis.open();
  await Promise.all([exec.opened(), shell.opened()]);
  await first.stop({ successor: true });
  assert.equal((await raw.ended()).code, 1001);
  assert.equal(raw.frames.at(-1).containerState?.state, Container.SLEEP);

  const second = await Agent.start({ port: first.port, folder: first.folder });
  second.leftovers = first.leftovers;
  try {
    await Promise.all([exec.opened(2), shell.opened(2)]);
    assert.equal((await exec.request({ exec: { args: ["true"] } })).body, "ok");
    assert.equal(await run(shell, "echo again"), "again\n");
    assert.equal(exec.lives[1].commands.at(-1).state, State.Stopped);
    crosis.destroy();
  } finally {
    await second.stop();
  }
});
