//! Follows one run from its start: how it ended, once all of it is over, and what is advised about it. Once for all windows,
//! and not where they are served: what hints cost is spent on the blocking pool.

use std::pin::pin;

use pid1_sdk::engine::Engine;
use pid1_sdk::limits;
use pid1_sdk::process::{Cause, Exit, Hold, Item, OutputLog, Process};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::hints::Hints;

/// What is known of a run.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// What was advised, in its order.
    pub(crate) hints: Vec<String>,
    /// It has ended, all it printed before is in its log, and if it was stopped, nothing that it had started is left.
    pub(crate) over: bool,
}

/// Whether a run that ended so has failed, and nobody wanted that.
pub(crate) fn failed(exit: Exit) -> bool {
    !exit.success() && !matches!(exit.cause, Cause::Stopped(_))
}

/// Tells `news` of `process` until there is nothing more to tell: its hints, and that it is over, in this order if looking for
/// them takes no longer than it should.
pub(crate) async fn follow(engine: &Engine, process: Process, hints: Hints, news: watch::Sender<News>) {
    let end = async {
        process.exited().await;
        settled(process.stdout()).await;
        if process.stopping() {
            process.stopped().await;
        }
    };
    let (mut end, mut advice) = (pin!(end), pin!(advise(engine, &process, hints, &news)));
    let advised = tokio::select! {
        () = &mut end => timeout(limits::HINT_WAIT, &mut advice).await.is_ok(),
        () = &mut advice => {
            end.await;
            true
        }
    };
    news.send_modify(|news| news.over = true);
    if !advised {
        advice.await;
    }
}

/// Returns when all that the program wrote before its exit is in its log.
async fn settled(log: &OutputLog) {
    let mut reader = log.reader(log.end_offset(), Hold::Not);
    while !matches!(reader.next(limits::OUTPUT_CHUNK_BYTES).await, Item::Settled | Item::End) {}
}

async fn advise(engine: &Engine, process: &Process, mut hints: Hints, news: &watch::Sender<News>) {
    let log = process.stdout();
    let mut reader = log.reader(0, Hold::Not);
    while hints.at_beginning() {
        match reader.next(limits::HINT_BEGINNING_BYTES).await {
            Item::Chunk { bytes, .. } => {
                let Some((rest, found)) = looked(engine, hints, move |hints| hints.beginning(&bytes)).await
                else {
                    return;
                };
                tell(news, found);
                hints = rest;
            }
            // The program runs on, and is not waited for.
            Item::Gap { .. } => {}
            Item::Settled | Item::End => break,
        }
    }
    drop(reader);
    if hints.is_empty() {
        return;
    }
    let exit = process.exited().await;
    if failed(exit) {
        settled(log).await;
        let (_, end) = log.tail(log.end_offset(), limits::SCROLLBACK_LINES, limits::HINT_END_BYTES);
        let found = looked(engine, hints, move |hints| hints.end(&end)).await;
        tell(news, found.map(|(_, found)| found).unwrap_or_default());
    }
}

/// What is advised about a program that could not be started, for that reason.
pub(crate) async fn advice_on_start(engine: &Engine, hints: Hints, why: String) -> Vec<String> {
    let found = looked(engine, hints, move |hints| hints.end(why.as_bytes())).await;
    found.map(|(_, found)| found).unwrap_or_default()
}

/// Looks for hints where nobody waits.
async fn looked(
    engine: &Engine,
    mut hints: Hints,
    look: impl FnOnce(&mut Hints) -> Vec<String> + Send + 'static,
) -> Option<(Hints, Vec<String>)> {
    let work = move || {
        let found = look(&mut hints);
        (hints, found)
    };
    engine.runtimes().file_work(work).await
}

fn tell(news: &watch::Sender<News>, found: Vec<String>) {
    if !found.is_empty() {
        news.send_modify(|news| news.hints.extend(found));
    }
}
