//! The agent: builds the parts, joins them, runs them, and ends them in order.

mod main_command;
mod shutdown;
pub mod state;

use std::net::SocketAddr;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::FutureExt;
use futures_util::future::{FusedFuture, OptionFuture};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use pid1_sdk::engine::{Engine, EngineConfig};
use pid1_sdk::error::printable;
use pid1_sdk::file_url::FileUrls;
use pid1_sdk::limits;
use pid1_sdk::process::record::{self, Leftovers};
use pid1_sdk::process::{ProcessTable, Signal, TableConfig};
use pid1_sdk::runtimes::Runtimes;
use pid1_sdk::store::Store;
use pid1_sdk::workspace::{Restored, Workspace, WorkspaceConfig, to_wire};
use tokio::io::AsyncWriteExt;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::auth::Secret;
use crate::config::{Certificate, Config};
use crate::door::tls::{self, Tls};
use crate::door::{Doors, Listener};
use crate::init::reaper::Reaper;
use crate::init::{self, Ending, sys};
use crate::registry;
use crate::router::Router;
use crate::terminal;
use main_command::MainCommand;

/// Threads for files and scans of /proc; they sleep when there is nothing to do. Files have all but two of them.
const BLOCKING_THREADS: usize = limits::FILE_WORKERS + 2;

/// They stay once they are there: where programs have used up all processes, no thread can be made to find and end
/// those programs.
const BLOCKING_KEPT: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long the reader of our stdout may take for the last that the main command has printed.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs the agent until TERM or INT, or the end of its main command, whose exit status is the result.
pub fn run(config: Config) -> Result<ExitCode> {
    let child_nofile =
        init::raise_descriptor_limit().context("cannot raise the limit of open descriptors")?;
    let state = state::StateDir::open(&config.state_dir)?;
    let mut builder = Builder::new_current_thread();
    builder.enable_all().max_blocking_threads(BLOCKING_THREADS).thread_keep_alive(BLOCKING_KEPT);
    let runtime = builder.build()?;
    // So that there is one from the beginning.
    drop(runtime.spawn_blocking(|| ()));
    let bulk = ThreadRuntime::start("pid1-bulk", || {
        if let Err(error) = sys::wake_patiently() {
            debug!(error = %error, "the kernel does not let the bulk thread wake patiently; it costs speed only");
        }
    })?;
    // The main thread is the first.
    let more: Vec<_> =
        (1..config.threads).map(|_| ThreadRuntime::start("pid1-clients", || ())).collect::<Result<_>>()?;
    let more_handles = more.iter().map(|thread| thread.handle.clone()).collect();
    let serving =
        Serving { config, more: more_handles, bulk: bulk.handle.clone(), child_nofile, state: &state };
    let result = runtime.block_on(serving.run());
    // Nothing waits for a file operation that hangs.
    runtime.shutdown_background();
    result
}

struct Serving<'a> {
    config: Config,
    more: Vec<Handle>,
    bulk: Handle,
    child_nofile: u64,
    state: &'a state::StateDir,
}

impl Serving<'_> {
    async fn run(self) -> Result<ExitCode> {
        let config = self.config;
        let ending = Ending::watch(config.main_command.is_empty()).context("cannot watch for signals")?;
        init::outlive_file_limit().context("cannot watch for signals")?;
        let runtimes = Runtimes::new(Handle::current(), self.more, self.bulk);
        let leftovers = record::end_leftovers(&runtimes, self.state.path(), config.stop_grace).await;
        let Leftovers { ended, lost } = leftovers.unwrap_or_else(|error| {
            warn!(error = %error, "cannot tell what an earlier agent may have left running");
            Leftovers::default()
        });
        if ended > 0 {
            warn!(ended, "ended programs that an earlier agent had left running");
        }
        let processes = ProcessTable::after(
            lost,
            runtimes.clone(),
            TableConfig {
                state_dir: Some(self.state.path().to_owned()),
                stop_grace: config.stop_grace,
                child_nofile_soft: Some(self.child_nofile),
                child_oom_score: init::outlast_programs(),
                // Ourselves, whatever has become of the file meanwhile.
                launcher: Some("/proc/self/exe".into()),
                max_processes: config.max_processes,
                ..TableConfig::default()
            },
        );
        let reaper = Reaper::new(processes.clone()).context("cannot take over orphans")?;
        let workspace = Workspace::open(WorkspaceConfig {
            root: config.root.clone(),
            scratch: self.state.path().to_owned(),
            fsync: config.fsync,
        });
        let workspace =
            workspace.with_context(|| format!("cannot open the workspace {}", config.root.display()))?;
        put_files_back(&workspace);
        let mut key = [0; 32];
        getrandom::fill(&mut key)
            .map_err(|error| anyhow::anyhow!("no random numbers for a key that signs URLs: {error}"))?;
        let engine = Arc::new(Engine::new(
            runtimes.clone(),
            processes,
            CancellationToken::new(),
            EngineConfig {
                workspace,
                environment: config.environment,
                keep_shells: config.keep_shells,
                max_watches: config.max_watches,
                max_message_bytes: config.door.max_message_bytes,
                services: registry::SERVICES.iter().map(|service| service.name).collect(),
                file_urls: FileUrls::new(key),
                store: Store::new(self.state.path().join("store.db"), runtimes.clone()),
                autosave: config.autosave,
                no_new_privs: config.no_new_privs,
            },
        ));
        let tls = config.certificate.map(|certificate| {
            Tls::new(match certificate {
                Certificate::Files(files) => files,
                Certificate::SelfSigned => {
                    tls::self_signed(self.state.path(), config.listen.ip(), &config.door.guard.hosts)?
                }
            })
        });
        let tls = tls.transpose()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = Listener::open(config.listen).with_context(|| {
            format!(
                "cannot listen on {}: choose another address with --listen, port 0 for any",
                config.listen
            )
        })?;
        let address = listener.address().context("the listener has no address")?.unwrap_or(config.listen);
        let mut listeners = vec![listener];
        match Listener::open_local(self.state.path(), config.trust_local) {
            Ok(local) => listeners.push(local),
            Err(error) if config.trust_local => {
                return Err(error)
                    .context("cannot open the socket in the state folder, as --trust-local asks");
            }
            // Its path may be too long for one, or the file system know none.
            Err(error) => {
                warn!(error = %error, "there is no socket in the state folder: clients use the network")
            }
        }
        let router = Router::new(engine.clone());
        let doors = Doors::new(config.door, Arc::new(config.auth), router.clone(), tls);
        // One that cannot be started ends the agent before anybody knows of it.
        let main = match config.main_command {
            none if none.is_empty() => None,
            command => Some(MainCommand::start(&engine, command)?),
        };
        // Some may have come before anybody listened.
        terminal::hear_signals().context("cannot listen for signals")?;
        let main_process = main.as_ref().map(MainCommand::process);
        info!(address = %address, root = %config.root.display(), state = %self.state.path().display(), "listening");
        let announced = announce(scheme, address, config.generated_token.as_ref());
        drop(runtimes.spawn(doors.clone().give_back_memory()));
        let accepting = runtimes.spawn(doors.serve(listeners));
        let shutdown = |mut ending| async move {
            shutdown::run(&engine, &router, accepting, &mut ending, config.stop_grace).await;
        };
        tokio::select! {
            () = until_the_end(main, announced, ending, config.keep, shutdown) => {}
            () = reaper.run() => bail!("nobody reaps orphans any more"),
        }
        // Without a main command an orderly end is a success. One that even SIGKILL has not ended yet dies of that.
        let status = main_process.map_or(0, |process| {
            process.try_exit().map_or(128 + Signal::SIGKILL as i32, |exit| exit.shell_code())
        });
        Ok(ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)))
    }
}

/// Rolls back the change of files that an agent before this one was killed over. Nobody waits for anything yet: with none
/// it is a look at one name.
fn put_files_back(workspace: &Workspace) {
    match workspace.roll_back_left() {
        Ok(restored) => {
            for Restored { path, replaced } in restored {
                let path = printable(&to_wire(path.as_os_str()));
                warn!(path, %replaced, "put back a file that a program was changing when an earlier agent ended");
            }
        }
        Err(error) => {
            warn!(error = %error, "cannot put back all files that an earlier agent had not done with")
        }
    }
}

/// Serves until a signal, or the main command's end, says that it is over, and then ends all in order.
async fn until_the_end<E: Future<Output = ()>>(
    main: Option<MainCommand>,
    announced: impl Future<Output = ()>,
    mut ending: Ending,
    keep: bool,
    shutdown: impl FnOnce(Ending) -> E,
) {
    let stays = keep || main.is_none();
    let process = main.as_ref().map(MainCommand::process);
    // Not awaited before all else: whoever does not read our stdout keeps nobody from being served.
    let beside = async move {
        match main {
            Some(main) => main.run(announced).await,
            None => announced.await,
        }
    };
    let mut main = pin!(OptionFuture::from(Some(beside)).fuse());
    loop {
        tokio::select! {
            signal = ending.wait() => {
                info!(signal, "stopping");
                break;
            }
            _ = &mut main, if !main.is_terminated() => if !stays { break },
        }
    }
    // What it prints as it ends is still wanted, but a reader who stands still keeps nobody: not those who wait for the
    // end of its output either.
    let mut last_words = pin!(async {
        if let Some(process) = process.filter(|_| !main.is_terminated()) {
            tokio::select! {
                _ = &mut main => {}
                () = async {
                    process.exited().await;
                    tokio::time::sleep(LAST_WORDS).await;
                } => main.set(OptionFuture::from(None).fuse()),
            }
        }
    });
    let mut end = pin!(shutdown(ending));
    tokio::select! {
        () = &mut end => drop(tokio::time::timeout(LAST_WORDS, last_words).await),
        () = &mut last_words => end.await,
    }
}

/// Writes the one line on stdout: where to go, with the token if nobody else knows it. A fragment is never sent over the
/// network or logged.
fn announce(
    scheme: &str,
    address: SocketAddr,
    generated: Option<&Secret>,
) -> impl Future<Output = ()> + use<> {
    let host = match address.ip() {
        any if any.is_unspecified() && any.is_ipv6() => "[::1]".to_owned(),
        any if any.is_unspecified() => "127.0.0.1".to_owned(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        std::net::IpAddr::V4(ip) => ip.to_string(),
    };
    let fragment =
        generated.map(|token| format!("#token={}", utf8_percent_encode(&token.0, NON_ALPHANUMERIC)));
    let line = format!("{scheme}://{host}:{}/{}\n", address.port(), fragment.unwrap_or_default());
    async move {
        let mut stdout = tokio::io::stdout();
        // Nobody may be reading; that is no reason not to serve.
        if stdout.write_all(line.as_bytes()).await.is_ok() {
            let _ = stdout.flush().await;
        }
    }
}

/// A current-thread runtime on a thread of its own, for as long as this lives.
struct ThreadRuntime {
    handle: Handle,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl ThreadRuntime {
    fn start(name: &str, prepare: impl FnOnce() + Send + 'static) -> Result<ThreadRuntime> {
        let runtime =
            Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_THREADS).build()?;
        let (handle, stop) = (runtime.handle().clone(), CancellationToken::new());
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                prepare();
                runtime.block_on(stopped.cancelled());
                runtime.shutdown_background();
            })
            .with_context(|| format!("cannot start the thread {name}"))?;
        Ok(ThreadRuntime { handle, stop, thread: Some(thread) })
    }
}

impl Drop for ThreadRuntime {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
