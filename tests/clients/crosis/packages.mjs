// What the tests of packages share: a project with the tester's own package managers, and what is asked of it.

import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

import { Agent, Crosis, State, repository } from "./support.mjs";

/** How long a registry and a package manager may take together. */
export const PATIENCE_MS = 100_000;
const TRIES = 3;
export const patiently = { timeout: 3 * PATIENCE_MS };

/** pnpm, yarn and bun are installed beside this suite; bun's own script that links it is not run. */
const MODULES = repository("tests/clients/crosis/node_modules");
const BUN = readdirSync(join(MODULES, "@oven")).map((name) => join(MODULES, "@oven", name, "bin"));
const TOOLS = [...BUN, join(MODULES, ".bin")].join(":");

/** An agent that serves these files, with the tester's own tools and registries. */
export async function project(files, env = {}) {
  const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("PID1_") && !name.startsWith("npm_")));
  const agent = await Agent.start({ env: { ...own, HOME: homedir(), PATH: `${TOOLS}:${process.env.PATH}`, VIRTUAL_ENV: "", ...env } });
  const path = (name) => join(agent.root, name);
  const write = (name, text) => {
    mkdirSync(dirname(path(name)), { recursive: true });
    writeFileSync(path(name), text);
  };
  for (const [name, text] of Object.entries(files)) write(name, text);
  const crosis = await Crosis.connect(agent);
  const packages = await crosis.channel("packager3", { name: "packager" });
  return {
    agent,
    crosis,
    packages,
    write,
    path,
    read: (name) => (existsSync(path(name)) ? readFileSync(path(name), "utf8") : null),
    async stop() {
      crosis.destroy();
      await agent.stop();
    },
  };
}

export const pkg = (name, spec = "") => ({ name, spec });
export const add = (...pkgs) => ({ packageAdd: { pkgs } });
export const remove = (...names) => ({ packageRemove: { pkgs: names.map((name) => pkg(name)) } });
export const install = { packageInstall: {} };

/** Asks until the answer is `wanted`, since registries fail now and then. */
export async function get(channel, body, wanted = "ok") {
  const answers = [];
  while (answers.length < TRIES) {
    const answer = await channel.request(body);
    if (answer.body === wanted) return answer;
    answers.push(answer.error);
  }
  throw new Error(`${JSON.stringify(body)}: ${answers.join("; ")}; ${channel.text().slice(-3000)}`);
}

export async function list(channel) {
  const answer = await channel.request({ packageListSpecfile: {} });
  return answer.packageListSpecfileResp.pkgs.map(({ name, spec }) => `${name} ${spec}`.trim());
}

/** What the project's own program prints when Run is pressed. */
export async function pressRun(here) {
  const window = (here.window ??= await here.crosis.channel("run2", { name: "runner" }));
  const ends = () => window.heard.items.filter(({ state }) => state === State.Stopped).length;
  const [from, before] = [window.text().length, ends()];
  assert.equal((await window.request({ runMain: {} })).body, "ok");
  await window.heard.until(() => ends() > before, "the end of the run", PATIENCE_MS);
  return window.text().slice(from).replaceAll("\r", "");
}

/** Programs that import what the tests add. */
export const PYTHON_MAIN = "import six\nprint('six', six.__version__)\n";
export const NODE_MAIN = 'console.log("padded", require("left-pad")("x", 3));\n';
