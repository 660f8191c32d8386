//! Programs that run as somebody else than the agent: who they are, what they have, and what they cannot do. All of it
//! needs root, but for what an agent without it refuses.

mod orders;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::support::{Agent, Launch, SOON, Screen, binary, eventually, named, process_start};

/// Users of a container of its own; the numbers are nobody's.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nada:x:64001:64002:Ada:/home/ada:/bin/sh\n";
const GROUP: &str = "root:x:0:\nada:x:64002:\ncrew:x:64003:eve,ada\nguests:x:64004:eve\nvideo:x:64005:ada\n";

/// An agent that is root, where there is a user called `ada`.
fn with_users() -> Launch {
    let launch = Launch::new();
    let home = launch.home().to_owned();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(home.join("passwd"), PASSWD).unwrap();
    fs::write(home.join("group"), GROUP).unwrap();
    let mount =
        "cd \"$0\" && mount --bind passwd /etc/passwd && mount --bind group /etc/group && exec \"$@\"";
    launch.through(&["unshare", "--mount", "sh", "-c", mount, home.to_str().unwrap()])
}

fn exec(agent: &Agent, flags: &[&str], command: &[&str]) -> Command {
    let mut exec = Command::new(binary());
    exec.arg("exec").args(flags).args([agent.url(), "--"]).args(command);
    exec.env_remove("PID1_URL").stdin(Stdio::null());
    exec
}

fn run(agent: &Agent, flags: &[&str], command: &[&str]) -> Output {
    exec(agent, flags, command).output().unwrap()
}

/// What a script prints that must succeed and say nothing else.
fn printed(agent: &Agent, flags: &[&str], script: &str) -> String {
    let output = run(agent, flags, &["sh", "-c", script]);
    assert!(output.status.success() && output.stderr.is_empty(), "{flags:?} {script}: {output:?}");
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn a_program_is_whom_it_was_asked_to_be() {
    let agent = with_users().start().await;
    let script = "echo $(id -u) $(id -g), $(id -G), $HOME $USER $LOGNAME; grep ^Uid: /proc/self/status";
    for (user, ids, variables) in [
        ("ada", "64001 64002, 64002 64003 64005", "/home/ada ada ada"),
        ("64001", "64001 64002, 64002 64003 64005", "/home/ada ada ada"),
        ("ada:guests", "64001 64004, 64004", "/home/ada ada ada"),
        ("ada:64009", "64001 64009, 64009", "/home/ada ada ada"),
        ("64008", "64008 0, 0", "/"),
        ("64008:crew", "64008 64003, 64003", "/"),
        ("root", "0 0, 0", "/root root root"),
    ] {
        let said = printed(&agent, &["-u", user], script);
        let uid = ids.split(' ').next().unwrap();
        // For the system it is nobody else, not even behind the scenes.
        let expected = format!("{ids}, {variables}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n");
        assert_eq!(said, expected, "{user}");
    }
    let named = exec(&agent, &[], &["id", "-u"]).env("PID1_EXEC_USER", "ada").output().unwrap();
    assert_eq!(text(&named.stdout), "64001\n");
    let own = printed(&agent, &["-u", "ada", "-e", "HOME=/elsewhere", "-e", "USER=me"], script);
    assert!(own.contains("/elsewhere me ada"), "{own}");
}

#[tokio::test]
async fn nothing_else_is_different() {
    let agent = with_users().start().await;
    let variables = |flags: &[&str]| {
        let output = run(&agent, flags, &["cat", "/proc/self/environ"]);
        let mut all: Vec<_> = text(&output.stdout).split_terminator('\0').map(str::to_owned).collect();
        all.sort();
        all
    };
    let mut expected = variables(&["-e", "LAST=1"]);
    expected.retain(|variable| !variable.starts_with("HOME="));
    expected.extend(["HOME=/home/ada", "USER=ada", "LOGNAME=ada"].map(str::to_owned));
    expected.sort();
    assert_eq!(variables(&["-e", "LAST=1", "-u", "ada"]), expected);

    // Its folder, signals, limits, group, score and descriptors.
    let script = "pwd; grep -E '^(Sig(Ign|Blk)|Threads|NoNewPrivs)' /proc/self/status; ulimit -a; \
                  ls /proc/self/fd | tr '\\n' ' '; [ $(ps -o pgid= -p $$) = $$ ] && cat /proc/self/oom_score_adj";
    assert_eq!(printed(&agent, &["-u", "ada"], script), printed(&agent, &[], script));
    let output = run(&agent, &["-u", "ada"], &["ls", "/proc/self/fd"]);
    assert_eq!(text(&output.stdout), "0\n1\n2\n3\n", "the fourth is its own");
    for code in [0, 1, 125, 126, 127, 255] {
        let output = run(&agent, &["-u", "ada"], &["sh", "-c", &format!("exit {code}")]);
        assert_eq!(output.status.code(), Some(code));
    }
    let output = run(&agent, &["-u", "ada"], &["sh", "-c", "kill -USR1 $$"]);
    assert_eq!(output.status.code(), Some(128 + 10));
    let odd = ["", " ", "a\nb", "*", "é"];
    let output = run(&agent, &["-u", "ada"], &[&["printf", "[%s]"], &odd[..]].concat());
    assert_eq!(text(&output.stdout), odd.map(|arg| format!("[{arg}]")).concat());
    // A pipe that nobody reads ends who writes to it.
    let output = run(&agent, &["-u", "ada"], &["sh", "-c", "(yes; echo $? >&2) | head -n 1"]);
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("y\n".to_owned(), "141\n".to_owned()));
}

#[tokio::test]
async fn what_it_has_inherited_it_can_open_again() {
    let agent = with_users().start().await;
    let script = "echo out > /dev/stdout; echo err > /dev/stderr; cat < /dev/stdin > /proc/self/fd/1";
    let input = agent.root().join("input");
    fs::write(&input, "in\n").unwrap();
    let mut exec_it = exec(&agent, &["-u", "ada"], &["sh", "-c", script]);
    let output = exec_it.stdin(fs::File::open(&input).unwrap()).output().unwrap();
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("out\nin\n".to_owned(), "err\n".to_owned()));
    let script = "[ -O $(tty) ] && : > $(tty) && echo a; : > /dev/tty && echo b > /dev/stdout; \
                  [ $(ps -o tpgid= -p $$) = $$ ] && echo c; ls /proc/$$/fd | wc -l";
    let output = run(&agent, &["-t", "-u", "ada"], &["bash", "-c", script]);
    // The fourth is bash's own for the terminal, if it has one.
    let shown = text(&output.stdout);
    assert!(shown.starts_with("a\r\nb\r\nc\r\n"), "{shown:?} {output:?}");
    // So does a person who attaches.
    let log = agent.root().join("log");
    let words =
        ["attach", agent.url(), "-u", "ada", "--", "bash", "-c", "id -u; : > $(tty) && echo mine; read x"];
    let mut screen = Screen::run(&words, &log);
    assert!(screen.until("mine").await.contains("64001"));
}

#[tokio::test]
async fn who_cannot_be_found_starts_nothing() {
    let agent = with_users().start().await;
    for (user, words) in [
        ("eve", "there is no user \"eve\" in /etc/passwd"),
        ("ada:eve", "there is no group \"eve\" in /etc/group"),
        (":crew", "names no user"),
        ("4294967295", "no number of a user or group"),
    ] {
        let output = run(&agent, &["-u", user], &["touch", "started"]);
        let said = text(&output.stderr);
        assert!(said.contains(words) && said.lines().count() == 1, "{user}: {said}");
        assert_eq!(output.status.code(), Some(126), "{user}");
    }
    assert!(!agent.root().join("started").exists());
    assert_eq!(agent.client().await.figure("pid1_processes").await, 0);
}

#[tokio::test]
async fn what_this_user_may_not_execute_says_so() {
    let agent = with_users().start().await;
    let put = |name: &str, content: &str, mode: u32| {
        let path = agent.root().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    put("private", "#!/bin/sh\necho ran\n", 0o700);
    put("no-interpreter", "#!/no/such/program\n", 0o755);
    put("no-format", "echo ran\n", 0o755);
    for (program, status, words) in [
        ("./private", 126, ["permission denied", "let this user read and execute it"]),
        ("./no-interpreter", 127, ["no such file or directory", "interpreter"]),
        ("./no-format", 126, ["exec format error", "#!/bin/sh"]),
    ] {
        for flags in [&["-u", "ada"][..], &["-t", "-u", "ada"]] {
            let output = run(&agent, flags, &[program]);
            let said = text(&[output.stdout, output.stderr].concat());
            let said = said.trim_end();
            assert_eq!(output.status.code(), Some(status), "{said}");
            let path = agent.root().join(program);
            let begin = format!("pid1: cannot run {path:?} as ada (uid 64001): ");
            assert!(said.starts_with(&begin) && words.iter().all(|word| said.contains(word)), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
    // What the agent can tell by itself it tells as ever.
    let output = run(&agent, &["-u", "ada"], &["no-such-program"]);
    assert_eq!(output.status.code(), Some(127));
    assert!(text(&output.stderr).starts_with("pid1: exec: \"no-such-program\""), "{output:?}");
}

#[tokio::test]
async fn an_end_reaches_all_it_has_started() {
    let agent = with_users().flags(&["--stop-grace", "1"]).start().await;
    // One that ignores TERM, one in a group of its own, and a grandchild.
    let script = "set -m; (trap '' TERM; exec sleep 8731) & sh -c 'sleep 8732; :' & sleep 8733";
    for terminal in [false, true] {
        let flags = if terminal { vec!["-t", "-u", "ada"] } else { vec!["-u", "ada"] };
        let mut running = exec(&agent, &flags, &["bash", "-c", script]);
        let running = running.env("PID1_EXEC_RECONNECT", "1").stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = running.spawn().unwrap();
        eventually("all run", SOON, || {
            let all = agent.programs();
            ["sleep 8731", "sleep 8732", "sleep 8733"].iter().all(|name| !named(&all, name).is_empty())
        })
        .await;
        running.kill().unwrap();
        running.wait().unwrap();
        eventually("nothing is left", SOON, || agent.programs().is_empty()).await;
    }
}

#[tokio::test]
async fn it_cannot_look_into_the_agent() {
    let agent = with_users().start().await;
    let pid = agent.pid();
    for file in ["environ", "maps", "mem", "fd/0", "root", "cwd"] {
        let script = format!("cat /proc/{pid}/{file}");
        let output = run(&agent, &["-u", "ada"], &["sh", "-c", &script]);
        assert!(!output.status.success() && output.stdout.is_empty(), "{file}: {output:?}");
        assert!(text(&output.stderr).contains("Permission denied"), "{file}: {output:?}");
    }
    let output = run(&agent, &["-u", "ada"], &["kill", "-9", &pid.to_string()]);
    assert!(!output.status.success());
}

/// The dynamic linker complains once in each process that it cannot obey in.
#[tokio::test]
async fn variables_of_the_client_act_on_the_program_alone() {
    let agent = with_users().start().await;
    let flags = ["-u", "ada", "-e", "LD_PRELOAD=/no/such/library.so"];
    let output = run(&agent, &flags, &["true"]);
    assert!(output.status.success());
    assert_eq!(text(&output.stderr).matches("library.so").count(), 1, "{output:?}");
    // Nor does the launcher's own language understand them.
    let output = run(&agent, &["-u", "ada", "-e", "RUST_BACKTRACE=full", "-e", "PID1_TOKEN="], &["true"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// It is only itself that such an agent can be.
#[tokio::test]
async fn an_agent_that_is_not_root_refuses_others() {
    let agent = Launch::new().confined().start().await;
    for user in ["root", "0:0", "65534:0", "64001"] {
        let output = run(&agent, &["-u", user], &["id", "-u"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(126), "{user}: {said}");
        assert!(said.contains("the agent runs as uid 65534, and only root changes users"), "{user}: {said}");
        assert!(said.contains("start the agent as root") && output.stdout.is_empty(), "{user}: {said}");
    }
    assert_eq!(printed(&agent, &["-u", "65534:65534"], "id -u"), "65534\n");
}

/// As containers are whose root has lost what makes it root.
#[tokio::test]
async fn a_root_that_may_not_change_users_says_so() {
    let agent = with_users().through(&["setpriv", "--bounding-set", "-setuid,-setgid"]).start().await;
    let output = run(&agent, &["-u", "ada"], &["id", "-u"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(126), "{said}");
    assert!(
        said.starts_with("pid1: cannot run ") && said.contains("/id\" as ada (uid 64001): setgroups"),
        "{said}"
    );
    assert!(said.contains("SETUID and SETGID") && output.stdout.is_empty(), "{said}");
}

#[tokio::test]
async fn no_program_gains_rights_where_none_may() {
    let script = "grep ^NoNewPrivs /proc/self/status; id -u";
    let plain = with_users().start().await;
    assert_eq!(printed(&plain, &[], script), "NoNewPrivs:\t0\n0\n");
    let launch = with_users().flags(&["--no-new-privs", "--keep"]);
    let agent = launch.flags(&["--", "sh", "-c", script]).start().await;
    assert_eq!(printed(&agent, &[], script), "NoNewPrivs:\t1\n0\n");
    assert_eq!(printed(&agent, &["-u", "ada"], script), "NoNewPrivs:\t1\n64001\n");
    eventually("the main command has printed", SOON, || agent.printed() == b"NoNewPrivs:\t1\n0\n").await;
    let mut client = agent.client().await;
    let shell = client.shell("").await;
    assert!(client.shell_run(shell, script).await.contains("NoNewPrivs:\t1"));
    // A program that could make root of anybody.
    let id = PathBuf::from(text(&run(&agent, &[], &["sh", "-c", "command -v id"]).stdout).trim());
    for (agent, gains) in [(&agent, false), (&plain, true)] {
        let copy = agent.root().join("id");
        fs::copy(&id, &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o4755)).unwrap();
        let uid = printed(agent, &["-u", "ada"], "./id -u");
        // Unless it is on a disk where that means nothing.
        assert!(uid == "64001\n" || gains, "{uid}");
    }
    // It takes no root.
    let agent = Launch::new().confined().env("PID1_NO_NEW_PRIVS", "yes").start().await;
    assert_eq!(printed(&agent, &[], script), "NoNewPrivs:\t1\n65534\n");
    let mut client = agent.client().await;
    let channel = client.open("process", "").await;
    let user = "65534:65534".to_owned();
    let start = pid1_sdk::api::ProcessStart { user, ..process_start(&["true"]) };
    client.ask(channel, pid1_sdk::api::command::Body::ProcessStart(start)).await;
}
