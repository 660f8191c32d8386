// Tells what a project's JavaScript and TypeScript files import: one JSON object on stdin, one on stdout
// (services/packager/README.md). Run as `node --expose-internals -e` and this text, by any Node from 18. It reads the
// files and runs none of them, but for the project's own `typescript`.
(() => {
  "use strict";
  const fs = require("fs");
  const path = require("path");
  const nodeModule = require("module");
  const acorn = require("internal/deps/acorn/acorn/dist/acorn");

  const UNREAD = 20; // more would only be noise
  const SKIPPED = new Set(["node_modules", "__pycache__", "site-packages", "dist", "build", "target"]);
  const SOURCE = /(?<!\.min)\.([mc]?[jt]s|[jt]sx)$/;
  const NAME = /^(?:@[a-z0-9][\w.~-]*\/)?[a-z0-9][\w.~-]*$/i;
  const builtin = new Set(nodeModule.builtinModules);
  process.emitWarning = () => {}; // that stripping types is experimental

  class Wrong extends Error {}

  const cached = (make) => {
    const known = new Map();
    return (key) => {
      if (!known.has(key)) known.set(key, make(key));
      return known.get(key);
    };
  };

  // --- Parsers

  // Takes more than the language has: what is wrong in ways that do not hide an import, the older `assert`, and imports
  // of types, so that of a file in TypeScript or JSX at least what stands before the first such construct is known.
  class Reader extends acorn.Parser {
    parseTopLevel(program) {
      this.body = program.body = [];
      return super.parseTopLevel(program);
    }
    raiseRecoverable() {}
    skips(pattern) {
      pattern.lastIndex = this.start;
      if (pattern.test(this.input)) this.next();
    }
    parseWithClause() {
      if (this.type === acorn.tokTypes.name && this.value === "assert") this.type = acorn.tokTypes._with;
      return super.parseWithClause();
    }
    parseImport(node) {
      this.skips(/import(?=\s+type\s*(?:[{*]|\s(?!from\b)[\w$]|\sfrom\s+from\b))/y);
      const equals = /(?:import|type)\s+[\w$]+\s*=/y;
      equals.lastIndex = this.start;
      if (!equals.test(this.input)) return super.parseImport(node);
      for (let token = 0; token < 3; token++) this.next();
      node.expression = this.parseExpression();
      this.semicolon();
      return this.finishNode(node, "ExpressionStatement");
    }
    parseImportSpecifier() {
      this.skips(/type(?=\s+(?!as\s+\w+\s*[,}])[\w$])/y);
      return super.parseImportSpecifier();
    }
    parseExport(node, names) {
      this.skips(/export(?=\s+type\s*[{*])/y);
      return super.parseExport(node, names);
    }
  }

  const parsed = (text, sourceType) => {
    const options = { ecmaVersion: "latest", sourceType, allowHashBang: true, allowReturnOutsideFunction: true };
    if (sourceType === "script") options.allowImportExportEverywhere = true;
    let reader;
    try {
      reader = new Reader(options, text);
      reader.parse();
      return { body: reader.body };
    } catch (error) {
      return { body: reader?.body ?? [], error };
    }
  };

  // A file that is no module may use what modules forbid.
  const javascript = (text) => {
    const module = parsed(text, "module");
    if (!module.error) return module;
    const script = parsed(text, "script");
    return script.error ? module : script;
  };

  const literal = (node) => {
    if (node?.type === "TemplateLiteral" && node.quasis.length === 1) return node.quasis[0].value.cooked;
    return node?.type === "Literal" ? node.value : undefined;
  };

  // No recursion, for deep trees. What is tried and caught is optional, unless it is in a function of its own; a
  // parameter named require is a bundle's or AMD's.
  const found = (body, take) => {
    const waiting = body.map((node) => ({ node, optional: false, foreign: false })).reverse();
    while (waiting.length > 0) {
      let { node, optional, foreign } = waiting.pop();
      if (/^(Import|ExportNamed|ExportAll)Declaration$/.test(node.type)) take(node.source?.value);
      else if (node.type === "ImportExpression" && !optional) take(literal(node.source));
      else if (node.type === "CallExpression" && !optional && !foreign) {
        const { callee } = node;
        const called = callee.property?.name === "resolve" ? callee.object : callee;
        if (called.type === "Identifier" && called.name === "require") take(literal(node.arguments[0]));
      } else if (/Function/.test(node.type)) {
        optional = false;
        foreign ||= node.params.some((each) => each.type === "Identifier" && each.name === "require");
      }
      for (const key of Object.keys(node)) {
        const guarded = node.type === "TryStatement" && key === "block" && node.handler !== null;
        for (const each of Array.isArray(node[key]) ? node[key] : [node[key]]) {
          if (typeof each?.type === "string") waiting.push({ node: each, optional: optional || guarded, foreign });
        }
      }
    }
  };

  const typescript = cached((root) => {
    try {
      const ts = nodeModule.createRequire(path.join(root, "package.json"))("typescript");
      // The seventh has no parser that a program can call at once.
      return typeof ts.createSourceFile === "function" ? ts : undefined;
    } catch {
      return undefined;
    }
  });

  const foundByTypescript = (ts, name, text, take) => {
    const kind = /\.[mc]?js$/.test(name) ? ts.ScriptKind.JSX : undefined;
    const file = ts.createSourceFile(path.basename(name), text, ts.ScriptTarget.Latest, false, kind);
    const { SyntaxKind } = ts;
    const textOf = (node) => (node && ts.isStringLiteralLike(node) ? node.text : undefined);
    const waiting = [{ node: file, optional: false, foreign: false }];
    while (waiting.length > 0) {
      let { node, optional, foreign } = waiting.pop();
      if (node.kind === SyntaxKind.ImportDeclaration || node.kind === SyntaxKind.ExportDeclaration) {
        take(textOf(node.moduleSpecifier));
      } else if (node.kind === SyntaxKind.ExternalModuleReference) take(textOf(node.expression));
      else if (node.kind === SyntaxKind.ImportType) take(textOf(node.argument?.literal));
      else if (node.kind === SyntaxKind.CallExpression && !optional) {
        const callee = node.expression;
        const called = callee.name?.text === "resolve" ? callee.expression : callee;
        const requires = !foreign && ts.isIdentifier(called) && called.text === "require";
        if (requires || callee.kind === SyntaxKind.ImportKeyword) take(textOf(node.arguments[0]));
      } else if (ts.isFunctionLike(node)) {
        optional = false;
        foreign ||= node.parameters.some((each) => each.name.text === "require");
      }
      ts.forEachChild(node, (each) => {
        const guarded = each === node.tryBlock && node.catchClause !== undefined;
        waiting.push({ node: each, optional: optional || guarded, foreign });
      });
    }
    const [wrong] = file.parseDiagnostics ?? [];
    if (!wrong) return undefined;
    const line = ts.getLineAndCharacterOfPosition(file, wrong.start).line + 1;
    return `line ${line}: ${ts.flattenDiagnosticMessageText(wrong.messageText, " ")}`;
  };

  let strips = nodeModule.stripTypeScriptTypes;
  const stripped = (text) => {
    for (const mode of ["strip", "transform"]) {
      try {
        return strips?.(text, { mode });
      } catch (error) {
        // Too deep a file has broken the stripper itself: every later call would fail.
        if (!/TYPESCRIPT_SYNTAX$/.test(error?.code)) strips = undefined;
      }
    }
    return undefined;
  };

  // Gives why the file is not read to its end, if so.
  const read = (root, name, text, take) => {
    const typed = /\.([mc]?ts|[jt]sx)$/.test(name);
    let ts = typed ? typescript(root) : undefined;
    if (ts) return foundByTypescript(ts, name, text, take);
    const plain = /\.[mc]?ts$/.test(name) ? stripped(text) : undefined;
    const { body, error } = javascript(plain ?? text);
    if (error && !typed) {
      ts = typescript(root); // for the JSX that many a .js has
      if (ts) return foundByTypescript(ts, name, text, take);
    }
    found(body, take);
    if (!error) return undefined;
    if (!error.loc) return why(error);
    return `line ${error.loc.line}: ${error.message.replace(/ \(\d+:\d+\)$/, "")}`;
  };

  const why = (error) => {
    if (error instanceof RangeError) return "too deeply nested";
    return error.syscall ? `cannot be read: ${error.code}` : error.message;
  };

  // --- The project's own names

  const valueOf = (node) => {
    if (node.type === "ArrayExpression") return node.elements.map((each) => each && valueOf(each));
    if (node.type !== "ObjectExpression") return node.value;
    const plain = node.properties.filter((each) => each.type === "Property" && !each.computed);
    return Object.fromEntries(plain.map(({ key, value }) => [key.value ?? key.name, valueOf(value)]));
  };

  // With comments and commas at the end, as tsconfig.json has.
  const json = cached((file) => {
    try {
      const value = valueOf(acorn.parseExpressionAt(decoded(opened(file, 1 << 20)), 0, { ecmaVersion: "latest" }));
      return value !== null && typeof value === "object" ? value : {};
    } catch {
      return {};
    }
  });

  const names = cached((folder) => (state(folder)?.isDirectory() ? fs.readdirSync(folder) : []));

  const strings = (value) => (Array.isArray(value) ? value.filter((each) => typeof each === "string") : []);

  // Names of the packages that a workspace's root has in its folders.
  const members = cached((folder) => {
    const { workspaces } = json(path.join(folder, "package.json"));
    const globs = strings(workspaces?.packages ?? workspaces);
    try {
      const text = decoded(opened(path.join(folder, "pnpm-workspace.yaml"), 1 << 20));
      for (const [, glob] of text.matchAll(/^\s*-\s*['"]?([^'"\s#]+)/gm)) globs.push(glob);
    } catch {
      // has none
    }
    const found = new Set();
    for (const glob of globs.slice(0, 100)) {
      const [, base, star] = /^(?:\.\/)?([^*!]*?)(\/\*{1,2})?\/?$/.exec(glob) ?? [];
      if (base === undefined) continue;
      const places = star ? names(path.join(folder, base)).slice(0, 1000).map((each) => path.join(base, each)) : [base];
      for (const place of places) found.add(json(path.join(folder, place, "package.json")).name);
    }
    return found;
  });

  const isAlias = (folder, specifier) => {
    for (const file of ["tsconfig.json", "jsconfig.json", "tsconfig.base.json", "tsconfig.app.json"]) {
      if (!names(folder).includes(file)) continue;
      const { paths, baseUrl } = json(path.join(folder, file)).compilerOptions ?? {};
      for (const key of Object.keys(paths ?? {})) {
        const [prefix, ...rest] = key.split("*");
        // A sole "*" says where else to look, and is no alias.
        if (rest.length > 0 ? prefix !== "" && specifier.startsWith(prefix) : specifier === key) return true;
      }
      if (typeof baseUrl !== "string") continue;
      const first = specifier.split("/")[0];
      const there = names(path.join(folder, baseUrl)).filter((each) => each !== "node_modules");
      if (there.some((each) => each.replace(SOURCE, "") === first)) return true;
    }
    return false;
  };

  const packageOf = (root, file, specifier) => {
    if (typeof specifier !== "string" || specifier.length > 500 || builtin.has(specifier)) return undefined;
    const name = specifier.split("/").slice(0, specifier.startsWith("@") ? 2 : 1).join("/");
    if (!NAME.test(name) || name.length > 214 || name === "node_modules") return undefined;
    for (let folder = path.dirname(path.join(root, file)); ; folder = path.dirname(folder)) {
      const own = json(path.join(folder, "package.json")).name;
      if (own === name || members(folder).has(name) || isAlias(folder, specifier)) return undefined;
      if (folder.length <= root.length) return name;
    }
  };

  // --- Files

  const opened = (file, most) => {
    // A link that has just taken the file's place is not followed, and a pipe is not waited for.
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
    const number = fs.openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    try {
      const state = fs.fstatSync(number);
      if (!state.isFile()) throw new Error("not a regular file");
      if (state.size > most) throw new Error(`over ${most} bytes`);
      return fs.readFileSync(number);
    } finally {
      fs.closeSync(number);
    }
  };

  const decoded = (bytes) => {
    const wide = bytes[0] === 0xff && bytes[1] === 0xfe;
    return bytes.toString(wide ? "utf16le" : "utf8").replace(/^\ufeff/, "");
  };

  // Those of upper folders first: where there are too many, they tell the most.
  function* filesBeneath(root, ignored, miss) {
    const folders = [""];
    for (const folder of folders) {
      let entries;
      try {
        entries = fs.readdirSync(path.join(root, folder), { withFileTypes: true });
      } catch (error) {
        miss(folder || ".", why(error));
        continue;
      }
      if (folder && entries.some((entry) => entry.name === "pyvenv.cfg")) continue;
      entries.sort((one, other) => (one.name < other.name ? -1 : 1));
      for (const entry of entries) {
        const file = path.join(folder, entry.name);
        if (ignored.has(file)) continue;
        if (entry.isDirectory()) {
          if (!entry.name.startsWith(".") && !SKIPPED.has(entry.name)) folders.push(file);
        } else if (entry.isFile() && SOURCE.test(entry.name)) yield file;
      }
    }
  }

  const real = (file) => {
    try {
      return fs.realpathSync(file);
    } catch (error) {
      const folder = path.dirname(file);
      if (error.code !== "ENOENT" || folder === file) throw error;
      return path.join(real(folder), path.basename(file)); // its content is sent before it is saved
    }
  };

  const state = (file) => fs.statSync(file, { throwIfNoEntry: false });

  const answerTo = (order) => {
    const { file, most_bytes: mostBytes = 1 << 20, most_files: mostFiles = 2000 } = order;
    const shown = (value) => JSON.stringify(value)?.slice(0, 200);
    const isPath = (value) => typeof value === "string" && value !== "" && !value.includes("\0");
    if (!isPath(order.root) || !path.isAbsolute(order.root) || !state(order.root)?.isDirectory()) {
      throw new Wrong(`the root ${shown(order.root)} is not the absolute path of a folder`);
    }
    const root = fs.realpathSync(order.root);
    const imports = new Set();
    const unread = [];
    const miss = (name, reason) => {
      const plain = String(reason).replace(/\s+/g, " ").slice(0, 200);
      if (unread.length < UNREAD) unread.push({ path: name, why: plain });
    };
    const look = (name, content) => {
      const take = (specifier) => {
        const found = packageOf(root, name, specifier);
        if (found !== undefined) imports.add(found);
      };
      try {
        const bytes = content === null ? opened(path.join(root, name), mostBytes) : Buffer.from(content);
        if (bytes.length > mostBytes) throw new Error(`over ${mostBytes} bytes`);
        const reason = read(root, name, decoded(bytes), take);
        if (reason !== undefined) miss(name, reason);
      } catch (error) {
        miss(name, why(error));
      }
    };
    if (file !== null && file !== undefined) {
      const { path: name, content = null } = file;
      if (!isPath(name) || (content !== null && typeof content !== "string")) {
        throw new Wrong(`the file ${shown(name)} is not a path with a content`);
      }
      const place = real(path.resolve(root, name));
      const relative = path.relative(root, place);
      if (relative === "" || relative.split("/")[0] === "..") {
        throw new Wrong(`the file ${shown(name)} is outside of the root`);
      }
      if (content === null && !state(place)?.isFile()) throw new Wrong(`the file ${shown(name)} is not there`);
      look(relative, content);
    } else {
      const ignored = new Set(strings(order.ignored).map((each) => path.normalize(each).replace(/\/$/, "")));
      let count = 0;
      for (const name of filesBeneath(root, ignored, miss)) {
        if (count++ === mostFiles) {
          unread.unshift({ path: ".", why: `more than ${mostFiles} files: the rest was not looked at` });
          break;
        }
        look(name, null);
      }
    }
    return { imports: [...imports].sort(), unread: unread.slice(0, UNREAD) };
  };

  const write = (fd, text) => {
    // What UTF-8 cannot hold, such as half of a pair in a message, becomes a question mark.
    const bytes = Buffer.from(text.replace(/\p{Surrogate}/gu, "?"));
    for (let at = 0; at < bytes.length; ) {
      try {
        at += fs.writeSync(fd, bytes, at);
      } catch (error) {
        if (error.code !== "EAGAIN") throw error;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
      }
    }
  };

  try {
    const order = JSON.parse(fs.readFileSync(0, "utf8"));
    if (order === null || typeof order !== "object") throw new Wrong("the order is not an object");
    write(1, `${JSON.stringify(answerTo(order)).replace(/\\ud[89a-f][0-9a-f]{2}/g, "?")}\n`);
  } catch (error) {
    const text = error instanceof Wrong ? error.message : `the order cannot be read: ${error.message}`;
    write(2, `${text.replace(/\s+/g, " ").slice(0, 500)}\n`);
    process.exitCode = 1;
  }
})();
