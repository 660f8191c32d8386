// Evaluates JavaScript for the agent: JSON lines, read at descriptor 200 and answered at 201 (services/eval/README.md).
// Run as `node -e` and this text. V8's own mode for consoles lets `let` and `const` be declared anew and awaits at top
// level; it is reached by the inspector.
(() => {
  "use strict";
  // As they are now: what is evaluated may put something else in their place.
  const { Atomics, BigInt, Buffer, Int32Array, Number, Object, Promise, SharedArrayBuffer, process } = globalThis;
  const { parse, stringify } = JSON;
  const fs = require("fs");
  const inspector = require("inspector");
  const Module = require("module");
  const net = require("net");
  const path = require("path");
  const { Writable } = require("stream");
  const url = require("url");
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
  const say = (message) => write(answers, Buffer.from(`${stringify(message)}\n`));

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
  // Evaluates a file as the program: its variables are there afterwards. A module of the new kind keeps its own, so what it
  // exports is.
  const main = async (file) => {
    const source = fs.readFileSync(file, "utf8");
    process.argv[1] = file;
    let script;
    if (!file.endsWith(".mjs")) {
      try {
        script = new vm.Script(source, { filename: file, importModuleDynamically: vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER });
      } catch (error) {
        // With import, export or await in it, it is one of those; what else is wrong is told by import, too.
        if (!(error instanceof SyntaxError)) throw error;
      }
    }
    if (script) {
      const own = new Module(file);
      own.filename = file;
      own.paths = Module._nodeModulePaths(path.dirname(file));
      const require = Module.createRequire(file);
      require.main = own;
      Object.assign(globalThis, { module: own, exports: own.exports, require, __filename: file, __dirname: path.dirname(file) });
      script.runInThisContext();
    } else {
      count += 1;
      const exported = await import(`${url.pathToFileURL(file)}?${count}`);
      for (const [name, value] of Object.entries(exported)) {
        Object.defineProperty(globalThis, name, { configurable: true, enumerable: true, writable: true, value });
      }
    }
  };
  // What the inspector's commands call and hand values to.
  const hands = Object.freeze({ main, step: () => step(), take: (value) => (taken = value) });
  Object.defineProperty(globalThis, "pid1.eval", { value: hands });
  const run = new vm.Script('globalThis["pid1.eval"].step()', { filename: "[eval]" });
  let step;
  let taken;
  let count = 0;
  let interrupt = () => {};

  const valueOf = (remote) => {
    if (remote.objectId === undefined) {
      const { unserializableValue: text } = remote;
      if (text === undefined) return remote.value;
      return text.endsWith("n") ? BigInt(text.slice(0, -1)) : Number(text);
    }
    session.post("Runtime.callFunctionOn", {
      functionDeclaration: '(value) => void globalThis["pid1.eval"].take(value)',
      objectId: remote.objectId,
      arguments: [{ objectId: remote.objectId }],
    });
    const value = taken;
    taken = undefined;
    return value;
  };

  // The text of a value. The errors in it are without the frames of this file.
  const shown = (value) =>
    inspect(value).replace(/\n +at Session\.post \(node:inspector.*?(\n +at .*?)*(?=,?( \{)?(\n|$))/g, "");
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
            else done({ data: shown(valueOf(outcome.result)), error: "" });
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

  const waiting = [];
  let busy = false;
  const next = async () => {
    if (busy) return;
    busy = true;
    while (waiting.length > 0) {
      count += 1;
      const order = waiting.shift();
      const { data, error } = await evaluate(order.data, `<eval-${count}>`);
      interrupt = () => {};
      session.post("Runtime.releaseObjectGroup", { objectGroup: "eval" });
      say({ command: "result", id: order.id, data, error });
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
      const order = parse(Buffer.concat([...pieces, bytes.subarray(0, end)]));
      pieces = [];
      if (order.command === "eval") waiting.push(order);
    }
    if (bytes.length > 0) pieces.push(bytes);
    next();
  });
  socket.on("end", () => process.exit());
  say({ command: "ready" });
})();
