// What all the tests stand on: the agent as a process of its own, the published client driving it, and a bare
// socket for what that client cannot express.

import assert from "node:assert/strict";

import crosis from "@replit/crosis";
import protocol from "@replit/protocol";
import protobuf from "protobufjs";
import WebSocket from "ws";

import { Log, repository } from "../agent.mjs";

export * from "../agent.mjs";
export { Raw } from "./raw.mjs";

// The client uses the global one when it is redirected; older Node has none.
globalThis.WebSocket ??= WebSocket;

export const { api } = protocol;
export const { Action } = api.OpenChannel;
export const Closing = api.CloseChannel.Action;
export const Closed = api.CloseChannelRes.Status;
export const Opened = api.OpenChannelRes.State;
export const { State } = api;

/** The agent's own contract: the published messages and those of its `process` service. */
export const contract = new protobuf.Root()
  .loadSync(process.env.PID1_API_PROTO ?? repository("api.proto"))
  .lookupType("api.Command");

/** The published client, unmodified, with a record of all that it said and heard. */
export class Crosis {
  crumbs = new Log();
  errors = [];
  chan0s = [];
  fetched = 0;
  connected = 0;

  constructor(agent, { metadata, ...options } = {}) {
    this.agent = agent;
    this.client = new crosis.Client();
    agent.leftovers.add(() => this.client.destroy());
    this.client.setUnrecoverableErrorHandler((error) => {
      this.errors.push(error);
      this.crumbs.poke();
    });
    this.client.onDebugLog((entry) => this.crumbs.push(entry));
    this.options = {
      fetchConnectionMetadata: async () => {
        this.fetched += 1;
        const own = { token: agent.token, gurl: agent.gurl, conmanURL: agent.gurl, dotdevHostname: "" };
        return { error: null, ...own, ...metadata?.(this.fetched) };
      },
      WebSocketClass: WebSocket,
      context: null,
      ...options,
    };
  }

  /** Connects and waits for it. */
  static async connect(agent, options) {
    const self = new Crosis(agent, options);
    self.open();
    await self.ready();
    return self;
  }

  open() {
    this.client.open(this.options, ({ channel }) => {
      this.connected += 1;
      this.chan0 = channel;
      this.crumbs.poke();
    });
  }

  /** Waits until it has been connected `times` times in all. */
  async ready(times = 1) {
    await this.crumbs.until(() => this.failed() || this.connected >= times, `connection ${times}`);
  }

  failed() {
    if (this.errors.length > 0) throw this.errors[0];
    return false;
  }

  /** Asks for a channel, without waiting for it. */
  openChannel(service, { name, action } = {}) {
    return new CrosisChannel(this, service, name, action);
  }

  /** Opens a channel and waits for it. */
  async channel(service, options) {
    const channel = this.openChannel(service, options);
    await channel.opened();
    return channel;
  }

  /** What the client itself notes under `message`, oldest first. */
  notes(message) {
    return this.crumbs.items.filter((entry) => entry.message === message).map((entry) => entry.data);
  }

  /** Cuts the line in the way a lost network does: no goodbye is said. */
  cut() {
    this.client.ws.terminate();
  }

  destroy() {
    this.client.destroy();
    assert.deepEqual(this.errors, [], "the client met something it cannot live with");
  }
}

/** A channel of the published client, over all its reconnections. */
export class CrosisChannel {
  heard = new Log();
  /** One entry for each time it was opened. */
  lives = [];
  ends = [];

  constructor(owner, service, name, action) {
    this.owner = owner;
    this.closeNow = owner.client.openChannel({ service, name, action }, ({ channel }) => {
      this.channel = channel;
      const life = { id: channel.id, commands: [] };
      this.lives.push(life);
      channel.onCommand((command) => {
        life.commands.push(command);
        this.heard.push(command);
      });
      owner.crumbs.poke();
      return (reason) => {
        this.ends.push(reason);
        owner.crumbs.poke();
      };
    });
  }

  get id() {
    return this.channel.id;
  }

  async opened(times = 1) {
    await this.owner.crumbs.until(() => this.owner.failed() || this.lives.length >= times, `open number ${times}`);
    return this;
  }

  /** Asks the client to close it and waits until it has. The status that the agent answered. */
  async close() {
    const { id } = this;
    this.closeNow();
    await this.owner.crumbs.until(() => this.owner.failed() || this.ends.some((end) => end.initiator === "channel"), "closed");
    return this.owner.notes("requestCloseChannel:closeChanRes").find((note) => note.id === id).closeStatus;
  }

  send(body) {
    this.channel.send(body);
  }

  request(body) {
    return this.channel.request(body);
  }

  type(text) {
    this.send({ input: text });
  }

  /** All output of the present life (or of life number `life`), joined. */
  text(life = this.lives.length - 1) {
    return this.lives[life].commands.map((command) => command.output).join("");
  }

  /** Waits until the output holds `wanted`, a string or a regular expression. */
  async see(wanted, deadlineMs) {
    const found = () => (typeof wanted === "string" ? this.text().includes(wanted) : wanted.exec(this.text()));
    return this.heard.until(() => this.owner.failed() || found(), `output with ${wanted}`, deadlineMs).catch((error) => {
      throw new Error(`${error.message}; output so far: ${JSON.stringify(this.text().slice(-1000))}`);
    });
  }

  /** The bodies heard, by name, without output. */
  bodies() {
    return this.heard.items.map((command) => command.body);
  }
}

let marks = 0;

/** Types `line` into a shell, waits until it is done, and gives what it printed, without carriage returns. */
export async function run(shell, line, deadlineMs) {
  const mark = (marks += 1);
  // A mark as typed differs from the mark as printed, so the terminal's echo is not taken for the answer.
  shell.type(`printf '<%s>\\n' begin$((${mark})); ${line}; printf '<%s>\\n' end$((${mark}))\n`);
  const printed = await shell.see(new RegExp(`<begin${mark}>\r\n([^]*?)<end${mark}>`), deadlineMs);
  return printed[1].replaceAll("\r", "");
}
