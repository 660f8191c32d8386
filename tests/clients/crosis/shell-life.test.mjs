// The life of a shell: exits and new starts, what a newcomer is shown, and named shells that outlive their clients.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Action, Agent, Closing, Crosis, Opened, Raw, State, alive, eventually, run } from "./support.mjs";

let agent;
before(async () => (agent = await Agent.start()));
after(() => agent.stop());

const pidOf = async (shell) => Number(await run(shell, "echo $$"));

/** Ends the shell by `act` and waits for the prompt of the next: what is typed in between goes with the old one. */
async function another(shell, act) {
  await shell.see(/\$ $/);
  const seen = shell.text().length;
  act();
  await shell.heard.until(() => /\$ $/.test(shell.text().slice(seen)), "the next prompt");
}

test("a shell that exits is started again on the same channel, with the same window", async () => {
  const crosis = await Crosis.connect(agent);
  const shell = await crosis.channel("shell");
  shell.send({ resizeTerm: { rows: 31, cols: 99 } });
  const first = await pidOf(shell);
  await run(shell, "gone=yes");
  await another(shell, () => shell.type("exit 3\n"));
  assert.ok(!alive(first));
  const second = await pidOf(shell);
  assert.notEqual(second, first);
  assert.equal(await run(shell, "echo gone $gone; stty size"), "gone\n31 99\n");
  assert.equal(shell.lives.length, 1, "the client notices nothing");
  assert.deepEqual(shell.heard.items.filter((command) => command.body === "state"), []);
  crosis.destroy();
});

test("a shell that is killed is started again", async () => {
  const crosis = await Crosis.connect(agent);
  const shell = await crosis.channel("shell");
  const first = await pidOf(shell);
  await another(shell, () => process.kill(first, "SIGKILL"));
  assert.notEqual(await pidOf(shell), first);
  crosis.destroy();
});

test("after three quick starts it stays down, says so, and the next key starts it", async () => {
  const [one, two] = [await Crosis.connect(agent), await Crosis.connect(agent)];
  const shell = await one.channel("shell", { name: "quick" });
  const down = () => shell.heard.items.find((command) => command.body === "state");
  for (let exits = 1; exits <= 4; exits += 1) {
    assert.equal(down(), undefined, `exit ${exits}`);
    if (exits <= 3) await another(shell, () => shell.type("exit\n"));
    else shell.type("exit\n");
  }
  await shell.heard.until(down, "state Stopped");
  assert.equal(down().state, State.Stopped);
  assert.equal(down().session, 0, "for everybody");

  const late = await two.channel("shell", { name: "quick" });
  await late.heard.until(() => late.heard.items.some((command) => command.state === State.Stopped), "the newcomer is told");
  assert.equal(await run(late, "echo up"), "up\n", "what was typed into the dead shell reaches the new one");
  await shell.heard.until(() => shell.heard.items.some((command) => command.state === State.Running), "state Running");
  assert.equal(await run(shell, "echo both"), "both\n");
  one.destroy();
  two.destroy();
});

test("a program in the background survives the exit of its shell, not the end of the channel", async () => {
  const crosis = await Crosis.connect(agent);
  const shell = await crosis.channel("shell");
  const pid = Number((await run(shell, "(trap '' HUP; exec sleep 1000) & echo pid $!")).match(/pid (\d+)/)[1]);
  await run(shell, "disown -a");
  await another(shell, () => shell.type("exit\n"));
  assert.ok(alive(pid));
  await shell.close();
  await eventually(() => !alive(pid), "it goes with the channel");
  crosis.destroy();
});

test("a newcomer is shown the last 1,000 lines, from the start of one, in one message for him alone", async () => {
  const [one, two] = [await Raw.connect(agent), await Raw.connect(agent)];
  const id = await one.channel("shell", { name: "long past" });
  one.send(id, { input: "PS1=; for n in {1..3000}; do echo line $n of many; done; printf 'half a l''ine'\n" });
  await one.seeText(id, "half a line");
  await two.channel("shell", { name: "long past" });
  await two.seeText(id, "half a line");
  const [shown] = two.on(id);
  assert.equal(two.on(id).length, 1);
  assert.ok(shown.session >= 2, "addressed to one session");
  const lines = shown.output.split("\r\n");
  assert.equal(lines.at(-1), "half a line");
  assert.equal(lines.length - 1, 1000);
  assert.equal(lines[0], "line 2001 of many");
  assert.equal(lines[999], "line 3000 of many");
  assert.equal(one.text(id).split("line 3000 of many").length, 2, "nothing is repeated to who was there");
  await one.close(id, Closing.CLOSE);
  await one.bye();
  await two.bye();
});

test("the past is at most 256 KiB and still begins at a line", async () => {
  const [one, two] = [await Raw.connect(agent), await Raw.connect(agent)];
  const id = await one.channel("shell", { name: "wide past" });
  one.send(id, { input: "for n in {1..900}; do printf '%s:%01000d\\n' $n 0; done; echo do''ne\n" });
  await one.seeText(id, "done\r\n");
  await two.channel("shell", { name: "wide past" });
  await two.seeText(id, "done\r\n");
  const past = two.on(id)[0].output;
  assert.ok(past.length <= 256 * 1024 && past.length > 200 * 1024, `${past.length}`);
  assert.match(past, /^\d+:0{1000}\r\n/);
  await one.close(id, Closing.CLOSE);
  await one.bye();
  await two.bye();
});

test("the past of a shell that exited is kept for those who come later", async () => {
  const [one, two] = [await Crosis.connect(agent), await Crosis.connect(agent)];
  const first = await one.channel("shell", { name: "two lives" });
  await run(first, "echo before the exit");
  await another(first, () => first.type("exit\n"));
  await run(first, "echo after the exit");
  const second = await two.channel("shell", { name: "two lives" });
  await second.see(/before the exit[^]*after the exit/);
  one.destroy();
  two.destroy();
});

test("a channel without a past sends nothing to a newcomer", async () => {
  const quiet = await Agent.start({ env: { SHELL: "/bin/cat" } });
  try {
    const raw = await Raw.connect(quiet);
    const id = await raw.channel("shell", { name: "empty" });
    const other = await Raw.connect(quiet);
    await other.channel("shell", { name: "empty" });
    await other.settle();
    assert.deepEqual(other.on(id), []);
    raw.send(id, { input: "x\n" });
    await other.seeText(id, "x\r\nx\r\n");
    await raw.bye();
    await other.bye();
  } finally {
    await quiet.stop();
  }
});

test("a named shell whose program lives outlasts its clients; an anonymous one does not", async () => {
  const first = await Crosis.connect(agent);
  const named = await first.channel("shell", { name: "outlasts" });
  const anonymous = await first.channel("shell");
  const [kept, lost] = [await pidOf(named), await pidOf(anonymous)];
  await run(named, "secret=$((6*7))");
  named.type("sleep 0.2; echo printed with no''body there\n");
  await named.see("echo printed");
  first.cut();
  first.destroy();
  await eventually(() => !alive(lost), "the anonymous shell ends");
  const second = await Crosis.connect(agent);
  const back = await second.channel("shell", { name: "outlasts" });
  assert.equal(second.notes("requestOpenChannel:openChanRes")[0].state, Opened.ATTACHED);
  await back.see("printed with nobody there");
  assert.ok(alive(kept));
  assert.equal(await run(back, "echo $$ $secret"), `${kept} 42\n`);
  second.destroy();
});

test("a named shell that exits with nobody there ends its channel", async () => {
  const raw = await Raw.connect(agent);
  const id = await raw.channel("shell", { name: "exits alone" });
  raw.send(id, { input: "echo pid $$; while [ ! -e go ]; do sleep 0.02; done; exit\n" });
  const pid = Number((await raw.seeText(id, /pid (\d+)\r\n/))[1]);
  await raw.close(id, Closing.DISCONNECT);
  assert.ok(alive(pid));
  const { writeFileSync } = await import("node:fs");
  writeFileSync(`${agent.root}/go`, "");
  await eventually(() => !alive(pid), "it exits");
  // CREATE, because whoever attached would keep it.
  const free = async () => (await raw.open("shell", { name: "exits alone", action: Action.CREATE })).state === Opened.CREATED;
  await eventually(free, "the channel is gone and its name is free");
  await raw.bye();
});

test("--keep-shells bounds how long a named shell is kept with nobody there", async () => {
  const forgetful = await Agent.start({ args: ["--keep-shells", "0.3"] });
  try {
    const crosis = await Crosis.connect(forgetful);
    const shell = await crosis.channel("shell", { name: "kept for a while" });
    const pid = await pidOf(shell);
    crosis.cut();
    await shell.opened(2);
    assert.equal(await pidOf(shell), pid, "back within the time it is still there");
    crosis.destroy();
    await eventually(() => !alive(pid), "the shell is ended");
  } finally {
    await forgetful.stop();
  }
});
