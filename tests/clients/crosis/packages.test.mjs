// Packages beside their plain life: found, missing, asked for by several at once, stopped half-way, imported and not
// installed.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { test } from "node:test";

import { NODE_MAIN, PATIENCE_MS, PYTHON_MAIN, add, get, install, list, patiently, pkg, pressRun, project, remove } from "./packages.mjs";
import { Crosis, repository } from "./support.mjs";

test("what has no search is looked up by its name, and a hint says so", patiently, async () => {
  const here = await project({ "main.py": "" });
  const search = (query) => get(here.packages, { packageSearch: { query } }, "packageSearchResp");
  const hints = () => here.packages.heard.items.filter(({ body }) => body === "hint").map(({ hint }) => hint.text);
  const { results } = (await search(" Six ")).packageSearchResp;
  assert.deepEqual(results.map(({ name }) => name.toLowerCase()), ["six"]);
  assert.match(results[0].version, /^1\./);
  assert.match(hints().at(-1), /PyPI has none.*this is the package named six/);
  assert.deepEqual((await search("no-such-package-of-this-name-zzz")).packageSearchResp.results, []);
  assert.match(hints().at(-1), /there is no package of this very name/);
  assert.deepEqual((await search("")).packageSearchResp.results, []);
  assert.equal(hints().length, 2);
  const unknown = await here.packages.request({ packageInfo: { pkg: pkg("no-such-package-of-this-name-zzz") } });
  assert.equal(unknown.error, 'packager: there is no package "no-such-package-of-this-name-zzz": look at how it is spelt');
  await here.stop();
});

/** A registry that answers as recorded, and nothing else; what it was asked. */
async function registry(answers) {
  const asked = [];
  const server = createServer((request, response) => {
    asked.push(request.url);
    const found = Object.entries(answers(`http://127.0.0.1:${server.address().port}`)).find(([url]) => request.url.startsWith(url));
    response.statusCode = found ? 200 : 404;
    response.setHeader("content-type", "application/json");
    response.end(found ? found[1] : "{}");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `http://127.0.0.1:${server.address().port}`, asked, close: () => server.close() };
}

test("the registry's own search is asked where it has one: npm and cargo", patiently, async () => {
  const recorded = readFileSync(repository("tests/clients/crosis/npm-search.json"), "utf8");
  const npm = await registry(() => ({ "/-/v1/search": recorded }));
  const here = await project({ "index.js": "", ".replit": `[packager.env]\nNPM_CONFIG_REGISTRY = "${npm.url}/"\n` });
  const found = await get(here.packages, { packageSearch: { query: "left pad" } }, "packageSearchResp");
  const [first, ...others] = found.packageSearchResp.results;
  assert.deepEqual(
    [first.name, first.version, first.description, first.author, others.length],
    ["left-pad", "1.3.0", "String left pad", "stevemao", 1],
  );
  assert.match(npm.asked[0], /text=left(%20|\+)pad.*size=20|size=20.*text=left(%20|\+)pad/);
  assert.ok(here.packages.heard.items.every(({ body }) => body !== "hint"), "no hint: it was no look-up");
  await here.stop();
  npm.close();

  const crates = JSON.stringify({
    crates: [{ name: "itoa", description: "Fast integer\nprimitive", max_version: "1.0.11", newest_version: "1.0.11" }],
    meta: { total: 1 },
  });
  const cargo = await registry((url) => ({ "/config.json": JSON.stringify({ dl: `${url}/dl`, api: url }), "/api/v1/crates": crates }));
  const env = `CARGO_REGISTRY_DEFAULT = "recorded"\nCARGO_REGISTRIES_RECORDED_INDEX = "sparse+${cargo.url}/"\n`;
  const rust = await project({ "main.rs": "", ".replit": `[packager.env]\n${env}` });
  const crate = (await get(rust.packages, { packageSearch: { query: "itoa" } }, "packageSearchResp")).packageSearchResp.results;
  assert.deepEqual(crate.map(({ name, version, description }) => [name, version, description]), [["itoa", "1.0.11", "Fast integer primitive"]]);
  await rust.stop();
  cargo.close();
});

test("what a registry does not have changes nothing", patiently, async () => {
  const manifest = '{\n    "name": "x",\n    "dependencies": {}\n}';
  for (const [files, wrong] of [
    [{ "package.json": manifest, "index.js": "" }, pkg("no-such-package-of-this-name-zzz")],
    [{ "package.json": manifest, "index.js": "" }, pkg("left-pad", "99.0.0")],
    [{ "main.py": "", "requirements.txt": "# ours" }, pkg("no-such-package-of-this-name-zzz")],
    [{ "Cargo.toml": '[package]\nname = "x"\nedition = "2021"\n', "src/main.rs": "" }, pkg("no-such-package-of-this-name-zzz")],
    [{ "index.js": "" }, pkg("no-such-package-of-this-name-zzz")],
  ]) {
    const here = await project(files);
    const answer = await here.packages.request(add(wrong));
    assert.equal(answer.body, "error", JSON.stringify(files));
    for (const [name, text] of Object.entries(files)) assert.equal(here.read(name), text);
    for (const name of ["package.json", "package-lock.json", "Cargo.lock"]) {
      if (!files[name]) assert.equal(here.read(name), null, `${name} was not there before`);
    }
    await here.stop();
  }
});

test("two clients at once, one after the other; both see both", patiently, async () => {
  const here = await project({ "package.json": '{"name":"x"}' });
  const second = await Crosis.connect(here.agent);
  const theirs = await second.channel("packager3", { name: "packager" });
  const apart = await second.channel("packager3");
  const answers = await Promise.all([
    get(here.packages, add(pkg("left-pad", "1.3.0"))),
    get(theirs, add(pkg("is-number", "7.0.0"))),
    get(apart, add(pkg("isarray", "2.0.5"))),
  ]);
  assert.ok(answers.every(({ body }) => body === "ok"));
  assert.deepEqual(await list(apart), ["is-number 7.0.0", "isarray 2.0.5", "left-pad 1.3.0"]);
  for (const name of ["is-number", "isarray", "left-pad"]) assert.ok(here.read(`node_modules/${name}/package.json`));
  for (const channel of [here.packages, theirs]) await channel.see("is-number@7.0.0\n");
  assert.ok(!apart.text().includes("is-number"), "another channel's output is its own");
  second.destroy();
  await here.stop();
});

test("npm: an exact version stays exact, whatever is added with it", patiently, async () => {
  const here = await project({ "package.json": '{"name":"x"}' });
  await get(here.packages, add(pkg("left-pad", "1.2.0"), pkg("isarray"), pkg("other", "npm:isarray@2.0.4")));
  assert.match((await list(here.packages)).join(), /^isarray \^2\.\d+\.\d+,left-pad 1\.2\.0,other npm:isarray@2\.0\.4$/);
  // A version that it would take for a path is none.
  const { error } = await here.packages.request(add(pkg("left-pad", "../../etc")));
  assert.match(error, /a version of a package is such as/);
  await here.stop();
});

test("yarn: packages of the root of workspaces come and go", patiently, async () => {
  const root = '{"name":"x","private":true,"workspaces":["a"]}';
  const here = await project({ "package.json": root, "a/package.json": '{"name":"a","version":"1.0.0"}', "yarn.lock": "" });
  await get(here.packages, add(pkg("left-pad", "1.3.0")));
  assert.deepEqual(await list(here.packages), ["left-pad 1.3.0"]);
  await get(here.packages, remove("left-pad"));
  assert.deepEqual(await list(here.packages), []);
  await here.stop();
});

/** A project of Rust in the middle of an addition: cargo has written the manifest, and never gets the package. */
async function hanging(name) {
  const server = createServer((request, response) => {
    const url = `http://127.0.0.1:${server.address().port}`;
    if (request.url === "/config.json") response.end(JSON.stringify({ dl: `${url}/dl`, api: url }));
    else if (request.url === "/an/ab/anabel")
      response.end(`${JSON.stringify({ name: "anabel", vers: "1.0.0", deps: [], cksum: "0".repeat(64), features: {}, yanked: false })}\n`);
    else if (!request.url.startsWith("/dl")) response.writeHead(404).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const manifest = '[package]\nname = "x"\nversion = "0.1.0"\nedition = "2021"\n';
  const config = `[source.crates-io]\nreplace-with = "hangs"\n[source.hangs]\nregistry = "sparse+http://127.0.0.1:${server.address().port}/"\n`;
  const here = await project({ "Cargo.toml": manifest, "src/main.rs": "fn main() {}\n", ".cargo/config.toml": config });
  const own = await here.crosis.channel("packager3", { name });
  const answer = own.request(add(pkg("anabel")));
  await own.see("--> cargo fetch", PATIENCE_MS);
  assert.ok(here.read("Cargo.toml").includes("anabel"));
  return {
    ...here,
    manifest,
    own,
    answer,
    async stop() {
      await here.stop();
      server.closeAllConnections();
      server.close();
    },
  };
}

test("a channel that closes stops its package manager, and the specfile is as it was", patiently, async () => {
  const here = await hanging();
  // Others wait for their turn meanwhile and are told for what, and snapshots wait for its end.
  const snapshots = await here.crosis.channel("snapshot");
  const held = await snapshots.request({ fsTakeLock: { name: "packager" } });
  assert.match(held.error, /held by packager3/);
  const waits = here.packages.request(install);
  await here.packages.see(/Waiting for an addition of packages that has begun \d+ s ago\./);
  await here.own.close();
  assert.ok((await here.answer).channelClosed, "the client gets no answer of a channel that it closed");
  assert.equal((await waits).body, "ok");
  assert.equal(here.read("Cargo.toml"), here.manifest);
  assert.ok(!here.read("Cargo.lock").includes("anabel"));
  // The next one goes on at once.
  rmSync(here.path(".cargo"), { recursive: true });
  await get(here.packages, add(pkg("itoa", "=1.0.11")));
  assert.deepEqual(await list(here.packages), ["itoa =1.0.11"]);
  await here.stop();
});

test("clear stops it, too, and what people have written meanwhile stays", patiently, async () => {
  const here = await hanging("packager-of-two");
  const files = await here.crosis.channel("gcsfiles");
  const mine = `${here.manifest}# mine\n`;
  assert.equal((await files.request({ write: { path: "Cargo.toml", content: Buffer.from(mine) } })).body, "ok");
  assert.equal((await here.own.request({ clear: {} })).body, "ok");
  assert.equal((await here.answer).error, "packager: stopped, because it was cleared");
  await here.own.see("Cargo.toml was edited meanwhile and stays so");
  assert.equal(here.read("Cargo.toml"), mine);
  await here.stop();
});

test("a workspace of crates without a package of its own is told so, and no member is taken for it", async () => {
  const member = '[package]\nname = "a"\nversion = "0.1.0"\nedition = "2021"\n';
  const here = await project({ "Cargo.toml": '[workspace]\nmembers = ["a"]\nresolver = "2"\n', "a/Cargo.toml": member, "a/src/lib.rs": "" });
  const { error } = await here.packages.request(add(pkg("itoa")));
  assert.match(error, /Cargo\.toml is a workspace without a package of its own: use cargo add --package MEMBER/);
  assert.equal(here.read("a/Cargo.toml"), member);
  await here.stop();
});

test("what is imported and missing is installed when asked", patiently, async () => {
  const here = await project({ "main.py": PYTHON_MAIN, "package.json": '{"name":"x"}', "index.js": NODE_MAIN });
  const older = await here.crosis.channel("packager2", { name: "packager2" });
  await get(older, { ensurePackages: { install: false } });
  await older.see('[{"name":"six","version":"*"}]');
  assert.equal(here.read("requirements.txt"), null);
  await get(older, { ensurePackages: { install: true } });
  assert.match(here.read("requirements.txt"), /^six==1\.\d+\.\d+\n$/);
  assert.ok((await pressRun(here)).includes("six 1."));
  await get(older, { ensurePackages: { install: true, file: { path: "index.js" } } });
  assert.ok(here.read("node_modules/left-pad/package.json"));
  await here.stop();
});

test("what .replit wants after an installation is done, and said if it fails", patiently, async () => {
  const here = await project({ "package.json": '{"name":"x"}', ".replit": '[packager]\nafterInstall = "echo after the installation; exit 3"\n' });
  const answer = await here.packages.request(add(pkg("left-pad", "1.3.0")));
  assert.equal(answer.error, "packager: the packages are installed, but afterInstall of .replit: sh -c: exit status 3: after the installation");
  await here.packages.see("after the installation");
  assert.deepEqual(await list(here.packages), ["left-pad 1.3.0"]);
  here.write(".replit", '[packager]\nafterInstall = "echo well"\n');
  assert.equal((await get(here.packages, { packageAdd: { pkgs: [pkg("isarray", "2.0.5")], useNewResponse: true } }, "packageAddResponse")).body, "packageAddResponse");
  await get(here.packages, { packageCacheSave: {} });
  await here.stop();
});
