//! Content that is sent on one of many streams of a connection: a client that goes on with the others and takes nothing of
//! this one gives its turn up. Where there is one stream, the socket tells the same.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use pid1_sdk::runtimes::Runtimes;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::door::http::Content;

/// Content, until it is given up.
pub(super) struct Watched {
    shared: Arc<Shared>,
    _done: DropGuard,
}

struct Shared {
    content: Mutex<Option<Content>>,
    /// More was asked for: what was sent before has been taken.
    moved: Notify,
}

impl Watched {
    /// Gives `content` up, with all that it holds, when nothing of it was taken for `patience`.
    pub(super) fn new(content: Content, patience: Duration, runtimes: &Runtimes) -> Watched {
        let shared = Arc::new(Shared { content: Mutex::new(Some(content)), moved: Notify::new() });
        let done = CancellationToken::new();
        let (watched, over) = (shared.clone(), done.clone());
        runtimes.spawn(async move {
            let stands_still =
                async { while tokio::time::timeout(patience, watched.moved.notified()).await.is_ok() {} };
            if over.run_until_cancelled(stands_still).await.is_some() {
                drop(watched.lock().take());
            }
        });
        Watched { shared, _done: done.drop_guard() }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Content>> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.shared.moved.notify_one();
        match &mut *self.shared.lock() {
            Some(content) => Pin::new(content).poll_frame(cx),
            None => {
                let error = io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing");
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.shared.lock().as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.shared.lock().as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::door::http::whole;

    #[tokio::test(start_paused = true)]
    async fn what_nobody_takes_is_given_up() {
        let patience = Duration::from_secs(60);
        let content = || Watched::new(whole("all of it".into()), patience, &Runtimes::current());
        assert_eq!(content().collect().await.expect("it is there").to_bytes(), "all of it");
        let left = content();
        tokio::time::sleep(patience / 2).await;
        assert!(left.shared.lock().is_some());
        tokio::time::sleep(patience).await;
        assert!(left.shared.lock().is_none());
        assert!(left.collect().await.is_err());
    }
}
