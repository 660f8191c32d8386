// Who is let in: tokens of the published client, and what its calls may run.

import assert from "node:assert/strict";
import { sign } from "node:crypto";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import grpc from "@grpc/grpc-js";
import { protoUtils } from "@tdxvolt/volt-client-grpc";

import { certify, makeKey } from "./certificate.mjs";
import { Agent, KEY, Log, SESSION, VOLT, Volt, eventually, selfMade, startAgent } from "./support.mjs";

const PERMISSION_DENIED = 7;
const UNAVAILABLE = 14;
const UNAUTHENTICATED = 16;

let agent;
before(async () => {
  agent = await startAgent({ args: ["--terminal-command", "echo", "--terminal-command", "printf*", "--terminal-command", "bash"] });
});
after(() => agent.stop());

/** A token as the published client makes them, good for so many seconds. */
function tokenFor(seconds) {
  const now = Math.floor(Date.now() / 1000);
  const claims = { aud: VOLT, sub: SESSION, iat: now - 60, exp: now + seconds };
  const encode = (part) => Buffer.from(JSON.stringify(part)).toString("base64url");
  const signed = `${encode({ alg: "EdDSA", typ: "JWT" })}.${encode(claims)}`;
  return { claims, token: `${signed}.${sign(null, Buffer.from(signed), KEY.pem).toString("base64url")}` };
}

/** Calls and tells how the agent refused. */
async function refused(volt) {
  const call = volt.run("echo", ["let in"]);
  const { code, message } = await call.error();
  assert.deepEqual(call.heard.items, [], "nothing was run");
  assert.doesNotMatch(message, /signature|audience|session/, "why is not told to strangers");
  volt.close();
  return code;
}

test("a session that is known is let in; the others all hear the same", async () => {
  const ours = await Volt.connect(agent);
  const call = ours.run("echo", ["let in"]);
  await call.over();
  assert.equal(call.text(), "let in\r\n");
  assert.deepEqual(call.errors, []);
  ours.close();
  assert.equal(await refused(await Volt.connect(agent, { session: "another" })), UNAUTHENTICATED);
  assert.equal(await refused(await Volt.connect(agent, { id: "did:volt:another" })), UNAUTHENTICATED);
});

test("a session whose key is another is refused", async () => {
  const strict = await startAgent({ key: makeKey().hex });
  assert.equal(await refused(await Volt.connect(strict)), UNAUTHENTICATED);
  await strict.stop();
});

test("without a token nobody is let in, nor with one that is none", async () => {
  const Client = grpc.makeGenericClientConstructor(protoUtils.getBuiltInServiceDescriptors());
  const client = new Client(`localhost:${agent.port}`, grpc.credentials.createSsl(Buffer.from(selfMade(agent))));
  for (const token of [undefined, "", "x", "a.b.c"]) {
    const metadata = new grpc.Metadata();
    if (token !== undefined) metadata.set("volt-token", token);
    const call = client.CommandStream(metadata);
    call.on("data", () => assert.fail("nothing is run"));
    const error = await new Promise((resolve) => call.on("error", resolve));
    assert.equal(error.code, UNAUTHENTICATED, `${token}`);
  }
  client.close();
});

test("a token opens this contract only: elsewhere nothing says what may be run", async () => {
  const bytes = (buffer) => buffer;
  const method = (path) => ({
    path,
    requestStream: true,
    responseStream: true,
    requestSerialize: bytes,
    requestDeserialize: bytes,
    responseSerialize: bytes,
    responseDeserialize: bytes,
  });
  const Client = grpc.makeGenericClientConstructor({
    exec: method("/exec_service.ExecService/ExecStream"),
    terminal: method("/tdx.volt_api.volt.v1.TerminalAPI/CommandStream"),
  });
  const client = new Client(`localhost:${agent.port}`, grpc.credentials.createSsl(Buffer.from(selfMade(agent))));
  const codeOf = async (name) => {
    const metadata = new grpc.Metadata();
    metadata.set("volt-token", tokenFor(60).token);
    const call = client[name](metadata);
    call.on("data", () => {});
    call.on("error", () => {});
    call.end();
    return (await new Promise((resolve) => call.on("status", resolve))).code;
  };
  assert.equal(await codeOf("terminal"), 0);
  assert.equal(await codeOf("exec"), UNAUTHENTICATED);
  client.close();
});

test("a token is for the beginning of a call, which may outlast it", async () => {
  const Client = grpc.makeGenericClientConstructor(protoUtils.getBuiltInServiceDescriptors());
  const client = new Client(`localhost:${agent.port}`, grpc.credentials.createSsl(Buffer.from(selfMade(agent))));
  const { token, claims } = tokenFor(2);
  const call = () => {
    const metadata = new grpc.Metadata();
    metadata.set("volt-token", token);
    return client.CommandStream(metadata);
  };
  const heard = new Log();
  const long = call();
  long.on("data", (response) => heard.push(response.data.toString()));
  long.on("error", (error) => heard.push(error.message));
  long.write({ control: { command: "bash", arg: ["--norc", "-c", "read line; echo got $line"] } });
  // The clock of the agent is this one.
  await eventually(() => Date.now() / 1000 > claims.exp + 1, "the token's end");
  const late = call();
  const error = await new Promise((resolve) => late.on("error", resolve));
  assert.equal(error.code, UNAUTHENTICATED, "no call begins with it any more");
  long.write({ input: { data: Buffer.from("it\n") } });
  await heard.until(() => heard.items.join("").includes("got it\r\n"), "the program's answer");
  client.close();
});

test("what is not on the list is not run, and that is told as error 7", async () => {
  const volt = await Volt.connect(agent);
  for (const command of ["touch", "ech", "echo2", "/bin/echo", "print"]) {
    const call = volt.run(command, ["file"]);
    const error = await call.error();
    assert.equal(error.constructor.name, "VoltClientError");
    assert.equal(error.code, PERMISSION_DENIED);
    assert.ok(error.message.includes(command), error.message);
    assert.ok(error.description.length > 0);
    assert.equal((await call.over()).code, 0, "the call itself went well");
    assert.deepEqual(call.heard.items, []);
  }
  for (const [command, arg, printed] of [["echo", ["on", "it"], "on it\r\n"], ["printf", ["%s", "begins so"], "begins so"]]) {
    const call = volt.run(command, arg);
    await call.over();
    assert.equal(call.text(), printed);
  }
  const shell = volt.run();
  await shell.see("$ ");
  shell.type("exit\n");
  await shell.over();
  volt.close();
});

test("a shell that is not on the list is none for an empty control, either", async () => {
  const strict = await startAgent({ args: ["--terminal-command", "echo"] });
  const volt = await Volt.connect(strict);
  const call = volt.run();
  assert.equal((await call.error()).code, PERMISSION_DENIED);
  assert.equal((await call.over()).code, 0);
  volt.close();
  await strict.stop();
});

test("a role that may not write is refused before anything is read", async () => {
  const watching = await startAgent({ args: ["--volt-role", "viewer"] });
  const volt = await Volt.connect(watching);
  const call = volt.run("echo");
  assert.equal((await call.error()).code, PERMISSION_DENIED);
  volt.close();
  await watching.stop();
});

test("programs of others are an owner's", async () => {
  const script = "echo ready; read line; echo got $line";
  for (const [role, code] of [["owner", 0], ["editor", PERMISSION_DENIED]]) {
    const shared = await startAgent({ args: ["--volt-role", role] });
    const [one, two] = [await Volt.connect(shared), await Volt.connect(shared)];
    const first = one.run("sh", ["-c", `echo pid $$; ${script}`]);
    const [, pid] = await first.see(/pid (\d+)/);
    const second = two.run(`pid1://pid/${pid}`);
    if (code !== 0) {
      assert.equal((await second.error()).code, code);
    } else {
      await second.see("ready");
      second.type("hello\n");
      await Promise.all([first.over(), second.over()]);
      assert.match(first.text(), /got hello\r\n$/);
      assert.match(second.text(), /got hello\r\n$/);
    }
    one.close();
    two.close();
    await shared.stop();
  }
});

test("a certificate of the operator's", async () => {
  const key = makeKey();
  const certificate = certify(key);
  const folder = mkdtempSync(join(tmpdir(), "pid1-volt-"));
  const file = (name, text) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const tls = ["--tls-cert", file("cert.pem", certificate), "--tls-key", file("key.pem", key.pem)];
  const session = ["--volt-id", VOLT, "--volt-key", `${SESSION}=@${file("session.pem", KEY.publicPem)}`];
  const own = await Agent.start({ folder, args: [...tls, ...session] });
  const volt = await Volt.connect(own, { ca: certificate });
  const call = volt.run("echo", ["trusted"]);
  await call.over();
  assert.equal(call.text(), "trusted\r\n");
  volt.close();
  // Who trusts another certificate does not talk to it.
  const wary = await Volt.connect(own, { ca: certify(makeKey()) });
  assert.equal((await wary.run("echo").error()).code, UNAVAILABLE);
  wary.close();
  await own.stop();
});
