//! What the machine says: CPU time and memory of a process, cores, kernel, date.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// CPU time that the process itself has used so far, all its threads, user and system, without its children.
///
/// The same figure as utime and stime in `/proc/PID/stat`, but in nanoseconds instead of hundredths of a second.
pub fn cpu_of(pid: u32) -> Result<Duration> {
    let clock = clock_getcpuclockid(nix::unistd::Pid::from_raw(pid.cast_signed()))?;
    Ok(Duration::from(clock_gettime(clock)?))
}

/// CPU time of the calling thread.
pub fn cpu_of_this_thread() -> Result<Duration> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?))
}

/// Memory of the process that is resident, in bytes.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    Ok(status(pid, "VmRSS")? << 10)
}

/// The most that ever was resident, in bytes.
pub fn peak_resident_bytes(pid: u32) -> Result<u64> {
    Ok(status(pid, "VmHWM")? << 10)
}

/// Threads of the process.
pub fn threads(pid: u32) -> Result<u64> {
    status(pid, "Threads")
}

/// Descriptors that the process has open.
pub fn descriptors(pid: u32) -> Result<u64> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64)
}

fn status(pid: u32, field: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let line = line.with_context(|| format!("no {field} in the status of {pid}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Lets this process open as many descriptors as it is allowed to, and says how many that are.
pub fn raise_descriptor_limit() -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .context("cannot raise the limit of open descriptors")?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// The two cores to pin to, if there are two that this process may use.
pub fn two_cores() -> Result<Option<(usize, usize)>> {
    let allowed = sched_getaffinity(None)?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    Ok(cores.next().zip(cores.next()))
}

/// Ties the main thread of a process, or the calling thread, to one core.
pub fn pin(pid: Option<u32>, core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    let pid = pid.and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
    sched_setaffinity(pid, &set).context("cannot pin to a core")
}

/// Ties the calling thread to a core until dropped.
pub struct Pinned(CpuSet);

impl Pinned {
    /// To this core.
    pub fn to(core: usize) -> Result<Pinned> {
        let before = sched_getaffinity(None)?;
        pin(None, core)?;
        Ok(Pinned(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // It was allowed a moment ago.
        let _ = sched_setaffinity(None, &self.0);
    }
}

/// Programs that have run or waited to run lately: on a quiet machine far below its cores.
pub fn load() -> Result<String> {
    let load = std::fs::read_to_string("/proc/loadavg")?;
    Ok(load.split(' ').next().unwrap_or_default().to_owned())
}

/// Processor, cores and kernel.
pub fn describe() -> Result<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown processor", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism()?;
    let kernel = rustix::system::uname();
    Ok(format!("{model}, {cores} cores, Linux {}", kernel.release().to_string_lossy()))
}

/// Today in UTC, as year-month-day.
pub fn today() -> Result<String> {
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    Ok(format!("{year}-{month:02}-{day:02}"))
}

/// Year, month and day of a day counted from 1970. Years begin in March, so that the leap day is the last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_453), (2025, 12, 31));
    }

    #[test]
    fn a_busy_thread_uses_cpu() {
        let before = cpu_of_this_thread().unwrap();
        while cpu_of_this_thread().unwrap() < before + Duration::from_millis(2) {}
        assert!(cpu_of(std::process::id()).unwrap() >= Duration::from_millis(2));
    }
}
