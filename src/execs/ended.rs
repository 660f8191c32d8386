//! Programs that have ended, oldest first, and how many of them, and how much of what they printed, is kept.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Exec;

/// Programs that are kept. What is left in memory of each is a few KiB.
pub(super) const MOST: usize = 4096;

/// What their files may hold together: twice what those of one program may.
const FILE_BYTES: u64 = 4 << 30;

/// Files, each an open descriptor: a quarter of the fewest that a process may usually have.
const FILES: usize = 1024;

#[derive(Debug)]
struct Bounds {
    execs: usize,
    file_bytes: u64,
    files: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { execs: MOST, file_bytes: FILE_BYTES, files: FILES }
    }
}

/// They.
#[derive(Debug, Default)]
pub(super) struct Ended {
    bounds: Bounds,
    execs: VecDeque<Kept>,
    /// So many of the oldest have given up what they printed.
    silent: usize,
    file_bytes: u64,
    files: usize,
}

#[derive(Debug)]
struct Kept {
    exec: Arc<Exec>,
    file_bytes: u64,
    files: usize,
}

impl Ended {
    /// Adds the newest; returns who is no longer kept.
    pub(super) fn add(&mut self, exec: Arc<Exec>) -> Vec<Arc<Exec>> {
        let in_files = exec.logs().map(|log| log.kept().file_bytes).filter(|bytes| *bytes > 0);
        let (files, file_bytes) = in_files.fold((0, 0), |(files, sum), bytes| (files + 1, sum + bytes));
        self.files += files;
        self.file_bytes += file_bytes;
        self.execs.push_back(Kept { exec, file_bytes, files });
        while self.file_bytes > self.bounds.file_bytes || self.files > self.bounds.files {
            let Some(oldest) = self.execs.get_mut(self.silent) else { break };
            self.silent += 1;
            self.file_bytes -= std::mem::take(&mut oldest.file_bytes);
            self.files -= std::mem::take(&mut oldest.files);
            oldest.exec.logs().for_each(|log| log.forget());
        }
        let mut given_up = Vec::new();
        while self.execs.len() > self.bounds.execs
            && let Some(oldest) = self.execs.pop_front()
        {
            self.silent = self.silent.saturating_sub(1);
            self.file_bytes -= oldest.file_bytes;
            self.files -= oldest.files;
            given_up.push(oldest.exec);
        }
        given_up
    }
}

#[cfg(test)]
mod tests {
    use pid1_sdk::Role;
    use pid1_sdk::process::{Io, Keep, ProcessTable, Spec, TableConfig};
    use pid1_sdk::runtimes::Runtimes;
    use tokio::sync::Semaphore;

    use super::super::{ExecName, Input, Person};
    use super::*;

    /// One that has printed so much on each of its streams, and is put away.
    async fn ended(table: &ProcessTable, name: usize, bytes: usize) -> Arc<Exec> {
        let line = format!("head -c {bytes} /dev/zero; head -c {bytes} /dev/zero >&2");
        let spec = Spec {
            io: Io::Pipes { split_stderr: true },
            keep: Keep::Replay,
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            ..Spec::new(["/bin/sh", "-c", &line])
        };
        let process = table.start(spec).expect("a shell is there");
        let input = Input::of(&process, Arc::new(Semaphore::new(0)));
        let starter = Person::from(&pid1_sdk::Identity::anonymous(Role::Owner));
        let name = ExecName { task: String::new(), exec: name.to_string() };
        let exec = Arc::new(Exec { name, starter, process, input });
        for log in exec.logs() {
            log.at_end().await;
            log.shelve().await;
        }
        exec
    }

    fn kept(exec: &Exec) -> u64 {
        exec.logs().map(|log| log.kept()).map(|kept| kept.memory_bytes + kept.file_bytes).sum()
    }

    #[tokio::test]
    async fn the_oldest_give_up_what_they_printed_and_then_their_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = TableConfig { state_dir: Some(folder.path().to_owned()), ..TableConfig::default() };
        let table = ProcessTable::new(Runtimes::current(), config);
        for (bounds, large_kept) in [
            (Bounds { execs: 4, file_bytes: 1 << 20, files: 5 }, 2),
            (Bounds { execs: 4, file_bytes: 170_000, files: 100 }, 1),
        ] {
            let mut kept_execs = Ended { bounds, ..Ended::default() };
            let mut execs = Vec::new();
            for number in 0..3 {
                execs.push(ended(&table, number, 50_000).await);
                execs.push(ended(&table, 10 + number, 10).await);
            }
            let mut given_up = Vec::new();
            for exec in &execs {
                given_up.extend(kept_execs.add(exec.clone()));
            }
            let names: Vec<_> = given_up.iter().map(|exec| exec.name.exec.as_str()).collect();
            assert_eq!(names, ["0", "10"]);
            let large: Vec<_> = [0, 2, 4].map(|at| kept(&execs[at])).into();
            let expected: Vec<_> = (0..3).map(|at| if at + large_kept >= 3 { 100_000 } else { 0 }).collect();
            assert_eq!(large, expected);
            // Small ones are in no file; whoever is older than the last to be silenced is silent, too.
            assert_eq!(kept(&execs[5]), 20);
            assert_eq!(kept_execs.execs.len(), 4);
            assert_eq!(kept_execs.files, 2 * large_kept);
            assert_eq!(kept_execs.file_bytes, 100_000 * large_kept as u64);
        }
    }
}
