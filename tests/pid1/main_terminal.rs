//! A main command on a terminal: the agent's own terminal is its, and is given back as it was.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::inits::{children, send};
use crate::support::{SOON, Screen, binary, eventually};

/// The agent as process 1 with a shell as its main command, in front of a person.
struct Seat {
    screen: Screen,
    folder: TempDir,
    cooked: String,
}

impl Seat {
    async fn take(flags: &[&str]) -> Seat {
        let folder = TempDir::with_prefix("pid1-test-").unwrap();
        let path = |name: &str| folder.path().join(name).into_os_string().into_string().unwrap();
        fs::create_dir(path("root")).unwrap();
        // The gate is for this test alone: the terminal as it is before anybody touches it.
        let gate = format!("until test -e {}; do sleep 0.01; done; exec \"$@\"", path("gate"));
        let (home, root, state) = (format!("HOME={}", path("root")), path("root"), path("state"));
        let words = ["sh", "-c", &gate, "sh", "env", "PS1=main> ", "PID1_CONFIG=/dev/null", &home]
            .into_iter()
            .chain(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
            .chain([binary().to_str().unwrap(), "serve", "--listen", "127.0.0.1:0"])
            .chain(["--root", &root, "--state-dir", &state, "--stop-grace", "10"])
            .chain(flags.iter().copied())
            .chain(["--", "bash", "--norc", "--noprofile"])
            .map(PathBuf::from)
            .collect::<Vec<_>>();
        let mut screen = Screen::of(&words, &folder.path().join("log"));
        let cooked = screen.modes();
        fs::write(path("gate"), "").unwrap();
        screen.until("main> ").await;
        screen.raw(&cooked).await;
        Seat { screen, folder, cooked }
    }

    async fn types(&mut self, line: &str, shows: &str) {
        self.screen.type_in(line.as_bytes());
        self.screen.until(shows).await;
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The agent, as seen from here.
    fn pid(&self) -> i32 {
        children(self.screen.pid())[0]
    }
}

#[tokio::test]
async fn keys_sizes_and_jobs_are_the_main_commands() {
    let mut seat = Seat::take(&[]).await;
    seat.types("tty; echo $TERM\r", "xterm-direct").await;
    seat.types("while :; do stty size; sleep 0.05; done\r", "30 100").await;
    seat.screen.resize(41, 97);
    seat.screen.until("41 97").await;
    seat.types("\x03", "main> ").await;
    seat.types("sleep 1000\r", "sleep 1000").await;
    seat.types("\x1a", "Stopped").await;
    seat.types("jobs\r", "sleep 1000").await;
    seat.types("kill %1; wait; echo en''ded\r", "ended").await;
    seat.types("exit 5\r", "exit").await;
    assert_eq!(seat.screen.status().await, 5, "{}", seat.log());
    assert_eq!(seat.screen.modes(), seat.cooked);
}

#[tokio::test]
async fn the_terminal_is_given_back_on_every_way_out() {
    // By a signal to the agent; the shell is told by HUP that its terminal is gone.
    let mut seat = Seat::take(&[]).await;
    send(seat.pid(), Signal::SIGTERM as i32);
    assert_eq!(seat.screen.status().await, 129, "{}", seat.log());
    assert_eq!(seat.screen.modes(), seat.cooked);

    // By a main command that does not end by itself, not even where its terminal is gone.
    let mut seat = Seat::take(&[]).await;
    seat.types("trap '' HUP TERM; echo is-de''af; while :; do sleep 1000; done\r", "is-deaf").await;
    send(seat.pid(), Signal::SIGTERM as i32);
    assert_eq!(seat.screen.status().await, 137, "{}", seat.log());
    assert_eq!(seat.screen.modes(), seat.cooked);

    // The agent stays.
    let mut seat = Seat::take(&["--keep"]).await;
    seat.types("exit 6\r", "exit").await;
    eventually("the terminal is as it was", SOON, || seat.screen.modes() == seat.cooked).await;
    eventually("the log says so", SOON, || seat.log().contains("the main command has ended")).await;
    send(seat.pid(), Signal::SIGTERM as i32);
    assert_eq!(seat.screen.status().await, 6, "{}", seat.log());
}

/// What reads a terminal from the background is stopped, and clients would be stopped with it.
#[tokio::test]
async fn in_the_background_the_agent_leaves_the_terminal_alone() {
    let folder = TempDir::with_prefix("pid1-test-").unwrap();
    let path = |name: &str| folder.path().join(name).into_os_string().into_string().unwrap();
    fs::create_dir(path("root")).unwrap();
    let words = "exec env PS1='shell> ' PID1_CONFIG=/dev/null bash --norc --noprofile 2>&1";
    let shell = ["sh", "-c", words];
    let mut screen = Screen::of(&shell.map(PathBuf::from), path("log").as_ref());
    screen.until("shell> ").await;
    let line = format!(
        "{} serve --listen 127.0.0.1:0 --root {} --state-dir {} -- sh -c 'cat; echo in''put-is-over; exec sleep 1000' &\r",
        binary().display(),
        path("root"),
        path("state")
    );
    screen.type_in(line.as_bytes());
    screen.until("input-is-over").await;
    screen.type_in(b"jobs; kill %1; wait %1; echo st''atus $?\r");
    let shown = screen.until("status 143").await;
    assert!(shown.contains("Running") && !shown.contains("Stopped"), "{shown}");
}

/// As under any other init: a server says goodbye to whoever looks, and its status is its own. Shells ignore TERM and are
/// hung up.
#[tokio::test]
async fn a_server_on_a_terminal_is_told_by_term() {
    let mut seat = Seat::take(&[]).await;
    let server = "exec sh -c 'trap \"echo good\"bye\"; exit 7\" TERM; trap \"exit 8\" HUP; echo se\"\"rves; while :; do sleep 0.05; done'\r";
    seat.types(server, "serves").await;
    send(seat.pid(), Signal::SIGTERM as i32);
    seat.screen.until("goodbye").await;
    assert_eq!(seat.screen.status().await, 7, "{}", seat.log());
}
