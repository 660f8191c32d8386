//! Programs that have ended: how many are known, and how much of what they printed is kept.
//!
//! When it is too much, whoever has most of it gives up his oldest: first what they printed, from those that nobody reads,
//! then their names. So nobody loses anything because of others.

use std::collections::{BTreeMap, HashMap};
use std::ops::{AddAssign, SubAssign};
use std::sync::Arc;

use pid1_sdk::process::OutputLog;

use super::{Exec, Person};

/// Programs that are known. What is left in memory of each is a few KiB...
pub(super) const MOST: u64 = 4096;

/// ...unless it was given more arguments than all of them may hold together.
const ARGUMENT_BYTES: u64 = 16 << 20;

/// What was printed and is in memory, because it is little or no file could take it.
const MEMORY_BYTES: u64 = 64 << 20;

/// What their files may hold together: twice what those of one program may.
const FILE_BYTES: u64 = 4 << 30;

/// Descriptors, of files and of streams on which others print on: a quarter of the fewest that a process may usually have.
const DESCRIPTORS: u64 = 1024;

/// What is kept of some of them, or may be.
#[derive(Clone, Copy, Debug)]
struct Amount {
    execs: u64,
    argument_bytes: u64,
    printed: Printed,
}

#[derive(Clone, Copy, Debug, Default)]
struct Printed {
    memory_bytes: u64,
    file_bytes: u64,
    descriptors: u64,
}

/// One part of an amount.
type Part = fn(&Amount) -> u64;

/// Which parts are less when one is silent, and which when its name is given up.
const PRINTED: [Part; 3] =
    [|of| of.printed.memory_bytes, |of| of.printed.file_bytes, |of| of.printed.descriptors];
const NAMED: [Part; 2] = [|of| of.execs, |of| of.argument_bytes];

/// They.
#[derive(Debug)]
pub(super) struct Ended {
    bounds: Amount,
    /// Oldest first.
    execs: BTreeMap<u64, Kept>,
    last: u64,
    total: Amount,
    people: HashMap<Person, Amount>,
}

#[derive(Debug)]
struct Kept {
    exec: Arc<Exec>,
    amount: Amount,
    /// What it printed was given up.
    silent: bool,
}

impl Default for Ended {
    fn default() -> Ended {
        let printed =
            Printed { memory_bytes: MEMORY_BYTES, file_bytes: FILE_BYTES, descriptors: DESCRIPTORS };
        Ended::within(Amount { execs: MOST, argument_bytes: ARGUMENT_BYTES, printed })
    }
}

impl Ended {
    fn within(bounds: Amount) -> Ended {
        Ended { bounds, execs: BTreeMap::new(), last: 0, total: Amount::none(), people: HashMap::new() }
    }

    /// Adds the newest; its number here, and who is no longer known.
    pub(super) fn add(&mut self, exec: Arc<Exec>) -> (u64, Vec<Arc<Exec>>) {
        self.last += 1;
        let amount = Amount::of(&exec);
        self.total += amount;
        *self.people.entry(exec.starter.clone()).or_insert_with(Amount::none) += amount;
        self.execs.insert(self.last, Kept { exec, amount, silent: false });
        (self.last, self.settle())
    }

    /// What is kept of one has changed; returns who is no longer known.
    pub(super) fn look_again(&mut self, number: u64) -> Vec<Arc<Exec>> {
        match self.execs.get(&number) {
            Some(kept) if kept.silent => self.silence(number),
            Some(kept) => {
                let now = Amount::of(&kept.exec);
                self.change(number, now);
            }
            None => {}
        }
        self.settle()
    }

    fn settle(&mut self) -> Vec<Arc<Exec>> {
        while let Some(part) = self.exceeded(PRINTED)
            && let Some(oldest) = self.oldest_of_most(part)
        {
            self.silence(oldest);
        }
        let mut given_up = Vec::new();
        while let Some(part) = self.exceeded(NAMED)
            && let Some(oldest) = self.oldest_of_most(part)
        {
            self.silence(oldest);
            self.change(oldest, Amount::none());
            given_up.extend(self.execs.remove(&oldest).map(|kept| kept.exec));
        }
        given_up
    }

    /// A part of which there is too much.
    fn exceeded<const N: usize>(&self, parts: [Part; N]) -> Option<Part> {
        parts.into_iter().find(|part| part(&self.total) > part(&self.bounds))
    }

    /// Of whoever has most of this part the oldest that has any; if possible one that nobody reads.
    fn oldest_of_most(&self, part: Part) -> Option<u64> {
        let (person, _) = self.people.iter().max_by_key(|(_, amount)| part(amount))?;
        let mut of_person = self
            .execs
            .iter()
            .filter(|(_, kept)| kept.exec.starter == *person && part(&kept.amount) > 0)
            .map(|(number, kept)| (*number, kept));
        let oldest = of_person.clone().next()?;
        let unread = of_person.find(|(_, kept)| !kept.exec.logs().any(OutputLog::is_held));
        Some(unread.unwrap_or(oldest).0)
    }

    /// Gives up what one has printed. Whoever still prints there finds nobody who takes it.
    fn silence(&mut self, number: u64) {
        let Some(kept) = self.execs.get_mut(&number) else { return };
        kept.silent = true;
        for log in kept.exec.logs() {
            if !log.ended() {
                log.hang_up();
            }
            // Also closes its file, where nobody waits for that.
            log.forget();
        }
        let now = Amount { printed: Printed::default(), ..kept.amount };
        self.change(number, now);
    }

    fn change(&mut self, number: u64, now: Amount) {
        let Some(kept) = self.execs.get_mut(&number) else { return };
        let before = std::mem::replace(&mut kept.amount, now);
        let starter = &kept.exec.starter;
        if let Some(own) = self.people.get_mut(starter) {
            *own -= before;
            *own += now;
            if own.execs == 0 {
                self.people.remove(starter);
            }
        }
        self.total -= before;
        self.total += now;
    }
}

impl Amount {
    fn none() -> Amount {
        Amount { execs: 0, argument_bytes: 0, printed: Printed::default() }
    }

    fn of(exec: &Exec) -> Amount {
        let arguments = exec.process.args().iter().map(|arg| arg.len() as u64).sum();
        let mut all = Amount { execs: 1, argument_bytes: arguments, printed: Printed::default() };
        for log in exec.logs() {
            let kept = log.kept();
            all.printed.memory_bytes += kept.memory_bytes;
            all.printed.file_bytes += kept.file_bytes;
            all.printed.descriptors += u64::from(kept.file_bytes > 0) + u64::from(!log.ended());
        }
        all
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, more: Amount) {
        self.execs += more.execs;
        self.argument_bytes += more.argument_bytes;
        self.printed.memory_bytes += more.printed.memory_bytes;
        self.printed.file_bytes += more.printed.file_bytes;
        self.printed.descriptors += more.printed.descriptors;
    }
}

impl SubAssign for Amount {
    fn sub_assign(&mut self, less: Amount) {
        self.execs -= less.execs;
        self.argument_bytes -= less.argument_bytes;
        self.printed.memory_bytes -= less.printed.memory_bytes;
        self.printed.file_bytes -= less.printed.file_bytes;
        self.printed.descriptors -= less.printed.descriptors;
    }
}

#[cfg(test)]
mod tests {
    use pid1_sdk::process::{Hold, Io, Keep, ProcessTable, Spec, TableConfig};
    use pid1_sdk::runtimes::Runtimes;

    use super::super::ExecName;
    use super::*;

    /// Prints so much on each stream.
    fn printing(bytes: usize) -> String {
        format!("head -c {bytes} /dev/zero; head -c {bytes} /dev/zero >&2")
    }

    struct People {
        table: ProcessTable,
        _folder: tempfile::TempDir,
    }

    impl People {
        fn new() -> People {
            let folder = tempfile::tempdir().expect("a folder");
            let config = TableConfig { state_dir: Some(folder.path().to_owned()), ..TableConfig::default() };
            People { table: ProcessTable::new(Runtimes::current(), config), _folder: folder }
        }

        /// One that has exited.
        async fn exited(&self, person: &str, name: &str, line: &str) -> Arc<Exec> {
            let spec = Spec {
                io: Io::Pipes { split_stderr: true },
                keep: Keep::Replay,
                env: vec![("PATH".into(), "/usr/bin:/bin".into())],
                ..Spec::new(["/bin/sh", "-c", line])
            };
            let process = self.table.start(spec).expect("a shell is there");
            process.exited().await;
            let name = ExecName { task: String::new(), exec: name.to_owned() };
            Arc::new(Exec::new(name, Person(0, person.to_owned()), process, Arc::default()))
        }

        /// ...and is put away.
        async fn ended(&self, person: &str, name: &str, line: &str) -> Arc<Exec> {
            let exec = self.exited(person, name, line).await;
            for log in exec.logs() {
                log.at_end().await;
                log.shelve().await;
            }
            exec
        }
    }

    fn kept(exec: &Exec) -> u64 {
        exec.logs().map(|log| log.kept()).map(|kept| kept.memory_bytes + kept.file_bytes).sum()
    }

    fn names(execs: &[Arc<Exec>]) -> Vec<&str> {
        execs.iter().map(|exec| exec.name.exec.as_str()).collect()
    }

    const MUCH: Printed = Printed { memory_bytes: 1 << 20, file_bytes: 1 << 20, descriptors: 100 };

    fn bounds(execs: u64, printed: Printed) -> Amount {
        Amount { execs, argument_bytes: 1000, printed }
    }

    #[tokio::test]
    async fn whoever_has_most_gives_up_the_oldest() {
        let people = People::new();
        for printed in [Printed { descriptors: 7, ..MUCH }, Printed { file_bytes: 350_000, ..MUCH }] {
            let mut ended = Ended::within(bounds(5, printed));
            // Ann has the oldest of all, and only that.
            let ann = people.ended("ann", "ann", &printing(50_000)).await;
            assert!(ended.add(ann.clone()).1.is_empty());
            let mut bob = Vec::new();
            for name in ["one", "two", "three"] {
                bob.push(people.ended("bob", name, &printing(50_000)).await);
            }
            // His oldest is read.
            let _reader = bob[0].process.stdout().reader(0, Hold::WhenFull);
            for exec in &bob {
                assert!(ended.add(exec.clone()).1.is_empty());
            }
            assert_eq!(
                [&ann, &bob[0], &bob[1], &bob[2]].map(|exec| kept(exec)),
                [100_000, 100_000, 0, 100_000]
            );
            assert_eq!((ended.total.printed.descriptors, ended.total.printed.file_bytes), (6, 300_000));
            // Names as well.
            let more = [people.ended("bob", "four", "true").await, people.ended("bob", "five", "true").await];
            assert!(ended.add(more[0].clone()).1.is_empty());
            assert_eq!(names(&ended.add(more[1].clone()).1), ["two"]);
            assert_eq!((kept(&ann), kept(&bob[0]), ended.execs.len()), (100_000, 100_000, 5));
            // Of one that was given too much nothing is kept, nor of others of that person but the one that is read.
            let long = format!("true {}", "x".repeat(1000));
            let given_up = ended.add(people.ended("bob", "six", &long).await).1;
            assert_eq!(names(&given_up), ["three", "four", "five", "six"]);
            assert_eq!((ended.people.len(), ended.total.execs), (2, 2));
        }
    }

    #[tokio::test]
    async fn what_others_print_on_counts_and_is_closed_in_the_end() {
        let people = People::new();
        let mut ended = Ended::within(bounds(100, Printed { descriptors: 3, ..MUCH }));
        let left = "sleep 1000 & echo $!";
        let first = people.exited("ann", "first", left).await;
        let (number, _) = ended.add(first.clone());
        assert_eq!(ended.total.printed.descriptors, 2);
        let second = people.exited("ann", "second", left).await;
        ended.add(second.clone());
        for log in first.logs() {
            log.at_end().await;
        }
        assert!(second.logs().all(|log| !log.ended()));
        assert_eq!(ended.total.printed.descriptors, 2);
        assert!(ended.look_again(number).is_empty());
        assert_eq!((kept(&first), ended.total.printed.descriptors), (0, 2));
        for exec in [first, second] {
            exec.process.kill(pid1_sdk::process::StopCause::Request);
            exec.process.stopped().await;
        }
    }
}
