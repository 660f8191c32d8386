//! The `toolchain` service: which ways to run there are, and the news when that changes.
//!
//! In: `toolchainGetRequest`. Out: its answer, and `toolchainChanged` to everybody when what it would be has become another:
//! `.replit` was changed, a file came or went by which the workspace's language is known, or a client has set the language.
//! The workspace is watched only while somebody is here.

use std::path::PathBuf;
use std::sync::Arc;

use pid1_sdk::api::{ToolchainChanged, ToolchainConfigs, ToolchainGetResponse, command::Body};
use pid1_sdk::project::matters;
use pid1_sdk::watch::{Changes, News, Watch};
use pid1_sdk::{Channel, Member, Reply, Result, Right, Service, unsupported};

use crate::configs::configs;
use crate::look;

/// Whoever is here, and what they know.
#[derive(Debug, Default)]
pub struct Toolchain {
    /// While somebody is here. Dropped, it ends the task that reads it.
    watch: Option<Arc<Watch>>,
    /// How many watches there have been: the number of the present one.
    watches: u64,
    /// What members know, or would have been told.
    known: Option<ToolchainConfigs>,
}

/// What there is now, as the watch of this number has found it.
#[derive(Debug)]
pub struct Now {
    watch: u64,
    configs: Box<ToolchainConfigs>,
}

impl Service for Toolchain {
    type Event = Now;

    /// Nothing is started: whoever may only look on may read.
    const OPEN_NEEDS: Right = Right::Read;

    async fn open(_ch: &mut Channel<Now>) -> Result<Self> {
        Ok(Toolchain::default())
    }

    fn needs(body: &Body) -> Right {
        match body {
            Body::ToolchainGetRequest(_) => Right::Read,
            _ => Right::Write,
        }
    }

    async fn attach(&mut self, ch: &mut Channel<Now>, _member: &Member) {
        if self.watch.is_some() {
            return;
        }
        match ch.engine().watcher().subscribe() {
            Ok((watch, changes)) => self.follow(ch, watch, changes),
            Err(error) => tracing::warn!(error = %error, "changes of the toolchain are not told"),
        }
    }

    async fn detach(&mut self, ch: &mut Channel<Now>, _member: &Member) {
        if ch.audience().is_empty() {
            self.watch = None;
            self.known = None;
        }
    }

    async fn command(&mut self, ch: &mut Channel<Now>, _from: &Member, body: Body) -> Result<Reply> {
        let Body::ToolchainGetRequest(_) = body else { return unsupported(&body) };
        let configs = look(ch.engine(), |project| configs(&project)).await?;
        // Before the watch has looked for the first time, this is what it is compared with.
        self.known.get_or_insert_with(|| configs.clone());
        Ok(Reply::now(Body::ToolchainGetResponse(ToolchainGetResponse { configs: Some(configs) })))
    }

    async fn event(&mut self, ch: &mut Channel<Now>, now: Now) {
        if self.watch.is_none() || now.watch != self.watches {
            return;
        }
        let configs = *now.configs;
        if self.known.as_ref().is_some_and(|known| *known != configs) {
            ch.broadcast(Body::ToolchainChanged(ToolchainChanged { configs: Some(configs.clone()) }));
        }
        self.known = Some(configs);
    }

    fn idle(&self) -> bool {
        self.watch.is_none()
    }
}

impl Toolchain {
    /// Reports what there is, now and whenever something has happened that may have changed it.
    fn follow(&mut self, ch: &Channel<Now>, watch: Watch, mut changes: Changes) {
        let watch = Arc::new(watch);
        self.watches += 1;
        let (number, weak, engine, events) =
            (self.watches, Arc::downgrade(&watch), ch.engine().clone(), ch.events());
        self.watch = Some(watch);
        let audience = ch.audience().clone();
        let mut settings = engine.watch_settings();
        ch.spawn(async move {
            let added = match weak.upgrade() {
                // The root, with what is in it.
                Some(watch) => watch.add(vec![PathBuf::new()]).await,
                None => return,
            };
            if let Err(error) = added {
                tracing::warn!(error = %error, "changes of the toolchain are not told");
                return;
            }
            loop {
                let project = engine.clone();
                match engine.runtimes().file_work(move || configs(&project.project())).await {
                    Some(Ok(configs)) => {
                        let now = Now { watch: number, configs: Box::new(configs) };
                        if events.send(now).await.is_err() {
                            return;
                        }
                    }
                    // While the file is wrong, what it said last holds; whoever asks is told what is wrong.
                    Some(Err(error)) => tracing::debug!(error = %error, "the toolchain cannot be told"),
                    None => return,
                }
                loop {
                    // Both keep what comes while the other is waited for.
                    tokio::select! {
                        news = changes.next() => match news {
                            Some(News::Changes(all)) if all.iter().any(|change| matters(change)) => break,
                            Some(_) => {}
                            None => return,
                        },
                        // The engine, which has it, is here.
                        Ok(()) = settings.changed() => break,
                    }
                }
                // Changes are made as fast as members take the news.
                audience.room_for_all().await;
            }
        });
    }
}
