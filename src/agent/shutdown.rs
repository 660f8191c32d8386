//! The end, in order, each step with a limit.
//!
//! 1. No new clients. Those that are here are told, and their connections closed ([`limits::CLOSE_TIMEOUT`]).
//! 2. Channels close, and write down what they hold, while programs are asked to end (`--stop-grace`).
//! 3. What is left is killed; as process 1 that is everybody in the container.
//! 4. What the store has gathered goes into its main file.
//! 5. Whatever else is running gets [`END_TIMEOUT`] on top; then the agent ends all the same.

use std::time::Duration;

use pid1_sdk::engine::Engine;
use pid1_sdk::limits;
use tokio::task::JoinHandle;
use tracing::warn;

use crate::init::Ending;
use crate::router::Router;

/// On top of the programs' grace, how long everything else may take to end.
pub(super) const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Ends all that runs. A signal while it does ends the grace of programs; one more, all waiting.
pub(super) async fn run(
    engine: &Engine,
    router: &Router,
    accepting: JoinHandle<()>,
    ending: &mut Ending,
    stop_grace: Duration,
) {
    engine.stopping().cancel();
    let (processes, runtimes) = (engine.processes(), engine.runtimes());
    let end = async {
        let _ = accepting.await;
        let channels = tokio::time::timeout(limits::CLOSE_TIMEOUT, router.until_empty());
        let (_, ()) = tokio::join!(channels, processes.stop_all());
        let store = engine.store().clone();
        let _ = runtimes.spawn_blocking(move || store.close()).await;
        runtimes.tracker().close();
        runtimes.tracker().wait().await;
    };
    let deadline = tokio::time::sleep(stop_grace + END_TIMEOUT);
    tokio::pin!(end, deadline);
    let mut impatient = false;
    loop {
        tokio::select! {
            () = &mut end => return,
            () = &mut deadline => {
                return warn!(tasks = runtimes.tracker().len(), "gave up waiting for an orderly end");
            }
            signal = ending.wait() => {
                if std::mem::replace(&mut impatient, true) {
                    return warn!(signal, "once more: ending at once");
                }
                warn!(signal, "again: programs get no more time");
                processes.hurry();
            }
        }
    }
}
