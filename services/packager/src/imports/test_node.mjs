// Tests of node.cjs, with the Node that runs them: `node --test test_node.mjs`.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import nodeModule from "node:module";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";

const program = fs.readFileSync(new URL("node.cjs", import.meta.url), "utf8");

const project = (t, files = {}) => {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), "imports-"));
  t.after(() => fs.rmSync(root, { recursive: true }));
  for (const [name, content] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    fs.writeFileSync(path.join(root, name), content);
  }
  return root;
};
const run = (order) =>
  spawnSync(process.execPath, ["--expose-internals", "-e", program], {
    input: JSON.stringify({ file: null, ignored: [], ...order }),
    encoding: "utf8",
  });
const ask = (order) => {
  const { status, stdout, stderr } = run(order);
  assert.deepEqual([status, stderr], [0, ""]);
  return JSON.parse(stdout);
};

const own = {
  "package.json": '{"name": "self", "workspaces": ["packages/*"]}',
  "packages/one/package.json": '{"name": "@work/one"}',
  "tsconfig.json": '{ /* of tsc */ "compilerOptions": { "baseUrl": "src", "paths": { "lib/*": ["x/*"], "*": ["y"], }, }, }',
  "src/components/a.js": "",
  "src/store.ts": "",
};
const sources = [
  ["a.mjs", 'import a from "lodash/fp"; export * from "@s/x/y"; import d from "z/d.json" with {type: "json"}', "@s/x lodash z"],
  ["a.mjs", '#!/usr/bin/env node\nconst a = await import("a"); import(`b`); import(c); import("d" + e)', "a b"],
  ["a.cjs", 'with (a) {} var x = 010; require("a"); require.resolve("b/package.json"); return', "a b"],
  ["a.js", 'try { require("a") } catch { require("b") } try { require("c") } finally {}', "b c"],
  ["a.js", 'try { f(() => require("a")) } catch {} define(function (require) { require("b") })', "a"],
  ["a.js", 'import "./a"; import "/b"; import "node:fs"; import "fs/promises"; import "#c"; import "https://d"; import "data:,e"', ""],
  ["a.js", 'import "@/a"; import "~/b"; import "style!./c"; import ""; import "punycode/"', "punycode"],
  ["a.js", 'import "self/x"; import "@work/one"; import "lib/a"; import "components/a"; import "store"; import "library"', "library"],
  ["a.js", 'let a; let a; export { b }; import "c"', "c"],
  ["a.js", 'import a from "a" assert {type: "json"}', "a"],
];

test("sources", (t) => {
  const root = project(t, own);
  for (const [name, content, imports] of sources) {
    const expected = { imports: imports.split(" ").filter(Boolean), unread: [] };
    assert.deepEqual(ask({ root, file: { path: name, content } }), expected, content);
  }
});

const typed = `import type A from "a"; import { type B } from "b"; import c = require("c"); export type { D } from "d"; import "e";\n`;

test("types and JSX without typescript: what stands before the first such construct", (t) => {
  const answer = ask({ root: project(t), file: { path: "a.tsx", content: `${typed}const f = <div>it's</div>;\nimport "g";` } });
  assert.deepEqual(answer.imports, ["a", "b", "c", "d", "e"]);
  assert.equal(answer.unread[0].why, "line 2: Unexpected token");
});

test("types stripped by Node", { skip: !nodeModule.stripTypeScriptTypes }, (t) => {
  const content = `${typed}enum F { G }\nconst h: string = ""; import "i"; abstract class J {}`;
  assert.deepEqual(ask({ root: project(t), file: { path: "a.ts", content } }), { imports: ["b", "c", "e", "i"], unread: [] });
});

test("one too deep file does not break the others", (t) => {
  const files = { "a.ts": "[".repeat(100000), "b.ts": 'import "b";\nlet c: string;', "d.js": "[".repeat(100000), "e.js": 'import "e"' };
  const answer = ask({ root: project(t, files) });
  assert.deepEqual(answer.imports, ["b", "e"]);
  assert.ok(answer.unread.some(({ path, why }) => path === "d.js" && /nested|stack space/.test(why)));
});

// The real one, where the caller has it: TYPESCRIPT=/path/to/node_modules/typescript
const typescript = process.env.TYPESCRIPT;
test("typescript of the project", { skip: !typescript }, (t) => {
  const root = project(t, { "node_modules/x.js": "" });
  fs.symlinkSync(typescript, path.join(root, "node_modules/typescript"));
  const content = `${typed}const f = <div>it's</div>; type G = import("g").H; try { require("i") } catch {} require.resolve("j")`;
  const imports = ["a", "b", "c", "d", "e", "g", "j"];
  assert.deepEqual(ask({ root, file: { path: "a.tsx", content } }), { imports, unread: [] });
  assert.deepEqual(ask({ root, file: { path: "a.js", content: 'f(<div>it\'s</div>); require("k")' } }).imports, ["k"]);
  const broken = ask({ root, file: { path: "a.ts", content: 'import "l";\nlet = = 1;\nimport "m"' } });
  assert.deepEqual(broken.imports, ["l", "m"]);
  assert.match(broken.unread[0].why, /^line 2: /);
});

test("walk", (t) => {
  const out = Object.fromEntries([".x/a.js", "node_modules/b/b.js", "dist/c.js", "data/d.js", "e.min.js"].map((name) => [name, 'import "no"']));
  const root = project(t, { ...out, "sub/sp ace.mjs": 'import "yes"', "big.js": " ".repeat(2 << 20), "f.js": "import" });
  fs.symlinkSync("..", path.join(root, "sub/loop"));
  fs.symlinkSync("/etc/passwd", path.join(root, "link.js"));
  execFileSync("mkfifo", [path.join(root, "pipe.js")]);
  fs.writeFileSync(Buffer.concat([Buffer.from(`${root}/odd-`), Buffer.from([0xff]), Buffer.from(".js")]), "");
  const { imports, unread } = ask({ root, ignored: ["data/"] });
  assert.deepEqual(imports, ["yes"]);
  assert.deepEqual(unread.map((each) => each.why), ["over 1048576 bytes", "line 1: Unexpected token", "cannot be read: ENOENT"]);
});

test("too many files", (t) => {
  const root = project(t, Object.fromEntries(Array.from({ length: 30 }, (_, number) => [`${number}.js`, "("])));
  const { unread } = ask({ root, most_files: 25 });
  assert.equal(unread.length, 20);
  assert.equal(unread[0].why, "more than 25 files: the rest was not looked at");
});

test("wrong orders", (t) => {
  const root = project(t, { "a/b.js": "" });
  fs.symlinkSync("/etc", path.join(root, "etc"));
  for (const name of ["../../etc/passwd", "/etc/passwd", "etc/passwd", "a\0b", "", ".", "none.js", "a", 5]) {
    const { status, stdout, stderr } = run({ root, file: { path: name, content: null } });
    assert.deepEqual([status, stdout, stderr.split("\n").length], [1, "", 2], `${name}: ${stderr}`);
  }
  for (const wrong of ["relative", "/none", null, "/\0"]) assert.equal(run({ root: wrong }).status, 1);
});
