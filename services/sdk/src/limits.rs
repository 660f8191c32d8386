//! Every bound of the engine, each with its reason. What an operator may want to change is a flag of `pid1 serve`
//! with the value here as its default.

mod documents;
mod packages;
mod people;
mod programs;
mod project;
mod run;

use std::time::Duration;

pub use documents::*;
pub use packages::*;
pub use people::*;
pub use programs::*;
pub use project::*;
pub use run::*;

const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;

// --- messages ---------------------------------------------------------------------------------------------------

/// Largest message accepted from a client. A file travels as one message, so this is generous.
pub const MAX_MESSAGE_BYTES: usize = 128 << 20;

/// Most strings, byte strings and messages within one message from a client: an empty one takes two bytes on the wire
/// and hundreds in memory. Far above the largest real edit or list.
pub const MESSAGE_ELEMENTS: usize = 256 << 10;

/// One message of program output holds at most this much: large enough that its cost is the bytes, small enough
/// that another channel's echo does not wait long behind it.
pub const OUTPUT_CHUNK_BYTES: usize = 64 << 10;

/// From this length on, what a file holds is sent from where it is; below, copying costs less than a second piece.
pub const SHARED_CONTENT_BYTES: usize = 16 << 10;

// --- outbox -----------------------------------------------------------------------------------------------------

/// What a queued frame costs besides its bytes: its place in the queue and the shared buffer's head. Without it a
/// flood of empty messages would be free.
pub const FRAME_COST_BYTES: usize = 64;

/// Above this a session is not read: it asks for more than it takes.
pub const OUTBOX_HIGH_BYTES: usize = 512 << 10;

/// Above this, programs that print are held back. Half of the high mark, so that a flood alone never keeps a
/// session from being read: ctrl-C must arrive while `yes` runs.
pub const OUTBOX_ROOM_BYTES: usize = OUTBOX_HIGH_BYTES / 2;

/// Above this plus one largest message, a session is dropped: replies are never refused, so somebody who asks
/// without ever reading must be stopped here.
pub const OUTBOX_HARD_BYTES: usize = 8 << 20;

/// A session above the high mark whose socket takes nothing for this long is dropped.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A channel with more than this queued waits behind those with less. Above an echo or a reply, below one drain of
/// a flooding terminal.
pub const SMALL_LANE_BYTES: usize = 16 << 10;

/// Frames handed to one gathered write; measured as enough to reach the kernel's limit.
pub const BATCH_FRAMES: usize = 64;

/// Bytes handed to one gathered write: what an echo may have to wait for.
pub const BATCH_BYTES: usize = 128 << 10;

// --- slow members of a terminal ---------------------------------------------------------------------------------

/// How long a terminal waits in one go for a member whose outbox is full, and a log for a reader that would otherwise have
/// to read the file.
pub const LAGGARD_PATIENCE: Duration = Duration::from_millis(250);

/// A member whose socket took less than this in that time is skipped, if another keeps up; a reader that did is waited for
/// no more.
pub const LAGGARD_BYTES: u64 = 256 << 10;

// --- channels ---------------------------------------------------------------------------------------------------

/// Commands that may wait for one channel. Then its senders wait.
pub const INBOX_COMMANDS: usize = 64;

/// What all commands of one session that wait for channels may hold together; one larger one may if it is alone.
pub const SESSION_INBOX_BYTES: usize = 16 << 20;

/// A command up to this size waits for a channel without a share of that.
pub const SMALL_COMMAND_BYTES: usize = 4 << 10;

/// How long a session waits for a channel that takes no commands before it answers "busy".
pub const INBOX_WAIT: Duration = Duration::from_secs(5);

/// Messages of a channel's own tasks that may wait for it. Then the tasks wait, and with them their programs.
pub const EVENTS: usize = 16;

/// A service's `open` is given up after this.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// A command that takes longer than this is logged: whoever shares the channel feels it.
pub const COMMAND_SLOW: Duration = Duration::from_secs(1);

/// A command is given up after this: it must not hold its channel for ever.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// A service's `close` is given up after this.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Channels that one session may have open.
pub const CHANNELS_PER_SESSION: usize = 1024;

/// Members of one channel.
pub const MEMBERS_PER_CHANNEL: usize = 16_384;

/// Channels with a name, which outlive their clients, in one agent.
pub const NAMED_CHANNELS: usize = 4096;

/// Named channels that only viewers have opened: counted apart, so that they use up nobody else's.
pub const LOBBY_CHANNELS: usize = 1024;

/// Longest name of a channel, in bytes. Names are file paths at most (`ot:<path>`).
pub const CHANNEL_NAME_BYTES: usize = 4200;

// --- terminals --------------------------------------------------------------------------------------------------

/// Lines of a terminal's past that a newcomer is shown, as the protocol's own scrollback has it.
pub const SCROLLBACK_LINES: usize = 1000;

/// Bytes of a terminal's past that a newcomer is shown, if its lines are long.
pub const SCROLLBACK_BYTES: usize = 256 << 10;

/// A shell that exits is started again this often...
pub const RESPAWNS: usize = 3;

/// ...within this time; then only when somebody types, so that a broken shell does not spin.
pub const RESPAWN_WINDOW: Duration = Duration::from_secs(10);

/// Runs that may wait in one exec channel.
pub const EXEC_QUEUE: usize = 1024;

/// Bytes of arguments and environment that may wait there: more than the kernel takes for one program.
pub const EXEC_QUEUE_BYTES: usize = 4 << 20;

/// Bytes of environment that `pid1Config` may set: half of what the kernel takes for one program.
pub const SETTINGS_BYTES: usize = 1 << 20;

/// Bytes of the name that a client of ExecService gives a session: it is sent along with each piece of output.
pub const EXEC_SESSION_BYTES: usize = 256;

/// Characters of a toast: a message that pops up, not a page.
pub const TOAST_CHARS: usize = 1000;

/// Characters of a display name.
pub const DISPLAY_NAME_CHARS: usize = 256;

// --- watching ---------------------------------------------------------------------------------------------------

/// After a look at a folder, changes in it are gathered for this long: a storm is told twenty times a second at most,
/// and each name once each time. The first change of a quiet folder is told at once.
pub const WATCH_WINDOW: Duration = Duration::from_millis(50);

/// After a subscription, a name that came and went within a moment is told of as gone: whoever lists the folder meanwhile
/// may have seen it. Longer than a client takes to list it.
pub const WATCH_YOUNG: Duration = Duration::from_secs(5);

/// How long the second half of a move may be behind the first. The kernel says both within microseconds, unless whoever
/// moves loses its processor in between; something that left for where nobody watches is told that much later.
pub const WATCH_HALF_MOVE: Duration = Duration::from_millis(10);

/// Events of the kernel taken in one turn before anything else is done: its own queue holds as many.
pub const WATCH_EVENTS: usize = 16_384;

/// Names of one folder that are noted as changed; with more, the folder is listed.
pub const WATCH_NAMES: usize = 16_384;

/// Changes that may wait for one subscriber, about 2 MB. With more it is sent the difference when it has room.
pub const WATCH_QUEUE: usize = 16_384;

/// Changes that a subscriber takes at once: some 20 KiB of messages.
pub const WATCH_BATCH: usize = 256;

/// Names in all paths together that one subscriber watches: some 20,000 folders, as deep as folders of packages are.
/// Each may cost half a kilobyte, whether it is there or not.
pub const WATCHED_NAMES: usize = 131_072;

/// Watched folders of one subscriber that it called by way of a link.
pub const WATCH_LINKS: usize = 1024;

/// Moves of folders that are remembered for one subscriber, for this long: it may ask for a folder by a name that it
/// had when the subscriber was told of it. With more, moves are told as removals and creations.
pub const WATCH_MOVES: usize = 256;

/// Far longer than what a client was told is on its way.
pub const WATCH_MOVES_FOR: Duration = Duration::from_secs(60);

/// Requests to watch that may wait for the watcher. Then whoever asks waits.
pub const WATCH_ORDERS: usize = 64;

/// How often folders are listed for which there is no watch to be had.
pub const WATCH_RELIST: Duration = Duration::from_secs(3);

/// When a folder is looked at again that could not be opened for lack of descriptors or memory.
pub const WATCH_RETRY: Duration = Duration::from_secs(1);

/// Watches for the agent where the system does not say how many there are: the kernel's default before 5.11.
pub const WATCHES_UNKNOWN: usize = 8_192;

// --- files ------------------------------------------------------------------------------------------------------

/// File operations that run at once. Two threads fewer than the blocking pool has: if all of these hang on a file system
/// that is far away, programs can still be found and ended.
pub const FILE_WORKERS: usize = 6;

/// Of these, how many may be at work that takes as long as there is much of something: a folder being removed, a large
/// file, a disk being waited for. Whoever asks for little has the others.
pub const LONG_FILE_WORKERS: usize = 3;

/// File operations that one channel has begun and not ended; some may wait for others of the same file. Then the channel
/// takes no more commands.
pub const FILE_JOBS: usize = 64;

/// Content up to this length is read in one go. A longer one waits until its reader has nearly nothing left to take.
pub const SMALL_FILE_BYTES: usize = 256 * KIB;

/// What large files that are being sent may take of memory, for all sessions together; a larger one counts as this much.
pub const LARGE_FILES_BYTES: usize = 256 * MIB;

/// How long a large file waits for that memory: those that are being sent then go to clients who are slow.
pub const LARGE_FILE_WAIT: Duration = Duration::from_secs(30);

/// Files that one answer to `checkChanges` names, and what they may hold together: what a program or a checkout changes at
/// once. Whoever wants more reads file by file.
pub const CHANGED_FILES: usize = 4096;

/// See [`CHANGED_FILES`].
pub const CHANGED_BYTES: usize = 16 * MIB;

/// Entries of one folder that are given at once.
pub const FOLDER_ENTRIES: usize = 256 * KIB;

/// How long the end of a channel waits for changes of files that it has taken: less than
/// [`CLOSE_TIMEOUT`].
pub const CHANGES_TIMEOUT: Duration = Duration::from_secs(4);

/// Folders within folders that are copied from one file system to another: each takes three descriptors meanwhile.
pub const COPY_DEPTH: usize = 256;

/// Longest path that is looked at, as the kernel has it, less the byte that ends it there. Taking one apart takes longer
/// than its length, and a message has room for ten million folders.
pub const PATH_BYTES: usize = 4095;

/// Links followed on one path, as the kernel has it.
pub const LINKS: usize = 40;

/// Longest file that is read where it is asked for, if it is in memory: copying it takes about as long as waking another
/// thread.
pub const INLINE_READ_BYTES: usize = 64 * KIB;

/// How long a change of a file waits for another one of the same file. Each takes microseconds, but for a large file that
/// is rewritten in place; and who waits has one of the [`FILE_WORKERS`] threads meanwhile.
pub const COMMIT_WAIT: Duration = Duration::from_secs(2);

/// Files of one change that is rolled back if it fails: a package manager writes two or three, in a workspace of several
/// packages some more.
pub const CHANGE_FILES: usize = 16;

/// What they may hold together before the change, for a copy is made of it on the same disk; and the longest one that is
/// copied to be kept when they are put back. Lock files of large projects have some megabytes.
pub const CHANGE_BYTES: u64 = 64 << 20;

/// Longest journal of such a change that is read: two entries for each file, with the longest paths written as text.
pub const CHANGE_JOURNAL_BYTES: u64 = 1 << 20;

/// Files that are kept of what stood where others were put back: some failed attempts in a row.
pub const CHANGE_REPLACED: usize = 16;

/// Files that clients write while such a change is under way, of which is known that it was they: the last ones.
pub const CHANGE_WRITTEN: usize = 1_024;

/// Longest name of a lock that holds off snapshots.
pub const LOCK_NAME_BYTES: usize = 256;

/// Locks that hold off snapshots, of all sessions together: each is somebody's work that is half done.
pub const SNAPSHOT_LOCKS: usize = 256;

/// How long a snapshot waits for locks: most packages are installed by then.
pub const SNAPSHOT_WAIT: Duration = Duration::from_secs(60);

/// Snapshots that members of one channel may wait for at once.
pub const SNAPSHOTS_ASKED: usize = 64;

// --- files over HTTP ----------------------------------------------------------------------------------------------

/// How long a signed URL of a file may be used to begin something: a page is read, a download is clicked on.
pub const FILE_URL_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Requests for files that are served at once. Each may hold two pieces of [`TRANSFER_WRITE_BYTES`] in memory.
pub const TRANSFERS: usize = 64;

/// How many of those one client has at most: so it takes four who keep theirs at a crawl to keep others out. Browsers open
/// six connections to one place.
pub const TRANSFERS_EACH: usize = TRANSFERS / 4;

/// How long another one waits for its turn before it is told to come again.
pub const TRANSFER_WAIT: Duration = Duration::from_secs(10);

/// A file is read in pieces of this size: so small that a piece is still in the processor's cache when it is sent.
pub const TRANSFER_READ_BYTES: usize = 256 * KIB;

/// What is asked of the disk in one go: many pieces, so that most are there without another wait.
pub const TRANSFER_AHEAD_BYTES: u64 = 4 << 20;

/// What an upload may have received and not yet handed to the disk, beside as much that is being written: the hop to the
/// thread that writes is then small beside the copy.
pub const TRANSFER_WRITE_BYTES: usize = MIB;

// --- the store ----------------------------------------------------------------------------------------------------

/// Commands that a service may answer in one step: who asked first waits for the rest.
pub const SETTLE_COMMANDS: usize = 64;

/// Pages of 4 KiB that changes of the store may take before they are taken into its main file: 4 MiB, which is found again
/// in a moment after the agent was killed.
pub const STORE_CHECKPOINT_PAGES: usize = 1024;

/// The same, when everybody waits for it: 64 MiB.
pub const STORE_WAL_PAGES: usize = 16 * 1024;
