//! A person's terminal: a program on a pseudo-terminal of its own, what it shows, keys and window sizes.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use super::{LATE, SOON, binary, eventually};

pub struct Screen {
    master: Box<dyn MasterPty + Send>,
    child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    shown: Arc<Mutex<Vec<u8>>>,
}

fn size(rows: u16, cols: u16) -> PtySize {
    PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }
}

impl Screen {
    /// `pid1` with these arguments, on a terminal of 30 rows and 100 columns. What it says on stderr goes into `log`,
    /// so that the screen has the program's bytes alone.
    pub fn run(args: &[&str], log: &Path) -> Screen {
        let mut words = vec![binary()];
        words.extend(args.iter().map(PathBuf::from));
        Screen::of(&words, log)
    }

    /// The same for any program.
    pub fn of(words: &[PathBuf], log: &Path) -> Screen {
        let pair = native_pty_system().openpty(size(30, 100)).unwrap();
        let mut command = CommandBuilder::new("sh");
        command.args(["-c", "log=$1; shift; exec \"$@\" 2>>\"$log\"", "sh"]);
        command.arg(log);
        command.args(words);
        for name in ["PID1_URL", "COLORTERM", "NO_COLOR", "LANG", "LC_ALL"] {
            command.env_remove(name);
        }
        command.env("TERM", "xterm-direct");
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let shown: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (mut reader, seen) = (pair.master.try_clone_reader().unwrap(), shown.clone());
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                seen.lock().unwrap().extend_from_slice(&buffer[..read]);
            }
        });
        let keys = pair.master.take_writer().unwrap();
        Screen { master: pair.master, child, keys, shown }
    }

    pub fn pid(&self) -> i32 {
        self.child.process_id().unwrap() as i32
    }

    pub fn type_in(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).unwrap();
        self.keys.flush().unwrap();
    }

    pub fn shown(&self) -> Vec<u8> {
        self.shown.lock().unwrap().clone()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown()).into_owned()
    }

    /// Waits until it shows `text`, and forgets everything up to and with it.
    pub async fn until(&mut self, text: &str) -> String {
        let mut found = None;
        let begin = std::time::Instant::now();
        while found.is_none() {
            assert!(begin.elapsed() < LATE, "{text:?} is not shown; but: {:?}", self.text());
            {
                let mut shown = self.shown.lock().unwrap();
                let at = shown.windows(text.len()).position(|window| window == text.as_bytes());
                found = at.map(|at| shown.drain(..at + text.len()).collect::<Vec<u8>>());
            }
            tokio::time::sleep(super::POLL).await;
        }
        String::from_utf8_lossy(&found.unwrap()).into_owned()
    }

    /// Waits until so many bytes are shown; all of them.
    pub async fn until_bytes(&self, count: usize) -> Vec<u8> {
        eventually(&format!("{count} bytes are shown"), LATE, || self.shown.lock().unwrap().len() >= count)
            .await;
        self.shown()
    }

    pub fn resize(&self, rows: u16, cols: u16) {
        self.master.resize(size(rows, cols)).unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// How the terminal treats keys and output.
    pub fn modes(&self) -> String {
        format!("{:?}", self.master.get_termios().unwrap())
    }

    /// Waits for its end; the exit status, 128 and the signal if it died of one.
    pub async fn status(&mut self) -> u32 {
        let mut status = None;
        eventually("it ends", SOON, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap().exit_code()
    }

    /// Waits until its terminal is not as `cooked`.
    pub async fn raw(&self, cooked: &str) {
        eventually("the terminal is raw", SOON, || self.modes() != cooked).await;
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
