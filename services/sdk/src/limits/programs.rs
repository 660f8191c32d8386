//! Bounds of programs: how many, their input and output, their end.

use std::time::Duration;

use super::{KIB, MIB};

/// Live programs of one table. Well below the usual 32,768 pids of a machine and the 4,096 file descriptors that pumps,
/// pidfds and pipes of this many programs need are covered by the raised descriptor limit.
pub const MAX_PROCESSES: usize = 4096;

/// Highest number a mapped descriptor may get: evaluators use 200 and 201, and a start closes every number below that is
/// not mapped, one by one.
pub const MAX_MAPPED_FD: i32 = 255;

/// Largest /etc/passwd or /etc/group that is read: room for some ten thousand users, in a moment that others wait.
pub const ACCOUNT_FILE_BYTES: u64 = 1 << 20;

/// Exited programs that stay listed although nobody holds them: enough to look up "what did my last commands return"
/// after a reconnect, few enough that their logs (256 KiB each for an exec) stay cheap.
pub const EXITED_KEPT: usize = 16;

/// Bytes of input a program may leave unread before a writer is told to wait. One `push` larger than this is taken if
/// it is alone, so that a message within the frame limit can always be delivered.
pub const STDIN_BUFFER_BYTES: usize = MIB;

/// Bytes of input that all programs together may leave unread: many programs that each take one large message must not
/// use up the machine.
pub const STDIN_TOTAL_BYTES: usize = 256 * MIB;

/// ...but so much each of them may, whatever the others do: who types into one that reads gets on.
pub const STDIN_ALWAYS_BYTES: usize = 64 * KIB;

/// Unread input above which a channel takes no further commands, so that whoever types waits. Below it resizing and the
/// like still get through.
pub const STDIN_HOLD_BYTES: usize = STDIN_BUFFER_BYTES / 2;

/// ...but not if the program has taken nothing for so long: nobody could stop it. Programs that read do not pause for
/// longer between two lines, and whoever presses a key waits so long before taking it for dead. Known after twice that at most.
pub const STDIN_PATIENCE: Duration = Duration::from_secs(2);

/// Output a `Keep::Tail` log remembers: the scrollback bound, and how far its slowest holding reader may lag.
pub const TAIL_BYTES: usize = 256 * KIB;

/// Output a `Keep::Replay` log keeps in memory before it goes to the file, and how far its slowest holding reader may
/// lag: large enough that a resumed read after a short break never touches the disk.
pub const REPLAY_MEMORY_BYTES: usize = 4 * MIB;

/// Output a `Keep::Replay` log keeps in its unlinked file before the oldest goes.
pub const REPLAY_FILE_BYTES: u64 = 1024 * MIB as u64;

/// Bytes moved from memory to the file in one go: the hop to the blocking pool (tens of microseconds) is then small
/// beside the copy. Memory of a replay log is at most its bound, this and one read.
pub const SPILL_BATCH_BYTES: usize = MIB;

/// Output of an ended log that stays in memory when the log is put away: a file for less, with its descriptor, would cost the
/// kernel as much as it saves.
pub const SHELVED_BYTES: u64 = 4 * KIB as u64;

/// Largest piece read back from the file in one go; the same as a busy pipe's read.
pub const SPILL_READ_BYTES: usize = 256 * KIB;

/// Pieces of output smaller than this are joined in a block of about twice the size: a log of single echoed
/// characters would otherwise cost fifty times its content in bookkeeping.
pub const LOG_BLOCK_BYTES: usize = 4 * KIB;

/// First buffer of a quiet terminal's read: the line discipline hands out at most 4 KiB at once.
pub const TERMINAL_READ_BYTES: usize = 4 * KIB;

/// One drain of a terminal ends here even if there is more, so that others get their turn; about what the kernel
/// holds for one terminal.
pub const TERMINAL_DRAIN_BYTES: usize = 64 * KIB;

/// One read of a quiet pipe: the size of a pipe that nobody enlarged.
pub const PIPE_READ_BYTES: usize = 64 * KIB;

/// One read of a busy pipe; 256 KiB with a 1 MiB pipe carries twice the bytes of 64 KiB with a 64 KiB pipe.
pub const BUSY_PIPE_READ_BYTES: usize = 256 * KIB;

/// Size a busy pipe is raised to: the most an ordinary user may ask for by default.
pub const BUSY_PIPE_BYTES: usize = MIB;

/// Size a pipe is lowered to again: the kernel's default.
pub const QUIET_PIPE_BYTES: usize = 64 * KIB;

/// Pipes raised at a time. Sixty-four use up a user's quota of pipe pages, and then each new pipe of that user, the
/// workspace's programs included, holds 8 KiB only.
pub const BUSY_PIPES: usize = 8;

/// Output within one `RATE_WINDOW` that makes a stream busy: its pump moves to the bulk runtime at once.
pub const BUSY_BYTES: u64 = 256 * KIB as u64;

/// Output within one `RATE_WINDOW` below which a busy stream is quiet again. A quarter of `BUSY_BYTES`, so that a
/// stream near the limit does not move to and fro.
pub const QUIET_BYTES: u64 = 64 * KIB as u64;

/// Window over which output is counted.
pub const RATE_WINDOW: Duration = Duration::from_secs(1);

/// Time a stopped program has between the polite signal and SIGKILL: half of what container runtimes give the agent
/// itself by default, so that it can end in order.
pub const STOP_GRACE: Duration = Duration::from_secs(5);

/// Time that daemons have at least when the agent ends, although programs before them have used up the grace.
pub const REST_GRACE: Duration = Duration::from_secs(1);

/// How long one round of SIGKILL waits for the killed to be gone. They go at once unless they sit in an uninterruptible
/// system call, which nobody can end.
pub const KILL_WAIT: Duration = Duration::from_secs(2);

/// Rounds of "collect, kill, wait" for a family that keeps forking while it is being killed.
pub const KILL_ROUNDS: usize = 16;

/// Lines in the record of started programs before it is looked at for compaction: about 100 KiB.
pub const RECORD_LINES: usize = 4096;

/// Evaluations that may wait in one channel.
pub const EVAL_QUEUE: usize = 1024;

/// Bytes of source that may wait there; one alone may be as long.
pub const EVAL_QUEUE_BYTES: usize = 16 * MIB;

/// Longest line that an interpreter answers with: far above what people look at, and held in memory for each channel. What is
/// longer is an error, and skipped.
pub const EVAL_LINE_BYTES: usize = 32 * MIB;

/// How long an interpreter has until it is ready: its libraries may come from a cold disk.
pub const EVAL_START: Duration = Duration::from_secs(15);

/// How long an interpreter that has closed its line to the agent has until its end is known: most often it is ending.
pub const EVAL_END_WAIT: Duration = Duration::from_secs(1);
