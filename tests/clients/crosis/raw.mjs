// A bare WebSocket for what the published client cannot express.

import assert from "node:assert/strict";
import { once } from "node:events";

import WebSocket from "ws";

import { Action, Closing, Log, api } from "./support.mjs";

/** A bare WebSocket that speaks Commands and keeps every frame, in the order of arrival. */
export class Raw {
  heard = new Log();
  #asked = 0;

  /** Connects; with `ready` (the usual) waits for the agent's READY. `codec` is `contract` for `process` messages. */
  static async connect(agent, { token = agent.token, ready = true, codec = api.Command, ...options } = {}) {
    const self = new Raw();
    self.codec = codec;
    self.socket = new WebSocket(`${agent.gurl}/wsv2/${encodeURIComponent(token)}`, options);
    agent.leftovers.add(() => self.socket.terminate());
    self.socket.binaryType = "nodebuffer";
    self.socket.on("message", (data, isBinary) => {
      assert.ok(isBinary, "every message of the agent is binary");
      self.heard.push(codec.decode(data));
    });
    self.socket.on("close", (code, reason) => {
      self.closed = { code, reason: reason.toString() };
      self.heard.poke();
    });
    self.socket.on("error", (error) => {
      self.error = error;
      self.heard.poke();
    });
    if (ready) await self.see((command) => command.containerState, "READY");
    return self;
  }

  /** All frames so far. */
  get frames() {
    return this.heard.items;
  }

  /** Sends bytes as one message, whatever they are. */
  sendBytes(bytes) {
    this.socket.send(bytes);
  }

  send(channel, body, ref = "", session = 0) {
    this.sendBytes(this.codec.encode(this.codec.create({ ...body, channel, ref, session })).finish());
  }

  /** Sends with a `ref` and waits for the first message that carries it. */
  async request(channel, body, deadlineMs) {
    const ref = `r${(this.#asked += 1)}`;
    this.send(channel, body, ref);
    return this.see((command) => command.ref === ref, `an answer to ${Object.keys(body)}`, deadlineMs);
  }

  /** Waits for the first frame, past or future, that `matches`. */
  see(matches, what, deadlineMs) {
    return this.heard.until(() => this.frames.find(matches) ?? this.#gone(what), what, deadlineMs);
  }

  #gone(what) {
    if (this.closed) throw new Error(`closed (${JSON.stringify(this.closed)}) while waiting for ${what}`);
    return undefined;
  }

  async open(service, { name = "", action = name ? Action.ATTACH_OR_CREATE : Action.CREATE } = {}) {
    return (await this.request(0, { openChan: { service, name, action } })).openChanRes;
  }

  /** Opens a channel that has to open; its number. */
  async channel(service, options) {
    const opened = await this.open(service, options);
    assert.equal(opened.error, "");
    return opened.id;
  }

  async close(id, action = Closing.TRY_CLOSE) {
    const { id: closed, status } = (await this.request(0, { closeChan: { id, action } })).closeChanRes;
    return { id: closed, status };
  }

  /** What was heard on one channel. */
  on(channel) {
    return this.frames.filter((command) => command.channel === channel);
  }

  text(channel) {
    return this.on(channel)
      .map((command) => command.output)
      .join("");
  }

  async seeText(channel, wanted, deadlineMs) {
    const found = () => (typeof wanted === "string" ? this.text(channel).includes(wanted) : wanted.exec(this.text(channel)));
    return this.heard.until(() => found() || this.#gone(wanted), `output with ${wanted}`, deadlineMs);
  }

  /** Waits until the connection is over; its code and reason. */
  ended(deadlineMs) {
    return this.heard.until(() => this.closed, "the end of the connection", deadlineMs);
  }

  /** Everything sent before this has been handled, and all that it was answered at once has arrived. */
  async settle() {
    await this.request(0, { ping: {} });
  }

  async bye() {
    if (!this.closed) this.socket.close();
    await this.ended();
  }
}
