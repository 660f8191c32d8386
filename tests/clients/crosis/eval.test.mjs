// One interpreter that keeps its state: evaluated, interrupted, shared, ended and begun anew by the published client.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Agent, Crosis, State, alive, eventually } from "./support.mjs";

let agent;
let crosis;
before(async () => {
  agent = await Agent.start();
  crosis = await Crosis.connect(agent);
});
after(async () => {
  crosis.destroy();
  await agent.stop();
});

test("output comes before the result, state around both, and what was defined stays", async () => {
  const evaler = await crosis.channel("eval", { name: "evaler" });
  const first = await evaler.request({ eval: "x = 41\nprint('héllo 😀')\nx + 1" });
  assert.equal(first.result, "42");
  assert.equal((await evaler.request({ eval: "x" })).result, "41");
  await evaler.heard.until(() => evaler.bodies().filter((body) => body === "state").length === 4, "four states");
  // Output may come in pieces.
  const bodies = evaler.bodies().filter((body, at, all) => body !== "output" || all[at - 1] !== "output");
  assert.deepEqual(bodies, ["state", "output", "result", "state", "state", "result", "state"]);
  assert.equal(evaler.text(), "héllo 😀\n");
  const failed = await evaler.request({ eval: "def f():\n    return nowhere\nf()" });
  assert.match(failed.error, /^Traceback[^]*line 2, in f\n    return nowhere\n[^]*NameError/);
  await evaler.close();
});

test("input is read, ^C interrupts and keeps the state, clear does not", async () => {
  const evaler = await crosis.channel("eval");
  const asked = evaler.request({ eval: "name = input('name? ')\nname" });
  await evaler.see("name? ");
  evaler.type("Ada\n");
  assert.equal((await asked).result, "'Ada'");
  const endless = evaler.request({ eval: "print('on')\nwhile True: pass" });
  await evaler.see("on\n");
  evaler.type("\u0003");
  assert.match((await endless).error, /KeyboardInterrupt\n$/);
  assert.equal((await evaler.request({ eval: "name" })).result, "'Ada'");

  const stuck = evaler.request({ eval: "import os\nprint(os.getpid())\nwhile True: pass" });
  const pid = Number((await evaler.see(/(\d+)\n/))[1]);
  assert.equal((await evaler.request({ clear: {} })).body, "ok");
  assert.match((await stuck).error, /^eval: stopped by session/);
  await evaler.heard.until(() => evaler.heard.items.at(-1).state === State.Stopped, "it is stopped");
  assert.ok(!alive(pid));
  assert.match((await evaler.request({ eval: "name" })).error, /NameError/);
  await evaler.close();
});

test("runMain evaluates the file that Run would take, with the variables of .replit", async () => {
  writeFileSync(join(agent.root, "app.py"), "import os\nhere = os.environ['FOO']\n");
  writeFileSync(join(agent.root, "main.js"), "export const here = 'module';\n");
  writeFileSync(join(agent.root, ".replit"), 'entrypoint = "app.py"\n[env]\nFOO = "bar"\n');
  const evaler = await crosis.channel("eval");
  assert.equal((await evaler.request({ runMain: {} })).body, "ok");
  assert.equal((await evaler.request({ eval: "here" })).result, "'bar'");
  assert.match((await evaler.request({ runMain: { filePath: "main.js" } })).error, /^eval: main\.js is not in Python/);
  await evaler.close();
});

test("others see it, a crash is told and survived, and the end of the channel is the interpreter's", async () => {
  const other = await Crosis.connect(agent);
  const [mine, theirs] = [
    await crosis.channel("eval", { name: "shared" }),
    await other.channel("eval", { name: "shared" }),
  ];
  const begun = await mine.request({ eval: "import os\nprint('hello')\nos.getpid()" });
  await theirs.see("hello\n");
  assert.equal((await theirs.request({ eval: "os.getpid()" })).result, begun.result);
  assert.match((await mine.request({ eval: "os.kill(os.getpid(), 9)" })).error, /signal: killed.*its state is lost/);
  await theirs.heard.until(() => theirs.bodies().includes("hint"), "a hint");
  const again = Number((await mine.request({ eval: "import os\nos.getpid()" })).result);
  assert.ok(alive(again) && again !== Number(begun.result));
  other.destroy();
  await mine.close();
  await eventually(() => !alive(again), "it is ended with the channel");
});
