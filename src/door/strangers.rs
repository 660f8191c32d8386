//! How many connections may be open without having identified themselves.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Places for strangers.
const PLACES: usize = 256;

/// How long a place is safe. When all are taken, newcomers wait in the kernel's queue until the oldest stranger has had
/// his for this long; somebody who means well has identified himself long before.
const PATIENCE: Duration = Duration::from_secs(1);

/// The places and who has taken them, oldest first.
#[derive(Debug)]
pub(crate) struct Strangers {
    free: Arc<Semaphore>,
    seated: Mutex<VecDeque<Weak<Place>>>,
}

/// Room for one stranger.
#[derive(Debug)]
pub(crate) struct Room(OwnedSemaphorePermit);

/// One stranger's place, given back when dropped or when he [identifies](Place::identified) himself.
#[derive(Debug)]
pub(crate) struct Place {
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    since: Instant,
    evicted: CancellationToken,
}

impl Strangers {
    pub(crate) fn new() -> Self {
        Strangers { free: Arc::new(Semaphore::new(PLACES)), seated: Mutex::default() }
    }

    /// Room for the next connection, whenever that comes.
    pub(crate) async fn room(&self) -> Room {
        loop {
            if let Ok(permit) = self.free.clone().try_acquire_owned() {
                return Room(permit);
            }
            let wait = self.evict_or_wait();
            if let Ok(Ok(permit)) = tokio::time::timeout(wait, self.free.clone().acquire_owned()).await {
                return Room(permit);
            }
        }
    }

    /// It has come.
    pub(crate) fn seat(&self, Room(permit): Room) -> Arc<Place> {
        let place = Arc::new(Place {
            permit: Mutex::new(Some(permit)),
            since: Instant::now(),
            evicted: CancellationToken::new(),
        });
        let mut seated = self.lock();
        if seated.len() > 2 * PLACES {
            seated.retain(|place| place.upgrade().is_some_and(|place| place.lock().is_some()));
        }
        seated.push_back(Arc::downgrade(&place));
        place
    }

    /// Evicts the oldest stranger if his place is not safe any more. How long to wait for a place now.
    fn evict_or_wait(&self) -> Duration {
        let mut seated = self.lock();
        while let Some(oldest) = seated.pop_front() {
            let Some(place) = oldest.upgrade().filter(|place| place.lock().is_some()) else { continue };
            let safe = PATIENCE.saturating_sub(place.since.elapsed());
            if safe.is_zero() {
                place.evicted.cancel();
                break;
            }
            seated.push_front(oldest);
            return safe;
        }
        PATIENCE
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Weak<Place>>> {
        self.seated.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The connection has identified itself: it needs no stranger's place any more.
    pub(crate) fn identified(&self) {
        self.lock().take();
    }

    /// Whether it has.
    pub(crate) fn is_identified(&self) -> bool {
        self.lock().is_none()
    }

    /// Resolves when a newcomer gets this place; never once it was given back.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
        if self.is_identified() {
            std::future::pending::<()>().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_stranger_goes_when_all_places_are_taken() {
        let strangers = Strangers::new();
        let mut places = Vec::new();
        for _ in 0..PLACES {
            places.push(strangers.seat(strangers.room().await));
        }
        let known = places.remove(0);
        known.identified();
        places.push(strangers.seat(strangers.room().await)); // into the place that was given back
        let oldest = places.remove(0);
        let leaves = async {
            oldest.evicted().await;
            drop(oldest);
        };
        let (_newcomer, ()) = tokio::join!(strangers.room(), leaves);
        let next = places.remove(0);
        let stays = tokio::time::timeout(PATIENCE * 3, next.evicted()).await;
        assert!(stays.is_err(), "nobody else goes while nobody else comes");
        let stays = tokio::time::timeout(PATIENCE * 3, known.evicted()).await;
        assert!(stays.is_err(), "who has identified himself does not go");
    }
}
