//! Turns of requests for files: so many are served at once, and so many of one client, however many connections he opens.
//! Without a share for each, one who keeps all of his at a crawl would keep everybody else out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::http::{StatusCode, header};
use pid1_sdk::limits::{TRANSFER_WAIT, TRANSFERS, TRANSFERS_EACH};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::refusal::Refusal;

/// All turns that there are.
#[derive(Debug)]
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    /// By [`Identity::client`](pid1_sdk::Identity::client): those of whoever has or waits for one.
    each: Mutex<HashMap<u64, Arc<Semaphore>>>,
}

/// Held until all is sent.
#[derive(Debug)]
pub(crate) struct Turn {
    _own: OwnedSemaphorePermit,
    _any: OwnedSemaphorePermit,
}

impl Turns {
    pub(crate) fn new() -> Turns {
        Turns { all: Arc::new(Semaphore::new(TRANSFERS)), each: Mutex::default() }
    }

    /// A turn for `client`, if there is one soon. Who waits for one of his own takes none from others.
    pub(super) async fn take(&self, client: u64) -> Result<Turn, Refusal> {
        let deadline = Instant::now() + TRANSFER_WAIT;
        let later = |status, text| Err(Refusal::of(status, text).with(header::RETRY_AFTER, "1"));
        let Ok(Ok(own)) = timeout_at(deadline, self.share(client).acquire_owned()).await else {
            let text = format!(
                "{TRANSFERS_EACH} of your requests for files are being served, and nobody has more at a time: come again \
                 when one has ended"
            );
            return later(StatusCode::TOO_MANY_REQUESTS, text);
        };
        let Ok(Ok(any)) = timeout_at(deadline, self.all.clone().acquire_owned()).await else {
            let text = format!("{TRANSFERS} requests for files are being served: come again in a moment");
            return later(StatusCode::SERVICE_UNAVAILABLE, text);
        };
        Ok(Turn { _own: own, _any: any })
    }

    fn share(&self, client: u64) -> Arc<Semaphore> {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever has none, and waits for none, is forgotten.
        each.retain(|_, share| Arc::strong_count(share) > 1);
        each.entry(client).or_insert_with(|| Arc::new(Semaphore::new(TRANSFERS_EACH))).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_client_leaves_room_for_others() {
        let turns = Turns::new();
        let status = |refused: Refusal| refused.into_answer().status().as_u16();
        let mut held = Vec::new();
        for client in 0..(TRANSFERS / TRANSFERS_EACH) as u64 {
            for _ in 0..TRANSFERS_EACH {
                held.push(turns.take(client).await.expect("others have theirs still"));
            }
            assert_eq!(turns.take(client).await.map(drop).map_err(status), Err(429));
        }
        assert_eq!(turns.take(99).await.map(drop).map_err(status), Err(503));
        held.truncate(1);
        assert!(turns.take(99).await.is_ok());
        assert_eq!(turns.each.lock().unwrap().len(), 2, "those who have gone are forgotten");
    }
}
