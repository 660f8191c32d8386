//! The services of the Run button: `run`, `run2`, `console`, `shellrun2`, `interp`, `interp2`, `output`.
//!
//! **One run.** A channel is a window. The run is one for all windows of all these services, whoever pressed Run in whichever:
//! all show the same program, and any of them stops it. It goes on when the last window is closed.
//!
//! In: `runMain` starts the project's program ([`pid1_sdk::project`]), and changes nothing while one runs; `clear` stops it,
//! with all it has started, also in sessions of its own, and empties the window; `input` is what it reads; `resizeTerm`, `saneTerm`, `PTYConfig`. Out: `output`; `state` Running
//! and Stopped; `hint`, advice that goes with the output. A program that fails is followed by a line such as `exit status 3`. A
//! newcomer is shown the end of what was there before it (1,000 lines or 256 KiB) and the state.
//!
//! The services differ in what a window is between runs: [`Run`] (`run`, `run2`, `console`) nothing, [`ShellRun`]
//! (`shellrun2`) a shell, whose prompt is U+EEA7, [`Interpreter`] (`interp`, `interp2`) nothing, but what it starts is the language's
//! interpreter on the program, which stays when that has ended; [`Output`] (`output`) only looks on, and tells where the output of each run begins and
//! ends.
//!
//! The channel named `main` of `run` is the main command, what the container is there for, if there is one.
//!
//! **Window size.** As in a shell, the last to type (or to press Run) wins, in whichever window; `output` has no say. The main
//! command has the size of its own terminal.
#![warn(missing_docs)]

mod follow;
mod hints;
mod limiter;
mod plan;
mod program;
mod prompt;
mod runner;
mod window;

use pid1_sdk::relay::Piece;

pub use window::Window;

/// Nothing between runs.
pub const NOTHING: u8 = 0;
/// A shell between runs.
pub const SHELL: u8 = 1;
/// The language's interpreter runs the program, and stays.
pub const INTERPRETER: u8 = 2;
/// Only looks on.
pub const OUTPUT: u8 = 3;

/// `run`, `run2`, `console`.
pub type Run = Window<NOTHING>;
/// `shellrun2`.
pub type ShellRun = Window<SHELL>;
/// `interp`, `interp2`.
pub type Interpreter = Window<INTERPRETER>;
/// `output`.
pub type Output = Window<OUTPUT>;

/// What a window's tasks report.
#[derive(Debug)]
pub enum Event {
    /// There is a run, or another.
    Run,
    /// Something of the program of this number.
    Of {
        /// The run's number, or one of the window's own shells'.
        number: u64,
        /// What.
        told: Told,
    },
    /// Small messages may be sent again.
    GoOn,
    /// Stop was pressed while nothing was running, and now nothing is left either.
    Idle,
    /// Run was pressed, and nothing could be started.
    Refused {
        /// Why.
        why: String,
        /// What is advised about that.
        hints: Vec<String>,
    },
}

/// What is told of a program.
#[derive(Debug)]
pub enum Told {
    /// A piece of its output.
    Piece(Piece),
    /// Advice on what it has printed.
    Hint(String),
    /// The run has ended, and if it was stopped, nothing that it had started is left.
    Over,
}
