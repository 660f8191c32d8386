//! Process 1 in a root filesystem that lacks nearly everything: what it mounts, what it leaves alone, and what it says.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use nix::sys::stat::{major, minor};
use pid1_sdk::api::{ProcessStart, ProcessStream, ResizeTerm, command::Body};

use crate::support::{Agent, Launch, Peer, children, run_program};

const TOKEN: &str = "a-token-for-bare-roots";

/// Process 1 as seen from here: what `unshare` has started.
fn first(agent: &Agent) -> i32 {
    children(agent.pid())[0]
}

/// What is mounted there below its root: type and options by path.
fn mounts(agent: &Agent) -> BTreeMap<String, String> {
    let all = fs::read_to_string(format!("/proc/{}/mountinfo", first(agent))).unwrap();
    let mounts = all.lines().map(|line| {
        let (place, kind) = line.split_once(" - ").unwrap();
        let place: Vec<_> = place.split(' ').collect();
        let kind: Vec<_> = kind.split(' ').collect();
        (place[4].to_owned(), format!("{},{},{}", kind[0], place[5], kind[2]))
    });
    mounts.filter(|(path, _)| path != "/").collect()
}

/// A program on a terminal of its own; what it showed, to its end.
async fn on_a_terminal(peer: &mut Peer, args: &[&str]) -> String {
    let channel = peer.open("process", "").await;
    let args = args.iter().map(|&arg| arg.to_owned()).collect();
    let terminal = Some(ResizeTerm { rows: 24, cols: 80 });
    let start = ProcessStart { args, terminal, ..ProcessStart::default() };
    assert!(matches!(peer.ask(channel, Body::ProcessStart(start)).await, Body::ProcessStarted(_)));
    let mut shown = Vec::new();
    peer.until("the program ends", |command| match &command.body {
        Some(Body::ProcessOutput(output)) if output.stream() == ProcessStream::Stdout => {
            shown.extend_from_slice(&output.data);
            false
        }
        body => matches!(body, Some(Body::ProcessExited(_))),
    })
    .await;
    String::from_utf8(shown).unwrap()
}

#[tokio::test]
async fn what_is_missing_is_mounted() {
    // A secret in the environment: the agent starts itself anew and needs /proc for that.
    let agent = Launch::new().bare().env("PID1_TOKEN", TOKEN).start().await;
    let found = mounts(&agent);
    for (path, wanted) in [
        ("/proc", "proc nosuid nodev noexec"),
        ("/dev", "tmpfs nosuid mode=755"),
        ("/dev/pts", "devpts nosuid noexec mode=620 ptmxmode=666 gid=5"),
        ("/dev/shm", "tmpfs nosuid nodev noexec"),
        ("/tmp", "tmpfs nosuid nodev"),
        ("/run", "tmpfs nosuid nodev mode=755"),
    ] {
        let options: Vec<_> =
            found.get(path).unwrap_or_else(|| panic!("no {path}: {found:?}")).split(',').collect();
        assert!(wanted.split(' ').all(|option| options.contains(&option)), "{path}: {options:?}");
        assert_eq!(options.contains(&"noexec"), wanted.contains("noexec"), "{path}: {options:?}");
    }
    assert_eq!(found.len(), 6, "{found:?}");
    // Links there are for those who are there, so they are not followed from here.
    let root = format!("/proc/{}/root", first(&agent));
    for (name, number) in [
        ("null", (1, 3)),
        ("zero", (1, 5)),
        ("full", (1, 7)),
        ("random", (1, 8)),
        ("urandom", (1, 9)),
        ("tty", (5, 0)),
    ] {
        let device = fs::metadata(format!("{root}/dev/{name}")).unwrap();
        assert!(device.file_type().is_char_device(), "{name}");
        assert_eq!((major(device.rdev()), minor(device.rdev())), number, "{name}");
        assert_eq!(device.mode() & 0o777, 0o666, "{name}");
    }
    for (name, to) in [("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("ptmx", "pts/ptmx")] {
        assert_eq!(fs::read_link(format!("{root}/dev/{name}")).unwrap().to_str(), Some(to));
    }
    for (path, mode) in [("tmp", 0o1777), ("dev/shm", 0o1777), ("run", 0o755)] {
        assert_eq!(
            fs::metadata(format!("{root}/{path}")).unwrap().permissions().mode() & 0o7777,
            mode,
            "{path}"
        );
    }
    let log = agent.log();
    assert!(log.contains("mounted what was missing") && !log.contains("WARN"), "{log}");
    // And it all works.
    let mut peer = agent.client_as(TOKEN).await;
    let shown = on_a_terminal(&mut peer, &["/pid1", "--version"]).await;
    assert!(shown.starts_with("pid1 ") && shown.ends_with("\r\n"), "{shown:?}");
    let mut said = Vec::new();
    run_program(&mut peer, &["/pid1", "--version"], b"", |_, bytes| said.extend_from_slice(bytes)).await;
    assert_eq!(said, shown.replace('\r', "").as_bytes());
}

#[tokio::test]
async fn what_holds_something_is_never_covered() {
    let launch = Launch::new().bare();
    for path in ["tmp/kept", "run/kept", "dev/kept", "dev/shm/kept"] {
        let path = launch.bare_root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    let agent = launch.start().await;
    let found = mounts(&agent);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["/dev/pts", "/proc"], "{found:?}");
    for path in ["tmp/kept", "run/kept", "dev/kept", "dev/shm/kept", "dev/null"] {
        assert!(fs::exists(format!("/proc/{}/root/{path}", first(&agent))).unwrap(), "{path}");
    }
    let mut peer = agent.client().await;
    assert!(on_a_terminal(&mut peer, &["/pid1", "--version"]).await.starts_with("pid1 "));
}

/// Folders that nobody has put anything into are as good as those that are there: nothing is mounted on them, but on
/// a terminal's, which is needed.
#[tokio::test]
async fn empty_folders_that_can_be_written_to_are_left_alone() {
    let launch = Launch::new().bare();
    for path in ["tmp", "run", "proc", "dev/pts"] {
        fs::create_dir_all(launch.bare_root().join(path)).unwrap();
    }
    let agent = launch.start().await;
    let found = mounts(&agent);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["/dev/pts", "/dev/shm", "/proc"], "{found:?}");
}

/// Who is root in a user namespace alone may mount, but make no devices, and has no group of terminals.
#[tokio::test]
async fn without_the_right_to_make_devices_all_else_works() {
    let agent = Launch::new().bare_with(&["--user", "--map-root-user"]).start().await;
    let found = mounts(&agent);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["/dev", "/dev/pts", "/dev/shm", "/proc", "/run", "/tmp"]);
    let log = agent.log();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("null: Operation not permitted"), "{log}");
    let mut peer = agent.client().await;
    assert!(on_a_terminal(&mut peer, &["/pid1", "--version"]).await.starts_with("pid1 "));
}

#[test]
fn without_proc_it_says_what_to_do() {
    let launch = Launch::new().bare();
    let (status, said) = launch.clone().flags(&["--no-mounts"]).refused();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("there is no /proc") && said.contains("--no-mounts"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    let (status, _) = launch.clone().env("PID1_NO_MOUNTS", "1").refused();
    assert_eq!(status.code(), Some(1));
    // What cannot be had although it was tried is said, too.
    fs::create_dir(launch.bare_root().join("proc")).unwrap();
    fs::write(launch.bare_root().join("proc/kept"), "").unwrap();
    let (status, said) = launch.refused();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("the folder is not empty") && said.contains("there is no /proc"), "{said}");
}

/// What a shell says where there is none, once and in one line.
#[tokio::test]
async fn no_shell_is_one_clear_line() {
    for (launch, words) in [
        (Launch::new(), ["/bin/bash", "SHELL"]),
        (Launch::new().env("SHELL", "/bin/gone"), ["/bin/gone", "SHELL"]),
    ] {
        let agent = launch.bare().start().await;
        let mut peer = agent.client().await;
        let said = peer.no_shell().await;
        let process = peer.open("process", "").await;
        let terminal = Some(ResizeTerm { rows: 24, cols: 80 });
        let start = Body::ProcessStart(ProcessStart { terminal, ..ProcessStart::default() });
        assert_eq!(peer.refused(process, start).await, said);
        assert!(said.starts_with("there is no shell to open here") && said.lines().count() == 1, "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
}
