// Evaluates JavaScript for the agent: JSON lines, read at descriptor 200 and answered at 201 (services/eval/README.md).
// Run as `node -e` and this text. V8's own mode for consoles lets `let` and `const` be declared anew and awaits at top
// level; it is reached by the inspector.
(() => {
  "use strict";
  const fs = require("fs");
  const inspector = require("inspector");
  const net = require("net");
  const { Writable } = require("stream");
  const util = require("util");
  const vm = require("vm");

  // Opened again, because what this process starts would inherit the originals.
  const own = (fd, flags) => {
    try {
      const copy = fs.openSync(`/proc/self/fd/${fd}`, flags);
      fs.closeSync(fd);
      return copy;
    } catch {
      return fd;
    }
  };
  const orders = own(200, "r");
  const answers = own(201, "w");

  const write = (fd, bytes) => {
    for (let at = 0; at < bytes.length; ) {
      try {
        at += fs.writeSync(fd, bytes, at);
      } catch (error) {
        // A program with the same stdout has made it non-blocking.
        if (error.code !== "EAGAIN") throw error;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
      }
    }
  };
  const say = (message) => write(answers, Buffer.from(`${JSON.stringify(message)}\n`));

  // Node's own would wait for ever for the end of a write that SIGINT has interrupted, and print nothing more.
  class Output extends Writable {
    constructor(fd) {
      super();
      this.fd = fd;
      this.setMaxListeners(0);
    }
    write(chunk, encoding, done) {
      write(this.fd, typeof chunk === "string" ? Buffer.from(chunk, typeof encoding === "string" ? encoding : "utf8") : chunk);
      const after = typeof encoding === "function" ? encoding : done;
      if (after) process.nextTick(after);
      return true;
    }
  }
  for (const [name, fd] of [["stdout", 1], ["stderr", 2]]) {
    Object.defineProperty(process, name, { configurable: true, enumerable: true, value: new Output(fd) });
  }
  const inspect = (value) => util.inspect(value, { maxStringLength: Infinity });

  const session = new inspector.Session();
  session.connect();
  // What the inspector's commands call and hand values to.
  const hands = Object.freeze({ step: () => step(), take: (value) => (taken = value) });
  Object.defineProperty(globalThis, Symbol.for("pid1.eval"), { value: hands });
  const run = new vm.Script('globalThis[Symbol.for("pid1.eval")].step()', { filename: "[eval]" });
  let step;
  let taken;
  let interrupt = () => {};

  const valueOf = (remote) => {
    if (remote.objectId === undefined) {
      const { unserializableValue: text } = remote;
      if (text === undefined) return remote.value;
      return text.endsWith("n") ? BigInt(text.slice(0, -1)) : Number(text);
    }
    session.post("Runtime.callFunctionOn", {
      functionDeclaration: '(value) => void globalThis[Symbol.for("pid1.eval")].take(value)',
      objectId: remote.objectId,
      arguments: [{ objectId: remote.objectId }],
    });
    const value = taken;
    taken = undefined;
    return value;
  };

  // The text of what was thrown, without the frames of this file.
  const shown = (thrown) =>
    inspect(thrown).replace(/\n +at Session\.post \(node:inspector.*(\n +at .*?)*(?=( \{)?(\n|$))/, "");
  const describe = (details, source, name) => {
    const thrown = valueOf(details.exception ?? { value: details.text });
    let text = shown(thrown);
    if (thrown instanceof SyntaxError && !text.includes("\n    at ")) {
      // It is missed behind the end of the source, where the name is.
      const lines = source.split("\n");
      const row = Math.min(details.lineNumber, lines.length - 1);
      const column = row < details.lineNumber ? lines[row].length : details.columnNumber;
      text = `${name}:${row + 1}:${column + 1}\n${lines[row]}\n${" ".repeat(column)}^\n${text}`;
    }
    return `${util.types.isNativeError(thrown) ? "" : "Uncaught "}${text}\n`;
  };

  const evaluate = (source, name) =>
    new Promise((done) => {
      const stopped = () => done({ data: "", error: "Interrupted: the evaluation was stopped by SIGINT\n" });
      interrupt = stopped;
      step = () => {
        const expression = `${source}\n//# sourceURL=${name}`;
        session.post("Runtime.evaluate", { expression, replMode: true, objectGroup: "eval" }, (failure, outcome) => {
          try {
            if (failure) done({ data: "", error: `${failure.message}\n` });
            else if (outcome.exceptionDetails) done({ data: "", error: describe(outcome.exceptionDetails, source, name) });
            else if (outcome.result.type === "undefined") done({ data: "", error: "" });
            else done({ data: inspect(valueOf(outcome.result)), error: "" });
          } catch (error) {
            done({ data: "", error: `what came of it cannot be shown: ${error}\n` });
          }
        });
      };
      try {
        run.runInThisContext({ breakOnSigint: true, displayErrors: false });
      } catch {
        stopped();
      }
    });

  let count = 0;
  const waiting = [];
  let busy = false;
  const next = async () => {
    if (busy) return;
    busy = true;
    while (waiting.length > 0) {
      count += 1;
      const { data, error } = await evaluate(waiting.shift(), `<eval-${count}>`);
      interrupt = () => {};
      session.post("Runtime.releaseObjectGroup", { objectGroup: "eval" });
      say({ command: "result", data, error });
    }
    busy = false;
  };

  // As a console has it: what fails later is told, and ends nothing.
  const later = (error) => process.stderr.write(`Uncaught ${shown(error)}\n`);
  process.on("uncaughtException", later);
  process.on("unhandledRejection", later);
  process.on("SIGINT", () => interrupt());

  let pieces = [];
  const socket = new net.Socket({ fd: orders, readable: true, writable: false });
  socket.on("data", (bytes) => {
    for (let end; (end = bytes.indexOf(10)) >= 0; bytes = bytes.subarray(end + 1)) {
      const order = JSON.parse(Buffer.concat([...pieces, bytes.subarray(0, end)]));
      pieces = [];
      if (order.command === "eval") waiting.push(order.data);
    }
    if (bytes.length > 0) pieces.push(bytes);
    next();
  });
  socket.on("end", () => process.exit());
  say({ command: "ready" });
})();
