// An agent, the control plane beside it as a program of its own, and the published JavaScript SDK pointed at both.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, realpathSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { ModalClient } from "modal";

import { Agent } from "../agent.mjs";

export * from "../agent.mjs";

export const SANDBOX = "sb-0000000000000000000000";

/** Starts an agent that has a file of secrets, with this text. */
export async function startAgent({ secrets = "" } = {}) {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "pid1-modal-")));
  const file = join(folder, "secrets.toml");
  writeFileSync(file, secrets);
  const agent = await Agent.start({ folder, args: ["--tls-self-signed", "--secrets", file] });
  agent.secrets = file;
  return agent;
}

/** A sandbox that is this agent. */
export async function connectTo(agent, { port = agent.port, token = agent.token, id = SANDBOX } = {}) {
  const python = process.env.CONTROL_PLANE_PYTHON ?? "python3";
  const helper = fileURLToPath(new URL("control_plane.py", import.meta.url));
  const child = spawn(python, ["-B", helper, "--secrets", agent.secrets, `http://127.0.0.1:${port}/#token=${token}`], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [url] = await once(createInterface(child.stdout), "line");
  // The SDK looks for it when a client is made.
  process.env.MODAL_SERVER_URL = url;
  const modal = new ModalClient({ tokenId: "ak-tests", tokenSecret: "as-tests", logLevel: "error" });
  const sandbox = await modal.sandboxes.fromId(id);
  agent.leftovers.add(() => {
    sandbox.detach();
    modal.close();
    child.kill();
  });
  return { modal, sandbox };
}

/** A line to an agent that can be cut. */
export class Line {
  cuts = 0;
  passed = 0;
  #ends = new Set();
  #breakAt = Infinity;

  static async to(agent) {
    const self = new Line();
    self.server = createServer((client) => {
      const server = connect(agent.port, "127.0.0.1");
      for (const [end, other] of [[client, server], [server, client]]) {
        self.#ends.add(end);
        end.on("error", () => other.destroy());
        end.on("close", () => other.destroy());
        end.on("data", (data) => {
          self.passed += data.length;
          if (!other.write(data)) {
            end.pause();
            other.once("drain", () => end.resume());
          }
          if (self.passed >= self.#breakAt) self.cut();
        });
      }
    });
    self.server.listen(0, "127.0.0.1");
    await once(self.server, "listening");
    self.port = self.server.address().port;
    agent.leftovers.add(() => self.close());
    return self;
  }

  /** Breaks when so many more bytes have passed, either way. */
  breakAfter(count) {
    this.#breakAt = this.passed + count;
  }

  /** As a lost network does it: nothing is said. */
  cut() {
    this.#breakAt = Infinity;
    if (this.#ends.size > 0) this.cuts += 1;
    for (const end of this.#ends) end.destroy();
    this.#ends.clear();
  }

  close() {
    this.cut();
    this.server.close();
  }
}

/** Fails unless the promise is rejected in time, with an error that `check` accepts. */
export async function refused(promise, check, withinMs = 2_000) {
  const began = Date.now();
  await assert.rejects(promise, check);
  assert.ok(Date.now() - began < withinMs, `refused after ${Date.now() - began} ms`);
}
