// What the suites of clients have in common: the agent as a process of its own, and waits. No packages are needed here.
//
// PID1_BIN is the program under test; without it the debug build of this repository. Every wait is for a condition
// and has a deadline.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** How long a condition may take: ten times and more what it needs on a slow machine. */
export const DEADLINE_MS = 15_000;

/** The absolute path of a file of this repository. */
export const repository = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
export const BINARY = process.env.PID1_BIN ?? repository("target/debug/pid1");

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
    agent.folder = folder ?? realpathSync(mkdtempSync(join(tmpdir(), "pid1-clients-")));
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
