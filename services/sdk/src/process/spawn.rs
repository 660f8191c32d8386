//! `posix_spawn`: the only way a program starts, and the only file of the module with `unsafe`.
//!
//! Never `fork`: a fork copies the page tables (16 ms at 1 GiB resident, against 0.6 ms here), and code between fork and
//! exec of a threaded process is a trap. `spawn` is for the programs of an agent, `spawn_heir` for the one program of an
//! init. What it deliberately does not do: search the program, register the child, wait for it.
#![expect(
    unsafe_code,
    reason = "posix_spawn has no safe wrapper that can open a terminal and change the folder"
)]

use std::ffi::{CStr, CString, c_char, c_short};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, SigSet, Signal};
use portable_pty::MasterPty;
use rustix::process::{Pid, Resource, Rlimit};

/// `POSIX_SPAWN_SETSID` of the C library's `spawn.h`; the `libc` crate has no name for it on Linux.
const SETSID: c_short = 0x80;

/// A start, ready for the system: absolute program, everything NUL-terminated.
pub(super) struct Order<'a> {
    /// The file to execute.
    pub(super) program: &'a CStr,
    /// `argv`.
    pub(super) args: &'a [CString],
    /// `environ`, as `NAME=value`.
    pub(super) env: &'a [CString],
    /// The working folder.
    pub(super) cwd: &'a CStr,
    /// The terminal to open as the first three descriptors, in a session of its own; else a process group of its own.
    pub(super) terminal: Option<&'a CStr>,
    /// Descriptors and the numbers they get; the numbers are unique and at most `MAX_MAPPED_FD`.
    pub(super) fds: &'a [(BorrowedFd<'a>, RawFd)],
    /// The soft limit on open descriptors that the program gets.
    pub(super) nofile_soft: Option<u64>,
}

/// Starts the program: all signals at their default, none blocked, nothing open but what the order names.
///
/// The caller holds the table's lock, so that nobody can reap the child before it is registered.
///
/// # Errors
/// What the system said about the first step that failed, `execve` included.
pub(super) fn spawn(order: &Order<'_>) -> Result<Pid, Errno> {
    let first_free = 1 + order.fds.iter().map(|(_, to)| *to).max().unwrap_or(2).max(2);

    // A source that has the number of another's target would be overwritten before its turn: such a source is
    // duplicated above all targets first. The duplicates live until the child runs.
    let mut spare: Vec<OwnedFd> = Vec::new();
    let mut mapped = Vec::with_capacity(order.fds.len());
    for (from, to) in order.fds {
        let mut source = from.as_raw_fd();
        if source != *to && source < first_free {
            let copy = rustix::io::fcntl_dupfd_cloexec(from, first_free)
                .map_err(|error| Errno::from_raw(error.raw_os_error()))?;
            source = copy.as_raw_fd();
            spare.push(copy);
        }
        mapped.push((source, *to));
    }

    let mut actions = Actions::new()?;
    actions.chdir(order.cwd)?;
    if let Some(path) = order.terminal {
        // Opened by path after `setsid`: that is what makes it the controlling terminal without code in the child.
        actions.open(0, path)?;
        actions.dup2(0, 1)?;
        actions.dup2(0, 2)?;
    }
    for (from, to) in mapped {
        actions.dup2(from, to)?;
    }
    // All our descriptors are close-on-exec, but what we inherited ourselves may not be, and `openpty` sets the flag a
    // moment late.
    for fd in (3..first_free).filter(|fd| order.fds.iter().all(|(_, to)| to != fd)) {
        actions.close(fd)?;
    }
    actions.close_from(first_free)?;
    let alone = if order.terminal.is_some() { SETSID } else { flag(libc::POSIX_SPAWN_SETPGROUP) };
    let attributes = Attributes::new(alone, &every_signal(), SigSet::empty().as_ref())?;

    let _limit = order.nofile_soft.map(SoftLimit::lower);
    execute(order.program, order.args, order.env, &actions, &attributes)
}

/// Where a program stands that inherits all else.
#[derive(Clone, Copy, Debug)]
pub enum Stand<'a> {
    /// In our process group.
    Beside,
    /// In a process group of its own, which is in the foreground of this terminal from the first moment on.
    Group(Option<BorrowedFd<'a>>),
    /// In a session of its own, whose terminal becomes the one that is our stdin. The descriptor is one of ours that
    /// the child opens it as for a moment.
    Session(Option<BorrowedFd<'a>>),
}

/// Starts a program that inherits what we inherited: descriptors, folder, limits, ignored signals, and `mask`.
///
/// # Errors
/// As `spawn`.
pub(super) fn spawn_heir(
    program: &CStr,
    args: &[CString],
    env: &[CString],
    stand: Stand<'_>,
    mask: &SigSet,
) -> Result<Pid, Errno> {
    let mut actions = Actions::new()?;
    let alone = match stand {
        Stand::Beside => 0,
        Stand::Group(terminal) => {
            if let Some(terminal) = terminal {
                actions.foreground(terminal)?;
            }
            flag(libc::POSIX_SPAWN_SETPGROUP)
        }
        Stand::Session(spare) => {
            if let Some(spare) = spare.map(|fd| fd.as_raw_fd()) {
                // The first terminal that a session's leader opens is the session's.
                actions.open(spare, c"/proc/self/fd/0")?;
                actions.close(spare)?;
            }
            SETSID
        }
    };
    // The Rust runtime has ignored it at our start, the child would inherit that.
    let mut reset = every_signal();
    for signal in Signal::iterator().map(|signal| signal as i32).chain(libc::SIGRTMIN()..=libc::SIGRTMAX()) {
        if signal != libc::SIGPIPE {
            // SAFETY: the set is initialised, and the call checks the number.
            unsafe { libc::sigdelset(&mut reset, signal) };
        }
    }
    let attributes = Attributes::new(alone, &reset, mask.as_ref())?;
    execute(program, args, env, &actions, &attributes)
}

/// With the C library's two own signals, which the child would ignore if they were not reset.
fn every_signal() -> libc::sigset_t {
    let mut every = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: plain bits, of which all values are valid. Not `sigfillset`: it leaves out those two.
    unsafe {
        every.as_mut_ptr().write_bytes(0xff, 1);
        every.assume_init()
    }
}

fn execute(
    program: &CStr,
    args: &[CString],
    env: &[CString],
    actions: &Actions,
    attributes: &Attributes,
) -> Result<Pid, Errno> {
    let (args, env) = (pointers(args), pointers(env));
    let mut pid: libc::pid_t = 0;
    // SAFETY: every pointer is valid for the call: `program`, the argument and environment arrays (NULL-terminated by
    // `pointers`, their strings borrowed by this function), and the two initialised objects, which outlive the call.
    let error = unsafe {
        libc::posix_spawn(
            &mut pid,
            program.as_ptr(),
            actions.0.as_ptr(),
            attributes.0.as_ptr(),
            args.as_ptr(),
            env.as_ptr(),
        )
    };
    check(error)?;
    // The system never reports 0 for a child; treat it as "no such process" rather than panic.
    Pid::from_raw(pid).ok_or(Errno::ESRCH)
}

/// Gives up our controlling terminal, so that another session can have it.
pub(super) fn leave_terminal(terminal: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: the descriptor is open, and the request takes no argument.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCNOTTY) }).map(drop)
}

/// Gives a signal its default action, for us and what we execute.
pub(super) fn default_action(signal: Signal) -> Result<(), Errno> {
    // SAFETY: the default action runs no code of ours.
    unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }.map(drop)
}

/// Sends the signal of this number, real-time ones too, to a process, or to a group if `pid` is negative.
pub(super) fn send(pid: i32, number: i32) -> Result<(), Errno> {
    // SAFETY: it takes two numbers.
    Errno::result(unsafe { libc::kill(pid, number) }).map(drop)
}

/// A descriptor of the terminal's master side that is ours: close-on-exec, independent of the pair.
///
/// # Errors
/// If the pair has no descriptor or none is left.
pub(super) fn duplicate_master(master: &dyn MasterPty) -> io::Result<OwnedFd> {
    let raw = master.as_raw_fd().ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: `master` owns this descriptor and is borrowed until the end of this function, so it stays open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(raw) };
    Ok(rustix::io::fcntl_dupfd_cloexec(borrowed, 3)?)
}

fn pointers(strings: &[CString]) -> Vec<*mut c_char> {
    let mut pointers = Vec::with_capacity(strings.len() + 1);
    pointers.extend(strings.iter().map(|string| string.as_ptr().cast_mut()));
    pointers.push(ptr::null_mut());
    pointers
}

fn check(error: i32) -> Result<(), Errno> {
    if error == 0 { Ok(()) } else { Err(Errno::from_raw(error)) }
}

/// Lowers this process's own soft limit on descriptors until dropped.
///
/// A child inherits the limits of the moment it is made, and `posix_spawn` has no attribute for them; setting them on
/// the running child would come too late for a program that looks at once. For that moment other threads of the agent
/// could see EMFILE, if more descriptors than the old soft limit are open: opening descriptors concurrently is rare
/// and retried by its callers. Lowering the soft limit closes nothing.
struct SoftLimit {
    before: Rlimit,
}

impl SoftLimit {
    fn lower(soft: u64) -> Self {
        let before = rustix::process::getrlimit(Resource::Nofile);
        let lowered = Rlimit {
            current: Some(before.maximum.map_or(soft, |hard| soft.min(hard))),
            maximum: before.maximum,
        };
        // Cannot fail: lowering a soft limit below the hard one needs no right. If it did, the child has ours.
        let _ = rustix::process::setrlimit(Resource::Nofile, lowered);
        Self { before }
    }
}

impl Drop for SoftLimit {
    fn drop(&mut self) {
        let _ = rustix::process::setrlimit(Resource::Nofile, self.before);
    }
}

/// What the child does to its descriptors and folder before it executes the program, in order.
struct Actions(Box<MaybeUninit<libc::posix_spawn_file_actions_t>>);

impl Actions {
    fn new() -> Result<Self, Errno> {
        let mut actions = Box::new(MaybeUninit::uninit());
        // SAFETY: the pointer is valid and writable; on success the object is initialised and destroyed once, in Drop.
        check(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        Ok(Self(actions))
    }

    fn chdir(&mut self, path: &CStr) -> Result<(), Errno> {
        // SAFETY: the object is initialised; the path is copied by the call.
        check(unsafe { libc::posix_spawn_file_actions_addchdir_np(self.0.as_mut_ptr(), path.as_ptr()) })
    }

    fn open(&mut self, fd: RawFd, path: &CStr) -> Result<(), Errno> {
        // SAFETY: the object is initialised; the path is copied by the call.
        check(unsafe {
            libc::posix_spawn_file_actions_addopen(self.0.as_mut_ptr(), fd, path.as_ptr(), libc::O_RDWR, 0)
        })
    }

    fn dup2(&mut self, from: RawFd, to: RawFd) -> Result<(), Errno> {
        // SAFETY: the object is initialised; a descriptor that is not open is an error in the child, not undefined.
        check(unsafe { libc::posix_spawn_file_actions_adddup2(self.0.as_mut_ptr(), from, to) })
    }

    fn close(&mut self, fd: RawFd) -> Result<(), Errno> {
        // SAFETY: the object is initialised; one that is not open in the child is no error.
        check(unsafe { libc::posix_spawn_file_actions_addclose(self.0.as_mut_ptr(), fd) })
    }

    fn foreground(&mut self, terminal: BorrowedFd<'_>) -> Result<(), Errno> {
        let fd = terminal.as_raw_fd();
        // SAFETY: the object is initialised; the child's group exists and all its signals are blocked by then.
        check(unsafe { libc::posix_spawn_file_actions_addtcsetpgrp_np(self.0.as_mut_ptr(), fd) })
    }

    fn close_from(&mut self, first: RawFd) -> Result<(), Errno> {
        // SAFETY: the object is initialised; the child closes its own copies only.
        check(unsafe { libc::posix_spawn_file_actions_addclosefrom_np(self.0.as_mut_ptr(), first) })
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, destroyed only here.
        unsafe { libc::posix_spawn_file_actions_destroy(self.0.as_mut_ptr()) };
    }
}

/// Signals, group and session of the child.
struct Attributes(Box<MaybeUninit<libc::posix_spawnattr_t>>);

impl Attributes {
    /// `alone` is a flag that makes the child a group or a session of its own, or 0; signals of `reset` get their
    /// default action, those of `mask` are blocked.
    fn new(alone: c_short, reset: &libc::sigset_t, mask: &libc::sigset_t) -> Result<Self, Errno> {
        let mut attributes = Box::new(MaybeUninit::<libc::posix_spawnattr_t>::uninit());
        // SAFETY: the pointer is valid and writable; on success the object is initialised and destroyed once, in Drop.
        check(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        let mut attributes = Self(attributes);
        let raw = attributes.0.as_mut_ptr();
        let flags = flag(libc::POSIX_SPAWN_SETSIGDEF) | flag(libc::POSIX_SPAWN_SETSIGMASK) | alone;
        // SAFETY: `raw` is initialised; the sets are valid and copied by the call. A process group of 0 means the
        // child's own pid.
        unsafe {
            check(libc::posix_spawnattr_setsigdefault(raw, reset))?;
            check(libc::posix_spawnattr_setsigmask(raw, mask))?;
            check(libc::posix_spawnattr_setpgroup(raw, 0))?;
            check(libc::posix_spawnattr_setflags(raw, flags))?;
        }
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, destroyed only here.
        unsafe { libc::posix_spawnattr_destroy(self.0.as_mut_ptr()) };
    }
}

/// The flags are small positive numbers; the C library takes them as `short`.
fn flag(value: libc::c_int) -> c_short {
    c_short::try_from(value).expect("spawn flags are below 256")
}
