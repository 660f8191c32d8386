// The published client with signed tokens: Replit's own format by the key that its own tests sign with, refusals it
// recovers from and refusals that are final, roles, a redirect.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Agent, BINARY, Crosis, eventually, run } from "./support.mjs";

/** The private half of the published development key: everybody has it. */
const DEV_KEY = "h/Qn2Wtu0bq85i3EF17r/diy4xNdYAMkCgHxLmu3xG+ifQWRKYQL5x7jRX1VzhAAFdLHpNej6WGn31voprSCug==";

const pid1 = (...args) => execFileSync(BINARY, args, { encoding: "utf8" }).trim();

let agent, secret, key;
before(async () => {
  agent = await Agent.start({ args: ["--dev-key", "--jwt-audience", "here"], env: { PID1_JWT_SECRET: "k".repeat(32) } });
  [secret, key] = [join(agent.folder, "secret"), join(agent.folder, "dev-key")];
  writeFileSync(secret, "k".repeat(32));
  writeFileSync(key, DEV_KEY);
});
after(() => agent.stop());

const paseto = (...flags) => pid1("token", "paseto", "--key", key, "--key-id", "dev", "--repl-id", "any", ...flags);
const jwt = (role) => pid1("token", "jwt", "--secret-file", secret, "--audience", "here", "--role", role);

for (const layout of [[], ["--type-aware"]]) {
  test(`a token of the development key opens a shell ${layout}`, async () => {
    const crosis = await Crosis.connect(agent, { metadata: () => ({ token: paseto(...layout) }) });
    const shell = await crosis.channel("shell");
    assert.equal(await run(shell, "echo $((6*7))"), "42\n");
    crosis.destroy();
  });
}

test("a refused client asks for another token and gets in with it", async () => {
  const tokens = ["no token at all", paseto("--ttl", "1s").slice(0, -3), paseto()];
  const crosis = new Crosis(agent, { metadata: (fetched) => ({ token: tokens[fetched - 1] }) });
  crosis.open();
  await crosis.ready();
  assert.equal(crosis.fetched, 3);
  crosis.destroy();
});

test("a session that outlives its token is back at once with a new one", async () => {
  const crosis = await Crosis.connect(agent, {
    metadata: (fetched) => ({ token: paseto("--ttl", fetched === 1 ? "2s" : "1h") }),
  });
  const shell = await crosis.channel("shell", { name: "outlives" });
  await run(shell, "value=$((6*7))");
  await shell.opened(2);
  assert.equal(await run(shell, "echo $value"), "42\n");
  assert.equal(crosis.fetched, 2);
  crosis.destroy();
});

test("where the container runs unrestricted, a restricted client is denied for good", async () => {
  const free = await Crosis.connect(agent, { metadata: () => ({ token: paseto() }) });
  const restricted = new Crosis(agent, { metadata: () => ({ token: paseto("--restrict-network") }) });
  let denied = 0;
  restricted.client.onFirewallDenied = () => (denied += 1);
  restricted.open();
  await eventually(() => denied > 0 || restricted.errors.length > 0, "the client notices");
  assert.equal(restricted.connected, 0);
  restricted.client.destroy();
  free.destroy();
});

test("a viewer watches what an editor does, and types nothing", async () => {
  const editor = await Crosis.connect(agent, { metadata: () => ({ token: jwt("editor") }) });
  const viewer = await Crosis.connect(agent, { metadata: () => ({ token: jwt("viewer") }) });
  const typed = await editor.channel("shell", { name: "watched" });
  const watched = await viewer.channel("shell", { name: "watched" });
  const refusal = await watched.request({ input: "echo typed by the vie''wer\n" });
  assert.match(refusal.error, /needs the role editor/);
  watched.type("echo typed by the vie''wer\n");
  assert.equal(await run(typed, "echo shown to $((1+1))"), "shown to 2\n");
  await watched.see("shown to 2");
  const shown = watched.heard.items.map((command) => command.output ?? "").join("");
  assert.doesNotMatch(shown, /typed by the/);
  for (const client of [viewer, editor]) client.destroy();
});

test("a client that is sent elsewhere goes there and works on", async () => {
  const old = await Agent.start({ args: ["--moved-to", agent.gurl], token: agent.token });
  const crosis = new Crosis(old);
  crosis.open();
  await crosis.ready();
  const shell = await crosis.channel("shell");
  await eventually(async () => (await run(shell, "pwd")).trim() === agent.root, "it works at the new place");
  crosis.client.destroy();
  await old.stop();
});

test("a toast reaches the program", async () => {
  const crosis = await Crosis.connect(agent);
  const toasts = [];
  crosis.chan0.onCommand((command) => command.toast && toasts.push(command.toast.text));
  pid1("toast", `${agent.gurl}/wsv2/${agent.token}`, "lunch is ready");
  await eventually(() => toasts.length > 0, "the toast");
  assert.deepEqual(toasts, ["lunch is ready"]);
  crosis.destroy();
});
