//! Bounds of the Run button: advice on what programs print, and waiting for the earlier run.

use std::time::Duration;

use super::KIB;

/// Hints of one `.replit` that are looked for. The file comes with whatever repository was opened, and each costs something
/// for every line that is printed.
pub const HINTS: usize = 64;

/// Longest pattern, and longest text, of a hint: both are written by hand.
pub const HINT_SOURCE_BYTES: usize = KIB;

/// What one compiled pattern may take: some eight hundred steps. A few characters can ask for megabytes, and all that a line
/// costs grows with it.
pub const HINT_PATTERN_BYTES: usize = 32 * KIB;

/// Groups of a pattern: while it is looked for, each of its steps keeps where all of them begin and end.
pub const HINT_GROUPS: usize = 16;

/// So much of a line is looked at: what explains an error stands at its beginning.
pub const HINT_LINE_BYTES: usize = 512;

/// Longest advice that is sent: what a pattern has found may stand in it many times.
pub const HINT_TEXT_BYTES: usize = KIB;

/// Time of a processor that looking for hints may take at the beginning of a run, and again at its end: several times what honest patterns
/// need for as much output as is looked at. Then no more are looked for there.
pub const HINT_TIME: Duration = Duration::from_millis(50);

/// How long the end of a run is held back for the hints that belong before it: they may have to wait for their turn behind
/// work on files.
pub const HINT_WAIT: Duration = Duration::from_millis(250);

/// Lines are looked at in so much of the beginning of a run's output, while a person reads it: not in a flood.
pub const HINT_BEGINNING_BYTES: usize = 64 * KIB;

/// ...and, if it fails, in so much of its end.
pub const HINT_END_BYTES: usize = 16 * KIB;

/// How long the commands of a window wait for the run that was started before them: what is typed right behind is for it. If
/// the earlier one takes longer to end, it must be possible to press Stop.
pub const RUN_HOLD: Duration = Duration::from_millis(500);

/// How long Run waits until the end of the earlier run is known to the windows: milliseconds, but where somebody takes its
/// output slowly.
pub const RUN_END_WAIT: Duration = Duration::from_millis(250);

/// Longest name of a file to run: what the kernel takes.
pub const RUN_PATH_BYTES: usize = 4 * KIB;
