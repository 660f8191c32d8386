//! How a program ended: status as the kernel gave it, and why, kept apart.
//!
//! What it deliberately does not do: guess. A status that could not be learned is `Unknown`, never a zero.

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// What the kernel reported.
    pub status: ExitStatus,
    /// Why, as far as this agent knows.
    pub cause: Cause,
    /// Whether a core was dumped.
    pub core_dumped: bool,
}

/// What the kernel reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// The program's own exit code, 0 to 255.
    Code(i32),
    /// The number of the signal that ended it.
    Signal(i32),
    /// Another waiter in this process took the status.
    Unknown,
}

/// Why a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// By itself.
    Exited,
    /// By a signal that did not come from `stop` or `kill`.
    Signalled,
    /// After `stop` or `kill` had been called for it.
    Stopped(StopCause),
    /// Not known, as its status.
    Unknown,
}

/// Who wanted a program to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// A client asked for it.
    Request,
    /// Its time limit passed.
    Timeout,
    /// What it belonged to (channel, connection) is gone.
    Closed,
    /// The agent ends.
    Shutdown,
}

impl Exit {
    /// The number a shell would show: the code, or 128 and the signal. 255 if unknown.
    pub fn shell_code(&self) -> i32 {
        match self.status {
            ExitStatus::Code(code) => code,
            ExitStatus::Signal(signal) => 128 + signal,
            ExitStatus::Unknown => 255,
        }
    }

    /// Whether it ended with code 0.
    pub fn success(&self) -> bool {
        self.status == ExitStatus::Code(0)
    }

    /// The text clients of this protocol know: `exit status 3`, `signal: killed`.
    pub fn text(&self) -> String {
        match self.status {
            ExitStatus::Code(code) => format!("exit status {code}"),
            ExitStatus::Signal(signal) => {
                let core = if self.core_dumped { " (core dumped)" } else { "" };
                match signal_text(signal) {
                    Some(text) => format!("signal: {text}{core}"),
                    None => format!("signal: signal {signal}{core}"),
                }
            }
            ExitStatus::Unknown => "exit status unknown".to_owned(),
        }
    }
}

/// The words existing clients expect; they know the first fifteen signals and call the others by number.
fn signal_text(signal: i32) -> Option<&'static str> {
    const TEXTS: [&str; 15] = [
        "hangup",
        "interrupt",
        "quit",
        "illegal instruction",
        "trace/breakpoint trap",
        "aborted",
        "bus error",
        "floating point exception",
        "killed",
        "user defined signal 1",
        "segmentation fault",
        "user defined signal 2",
        "broken pipe",
        "alarm clock",
        "terminated",
    ];
    let index = usize::try_from(signal).ok()?.checked_sub(1)?;
    TEXTS.get(index).copied()
}
