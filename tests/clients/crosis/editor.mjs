// An editor as the published ones are: text-unicode ops from the npm package `ot-text-unicode`, checksums from `crc-32`,
// one change under way, one gathered behind it, everything else transformed. It believes nothing that it cannot check.

import assert from "node:assert/strict";

import CRC32 from "crc-32";
import otTextUnicode from "ot-text-unicode";

const { type } = otTextUnicode;

const crc32 = (text) => CRC32.str(text) >>> 0;

/** From the wire to the library: skips are numbers, inserts strings, deletes objects. */
const fromWire = (steps) => steps.map((step) => step.insert || step.skip || { d: step.delete });

const toWire = (op) =>
  op.map((step) => {
    if (typeof step === "number") return { skip: step };
    return typeof step === "string" ? { insert: step } : { delete: step.d };
  });

export class Editor {
  /** What is on the screen, and what the agent has. */
  shown = "";
  known = "";
  version = 0;
  inflight;
  gathered;
  /** Changes that were acknowledged, by ref or by their return. */
  acknowledged = 0;
  #nonce = Math.floor(Math.random() * 2 ** 31);
  #life = 0;

  constructor(channel, path) {
    this.channel = channel;
    this.path = path;
  }

  /** Opens the document on a channel that has just been opened. */
  static async open(crosis, path) {
    const channel = await crosis.channel("ot", { name: `ot:${path}` });
    const editor = new Editor(channel, path);
    const { otstatus } = await channel.heard.until(() => channel.heard.items.find(({ body }) => body === "otstatus"), "otstatus");
    if (otstatus.linkedFile) {
      editor.#take(otstatus.contents, otstatus.version);
    } else {
      const { otLinkFileResponse, error } = await channel.request({ otLinkFile: { file: { path } } });
      assert.ok(otLinkFileResponse, error);
      // As clients of 2020 do it: from the first packet.
      const { ot } = channel.heard.items.find(({ body }) => body === "ot");
      editor.#take(type.apply("", fromWire(ot.op)), ot.version);
      assert.equal(ot.crc32 >>> 0, crc32(editor.known));
      assert.equal(Buffer.from(otLinkFileResponse.linkedFile.content).toString(), editor.known);
    }
    editor.#listen(channel.lives.at(-1).commands);
    return editor;
  }

  #take(text, version) {
    this.shown = this.known = text;
    this.version = version;
  }

  /** From here on packets are applied as they come; those that came already are older. */
  #listen(commands) {
    const life = (this.#life += 1);
    this.channel.channel.onCommand((command) => {
      if (life === this.#life && command.body === "ot") this.#apply(command.ot);
    });
    for (const { body, ot } of commands) if (body === "ot" && ot.version > this.version) this.#apply(ot);
  }

  #apply({ version, spookyVersion, op: steps, crc32: sum, nonce }) {
    if (version <= this.version) return;
    assert.equal(version, this.version + 1, "a version was left out");
    assert.equal(spookyVersion, version);
    let op = fromWire(steps);
    type.checkOp(op);
    this.version = version;
    this.known = type.apply(this.known, op);
    assert.equal(sum >>> 0, crc32(this.known), `the checksum of version ${version}`);
    if (this.inflight?.nonce === nonce) {
      assert.deepEqual(op, this.inflight.op, "the own change comes back as it is expected");
      this.inflight = undefined;
      this.acknowledged += 1;
      if (!this.gathered) assert.equal(this.shown, this.known);
      this.#send();
    } else {
      for (const own of [this.inflight, this.gathered]) {
        if (!own) continue;
        const theirs = type.transform(op, own.op, "left");
        own.op = type.transform(own.op, op, "right");
        op = theirs;
      }
      this.shown = type.apply(this.shown, op);
    }
    this.channel.heard.poke();
  }

  /** Changes what is shown, as a person does; it is sent when it is its turn. */
  edit(op) {
    op = type.normalize(op);
    this.shown = type.apply(this.shown, op);
    this.gathered = { op: this.gathered ? type.compose(this.gathered.op, op) : op };
    this.#send();
  }

  #send() {
    if (this.inflight || !this.gathered) return;
    this.inflight = { op: this.gathered.op, nonce: (this.#nonce += 1) };
    this.gathered = undefined;
    this.#submit();
  }

  #submit() {
    const { op, nonce } = this.inflight;
    this.channel.send({ ot: { spookyVersion: this.version, op: toWire(op), nonce } });
  }

  /** The connection was lost and is there again: fetches what it missed, and sends again what did not arrive. */
  async resume() {
    this.#life += 1;
    const life = this.channel.lives.at(-1);
    const { otstatus } = await this.channel.heard.until(() => life.commands.find(({ body }) => body === "otstatus"), "otstatus");
    assert.ok(otstatus.version >= this.version, "versions go on");
    if (otstatus.version > this.version) {
      const versions = { versionFrom: this.version + 1, versionTo: otstatus.version };
      const { otFetchResponse, error } = await this.channel.request({ otFetchRequest: versions });
      assert.ok(otFetchResponse, error);
      const under = this.inflight;
      for (const packet of otFetchResponse.packets) this.#apply(packet);
      assert.equal(this.known, otstatus.contents);
      this.#listen(life.commands);
      if (under && this.inflight === under) this.#submit();
      return;
    }
    assert.equal(this.known, otstatus.contents);
    this.#listen(life.commands);
    if (this.inflight) this.#submit();
  }

  /** Waits until all that was edited here is acknowledged. */
  async quiet(deadlineMs) {
    await this.channel.heard.until(() => this.channel.owner.failed() || !this.inflight, "all is acknowledged", deadlineMs);
  }
}
