//! Calls of the C library that no safe crate has, or none without more that we do not want.
#![allow(unsafe_code, reason = "calls without a safe wrapper, one line each")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Makes the calling thread one that does not interrupt others when it wakes up (SCHED_BATCH); its share of the CPU
/// stays. What a terminal's program writes a line at a time then gathers until somebody looks, instead of waking us
/// and stopping the program for each line. Threads and programs that it starts are scheduled as ever.
pub(crate) fn wake_patiently() -> io::Result<()> {
    let policy = libc::SCHED_BATCH | libc::SCHED_RESET_ON_FORK;
    let priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: the pointer is to a whole sched_param that outlives the call; pid 0 is the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, policy, &raw const priority) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives memory that was freed back to the system. The allocator does that by itself only at the end of its heap, where
/// something always lives; elsewhere it keeps what a crowd has used for the next crowd. Takes some milliseconds for each
/// 100 MB, in which threads that need memory wait.
pub(crate) fn give_back_memory() {
    // SAFETY: it touches free memory only, under the allocator's own locks.
    let _ = unsafe { libc::malloc_trim(0) };
}

/// What was written to a TCP socket and has not arrived: not sent, or not acknowledged by the other side's system.
pub(crate) fn unarrived_bytes(socket: impl AsFd) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the pointer is to a whole int that outlives the call, as this request wants it.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { Ok(usize::try_from(bytes).unwrap_or(0)) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_may_wake_patiently() {
        // Ours is a thread of its own: the test runner's.
        wake_patiently().unwrap();
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let mut fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
        // Field 41; the first behind the name is the third.
        assert_eq!(fields.nth(41 - 3), Some(libc::SCHED_BATCH.to_string().as_str()));
    }
}
