// The life of a package with each package manager, on the registries that everybody uses: added, listed, imported,
// installed after a loss, removed. One small package of each; what a registry refuses is tried again.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

import { NODE_MAIN, PYTHON_MAIN, add, get, install, list, patiently, pkg, pressRun, project, remove } from "./packages.mjs";
import { repository } from "./support.mjs";

const run = promisify(execFile);

/** The whole life of a package in a project. */
async function life(here, { name, version, spec = version, listed, prints, missing, clean }) {
  await get(here.packages, add(pkg(name, spec)));
  assert.deepEqual(await list(here.packages), [listed]);
  assert.ok((await pressRun(here)).includes(prints), "the project imports it");
  const told = (await get(here.packages, { packageInfo: { pkg: pkg(name) } }, "packageInfoResp")).packageInfoResp.pkg;
  assert.equal(told.name.toLowerCase(), name);
  assert.match(told.version, /^\d/);
  assert.ok(told.description.length > 0 || told.license.length > 0, JSON.stringify(told));
  // What was installed is lost, and comes back from specfile and lock file, which stay as they are.
  const files = here.files.map((file) => here.read(file));
  assert.ok(files.every((text) => text !== null), `${here.files}: ${files}`);
  clean();
  await get(here.packages, install);
  assert.deepEqual(here.files.map((file) => here.read(file)), files);
  assert.ok((await pressRun(here)).includes(prints), "the project imports it again");
  await get(here.packages, remove(name));
  assert.deepEqual(await list(here.packages), []);
  for (const file of here.files) assert.ok(!(here.read(file) ?? "").includes(version), `${file} forgets it`);
  assert.ok((await pressRun(here)).includes(missing), "the project misses it");
}

const python = { name: "six", version: "1.16.0", prints: "six 1.16.0", missing: "ModuleNotFoundError" };

test("Python: pip and requirements.txt", patiently, async () => {
  const here = await project({ "main.py": PYTHON_MAIN });
  here.files = ["requirements.txt"];
  await life(here, { ...python, spec: "==1.16.0", listed: "six ==1.16.0", clean: () => rmSync(here.path(".venv"), { recursive: true }) });
  assert.match(here.packages.text(), /--> python3 -m venv .*\/\.venv\n[^]*--> .*\/\.venv\/bin\/python -m pip install six==1\.16\.0\n/);
  // Without a version the one that was found is written down; what people wrote beside it stays.
  here.write("requirements.txt", "# ours\n--prefer-binary\n-c most.txt\n");
  here.write("most.txt", "six<1.17\n");
  await get(here.packages, add(pkg("Six")));
  assert.match(here.read("requirements.txt"), /^# ours\n--prefer-binary\n-c most\.txt\nSix==1\.16\.\d+\n$/);
  // It counts, too: what it rules out is not written down beside it.
  const before = here.read("requirements.txt");
  assert.match((await here.packages.request(add(pkg("six", "==1.17.0")))).error, /pip install: exit status 1: ERROR: Cannot install six==1\.17\.0/);
  assert.equal(here.read("requirements.txt"), before);
  assert.equal(here.read(".pid1-requirements.txt"), null);
  await here.stop();
});

test("Python: pip and pyproject.toml", patiently, async () => {
  const text = '[project]\nname = "x" # ours\nversion = "0"\ndependencies = []\n';
  const here = await project({ "main.py": PYTHON_MAIN, "pyproject.toml": text });
  here.files = ["pyproject.toml"];
  // As it is left where somebody was killed while it was made.
  await run("python3", ["-m", "venv", "--without-pip", here.path(".venv")]);
  await life(here, { ...python, listed: "six ==1.16.0", clean: () => rmSync(here.path(".venv"), { recursive: true }) });
  assert.ok(here.read("pyproject.toml").includes('name = "x" # ours'));
  await here.stop();
});

test("Python: uv", patiently, async () => {
  const folder = join(repository("target"), "packager-tools");
  const uv = join(folder, "bin/uv");
  if (!existsSync(uv)) {
    await run("python3", ["-m", "venv", folder]);
    await run(join(folder, "bin/pip"), ["install", "--quiet", "uv==0.13.9"]);
  }
  const text = '[project]\nname = "x"\nversion = "0"\nrequires-python = ">=3.9"\n';
  const here = await project({ "main.py": PYTHON_MAIN, "pyproject.toml": text });
  // By the workspace's own PATH, so that this also shows that .replit counts for package managers.
  here.write(".replit", `[packager.env]\nPATH = "${join(folder, "bin")}"\nUV_PYTHON_DOWNLOADS = "never"\n`);
  here.files = ["pyproject.toml", "uv.lock"];
  await life(here, { ...python, listed: "six ==1.16.0", clean: () => rmSync(here.path(".venv"), { recursive: true }) });
  assert.ok(here.packages.text().includes("--> uv add -- six==1.16.0\n"));
  await here.stop();
});

const node = { name: "left-pad", version: "1.3.0", prints: "padded   x", missing: "Cannot find module 'left-pad'" };

for (const [manager, lock] of [["npm", null], ["pnpm", "pnpm-lock.yaml"], ["yarn", "yarn.lock"], ["bun", "bun.lock"]]) {
  test(`Node: ${manager}`, patiently, async () => {
    // An empty lock file says whose the project is; bun takes none, so there it is the manifest that says it.
    const manifest = manager === "bun" ? { name: "x", packageManager: "bun@1" } : { name: "x" };
    const files = { "index.js": NODE_MAIN, ...(lock && { "package.json": JSON.stringify(manifest) }) };
    const here = await project(lock && manager !== "bun" ? { ...files, [lock]: "" } : files);
    here.files = ["package.json", lock ?? "package-lock.json"];
    await life(here, { ...node, listed: "left-pad 1.3.0", clean: () => rmSync(here.path("node_modules"), { recursive: true }) });
    assert.ok(here.packages.text().includes(`--> ${manager} ${manager === "npm" ? "install --save-exact" : "add"} left-pad@1.3.0\n`));
    await here.stop();
  });
}

test("Rust: cargo", patiently, async () => {
  const manifest = '[package]\nname = "x" # ours\nversion = "0.1.0"\nedition = "2021"\n';
  const main = 'fn main() { println!("{}", itoa::Buffer::new().format(12_345)); }\n';
  const here = await project({ "Cargo.toml": manifest, "src/main.rs": main });
  here.files = ["Cargo.toml", "Cargo.lock"];
  const clean = () => rmSync(here.path("target"), { recursive: true });
  await life(here, { name: "itoa", version: "1.0.11", spec: "=1.0.11", listed: "itoa =1.0.11", prints: "12345", missing: "itoa", clean });
  assert.ok(here.read("Cargo.toml").includes('name = "x" # ours'));
  await get(here.packages, add(pkg("memchr[std]", ">=2.7.4, <2.8"), pkg("itoa", "=1.0.11")));
  assert.ok(here.read("Cargo.toml").includes('memchr = { version = ">=2.7.4, <2.8", features = ["std"] }'));
  await here.stop();
});
