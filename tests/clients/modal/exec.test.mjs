// Commands through the published JavaScript SDK: output, input, ends, terminals, variables, and lines that break.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Line, alive, connectTo, eventually, refused, startAgent } from "./support.mjs";

let agent;
let sandbox;
let modal;
before(async () => {
  agent = await startAgent({ secrets: '["st-one"]\nA = "one"\nB = "one"\n' });
  ({ sandbox, modal } = await connectTo(agent));
});
after(() => agent.stop());

const sh = (script, params) => sandbox.exec(["sh", "-c", script], params);
const sha256 = (data) => createHash("sha256").update(data).digest("hex");

test("echo, and stderr apart", async () => {
  const process = await sh("echo out; echo err >&2; exit 3");
  assert.equal(await process.stdout.readText(), "out\n");
  assert.equal(await process.stderr.readText(), "err\n");
  assert.equal(await process.wait(), 3);
  assert.equal(await process.wait(), 3);
});

test("bytes are as they were", async () => {
  const process = await sh("printf '\\000\\377\\200\\n'", { mode: "binary" });
  assert.deepEqual([...(await process.stdout.readBytes())], [0, 255, 128, 10]);
});

test("input, piece by piece, and its end", async () => {
  const process = await sandbox.exec(["cat"]);
  const writer = process.stdin.getWriter();
  for (const word of ["one ", "two ", "grüße\n"]) await writer.write(word);
  await writer.close();
  assert.equal(await process.stdout.readText(), "one two grüße\n");
  assert.equal(await process.wait(), 0);
});

test("16 MiB in one message", async () => {
  const data = new Uint8Array(16 << 20).map((_, at) => at * 31 + (at >> 8));
  const process = await sandbox.exec(["sha256sum"]);
  const writer = process.stdin.getWriter();
  await writer.write(data);
  await writer.close();
  assert.equal((await process.stdout.readText()).split(" ")[0], sha256(data));
});

test("an end after a write that failed, with no count of what was written, is an end", async () => {
  const process = await sandbox.exec(["cat"]);
  const writer = process.stdin.getWriter();
  await writer.write("abc");
  await process.closeStdin();
  assert.equal(await process.stdout.readText(), "abc");
  writer.releaseLock();
});

test("what was ended by a signal has 128 and more", async () => {
  assert.equal(await (await sh("kill -9 $$")).wait(), 137);
  assert.equal(await (await sh("kill -TERM $$")).wait(), 143);
});

test("what takes too long is killed, with all it started", async () => {
  const process = await sh("echo before; sleep 1000 & echo $!; sleep 1000", { timeoutMs: 1_000 });
  const reader = process.stdout.getReader();
  let said = "";
  while (said.split("\n").length < 3) said += (await reader.read()).value;
  reader.releaseLock();
  const pid = Number(said.split("\n")[1]);
  assert.equal(said.split("\n")[0], "before");
  // The agent kills it, or the SDK's own clock is first.
  const outcome = await process.wait().catch((error) => error.message);
  assert.ok(outcome === 137 || /deadline/i.test(outcome), String(outcome));
  await eventually(() => !alive(pid), "nothing of it is left");
});

test("a terminal", async () => {
  const process = await sh("test -t 0 && stty size; echo $TERM $COLORTERM; echo err >&2", { pty: true });
  assert.equal(await process.stdout.readText(), "24 80\r\nxterm-256color truecolor\r\nerr\r\n");
  assert.equal(await process.stderr.readText(), "");
  assert.equal(await process.wait(), 0);
});

test("the interrupt key reaches the program", async () => {
  const process = await sh("trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done", { pty: true });
  const reader = process.stdout.getReader();
  let said = (await reader.read()).value;
  assert.match(said, /ready\r\n/);
  await process.stdin.getWriter().write("\u0003");
  assert.equal(await process.wait(), 9);
  for (let next = await reader.read(); !next.done; next = await reader.read()) said += next.value;
  assert.match(said, /caught\r\n/);
});

test("variables, in order", async () => {
  const one = await modal.secrets.fromName("one");
  const made = await modal.secrets.fromObject({ B: "made", C: "made" });
  const shown = async (params) => (await sh("echo $A,$B,$C", params)).stdout.readText();
  assert.equal(await shown({ env: { A: "a  b", C: "grüße" } }), "a b,,grüße\n");
  assert.equal(await shown({ secrets: [one, made] }), "one,made,made\n");
  assert.equal(await shown({ secrets: [made, one] }), "one,one,made\n");
  assert.equal(await shown({ secrets: [made, one], env: { A: "said" } }), "said,one,made\n");
});

test("a folder", async () => {
  assert.equal(await (await sandbox.exec(["pwd"])).stdout.readText(), `${agent.root}\n`);
  assert.equal(await (await sandbox.exec(["pwd"], { workdir: "/" })).stdout.readText(), "/\n");
});

test("what cannot be started is named at once", async () => {
  await refused(sandbox.exec(["/no/such/program"]), /\/no\/such\/program/);
  await refused(sandbox.exec(["echo"], { workdir: "/no/such/folder" }), /\/no\/such\/folder/);
  await refused(sandbox.exec(["true"], { secrets: [await modal.secrets.fromName("nobody")] }), /st-nobody/);
});

test("output is kept for whoever comes late, and what nobody wants holds nobody up", async () => {
  const process = await sh("head -c 5000000 /dev/zero", { mode: "binary" });
  assert.equal(await process.wait(), 0);
  assert.equal((await process.stdout.readBytes()).length, 5_000_000);
  const ignored = await sh("head -c 1000000 /dev/zero; exit 2", { stdout: "ignore" });
  assert.equal(await ignored.wait(), 2);
  assert.equal(await ignored.stdout.readText(), "");
});

test("a wrong token is refused", async () => {
  const { sandbox: stranger } = await connectTo(agent, { token: "wrong" });
  await refused(stranger.exec(["true"]), /UNAUTHENTICATED/, 5_000);
});

test("a hundred commands at once", async () => {
  const run = async (number) => {
    const process = await sh(`cat; exit ${number}`);
    const writer = process.stdin.getWriter();
    await writer.write(`input ${number}`);
    await writer.close();
    return Promise.all([process.stdout.readText(), process.stderr.readText(), process.wait()]);
  };
  const ended = await Promise.all(Array.from({ length: 100 }, (_, number) => run(number)));
  assert.deepEqual(ended, Array.from({ length: 100 }, (_, number) => [`input ${number}`, "", number]));
});

test("input in one stream goes on where it was when the line breaks", async () => {
  const data = new Uint8Array(8 << 20).map((_, at) => at * 13 + (at >> 7));
  const line = await Line.to(agent);
  const { sandbox: lined } = await connectTo(agent, { port: line.port });
  const process = await lined.exec(["sha256sum"]);
  const began = [];
  const source = {
    async *readFrom(offset) {
      began.push(offset);
      if (began.length < 3) line.breakAfter(2 << 20);
      yield data.subarray(offset);
    },
  };
  assert.equal(await process._stdinWriteStream(source), data.length);
  assert.equal((await process.stdout.readText()).split(" ")[0], sha256(data));
  assert.equal(line.cuts, 2);
  assert.equal(began.length, 3);
  assert.ok(began[0] === 0 && began[1] > 0 && began[2] > began[1], `it began at ${began}`);
});

test("output goes on where it was when the line breaks", async () => {
  const data = new Uint8Array(8 << 20).map((_, at) => at * 17 + (at >> 9));
  writeFileSync(join(agent.root, "data"), data);
  const line = await Line.to(agent);
  const { sandbox: lined } = await connectTo(agent, { port: line.port });
  const process = await lined.exec(["cat", join(agent.root, "data")], { mode: "binary" });
  const sum = createHash("sha256");
  let count = 0;
  line.breakAfter(1 << 20);
  for await (const piece of process.stdout) {
    sum.update(piece);
    count += piece.length;
    if (line.cuts === 1 && count > 3 << 20 && count < 4 << 20) line.breakAfter(1 << 20);
  }
  assert.deepEqual([count, sum.digest("hex")], [data.length, sha256(data)]);
  assert.ok(line.cuts >= 1, "the line was cut");
  assert.equal(await process.wait(), 0);
});

test("input and starts arrive once when the line breaks", async () => {
  const line = await Line.to(agent);
  const { sandbox: lined } = await connectTo(agent, { port: line.port });
  const runs = join(agent.root, "runs");
  const process = await lined.exec(["sh", "-c", "echo run >> $0; cat", runs]);
  const writer = process.stdin.getWriter();
  let all = "";
  for (let number = 0; number < 5; number += 1) {
    const text = `${number},`.repeat(100_000);
    all += text;
    line.breakAfter(number % 2 === 0 ? 50_000 : text.length + 60);
    await writer.write(text);
  }
  await writer.close();
  assert.equal(sha256(await process.stdout.readText()), sha256(all));
  assert.ok(line.cuts >= 4, `the line was cut ${line.cuts} times`);
  assert.equal(readFileSync(runs, "utf8"), "run\n");
});
