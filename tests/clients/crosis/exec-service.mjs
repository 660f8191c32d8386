// The other doors of the same agent, for tests that look at one program through several: ExecService and TerminalAPI.

import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

import { Log, repository } from "./support.mjs";

const options = { keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true, includeDirs: [repository("proto")] };
const files = ["exec_service.proto", "tdx/volt_api/volt/v1/terminal_api.proto"];
const packages = grpc.loadPackageDefinition(loader.loadSync(files, options));

/** A stream of one of the two services; everything that is heard on it is kept. */
class Stream {
  heard = new Log();

  constructor(agent, Service, method) {
    const metadata = new grpc.Metadata();
    metadata.set("authorization", `Bearer ${agent.token}`);
    this.client = new Service(`127.0.0.1:${agent.port}`, grpc.credentials.createInsecure());
    this.call = this.client[method](metadata);
    this.call.on("data", (message) => this.heard.push(message));
    this.call.on("status", (status) => {
      this.status = status;
      this.heard.poke();
    });
    this.call.on("error", () => {}); // its status says it, too
    agent.leftovers.add(() => this.leave());
  }

  send(message) {
    this.call.write(message);
  }

  /** Goes away as a client does that has crashed. */
  leave() {
    this.call.cancel();
    this.client.close();
  }

  /** Waits for what `condition` gives of what was heard. */
  until(condition, what) {
    const unless = () => {
      if (this.status) throw new Error(`the call is over with ${this.status.code} (${this.status.details}), without ${what}`);
    };
    return this.heard.until(() => condition() || unless(), what);
  }

  see(wanted) {
    return this.until(() => this.text().includes(wanted), `output with ${JSON.stringify(wanted)}`);
  }

  over() {
    return this.heard.until(() => this.status, "the end of the call");
  }
}

/** A call of ExecService. */
export class Exec extends Stream {
  constructor(agent) {
    super(agent, packages.exec_service.ExecService, "ExecStream");
  }

  start(command, more = {}, sessionId = "") {
    this.send({ session_id: sessionId, start_request: { command, ...more } });
    return this;
  }

  follow(target) {
    return this.start([], { container_id: target });
  }

  type(text) {
    this.send({ input_data: { data: Buffer.from(text) } });
  }

  text(stream = "STDOUT") {
    const pieces = this.heard.items.filter((message) => message.output_data?.stream_type === stream);
    return Buffer.concat(pieces.map((message) => message.output_data.data)).toString();
  }

  /** The status of that kind, when it is told. */
  told(kind) {
    return this.until(() => this.heard.items.find((message) => message.status?.status === kind)?.status, kind);
  }

  async exited() {
    return (await this.told("EXITED")).exit_code;
  }
}

/** A call of TerminalAPI. */
export class Terminal extends Stream {
  constructor(agent) {
    super(agent, packages.tdx.volt_api.volt.v1.TerminalAPI, "CommandStream");
  }

  control(control) {
    this.send({ control });
    return this;
  }

  type(text) {
    this.send({ input: { data: Buffer.from(text) } });
  }

  text() {
    return Buffer.concat(this.heard.items.map((message) => message.data)).toString();
  }
}
