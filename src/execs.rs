//! Programs that belong to no connection: their client names them, and finds them by that name over any number of
//! connections, until long after their end.
//!
//! One is started once, whoever asks again. What it prints is kept in its logs; when it has ended, they move from memory
//! into their files, and the oldest are given up when there is too much of that. What this deliberately does not do: speak
//! a protocol.

mod ended;
mod input;
mod waiting;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pid1_sdk::engine::Engine;
use pid1_sdk::process::{OutputLog, Process, Spec, StartError, StopCause, Stream};
use pid1_sdk::{Identity, Right};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::info;

use ended::Ended;
pub use input::{Input, InputError};
use waiting::Waiting;

/// Readers of one program: each is looked at whenever it prints.
const READERS: usize = 64;

/// What a program is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExecName {
    /// What its client takes for the machine it runs on.
    pub task: String,
    /// Its own name there.
    pub exec: String,
}

impl fmt::Display for ExecName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of task {:?}", self.exec, self.task)
    }
}

/// Why there is no program.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// There is none of that name.
    #[error(
        "there is no exec {0}: none was started since this agent began, or it ended too long ago (the last {most} are \
         kept)",
        most = ended::MOST
    )]
    Unknown(ExecName),
    /// It is somebody else's.
    #[error("exec {0} was started by somebody else, so it takes the role {lowest}", lowest = Right::Own.lowest_role())]
    Foreign(ExecName),
    /// It was not started.
    #[error(transparent)]
    NotStarted(#[from] StartError),
}

/// All of them.
#[derive(Debug)]
pub struct Execs {
    engine: Arc<Engine>,
    table: Mutex<Table>,
    waiting: Arc<Waiting>,
}

#[derive(Debug, Default)]
struct Table {
    execs: HashMap<ExecName, Arc<Exec>>,
    ended: Ended,
}

/// One of them.
#[derive(Debug)]
pub struct Exec {
    name: ExecName,
    starter: Person,
    /// The program.
    pub process: Process,
    /// What it is fed.
    pub input: Input,
    readers: Arc<Semaphore>,
}

/// Who a token names, by number and else by name; another token may name the same. Nobody is one person, too.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Person(u32, String);

impl From<&Identity> for Person {
    fn from(who: &Identity) -> Person {
        match who.user_id {
            0 => Person(0, who.name.clone()),
            number => Person(number, String::new()),
        }
    }
}

/// What to run.
#[derive(Debug)]
pub struct Order {
    /// The program.
    pub spec: Spec,
    /// When it is killed, from its start on.
    pub timeout: Option<Duration>,
}

impl Execs {
    /// None yet.
    pub fn new(engine: Arc<Engine>) -> Arc<Execs> {
        Arc::new(Execs { engine, table: Mutex::default(), waiting: Arc::default() })
    }

    /// Starts what `order` gives, unless there is a program of this name already.
    ///
    /// # Errors
    /// Those of `order`, and what they are made of. Nothing is kept of a start that failed.
    pub fn start<E: From<ExecError>>(
        self: &Arc<Self>,
        name: ExecName,
        who: &Identity,
        order: impl FnOnce() -> Result<Order, E>,
    ) -> Result<(), E> {
        if let Some(exec) = self.lock().execs.get(&name) {
            return Ok(exec.check(who)?);
        }
        let Order { spec, timeout } = order()?;
        // Held until it runs: whoever asks for the same meanwhile finds it.
        let mut table = self.lock();
        if let Some(exec) = table.execs.get(&name) {
            return Ok(exec.check(who)?);
        }
        let process = self.engine.processes().start(spec).map_err(ExecError::from)?;
        info!(exec = name.exec, task = name.task, pid = process.pid(), "started");
        let exec = Arc::new(Exec::new(name.clone(), who.into(), process, self.waiting.clone()));
        table.execs.insert(name, exec.clone());
        drop(table);
        self.engine.runtimes().spawn(self.clone().watch(exec, timeout));
        Ok(())
    }

    /// The program of this name.
    pub fn find(&self, name: ExecName, who: &Identity) -> Result<Arc<Exec>, ExecError> {
        let Some(exec) = self.lock().execs.get(&name).cloned() else { return Err(ExecError::Unknown(name)) };
        exec.check(who)?;
        Ok(exec)
    }

    /// Ends it when its time is over, and puts it among those that have ended.
    async fn watch(self: Arc<Self>, exec: Arc<Exec>, timeout: Option<Duration>) {
        let process = &exec.process;
        if let Some(timeout) = timeout
            && tokio::time::timeout(timeout, process.exited()).await.is_err()
        {
            info!(exec = exec.name.exec, pid = process.pid(), "killed: its time is over");
            process.kill(StopCause::Timeout);
        }
        let exit = process.exited().await;
        info!(exec = exec.name.exec, pid = process.pid(), status = exit.text(), "ended");
        let number = self.settle(|ended| ended.add(exec.clone()));
        for log in exec.logs() {
            // Others may print on.
            log.at_end().await;
            log.shelve().await;
        }
        self.settle(|ended| ((), ended.look_again(number)));
    }

    /// Does something about those that have ended.
    fn settle<T>(&self, change: impl FnOnce(&mut Ended) -> (T, Vec<Arc<Exec>>)) -> T {
        let mut table = self.lock();
        let (done, given_up) = change(&mut table.ended);
        for exec in &given_up {
            table.execs.remove(&exec.name);
        }
        drop(table);
        // And `given_up` when nobody waits for the table.
        done
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exec {
    fn new(name: ExecName, starter: Person, process: Process, waiting: Arc<Waiting>) -> Exec {
        let input = Input::of(&process, starter.clone(), waiting);
        Exec { name, starter, process, input, readers: Arc::new(Semaphore::new(READERS)) }
    }

    /// A reader's place, as long as it is kept; `None` if all are taken.
    pub fn reader(&self) -> Option<OwnedSemaphorePermit> {
        self.readers.clone().try_acquire_owned().ok()
    }

    fn check(&self, who: &Identity) -> Result<(), ExecError> {
        if who.role.may(Right::Own) || self.starter == Person::from(who) {
            return Ok(());
        }
        Err(ExecError::Foreign(self.name.clone()))
    }

    fn logs(&self) -> impl Iterator<Item = &OutputLog> {
        [Stream::Stdout, Stream::Stderr].into_iter().filter_map(|stream| self.process.output(stream))
    }
}
