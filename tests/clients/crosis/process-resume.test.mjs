// The process service over lost connections: input sent again is not doubled, output goes on where it was, nothing is
// skipped for those who hold the program, and how long it all is kept.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { after, before, test } from "node:test";

import { Action, Agent, Closing, Opened, Raw, alive, contract, eventually } from "./support.mjs";

const Cause = contract.root.lookupEnum("api.ProcessExited.Cause").values;

let agent;
before(async () => (agent = await Agent.start()));
after(() => agent.stop());

const connect = () => Raw.connect(agent, { codec: contract });
const sha256 = (data) => createHash("sha256").update(data).digest("hex");

/** One client that follows a named program over any number of connections, as a careful program would. */
class Follower {
  seen = [];
  next = 0;
  gaps = [];

  static async start(name, processStart) {
    const self = new Follower();
    self.name = name;
    await self.connect(Action.CREATE);
    const answer = await self.raw.request(self.id, { processStart });
    assert.equal(answer.body, "processStarted", answer.error);
    self.pid = answer.processStarted.pid;
    return self;
  }

  async connect(action) {
    this.raw = await connect();
    const answer = await this.raw.open("process", { name: this.name, action });
    assert.equal(answer.error, "");
    this.id = answer.id;
    this.taken = 0;
  }

  /** Takes what has come; each piece must go on where the one before it ended. */
  read() {
    for (; this.taken < this.raw.frames.length; this.taken += 1) {
      const command = this.raw.frames[this.taken];
      if (command.channel !== this.id) continue;
      if (command.body === "processGap") this.gaps.push(command.processGap);
      if (command.body === "processExited") this.exited = command.processExited;
      if (command.body !== "processOutput") continue;
      assert.equal(Number(command.processOutput.offset), this.next, "no hole, no repetition");
      this.next += command.processOutput.data.length;
      this.seen.push(command.processOutput.data);
    }
    return this.next;
  }

  /** The line is cut without a goodbye, and a new one is made. */
  async reconnect() {
    this.raw.socket.terminate();
    await this.raw.ended();
    this.read();
    await this.connect(Action.ATTACH);
    const answer = await this.raw.request(this.id, { processAttach: { stdoutFrom: this.next } });
    assert.equal(answer.body, "processStarted", answer.error);
    assert.equal(answer.processStarted.pid, this.pid, "the very same program");
    return Number(answer.processStarted.stdinTaken);
  }

  /** Waits for the end of the program. */
  async end() {
    await this.raw.heard.until(() => this.raw.frames.some((command) => command.body === "processExited"), "processExited", 30_000);
    this.read();
    return Buffer.concat(this.seen);
  }
}

test("a transfer both ways whose line is cut again and again arrives byte for byte", async () => {
  const data = randomBytes(8_000_000);
  const follower = await Follower.start("cut and cut", { args: ["cat"] });
  const piece = 50_000;
  let offset = 0;
  for (let cut = 0; offset < data.length; cut += 1) {
    // Some pieces in flight whose fate is not known when the line goes.
    for (let ahead = 0; ahead < 7 && offset < data.length; ahead += 1, offset += piece) {
      follower.raw.send(follower.id, { processStdin: { offset, data: data.subarray(offset, offset + piece) } });
    }
    await follower.raw.heard.until(() => follower.raw.frames.length > 4 + (cut % 5), "something comes");
    const taken = await follower.reconnect();
    assert.ok(taken <= offset && taken % piece === 0, `${taken} of ${offset}`);
    offset = cut % 3 === 0 ? Math.max(0, taken - 2 * piece) : taken; // sending too much is harmless
  }
  const rest = await follower.raw.request(follower.id, { processStdin: { offset: data.length, eof: true } });
  assert.equal(Number(rest.processStdinTaken?.offset), data.length, rest.error);
  const all = await follower.end();
  assert.equal(all.length, data.length);
  assert.equal(sha256(all), sha256(data));
  assert.deepEqual(follower.gaps, []);
  assert.equal(Number(follower.exited.stdoutEnd), data.length);
  await follower.raw.close(follower.id, Closing.CLOSE);
  await follower.raw.bye();
});

test("input that the agent has is dropped, in whole and in part; a hole is refused", async () => {
  const raw = await connect();
  const id = await raw.channel("process");
  await raw.request(id, { processStart: { args: ["cat"] } });
  const send = (offset, text, eof = false) => raw.request(id, { processStdin: { offset, data: Buffer.from(text), eof } });
  const taken = (answer) => Number(answer.processStdinTaken?.offset);
  assert.equal(taken(await send(0, "0123")), 4);
  assert.equal(taken(await send(0, "0123")), 4, "sent again");
  assert.equal(taken(await send(2, "2345")), 6, "overlapping");
  assert.equal(taken(await send(0, "01")), 6, "long known");
  const hole = await send(7, "7");
  assert.equal(hole.body, "error");
  assert.match(hole.error, /offset 7 leaves a hole: 6 bytes/);
  const far = await raw.request(id, { processStdin: { offset: Number.MAX_SAFE_INTEGER, data: Buffer.from("x") } });
  assert.match(far.error, /leaves a hole/);
  assert.equal(taken(await send(6, "67", true)), 8);
  const exit = await raw.see((command) => command.body === "processExited", "the end");
  assert.equal(Number(exit.processExited.stdoutEnd), 8);
  assert.equal(raw.on(id).map((command) => command.processOutput?.data ?? "").join(""), "01234567");
  await raw.bye();
});

test("what was printed with nobody there is kept, and so is the end", async () => {
  const script = "echo first; read go; head -c 6000000 /dev/zero | tr '\\0' x; echo; echo last; exit 9";
  const follower = await Follower.start("alone", { args: ["sh", "-c", script] });
  await follower.raw.heard.until(() => follower.read() >= 6, "first");
  follower.raw.send(follower.id, { processStdin: { offset: 0, data: Buffer.from("go\n") } });
  await follower.raw.request(follower.id, { processList: {} });
  follower.raw.socket.terminate();
  await eventually(() => !alive(follower.pid), "it ends with nobody there: nobody holds it back");
  await follower.reconnect();
  const all = await follower.end();
  assert.equal(all.length, 6 + 6_000_001 + 5);
  assert.ok(all.subarray(-7).equals(Buffer.from("x\nlast\n")));
  assert.equal(follower.exited.code, 9);
  assert.equal(follower.exited.cause, Cause.EXITED);
  await follower.raw.bye();
});

test("attaching from any offset gives exactly the rest", async () => {
  const raw = await connect();
  const id = await raw.channel("process", { name: "offsets" });
  await raw.request(id, { processStart: { args: ["sh", "-c", "printf 0123456789; printf abcdef >&2"] } });
  await raw.see((command) => command.body === "processExited", "the end");
  for (const [stdoutFrom, stderrFrom, out, err] of [[0, 0, "0123456789", "abcdef"], [4, 6, "456789", ""], [10, 3, "", "def"], [50, 50, "", ""]]) {
    const from = raw.frames.length;
    const answer = await raw.request(id, { processAttach: { stdoutFrom, stderrFrom } });
    assert.equal(answer.body, "processStarted");
    await raw.heard.until(() => raw.frames.slice(from).some((command) => command.body === "processExited"), `the end after ${stdoutFrom}`);
    const heard = raw.frames.slice(from).filter((command) => command.channel === id);
    const text = (stream) =>
      heard.filter((command) => command.processOutput?.stream === stream).map((command) => command.processOutput.data).join("");
    assert.deepEqual([text(0), text(1)], [out, err]);
    assert.equal(heard[0].body, "processStarted", "first of all which program it is");
    assert.equal(heard.at(-1).body, "processExited");
  }
  await raw.close(id, Closing.CLOSE);
  await raw.bye();
});

test("who holds a program never meets a gap, however slowly it reads", async () => {
  const raw = await connect();
  const id = await raw.channel("process");
  raw.send(id, { processStart: { args: ["sh", "-c", "yes | head -c 40000000"] } }, "start");
  await raw.see((command) => command.body === "processOutput", "output");
  for (let pause = 0; pause < 3; pause += 1) {
    raw.socket.pause();
    const other = await connect(); // meanwhile the agent serves others
    await other.settle();
    await other.bye();
    const before = raw.frames.length;
    raw.socket.resume();
    await raw.heard.until(() => raw.frames.length > before + 20 || raw.frames.at(-1).body === "processExited", "more");
  }
  await raw.see((command) => command.body === "processExited", "the end");
  assert.equal(raw.frames.filter((command) => command.body === "processGap").length, 0);
  const bytes = raw.on(id).reduce((sum, command) => sum + (command.processOutput?.data.length ?? 0), 0);
  assert.equal(bytes, 40_000_000);
  await raw.bye();
});

test("two members of one channel each read at their own pace; an onlooker by pid or id ends nothing", async () => {
  const [one, two] = [await connect(), await connect()];
  const id = await one.channel("process", { name: "three readers" });
  const started = (await one.request(id, { processStart: { args: ["sh", "-c", "echo begin; read line; echo \"got $line\""] } })).processStarted;
  await two.channel("process", { name: "three readers" });
  await two.settle();
  assert.deepEqual(two.on(id), [], "who only joins is sent nothing before it asks");
  assert.equal((await two.request(id, { processAttach: {} })).processStarted.pid, started.pid);
  for (const target of [{ pid: started.pid }, { id: started.id }]) {
    const look = await two.channel("process");
    const found = await two.request(look, { processAttach: target });
    assert.equal(found.processStarted?.pid, started.pid, found.error);
    await two.see((command) => command.channel === look && command.body === "processOutput", "the past");
    await two.close(look, Closing.CLOSE);
    assert.ok(alive(started.pid), "it is not the onlooker's to end");
  }
  await two.request(id, { processStdin: { data: Buffer.from("this\n") } });
  for (const raw of [one, two]) {
    await raw.see((command) => command.channel === id && command.body === "processExited", "the end");
    assert.equal(raw.on(id).map((command) => command.processOutput?.data ?? "").join(""), "begin\ngot this\n");
  }
  const missing = await two.request(await two.channel("process"), { processAttach: { pid: 2147483647 } });
  assert.match(missing.error, /no program with pid 2147483647/);
  await Promise.all([one.bye(), two.bye()]);
});

test("an anonymous program ends with its client, a named one keepSeconds after its last member", async () => {
  const raw = await connect();
  const anonymous = await raw.channel("process");
  const named = await raw.channel("process", { name: "for a second" });
  const pid = async (id, keepSeconds) =>
    (await raw.request(id, { processStart: { args: ["sleep", "1000"], keepSeconds } })).processStarted.pid;
  const [lost, kept] = [await pid(anonymous, 100), await pid(named, 1)];
  raw.socket.terminate();
  const cut = Date.now();
  await eventually(() => !alive(lost), "the anonymous one ends");
  assert.ok(alive(kept));
  const back = await connect();
  assert.equal((await back.open("process", { name: "for a second", action: Action.ATTACH })).state, Opened.ATTACHED);
  await eventually(() => Date.now() > cut + 1300, "its time has passed");
  assert.ok(alive(kept), "somebody came back in time");
  await back.bye();
  await eventually(() => !alive(kept), "now it is over");
});
