//! Terminals: ctrl-C, ctrl-Z and `fg` do to a command under an init what they do to it without one.

use std::path::PathBuf;

use tempfile::TempDir;

use super::inits::{
    ALL, LIKE_DUMB_INIT, LIKE_TINI, Under, Who, children, end_marked, mark, state, until_state,
};
use crate::support::{SOON, Screen, eventually, settled, size};

const CTRL_C: &[u8] = b"\x03";
const CTRL_D: &[u8] = b"\x04";
const CTRL_Z: &[u8] = b"\x1a";

/// Says that it is there, and then writes each line again.
const CAT: &str = "sh -c 'echo be\"\"gin; exec cat'";

/// A person's shell, in which a test types.
pub struct Desk {
    pub screen: Screen,
    folder: TempDir,
}

impl Desk {
    pub async fn new() -> Desk {
        let folder = TempDir::with_prefix("pid1-test-").unwrap();
        std::fs::write(folder.path().join("rc"), "PS1='> '\nbind 'set enable-bracketed-paste off'\n")
            .unwrap();
        let rc = folder.path().join("rc");
        let mark = mark(folder.path());
        let words = ["env", "-u", "HISTFILE", &mark, "bash", "--rcfile"].map(PathBuf::from);
        let words = [&words[..], &[rc, "-i".into()]].concat();
        // bash writes its prompt to stderr, and /dev/tty is the screen.
        let mut screen = Screen::of(
            &[&["sh", "-c", "exec \"$@\" 2>/dev/tty", "sh"].map(PathBuf::from)[..], &words].concat(),
            &folder.path().join("log"),
        );
        screen.until("> ").await;
        Desk { screen, folder }
    }

    /// The words of a command under an init that is not process 1, as a shell reads them.
    fn line(&self, init: Who, command: &str) -> String {
        let flags: &[&str] = if LIKE_TINI.contains(&init) { &["-s"] } else { &[] };
        let words = Under::below(init).flags(flags).line(self.folder.path(), &[]);
        let words: Vec<_> = words.iter().map(|word| word.display().to_string()).collect();
        format!("{} {command}", words.join(" "))
    }

    fn enter(&mut self, line: &str) {
        self.screen.type_in(format!("{line}\n").as_bytes());
    }

    /// Types a line that the running `cat` writes again.
    async fn through_cat(&mut self, word: &str) {
        self.enter(word);
        for _ in 0..2 {
            self.screen.until(word).await;
        }
    }

    async fn expect_status(&mut self, status: i32) {
        self.enter("echo status:$?");
        self.screen.until(&format!("status:{status}")).await;
        self.screen.until("> ").await;
    }

    /// The init that runs in this shell.
    async fn job(&self) -> i32 {
        let shell = self.screen.pid();
        let mut found = None;
        eventually("the shell has started the init", SOON, || {
            found = children(shell).first().copied();
            found.is_some()
        })
        .await;
        found.unwrap()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        end_marked(self.folder.path());
    }
}

/// Whether ctrl-Z brings the shell back: then `fg` brings the command back, and ctrl-C ends it.
pub async fn is_a_job(init: Who) -> bool {
    let mut desk = Desk::new().await;
    desk.enter(&desk.line(init, CAT));
    desk.screen.until("begin").await;
    desk.through_cat("one").await;
    let job = desk.job().await;
    let command = children(job)[0];
    desk.screen.type_in(CTRL_Z);
    until_state(command, "T").await;
    if settled("stopping", SOON, || state(job)).await != "T" {
        return false;
    }
    desk.screen.until("Stopped").await;
    desk.expect_status(148 - if LIKE_DUMB_INIT.contains(&init) { 1 } else { 0 }).await;
    desk.enter("fg");
    until_state(command, "S").await;
    desk.through_cat("two").await;
    desk.screen.type_in(CTRL_C);
    desk.screen.until("> ").await;
    desk.expect_status(130).await;
    true
}

#[tokio::test]
async fn a_command_under_an_init_is_a_job_of_its_shell() {
    for init in ALL {
        assert_eq!(is_a_job(init).await, init != Who::Tini, "{init:?}");
    }
}

/// Whether a shell keeps its terminal when it starts the init in the background.
pub async fn leaves_the_shell_alone(init: Who) -> bool {
    let mut desk = Desk::new().await;
    desk.enter(&format!("{} &", desk.line(init, "sh -c 'echo run''ning; exec sleep 1000'")));
    desk.screen.until("running").await;
    let shell = desk.screen.pid();
    foreground(shell) == shell
}

fn foreground(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(5).unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_is_started_in_the_background_does_not_take_the_terminal() {
    for init in [Who::Pid1, Who::AsTini, Who::AsDumbInit, Who::DumbInit] {
        assert!(leaves_the_shell_alone(init).await, "{init:?}");
    }
}

#[tokio::test]
async fn a_background_command_that_reads_waits_for_fg() {
    for init in [Who::Pid1, Who::AsTini] {
        let mut desk = Desk::new().await;
        desk.enter(&format!("{} &", desk.line(init, CAT)));
        desk.screen.until("begin").await;
        let job = desk.job().await;
        until_state(job, "T").await;
        desk.enter("fg");
        until_state(children(job)[0], "S").await;
        desk.through_cat("three").await;
        desk.screen.type_in(CTRL_D);
        desk.screen.until("> ").await;
        desk.expect_status(0).await;
        // One that runs in the background already is not continued by `fg`, only put in front.
        desk.enter(&format!("{} &", desk.line(init, "sleep 1000")));
        desk.enter("fg");
        desk.screen.until("sleep 1000").await;
        desk.job().await;
        desk.screen.until("\n").await;
        let shell = desk.screen.pid();
        eventually("the job is in front", SOON, || foreground(shell) != shell).await;
        desk.screen.type_in(CTRL_C);
        desk.screen.until("> ").await;
        desk.expect_status(130).await;
    }
}

/// Whether a script can go on reading the terminal after a command under the init.
pub async fn gives_the_terminal_back(init: Who) -> bool {
    let mut desk = Desk::new().await;
    let line = desk.line(init, "true").replace('\'', "");
    desk.enter(&format!("bash -c '{line}; echo un''der; read line; echo read:$line'"));
    desk.screen.until("under").await;
    let script = desk.job().await;
    desk.enter("words");
    let state = settled("reading", SOON, || state(script)).await;
    if state == "T" {
        return false;
    }
    desk.screen.until("read:words").await;
    true
}

#[tokio::test]
async fn the_terminal_is_given_back_at_the_end() {
    for init in [Who::Pid1, Who::AsTini, Who::AsDumbInit, Who::DumbInit] {
        assert!(gives_the_terminal_back(init).await, "{init:?}");
    }
}

/// It had the terminal for a moment before it could not be executed.
#[tokio::test]
async fn the_terminal_is_taken_back_from_what_did_not_start() {
    for init in [Who::Pid1, Who::AsTini] {
        let mut desk = Desk::new().await;
        let script = desk.folder.path().join("script");
        std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let line = desk.line(init, &script.display().to_string());
        desk.enter(&format!("bash -c '{line}; echo end:$?; read line; echo read:$line'"));
        desk.screen.until("end:127").await;
        desk.enter("words");
        desk.screen.until("read:words").await;
    }
}

#[tokio::test]
async fn a_command_in_a_pipe_has_the_terminal_too() {
    let mut desk = Desk::new().await;
    let line = desk.line(Who::Pid1, "bash -c 'read line < /dev/tty; echo tty:$line; cat'");
    desk.enter(&format!("echo piped | {line}"));
    desk.enter("typed");
    desk.screen.until("tty:typed").await;
    desk.screen.until("piped").await;
    desk.expect_status(0).await;
}

/// As process 1 that leads the session of a terminal, as in a container with one.
fn contained(init: Who, folder: &TempDir, command: &[&str]) -> Screen {
    let line = Under::new(init).prefix(&["setsid", "--ctty"]).line(folder.path(), command);
    Screen::of(&line, &folder.path().join("log"))
}

#[tokio::test]
async fn a_shell_in_a_container_has_job_control() {
    for init in ALL {
        let folder = tempfile::tempdir().unwrap();
        let rc = folder.path().join("rc");
        std::fs::write(&rc, "PS1='> '\nbind 'set enable-bracketed-paste off'\nexec 2>/dev/tty\n").unwrap();
        let mut screen = contained(init, &folder, &["bash", "--rcfile", rc.to_str().unwrap(), "-i"]);
        // Its terminal is the session's, and it is in front.
        screen.type_in(b"read -a s < /proc/self/stat; echo in:${s[4]}:${s[7]} job:\n");
        screen.until("in:2:2 job:").await;
        screen.type_in(b"echo be''gin; sleep 1000\n");
        screen.until("begin").await;
        screen.type_in(CTRL_Z);
        screen.until("Stopped").await;
        screen.type_in(b"fg\n");
        screen.until("sleep 1000").await;
        screen.until("\n").await;
        screen.type_in(CTRL_C);
        screen.until("> ").await;
        screen.type_in(b"echo status:$?\n");
        screen.until("status:130").await;
        screen.type_in(b"exit 5\n");
        assert_eq!(screen.status().await, 5, "{init:?}");
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
        assert!(!log.contains("no job control"), "{init:?} {log}");
    }
}

/// Whether a command in a container goes on after ctrl-Z, which nobody there could undo.
pub async fn survives_ctrl_z(init: Who) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let mut screen = contained(init, &folder, &["sh", "-c", "echo be\"\"gin; exec cat"]);
    screen.until("begin").await;
    let unshare = screen.pid();
    let command = children(children(unshare)[0])[0];
    screen.type_in(CTRL_Z);
    screen.until("^Z").await;
    if settled("stopping", SOON, || state(command)).await == "T" {
        return false;
    }
    screen.type_in(b"word\n");
    for _ in 0..2 {
        screen.until("word").await;
    }
    screen.type_in(CTRL_C);
    assert_eq!(screen.status().await, 130, "{init:?}");
    true
}

#[tokio::test]
async fn ctrl_z_does_not_freeze_a_container() {
    for init in ALL {
        assert_eq!(survives_ctrl_z(init).await, init != Who::Tini, "{init:?}");
    }
}

/// A program that looks at once, to see whether anybody watches it, must not find itself in the background.
#[tokio::test]
async fn the_command_is_in_front_before_it_runs() {
    for init in LIKE_TINI {
        let mut desk = Desk::new().await;
        let look = "read -a s < /proc/self/stat; echo front:$((s[4] == s[7])):";
        let line = desk.line(init, &format!("bash -c '{look}'"));
        for _ in 0..size(5, 100) {
            desk.enter(&line);
            desk.screen.until("front:1:").await;
            desk.screen.until("> ").await;
        }
    }
}
