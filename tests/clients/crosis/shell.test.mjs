// The shell: typing and seeing, characters of every width, the terminal's modes and size, control keys, and two
// clients in one terminal.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Agent, Crosis, Raw, alive, eventually, run } from "./support.mjs";

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

test("it is a real terminal in the workspace", async () => {
  const shell = await crosis.channel("shell");
  assert.equal(await run(shell, "pwd"), `${agent.root}\n`);
  assert.equal(await run(shell, "echo $TERM"), "xterm-256color\n");
  assert.equal(await run(shell, "stty size"), "24 80\n");
  assert.equal(await run(shell, "test -t 0 && test -t 1 && test -t 2 && echo terminal"), "terminal\n");
  assert.equal(await run(shell, "ps -o tty= -p $$ | grep -c pts"), "1\n");
  assert.equal(await run(shell, "env | grep -c ^PID1_"), "0\n", "the agent's own variables are not passed on");
  await shell.close();
});

test("what is typed is echoed, and a request is answered by ok", async () => {
  const shell = await crosis.channel("shell");
  await shell.see("$ ");
  const answer = await shell.request({ input: "echo ty''ped\n" });
  assert.equal(answer.body, "ok");
  await shell.see("echo ty''ped\r\ntyped\r\n");
  await shell.close();
});

test("keys one at a time, each answered before the next", async () => {
  const shell = await crosis.channel("shell");
  for (const key of "echo $((6*7))\n") assert.equal((await shell.request({ input: key })).body, "ok");
  await shell.see("\r\n42\r\n");
  await shell.close();
});

test("characters of one to four bytes, combined ones and emoji go both ways", async () => {
  const shell = await crosis.channel("shell");
  const text = "é ß 日本語 한국 عربى 🎉 👩‍👩‍👧‍👦 e\u0301 \u{10ffff} ｆｕｌｌ";
  assert.equal(await run(shell, `printf '%s\\n' '${text}'`), `${text}\n`);
  assert.equal(await run(shell, `printf '%s' '${text}' | wc -c | tr -d ' '`), `${Buffer.byteLength(text)}\n`);
  await shell.close();
});

test("a character that the program writes in two halves arrives whole", async () => {
  const shell = await crosis.channel("shell");
  const halves = String.raw`printf '[\xf0\x9f'; sleep 0.05; printf '\x8e'; sleep 0.05; printf '\x89|\xc3'; sleep 0.05; printf '\xa9]\n'`;
  assert.equal(await run(shell, halves), "[🎉|é]\n");
  assert.doesNotMatch(shell.text(), /\ufffd/);
  await shell.close();
});

test("bytes that are no text become U+FFFD, and output goes on", async () => {
  const shell = await crosis.channel("shell");
  assert.equal(await run(shell, String.raw`printf 'a\xffb\xc3\x28c\xed\xa0\x80d\n'`), "a\ufffdb\ufffd(c\ufffd\ufffd\ufffdd\n");
  assert.equal(await run(shell, "echo on"), "on\n");
  await shell.close();
});

test("a very long line arrives whole at a program that reads raw", async () => {
  const shell = await crosis.channel("shell");
  const text = "0123456789abcdef".repeat(20_000);
  shell.type(`stty raw -echo; echo re''ady; head -c ${text.length} | md5sum; stty sane\n`);
  await shell.see("ready");
  shell.type(text);
  const { createHash } = await import("node:crypto");
  await shell.see(createHash("md5").update(text).digest("hex"));
  await shell.close();
});

test("resizeTerm changes the size, and the program in front is told", async () => {
  const shell = await crosis.channel("shell");
  shell.send({ resizeTerm: { rows: 40, cols: 132 } });
  assert.equal(await run(shell, "stty size"), "40 132\n");
  assert.equal((await shell.request({ resizeTerm: { rows: 10, cols: 20 } })).body, "ok");
  assert.equal(await run(shell, "stty size"), "10 20\n");
  shell.send({ resizeTerm: { rows: 50, cols: 150 } });
  await run(shell, ":");
  shell.type("bash -c 'trap \"stty size; exit\" WINCH; echo wai''ting; while :; do sleep 0.02; done'\n");
  await shell.see("waiting");
  shell.send({ resizeTerm: { rows: 33, cols: 77 } });
  await shell.see("33 77");
  await shell.close();
});

test("sizes that make no sense do no harm", async () => {
  const shell = await crosis.channel("shell");
  for (const [rows, cols] of [[0, 0], [4294967295, 4294967295], [65536, 1]]) {
    assert.equal((await shell.request({ resizeTerm: { rows, cols } })).body, "ok");
    const [, high, wide] = (await run(shell, "stty size")).match(/^(\d+) (\d+)\n$/).map(Number);
    assert.ok(high > 0 && wide > 0 && high <= 65535 && wide <= 65535, `${high} ${wide} for ${rows} ${cols}`);
  }
  await shell.close();
});

test("ctrl-C, ctrl-D, ctrl-Z and ctrl-\\ do what they do in any terminal", async () => {
  const shell = await crosis.channel("shell");
  // The program itself says that it has begun: then it is in front, the terminal is as it wants it, and the keys
  // are for it.
  const begin = async (program) => {
    const seen = shell.text().length;
    shell.type(`sh -c 'echo be""gun; exec ${program}'\n`);
    await shell.heard.until(() => shell.text().slice(seen).includes("begun"), "it begins");
  };
  const statusIs = async (status) => {
    shell.type("echo status $?\n");
    await shell.see(`status ${status}\r\n`);
  };
  await begin("sleep 1000");
  shell.type("\u0003");
  await statusIs(130);
  await begin("cat");
  shell.type("to cat\n");
  await shell.see("to cat\r\nto cat\r\n");
  shell.type("\u0004");
  await statusIs(0);
  await begin("sleep 1000");
  shell.type("\u001a");
  await shell.see("Stopped");
  assert.match(await run(shell, "jobs; kill %1"), /Stopped/);
  await begin("sleep 1000");
  shell.type("\u001c");
  await statusIs(131);
  await shell.close();
});

test("ctrl-C gets through while a program floods", async () => {
  const shell = await crosis.channel("shell");
  await run(shell, ":");
  shell.type("yes\n");
  await shell.see(/(y\r\n){1000}/);
  shell.type("\u0003");
  assert.equal(await run(shell, "echo qui''et"), "quiet\n");
  await shell.close();
});

test("saneTerm brings back a terminal that a program left in disarray", async () => {
  const shell = await crosis.channel("shell");
  // At its prompt bash keeps modes of its own, so this is for the programs that run in between.
  shell.type("stty -echo -icanon -isig raw; echo re''ady; head -c 1 >/dev/null; stty -a; echo e''nd\n");
  await shell.see("ready");
  assert.equal((await shell.request({ saneTerm: {} })).body, "ok");
  shell.type("x\n");
  const [modes] = await shell.see(/ready[^]*end\r\n/);
  for (const mode of ["echo", "icanon", "isig", "icrnl", "opost", "iexten"]) {
    assert.match(modes, new RegExp(`(^|\\s)${mode}(;|\\s)`), `${mode} is on`);
  }
  await shell.close();
});

test("PTYConfig pipeMode: no echo, bytes as in a pipe, but ctrl-C still works; and back", async () => {
  const shell = await crosis.channel("shell");
  shell.type("exec sh -c 'echo re\"\"ady; exec cat'\n"); // bash itself would set its own modes for each line
  await shell.see("ready");
  shell.type("seen twice\n");
  await shell.see("seen twice\r\nseen twice\r\n");
  assert.equal((await shell.request({ PTYConfig: { pipeMode: true } })).body, "ok");
  const before = shell.text().length;
  shell.type("once, without a newline");
  await shell.see("once, without a newline");
  shell.type("|\n|\r|\t|\u0004|");
  await shell.see("|\u0004|");
  assert.equal(shell.text().slice(before), "once, without a newline|\n|\n|\t|\u0004|", "cr becomes nl, nothing else changes");
  assert.equal((await shell.request({ PTYConfig: { pipeMode: false } })).body, "ok");
  shell.type("twice again\n");
  await shell.see("twice again\r\ntwice again\r\n");
  shell.send({ PTYConfig: { pipeMode: true } });
  shell.type("\u0003");
  await shell.see(/twice again\r\n[^]*\$ $/); // cat was the shell, so a new one comes
  assert.equal(await run(shell, "echo new shell"), "new shell\n");
  await shell.close();
});

test("two clients see the same and both type", async () => {
  const other = await Crosis.connect(agent);
  const here = await crosis.channel("shell", { name: "pair" });
  const there = await other.channel("shell", { name: "pair" });
  await here.see("$ ");
  await run(here, "shared=from-here");
  assert.equal(await run(there, "echo $shared"), "from-here\n");
  await run(there, "shared=from-there");
  assert.equal(await run(here, "echo $shared"), "from-there\n");
  await there.see(here.text().slice(-20));
  await here.see(there.text().slice(-20));
  assert.ok(here.text().endsWith(there.text().slice(-200)), "the same bytes in the same order");
  assert.equal(await there.close(), 0, "one leaves, the other stays");
  assert.equal(await run(here, "echo $shared"), "from-there\n");
  assert.equal(await here.close(), 1);
  other.destroy();
});

test("the last to type has the window; who leaves gives it back", async () => {
  const [one, two] = [await Raw.connect(agent), await Raw.connect(agent)];
  const id = await one.channel("shell", { name: "window" });
  await two.channel("shell", { name: "window" });
  const [laptop, phone] = [one, two].map((raw) => ({
    type: (input) => raw.send(id, { input }),
    see: (wanted) => raw.seeText(id, wanted),
    size: (rows, cols) => raw.request(id, { resizeTerm: { rows, cols } }),
  }));
  await laptop.size(50, 200);
  await phone.size(20, 40);
  assert.equal(await run(laptop, "stty size"), "50 200\n", "who looks on changes nothing");
  assert.equal(await run(phone, "stty size"), "20 40\n");
  await laptop.size(60, 190);
  assert.equal(await run(phone, "stty size"), "20 40\n", "the laptop's new size waits until it types");
  assert.equal(await run(laptop, "stty size"), "60 190\n");
  assert.equal(await run(phone, "stty size"), "20 40\n");
  await two.bye();
  await eventually(async () => (await run(laptop, "stty size")) === "60 190\n", "the laptop's window again");
  await one.bye();
});

test("a message that a shell does not know is refused by name, and the shell lives", async () => {
  const shell = await crosis.channel("shell");
  for (const [body, name] of [[{ runMain: {} }, "runMain"], [{ exec: { args: ["true"] } }, "exec"], [{ flush: {} }, "flush"]]) {
    const answer = await shell.request(body);
    assert.equal(answer.error, `${name} is not supported yet`);
    shell.send(body);
  }
  assert.equal(await run(shell, "echo alive"), "alive\n");
  await shell.close();
});
