// The published client, unmodified, on an agent that knows its session; and a record of all that a call tells.

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";

import grpc from "@grpc/grpc-js";
import { VoltClient } from "@tdxvolt/volt-client-grpc";

import { Agent, Log } from "../agent.mjs";
import { certify, makeKey } from "./certificate.mjs";

export * from "../agent.mjs";

export const SESSION = "session-of-these-tests";
export const VOLT = "did:volt:of-these-tests";

/** What every client here has; making keys and certificates is the client's own business. */
export const KEY = makeKey();
const CERTIFICATE = certify(KEY, SESSION);

/** Starts an agent that lets this file's session in, over TLS with a certificate it made itself. */
export function startAgent({ args = [], key = KEY.hex, ...options } = {}) {
  const volt = ["--tls-self-signed", "--volt-id", VOLT, "--volt-key", `${SESSION}=${key}`];
  return Agent.start({ ...options, args: [...volt, ...args] });
}

/** The certificate that an agent made itself: what its clients are told to trust. */
export const selfMade = (agent) => readFileSync(join(agent.state, "tls-cert.pem"), "utf8");

/** The published client, ready for calls. */
export class Volt {
  static async connect(agent, { id = VOLT, session = SESSION, ca = selfMade(agent), port = agent.port } = {}) {
    const self = new Volt();
    self.client = new VoltClient(grpc);
    const config = {
      client_name: "tests",
      volt: { id, address: `localhost:${port}`, ca_pem: ca, public_key: KEY.publicPem },
      // With a certificate of its own the client asks for nothing before its first call.
      credential: { key: KEY.pem, cert: CERTIFICATE, ca, session_id: session, identity_did: "did:volt:tester" },
    };
    // Otherwise it asks public hosts where this Volt is.
    await self.client.initialise(config, { noResolve: true });
    agent.leftovers.add(() => self.close());
    return self;
  }

  /** A call; `first` is its first request, if there is one. */
  call(first) {
    return new Call(this.client.CommandStream(first));
  }

  /** A call that runs something. */
  run(command = "", arg = [], more = {}) {
    return this.call({ control: { command, arg, ...more } });
  }

  /** Closes the connection. The client's own `close` asks for a function that grpc-js has only as a method. */
  close() {
    this.client.getVoltAPIClient().close();
  }
}

/** A line to an agent that can be cut. */
export class Line {
  #ends = new Set();

  static async to(agent) {
    const self = new Line();
    self.server = createServer((client) => {
      const server = connect(agent.port, "127.0.0.1");
      for (const [end, other] of [[client, server], [server, client]]) {
        self.#ends.add(end);
        end.on("error", () => other.destroy());
        end.pipe(other);
      }
    });
    self.server.listen(0, "localhost");
    await once(self.server, "listening");
    self.port = self.server.address().port;
    agent.leftovers.add(() => self.close());
    return self;
  }

  /** As a lost network does it: nothing is said. */
  cut() {
    for (const end of this.#ends) end.destroy();
    this.#ends.clear();
  }

  close() {
    this.cut();
    this.server.close();
  }
}

/** One call. */
export class Call {
  heard = new Log();
  errors = [];
  ended = false;

  constructor(call) {
    this.call = call;
    call.on("data", (response) => this.heard.push(response));
    call.on("error", (error) => {
      this.errors.push(error);
      this.heard.poke();
    });
    for (const event of ["end", "finish"]) {
      call.on(event, () => {
        this[`${event}ed`] = true;
        this.heard.poke();
      });
    }
    // How gRPC itself ended it, which the client does not pass on when that was well.
    call._call.on("status", (status) => {
      this.status = status;
      this.heard.poke();
    });
  }

  /** Sends, behind the first request: the client sends that one on the next tick, and others at once. */
  write(request) {
    process.nextTick(() => this.call.write(request));
  }

  type(data) {
    this.write({ input: { data: Buffer.from(data) } });
  }

  control(control) {
    this.write({ control });
  }

  /** Ends our half. From then on the client drops what it is told. */
  halfClose() {
    process.nextTick(() => this.call.end());
  }

  /** Cuts the call off, as a client that goes away does. */
  cancel() {
    this.call._call.cancel();
  }

  /** What the terminal has shown. */
  text() {
    return Buffer.concat(this.heard.items.map((response) => response.data)).toString();
  }

  async see(wanted) {
    const found = () => (typeof wanted === "string" ? this.text().includes(wanted) : wanted.exec(this.text()));
    const unless = () => {
      if (this.errors.length > 0) throw this.errors[0];
    };
    return this.heard.until(() => found() || unless(), `output with ${wanted}`).catch((error) => {
      throw new Error(`${error.message}; output so far: ${JSON.stringify(this.text().slice(-1000))}`);
    });
  }

  /** The first error, or error number `count`. */
  error(count = 1) {
    return this.heard.until(() => this.errors[count - 1], `error ${count}`);
  }

  /** Waits until the agent has ended the call; its status. */
  over() {
    return this.heard.until(() => this.ended && this.status, "the end of the call");
  }
}
