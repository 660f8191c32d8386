# Evaluates Python for the agent: JSON lines, read at descriptor 200 and answered at 201 (services/eval/README.md).
# Run as `python3 -u -c` and this text. All state is in the module `__main__` that it makes, none of its own.
import sys

# A json.py of the workspace must not be taken for the library's.
sys.path[:1] = [] if sys.path[:1] == [""] else sys.path[:1]
import __future__, ast, builtins, linecache, os, tokenize, types  # noqa: E401

# As they are now: what is evaluated may put something else in their place.
from json import dumps, loads
from signal import SIGINT, default_int_handler, getsignal, signal
from traceback import format_exception

sys.path.insert(0, "")
SOURCES = 1000  # evaluations whose lines tracebacks can still show
orders, answers = open(200, "rb"), open(201, "wb")
for number in (200, 201):
    os.set_inheritable(number, False)


def forked():
    # A copy of this process answers nobody, and ends when it has done what it was made for.
    null = os.open(os.devnull, os.O_RDWR)
    for number in (200, 201):
        os.dup2(null, number, False)
    os.close(null)


os.register_at_fork(after_in_child=forked)


def say(command, **rest):
    # A lone surrogate, which UTF-8 cannot hold, becomes a question mark.
    line = dumps({"command": command, **rest}, ensure_ascii=False)
    answers.write(line.encode("utf-8", "replace") + b"\n")
    answers.flush()


def read_input():
    # `exit()` closes it.
    if stdin.closed:
        return open(0, encoding="utf-8", closefd=False)
    return stdin


def execute(source, name, main):
    global flags
    tree = compile(source, name, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    code = compile(tree, name, "exec", flags, dont_inherit=True)
    for feature in __future__.all_feature_names:
        flags |= code.co_flags & getattr(__future__, feature).compiler_flag
    exec(code, main)
    if last is None:
        return ""
    value = eval(compile(ast.Expression(last.value), name, "eval", flags, dont_inherit=True), main)
    if value is None:
        return ""
    builtins._ = value
    return repr(value)


def describe(error):
    trace = error.__traceback__
    while trace and trace.tb_frame.f_globals is globals():
        trace = trace.tb_next
    return "".join(format_exception(type(error), error, trace))


def evaluate(source, count, main):
    global handler
    name = f"<eval {count}>"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    linecache.cache.pop(f"<eval {count - SOURCES}>", None)
    data = error = ""
    try:
        try:
            signal(SIGINT, handler)
            data = execute(source, name, main)
        finally:
            handler = getsignal(SIGINT) or handler
            signal(SIGINT, ignore)
    except BaseException as reason:  # SystemExit, too: it ends the evaluation, and the state stays
        signal(SIGINT, ignore)
        try:
            error = describe(reason)
        except BaseException:
            error = f"{type(reason).__name__} (which cannot be shown)\n"
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            pass  # closed, or replaced by something else
    return data, error


def ignore(*_):
    pass


def read_order():
    while True:
        try:
            return orders.readline()
        except (Exception, KeyboardInterrupt) as reason:  # the handler of a signal; one that exits may do so
            try:
                print(describe(reason), end="", file=sys.stderr)
            except BaseException:
                pass


def serve():
    global stdin
    namespace = types.ModuleType("__main__")
    namespace.__builtins__ = builtins
    sys.modules["__main__"] = namespace
    sys.argv = [""]
    count = 0
    say("ready")
    for line in iter(read_order, b""):
        order = loads(line)
        if order.get("command") != "eval":
            continue
        count += 1
        if sys.stdin is stdin:
            sys.stdin = stdin = read_input()
        try:
            data, error = evaluate(order["data"], count, namespace.__dict__)
        except BaseException as reason:  # of a signal in the moment between the end and the answer
            data, error = "", f"{type(reason).__name__}\n"
        say("result", id=order.get("id"), data=data, error=error)


flags = 0
handler = default_int_handler
signal(SIGINT, ignore)
for stream in (sys.stdout, sys.stderr):
    stream.reconfigure(encoding="utf-8")
# Closing it must not give its number to the next file that is opened.
sys.stdin = stdin = open(0, encoding="utf-8", closefd=False)
keep = sys.modules["__main__"]  # what is defined here lives as long as it
serve()
