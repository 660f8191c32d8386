// What all the tests stand on: the agent as a process of its own, the published client driving it, and a bare
// socket for what that client cannot express.
//
// PID1_BIN is the program under test; without it the debug build of this repository. Every wait is for a condition
// and has a deadline.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import crosis from "@replit/crosis";
import protocol from "@replit/protocol";
import protobuf from "protobufjs";
import WebSocket from "ws";

export { Raw } from "./raw.mjs";

// The client uses the global one when it is redirected; older Node has none.
globalThis.WebSocket ??= WebSocket;

export const { api } = protocol;
export const { Action } = api.OpenChannel;
export const Closing = api.CloseChannel.Action;
export const Closed = api.CloseChannelRes.Status;
export const Opened = api.OpenChannelRes.State;
export const { State } = api;

/** How long a condition may take: ten times and more what it needs on a slow machine. */
export const DEADLINE_MS = 15_000;

const repository = (path) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
export const BINARY = process.env.PID1_BIN ?? repository("target/debug/pid1");

/** The agent's own contract: the published messages and those of its `process` service. */
export const contract = new protobuf.Root()
  .loadSync(process.env.PID1_API_PROTO ?? repository("api.proto"))
  .lookupType("api.Command");

/** Looks again and again until `condition` gives something, and gives that. For what tells nobody when it changes. */
export async function eventually(condition, what, deadlineMs = DEADLINE_MS) {
  const end = Date.now() + deadlineMs;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > end) throw new Error(`${deadlineMs} ms have passed without: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A list that can be waited on. */
export class Log {
  items = [];
  #waiting = new Set();

  push(item) {
    this.items.push(item);
    this.poke();
  }

  /** Something that conditions look at has changed. */
  poke() {
    for (const check of [...this.#waiting]) check();
  }

  /** Resolves with the first truthy result of `condition`, which is asked again at each change. */
  until(condition, what, deadlineMs = DEADLINE_MS) {
    const found = condition();
    if (found) return Promise.resolve(found);
    return new Promise((resolve, reject) => {
      const end = (settle, value) => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        settle(value);
      };
      const check = () => {
        try {
          const now = condition();
          if (now) end(resolve, now);
        } catch (error) {
          end(reject, error);
        }
      };
      const timer = setTimeout(
        () => end(reject, new Error(`${deadlineMs} ms have passed without: ${what}; last seen: ${this.#last()}`)),
        deadlineMs,
      );
      this.#waiting.add(check);
    });
  }

  #last() {
    return JSON.stringify(this.items.slice(-5)).slice(-1500);
  }
}

/** One running agent with a workspace, a home and a state folder of its own. */
export class Agent {
  /** Ends of the clients that a failed test may have left. */
  leftovers = new Set();

  /** Starts one; `args` and `env` are added to the usual ones. With `token: null` it makes its own. */
  static async start({ token = "a-token-of-these-tests", args = [], env = {}, port = 0, folder } = {}) {
    const agent = new Agent();
    agent.folder = folder ?? realpathSync(mkdtempSync(join(tmpdir(), "pid1-crosis-")));
    agent.token = token;
    for (const name of ["root", "home", "state"]) {
      agent[name] = join(agent.folder, name);
      mkdirSync(agent[name], { recursive: true });
    }
    // A prompt that can be told from everything else, and no escape sequences around what is typed.
    writeFileSync(join(agent.home, ".bashrc"), "PS1='$ '\nunset PROMPT_COMMAND HISTFILE\n");
    writeFileSync(join(agent.home, ".inputrc"), "set enable-bracketed-paste off\nset bell-style none\n");
    const all = ["--root", agent.root, "--state-dir", agent.state, "--listen", `127.0.0.1:${port}`];
    agent.process = spawn(BINARY, [...all, "--stop-grace", "1", ...args], {
      env: { PATH: process.env.PATH, HOME: agent.home, SHELL: "/bin/bash", LANG: "C.UTF-8", ...(token && { PID1_TOKEN: token }), ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    agent.stderr = "";
    agent.process.stderr.setEncoding("utf8").on("data", (text) => (agent.stderr += text));
    const line = new Log();
    let stdout = "";
    agent.process.stdout.setEncoding("utf8").on("data", (text) => {
      stdout += text;
      line.poke();
    });
    agent.process.once("exit", (code, signal) => {
      agent.exit = { code, signal };
      line.poke();
    });
    // Not even a test run that is cut short leaves one behind.
    const orphaned = () => agent.process.kill("SIGKILL");
    process.once("exit", orphaned);
    agent.process.once("exit", () => process.removeListener("exit", orphaned));
    await line.until(() => stdout.includes("\n") || agent.exit, "the line with the URL");
    assert.equal(agent.exit, undefined, `the agent ended at once: ${agent.stderr}`);
    agent.page = stdout.trim();
    agent.port = Number(new URL(agent.page).port);
    agent.token ??= new URL(agent.page).hash.slice("#token=".length);
    return agent;
  }

  get pid() {
    return this.process.pid;
  }

  /** Where its WebSocket is, without a path. */
  get gurl() {
    return `ws://127.0.0.1:${this.port}`;
  }

  /** The pids of its children that run. */
  children() {
    return readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, "utf8").split(" ").filter(Boolean).map(Number).filter(alive);
  }

  /** Fails if the agent has died or a part of it has panicked. */
  assertWell() {
    assert.equal(this.exit, undefined, `the agent died: ${this.stderr}`);
    assert.doesNotMatch(this.stderr, /panicked/);
  }

  /** Ends it, in good order, and takes its folders and clients away unless another follows. A dead or panicked agent fails here. */
  async stop({ successor = false } = {}) {
    try {
      this.assertWell();
      this.process.kill("SIGTERM");
      await eventually(() => this.exit, "the agent ends after TERM");
      assert.deepEqual(this.exit, { code: 0, signal: null }, this.stderr);
    } finally {
      if (!this.exit) {
        this.process.kill("SIGKILL");
        await once(this.process, "exit");
      }
      if (!successor) {
        for (const end of this.leftovers) end();
        rmSync(this.folder, { recursive: true, force: true });
      }
    }
  }
}

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

/** The command lines of all living processes, by pid; a zombie has none and is not listed. */
export function processes() {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const lines = pids.map((pid) => {
    try {
      return [Number(pid), readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").join(" ").trim()];
    } catch {
      return [Number(pid), ""]; // it ended meanwhile
    }
  });
  return new Map(lines.filter(([, line]) => line !== ""));
}

/** Whether `pid` runs: a zombie does not. */
export function alive(pid) {
  if (!existsSync(`/proc/${pid}/stat`)) return false;
  try {
    return !/^\d+ \(.*\) [ZX] /s.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}
