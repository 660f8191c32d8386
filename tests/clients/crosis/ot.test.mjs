// Documents, edited by the published client with the op library of the published editors.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Editor } from "./editor.mjs";
import { Agent, Crosis, eventually } from "./support.mjs";

const LONG = process.env.PID1_LONG === "1";

let agent;
before(async () => (agent = await Agent.start({ args: ["--autosave", "0.2"] })));
after(() => agent.stop());

const file = (name) => join(agent.root, name);

/** A small generator of its own, so that a run can be had again. */
function random(seed) {
  return (below) => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return Math.floor((seed / 0x7fffffff) * below) % below;
  };
}

const PIECES = ["a", "🚀", "é", "\r\n", "世界", "\n", "👩‍👩‍👧", "x y z"];

/** One edit somewhere in what the editor shows. */
function scribble(editor, below, mark) {
  const length = [...editor.shown].length;
  const at = below(length + 1);
  const gone = Math.min(below(4), length - at);
  editor.edit([at, ...(gone ? [{ d: gone }] : []), mark + PIECES[below(PIECES.length)]]);
}

const breathe = () => new Promise((resolve) => setImmediate(resolve));

test("eight editors, a program that writes the file, and lines that are lost end with one text", { timeout: 600_000 }, async () => {
  const path = "together.txt";
  writeFileSync(file(path), "begin 🚀\r\nend\r\n");
  const clients = await Promise.all(Array.from({ length: 8 }, () => Crosis.connect(agent)));
  const editors = await Promise.all(clients.map((client) => Editor.open(client, path)));
  const edits = LONG ? 500 : 60;
  let written = 0;
  const done = { editing: false };

  const program = (async () => {
    while (!done.editing) {
      await new Promise((resolve) => setTimeout(resolve, 120));
      const before = readFileSync(file(path), "utf8");
      // Between the two somebody else may write: then the program's copy is older, as any program's may be.
      writeFileSync(file(path), `${before}from a program ${(written += 1)}\n`);
    }
  })();

  await Promise.all(
    editors.map(async (editor, number) => {
      const below = random(number + 1);
      for (let edit = 0; edit < edits; edit += 1) {
        scribble(editor, below, "");
        if (number < 2 && edit % 20 === 10) {
          const lives = editor.channel.lives.length;
          clients[number].cut();
          await editor.channel.opened(lives + 1);
          await editor.resume();
        }
        await (edit % 3 === 0 ? editor.quiet(60_000) : breathe());
      }
      await editor.quiet(60_000);
    }),
  );
  done.editing = true;
  await program;
  // What the program wrote last becomes a change of the document.
  await eventually(() => editors[0].known.includes(`from a program ${written}\n`), "the program's last line is in the document");
  assert.equal((await editors[0].channel.request({ flush: {} })).body, "ok");
  const newest = () => Math.max(...editors.map(({ version }) => version));
  await eventually(() => editors.every(({ version }) => version === newest()), "all have the newest version");
  for (const editor of editors) {
    assert.equal(editor.shown, editor.known);
    assert.equal(editor.known, editors[0].known);
  }
  await eventually(() => readFileSync(file(path), "utf8") === editors[0].known, "the file agrees");
  for (const client of clients) client.destroy();
});

test("an edit is kept over the end of the agent, and the editor goes on where it was", async () => {
  const path = "kept.txt";
  let own = await Agent.start({ args: ["--autosave", "600"] });
  writeFileSync(join(own.root, path), "abc\n");
  const client = await Crosis.connect(own);
  const editor = await Editor.open(client, path);
  editor.edit([3, "🚀"]);
  await editor.quiet();
  own.process.kill("SIGKILL");
  await eventually(() => own.exit, "the agent is gone");
  assert.equal(readFileSync(join(own.root, path), "utf8"), "abc\n");
  own = await Agent.start({ folder: own.folder, port: own.port, args: ["--autosave", "600"] });
  await editor.channel.opened(2);
  // The new agent has it in its store; somebody has to open it.
  const { otLinkFileResponse } = await editor.channel.request({ otLinkFile: { file: { path } } });
  assert.equal(otLinkFileResponse.version, editor.version);
  assert.equal(Buffer.from(otLinkFileResponse.linkedFile.content).toString(), "abc🚀\n");
  assert.equal((await editor.channel.request({ flush: {} })).body, "ok");
  assert.equal(readFileSync(join(own.root, path), "utf8"), "abc🚀\n");
  client.destroy();
  await own.stop();
});

test("what cannot be edited is refused in words", async () => {
  const client = await Crosis.connect(agent);
  writeFileSync(file("binary"), Buffer.from([0xff, 0xfe, 0]));
  for (const [path, wanted] of [
    ["missing.txt", /no such file/],
    ["binary", /not UTF-8/],
    [".", /is a directory/],
    ["../etc/passwd", /leads out of the workspace/],
  ]) {
    const channel = await client.channel("ot");
    const answer = await channel.request({ otLinkFile: { file: { path } } });
    assert.match(answer.error, wanted, path);
    await channel.close();
  }
  client.destroy();
});

test("cursors go to the others, to newcomers, and with their owner", async () => {
  writeFileSync(file("cursors.txt"), "abc\n");
  const [one, two] = await Promise.all([Crosis.connect(agent), Crosis.connect(agent)]);
  await Editor.open(one, "cursors.txt");
  const first = await Editor.open(two, "cursors.txt");
  const third = await Crosis.connect(agent);
  const cursor = { id: "c1", position: 2, selectionStart: 1, selectionEnd: 2, user: { id: 7, name: "ada" } };
  first.channel.send({ otNewCursor: cursor });
  const late = await Editor.open(third, "cursors.txt");
  const status = late.channel.heard.items.find(({ body }) => body === "otstatus").otstatus;
  assert.deepEqual(status.cursors.map(({ id, position }) => [id, position]), [["c1", 2]]);
  two.destroy();
  await late.channel.heard.until(() => late.channel.heard.items.find(({ body, otDeleteCursor }) => body === "otDeleteCursor" && otDeleteCursor.id === "c1"), "its cursor is gone");
  for (const client of [one, third]) client.destroy();
});
