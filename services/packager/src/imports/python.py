# Tells what a project's Python files import: one JSON object on stdin, one on stdout (services/packager/README.md).
# Run as `python3 -I -S -c` and this text, by any Python from 3.8. It reads the files and runs none of them.
import ast, errno, functools, gc, itertools, json, os, re, stat, sys, threading, warnings  # noqa: E401

UNREAD = 20  # more would only be noise
SKIPPED = {"node_modules", "__pycache__", "site-packages", "dist", "build", "target"}
# Many packages share these: `from google.cloud import storage` is told as google.cloud.storage.
SHARED = {"azure", "backports", "flaskext", "google", "jaraco", "llama_index", "opentelemetry", "sphinxcontrib", "zope"}
ABSENT = {"ImportError", "ModuleNotFoundError"}
BROAD = {"Exception", "BaseException"}
# The library's modules that other systems have, for Pythons that keep no list.
ELSEWHERE = {"_scproxy", "_winapi", "_winreg", "msilib", "msvcrt", "nt", "ossaudiodev", "winreg", "winsound"}


class Wrong(Exception):
    """What was asked for cannot be done."""


@functools.lru_cache(None)
def is_standard(name):
    known = getattr(sys, "stdlib_module_names", None)
    if known is not None:
        return name in known
    if name in sys.builtin_module_names or name in ELSEWHERE:
        return True
    from importlib.machinery import PathFinder

    return PathFinder.find_spec(name, sys.path) is not None  # by -I and -S only the library is in the path


@functools.lru_cache(10000)
def names_in(folder):
    try:
        return frozenset(os.listdir(folder))
    except (OSError, ValueError):
        return frozenset()


def has(folder, module):
    names = names_in(folder)
    if any(module + ending in names for ending in (".py", ".pyi", ".so", ".pyx")):
        return True
    return module in names and os.path.isdir(os.path.join(folder, module))


def is_own(root, path, name, parts):
    """Whether Python would find it in the project, started in any folder from the root to the file's own."""
    place = os.path.dirname(path)
    while True:
        for base in (place, os.path.join(place, "src")):
            file, folder = os.path.join(base, name + ".py"), os.path.join(base, name)
            # A celery.py that imports celery does not mean itself.
            if name + ".py" in names_in(base) and file != path:
                return True
            if name in names_in(base) and os.path.isdir(folder):
                # An installed package goes before a folder that is none, so docker/Dockerfile does not hide docker.
                if "__init__.py" in names_in(folder) or any(has(folder, part) for part in parts):
                    return True
        if place == root or len(place) <= len(root):
            return False
        place = os.path.dirname(place)


def named(node):
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def is_guarded(node):
    """Whether the program goes on without what the body of this `try` or `with` imports."""
    if isinstance(node, ast.With):
        calls = [item.context_expr for item in node.items if isinstance(item.context_expr, ast.Call)]
        return any(named(c.func) == "suppress" and ABSENT & set(map(named, c.args)) for c in calls)
    caught = set()
    for handler in node.handlers:
        types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        caught.update("Exception" if each is None else named(each) for each in types)
    # What catches everything is mostly meant for other errors, unless there is little else in it.
    little = all(isinstance(each, (ast.Import, ast.ImportFrom, ast.Assign)) for each in node.body)
    return bool(caught & ABSENT or (little and caught & BROAD))


ASKED = {"sys": ("version_info", "platform"), "os": ("name",)}
HARMLESS = (ast.Compare, ast.cmpop, ast.BoolOp, ast.boolop, ast.UnaryOp, ast.Not, ast.Tuple, ast.Constant, ast.Load)
HARMLESS += (ast.Subscript, ast.Slice, ast.USub) + ((ast.Index,) if sys.version_info < (3, 9) else ())


def outcome(test):
    """What a test for the Python or the system gives here; None for any other test."""
    if named(test) == "TYPE_CHECKING":
        return False
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) and named(test.operand) == "TYPE_CHECKING":
        return True
    nodes = list(itertools.islice(ast.walk(test), 100))
    asks = [node for node in nodes if isinstance(node, ast.Attribute) and node.attr in ASKED.get(named(node.value), ())]
    if not asks or len(nodes) == 100:
        return None
    known = asks + [node.value for node in asks]
    for node in nodes:
        starts = isinstance(node, ast.Attribute) and node.attr == "startswith" and node.value in asks
        calls = isinstance(node, ast.Call) and named(node.func) == "startswith" and not node.keywords
        if not (isinstance(node, HARMLESS) or node in known or starts or calls):
            return None
    try:
        code = compile(ast.Expression(test), "test", "eval")
        return bool(eval(code, {"__builtins__": {}, "sys": sys, "os": os}))
    except Exception:
        return None


def imports_of(tree):
    """Each needed import as its module and the names that may be modules within; no recursion, for deep trees."""
    waiting = [(tree, False)]
    while waiting:
        node, optional = waiting.pop()
        if isinstance(node, ast.Import) and not optional:
            for alias in node.names:
                yield alias.name, []
        elif isinstance(node, ast.ImportFrom) and not optional and not node.level and node.module:
            yield node.module, [alias.name for alias in node.names if alias.name != "*"]
        elif isinstance(node, ast.If):
            holds = outcome(node.test)
            waiting += [(each, optional) for each in node.body if holds is not False]
            waiting += [(each, optional) for each in node.orelse if holds is not True]
        elif isinstance(node, (ast.Try, getattr(ast, "TryStar", ast.Try))):
            guarded = is_guarded(node)
            waiting += [(each, optional or guarded) for each in node.body]
            waiting += [(each, optional) for each in node.orelse + node.finalbody]
            # With tomllib in the library nobody needs the tomli of the handler.
            plain = [n for n in node.body if isinstance(n, (ast.Import, ast.ImportFrom))]
            found = [a.name if isinstance(n, ast.Import) else n.module or "" for n in plain for a in n.names]
            if not (guarded and found and all(is_standard(name.split(".")[0]) for name in found)):
                waiting += [(each, optional) for handler in node.handlers for each in handler.body]
        elif isinstance(node, ast.With):
            waiting += [(each, optional or is_guarded(node)) for each in node.body]
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            waiting += [(each, False) for each in node.body]  # run later, outside of the `try`
        elif hasattr(node, "body") or hasattr(node, "cases"):  # else it has no statements within
            waiting += [(each, optional) for each in ast.iter_child_nodes(node) if not isinstance(each, ast.expr)]


def wanted(tree, root, path):
    for module, within in imports_of(tree):
        name, _, rest = module.partition(".")
        # No package on the index has such a name.
        if is_standard(name) or not re.match(r"[A-Za-z0-9][A-Za-z0-9_]*\Z", name) or len(module) > 200:
            continue
        if is_own(root, path, name, [rest.split(".")[0]] if rest else within):
            continue
        if name in SHARED and within:
            yield from (f"{module}.{each}" for each in within)
        else:
            yield module


def read(path, most):
    # A link that has just taken the file's place is not followed, and a pipe is not waited for.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(number, "rb") as file:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        data = file.read(most + 1)
    return data


def why(error):
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}" if error.lineno else error.msg
    if isinstance(error, (RecursionError, MemoryError)):
        return "too deeply nested"
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}"
    return str(error)


class Answer:
    def __init__(self, root, most_bytes):
        self.root, self.most_bytes = root, most_bytes
        self.imports, self.unread = set(), []

    def miss(self, path, reason):
        if len(self.unread) < UNREAD:
            self.unread.append({"path": path, "why": " ".join(str(reason).split())[:200]})

    def look(self, relative, source=None):
        path = os.path.join(self.root, relative)
        try:
            if source is None:
                source = read(path, self.most_bytes)  # bytes: the parser itself minds the encoding that they name
            else:
                source = source.lstrip("\ufeff").encode("utf-8")
                if len(source) <= self.most_bytes:
                    source = source.decode("utf-8")
            if len(source) > self.most_bytes:
                return self.miss(relative, f"over {self.most_bytes} bytes")
            self.imports.update(wanted(ast.parse(source, "file"), self.root, path))
        except (SyntaxError, ValueError, LookupError, OSError, RecursionError, MemoryError) as error:
            self.miss(relative, why(error))


def files_beneath(root, ignored, answer):
    """The Python files, those of upper folders first: where there are too many, they tell the most."""
    folders = [""]
    for folder in folders:
        try:
            entries = sorted(os.scandir(os.path.join(root, folder)), key=lambda entry: entry.name)
        except OSError as error:
            answer.miss(folder or ".", why(error))
            continue
        if any(entry.name == "pyvenv.cfg" for entry in entries) and folder:
            continue
        for entry in entries:
            path = os.path.join(folder, entry.name)
            if path in ignored:
                continue
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith(".") and entry.name not in SKIPPED:
                    folders.append(path)
            elif entry.name.endswith((".py", ".pyw")) and entry.is_file(follow_symlinks=False):
                yield path


def answer_to(order):
    root, file = order.get("root"), order.get("file")
    if not isinstance(root, str) or "\0" in root or not os.path.isabs(root) or not os.path.isdir(root):
        raise Wrong(f"the root {root!r} is not the absolute path of a folder")
    root = os.path.realpath(root)
    answer = Answer(root, int(order.get("most_bytes", 1 << 20)))
    if file is not None:
        path, content = file.get("path"), file.get("content")
        if not isinstance(path, str) or not path or "\0" in path or not (content is None or isinstance(content, str)):
            raise Wrong(f"the file {path!r} is not a path with a content")
        real = os.path.realpath(os.path.join(root, path))
        relative = os.path.relpath(real, root)
        if relative == os.curdir or relative.split(os.sep)[0] == os.pardir:
            raise Wrong(f"the file {path!r} is outside of the root")
        if content is None and not os.path.isfile(real):
            raise Wrong(f"the file {path!r} is not there")
        answer.look(relative, content)
    else:
        ignored = {os.path.normpath(each) for each in order.get("ignored") or [] if isinstance(each, str)}
        most_files = int(order.get("most_files", 2000))
        for count, path in enumerate(files_beneath(root, ignored, answer)):
            if count == most_files:
                reason = f"more than {most_files} files: the rest was not looked at"
                answer.unread.insert(0, {"path": ".", "why": reason})
                break
            answer.look(path)
    return {"imports": sorted(answer.imports), "unread": answer.unread[:UNREAD]}


def main():
    global failure
    try:
        order = json.loads(sys.stdin.buffer.read().decode("utf-8"))
        if not isinstance(order, dict):
            raise Wrong("the order is not an object")
        text = json.dumps(answer_to(order), ensure_ascii=False)
        # What UTF-8 cannot hold, such as the name of an odd file, becomes a question mark.
        sys.stdout.buffer.write(text.encode("utf-8", "replace") + b"\n")
        sys.stdout.buffer.flush()
        failure = None
    except Wrong as error:
        failure = str(error)
    except (ValueError, TypeError, AttributeError, OSError, RecursionError) as error:
        failure = f"the order cannot be read: {error}"


gc.disable()  # trees have no cycles, and looking for some takes a tenth of the time
warnings.simplefilter("ignore")  # of strings such as "\d" in the files
failure = "nothing was answered"
if sys.version_info < (3, 11):
    # Those parsers count no depth in places: 100,000 times `1+` would end the process by SIGSEGV.
    threading.stack_size(1 << 30)
    thread = threading.Thread(target=main)
    thread.start()
    thread.join()
else:
    main()
if failure is not None:
    sys.exit(" ".join(failure.encode("utf-8", "replace").decode("utf-8").split())[:500])
