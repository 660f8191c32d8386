// Output of programs without a terminal: large, in odd pieces, not text, slow readers, and two clients at once.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Agent, Crosis, Raw, State, eventually } from "./support.mjs";

let agent;
let crosis;
before(async () => {
  agent = await Agent.start();
  crosis = await Crosis.connect(agent);
});
after(async () => {
  crosis.destroy();
  await agent.stop();
});

const sh = (script) => ["sh", "-c", script];
const sha256 = (data) => createHash("sha256").update(data).digest("hex");

async function outputOf(args, more = {}) {
  const exec = await crosis.channel("exec");
  const answer = await exec.request({ exec: { args, ...more } });
  assert.equal(answer.body, "ok", answer.error);
  await exec.close();
  return exec.text();
}

test("20 MB arrive to the last byte", async () => {
  const output = await outputOf(sh("yes 'a line of the flood' | head -c 20000000"));
  assert.equal(output.length, 20_000_000);
  const line = "a line of the flood\n";
  assert.equal(sha256(output), sha256(line.repeat(20_000_000 / line.length)));
});

test("many small writes arrive in order", async () => {
  const output = await outputOf(["bash", "-c", "for ((n = 0; n < 20000; n++)); do echo $n; done"]);
  assert.equal(output, Array.from({ length: 20_000 }, (_, n) => `${n}\n`).join(""));
});

test("no character is cut, in whatever pieces it is written", async () => {
  const text = "aé€😀\u0301日本 ".repeat(3000);
  writeFileSync(join(agent.root, "text"), text);
  for (const piece of [1, 2, 3, 5, 7, 4093, 4096, 65_535]) {
    // Larger pieces are written without a pause: then the pipe cuts them where it likes.
    const head = piece < 10 ? `head -c ${piece * 600} text |` : "cat text |";
    const output = await outputOf(sh(`${head} dd bs=${piece} iflag=fullblock 2>/dev/null`));
    const whole = Buffer.from(text).subarray(0, piece < 10 ? piece * 600 : undefined);
    assert.equal(output, new TextDecoder().decode(whole), `in pieces of ${piece}`);
  }
});

test("half a character, a pause, and the other half", async () => {
  const halves = [..."é€😀"].flatMap((character) => {
    const bytes = [...Buffer.from(character)].map((byte) => `\\${byte.toString(8)}`);
    return bytes.map((byte) => `printf '${byte}'; sleep 0.03`);
  });
  assert.equal(await outputOf(sh(halves.join("; "))), "é€😀");
});

test("bytes that are no text become U+FFFD, as everybody does it", async () => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  const odd = Buffer.concat([bytes, Buffer.from("c3", "hex"), Buffer.from("é"), Buffer.from("eda080f4908080c0af", "hex"), Buffer.from("end")]);
  writeFileSync(join(agent.root, "bytes"), odd);
  assert.equal(await outputOf(["cat", "bytes"]), new TextDecoder("utf-8", { ignoreBOM: true }).decode(odd));
});

test("a character that is never finished comes as U+FFFD before the answer", async () => {
  assert.equal(await outputOf(sh(String.raw`printf 'a\360\237'`)), "a\ufffd");
  assert.equal(await outputOf(sh(String.raw`printf 'a\360\237' >&2; printf 'b'`), { splitStderr: true }), "b");
});

test("a NUL and every control character arrive", async () => {
  const text = Array.from({ length: 32 }, (_, code) => String.fromCharCode(code)).join("");
  assert.equal(await outputOf(["printf", [...text].map((c) => `\\${c.charCodeAt(0).toString(8).padStart(3, "0")}`).join("")]), text);
});

test("both streams, 3 MB each, none mixed into the other", async () => {
  const exec = await crosis.channel("exec");
  const script = sh("yes out | head -c 3000000 & yes err | head -c 3000000 >&2; wait");
  const answer = await exec.request({ exec: { args: script, splitStderr: true } });
  assert.equal(answer.body, "ok");
  await exec.close();
  assert.equal(exec.text(), "out\n".repeat(750_000));
  assert.equal(exec.heard.items.map((command) => command.stderr).join(""), "err\n".repeat(750_000));
});

test("two clients of one channel get the same flood", async () => {
  const [one, two] = [await Raw.connect(agent), await Raw.connect(agent)];
  const id = await one.channel("exec", { name: "flood" });
  await two.channel("exec", { name: "flood" });
  one.send(id, { exec: { args: sh("yes 0123456789abcdef | head -c 8000000") } });
  for (const raw of [one, two]) {
    await raw.see((command) => command.channel === id && command.state === State.Stopped, "Stopped");
    const text = raw.text(id);
    assert.equal(text.length, 8_000_000);
    assert.equal(sha256(text), sha256("0123456789abcdef\n".repeat(500_000).slice(0, 8_000_000)));
  }
  await Promise.all([one.bye(), two.bye()]);
});

test("a client that does not read for a while loses nothing, and does not hold up others", async () => {
  const [slow, quick] = [await Raw.connect(agent), await Raw.connect(agent)];
  const id = await slow.channel("exec");
  slow.send(id, { exec: { args: sh("yes slow | head -c 30000000; touch slow-is-done") } }, "slow");
  await slow.seeText(id, "slow");
  slow.socket.pause();
  const other = await quick.channel("exec");
  const answer = await quick.request(other, { exec: { args: sh("yes quick | head -c 5000000; test ! -e slow-is-done") } });
  assert.equal(answer.body, "ok", "the other's program is held back, this one is not");
  assert.equal(quick.text(other).length, 5_000_000);
  slow.socket.resume();
  await slow.see((command) => command.ref === "slow", "its answer");
  assert.equal(slow.text(id), "slow\n".repeat(6_000_000));
  await Promise.all([slow.bye(), quick.bye()]);
});

test("an echo does not wait behind a flood of the same client", async () => {
  const flood = await crosis.channel("exec");
  const shell = await crosis.channel("exec");
  flood.send({ exec: { args: ["yes"] } });
  const echo = shell.request({ exec: { args: ["cat"] } });
  await flood.heard.until(() => flood.heard.items.length > 200, "the flood");
  for (let turn = 0; turn < 20; turn += 1) {
    shell.type(`turn ${turn}\n`);
    await shell.see(`turn ${turn}\n`, 3000);
  }
  assert.equal(await flood.close(), 1);
  shell.send({ inputClose: {} });
  assert.equal((await echo).body, "ok");
  await eventually(() => flood.channel.status === "closed", "the flood is over");
  await shell.close();
});
