//! What is sent in a call of a program: made when the connection has room for it.
//!
//! Beside it, a task reads what the client sends, and gives orders. What it stops is silent at once, however many orders
//! wait for a client that takes nothing; dropping the answers, because the call is over, ends the task.

use futures_util::stream::{BoxStream, StreamExt as _, unfold};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;

use super::output::{Output, Printed};

/// Orders that may wait: a start has a handful.
const ORDERS: usize = 4;

/// What a client is told next.
pub(crate) enum Order<M> {
    /// This.
    Say(M),
    /// What this program prints, up to its end. It takes the place of another.
    Follow(Box<Followed<M>>),
    /// When the end of the program is told, if there is one, the call ends so.
    Finish(Result<(), Status>),
}

/// A program, and how what happens to it is said.
pub(crate) struct Followed<M> {
    pub(crate) output: Output,
    /// From then on nothing of it is told, not even what was ordered before.
    pub(crate) forgotten: CancellationToken,
    pub(crate) say: Box<dyn FnMut(Printed) -> Option<M> + Send>,
}

/// The task's side.
pub(crate) struct Orders<M> {
    orders: mpsc::Sender<Order<M>>,
    /// The call is over.
    pub(crate) over: CancellationToken,
}

impl<M> Orders<M> {
    /// Gives one. If the call is over, that is known by `over`.
    pub(crate) async fn give(&self, order: Order<M>) {
        let _ = self.orders.send(order).await;
    }

    /// A word.
    pub(crate) async fn say(&self, message: M) {
        self.give(Order::Say(message)).await;
    }
}

/// The answers of one call.
pub(crate) struct Answers<M> {
    orders: Option<mpsc::Receiver<Order<M>>>,
    followed: Option<Box<Followed<M>>>,
    finish: Option<Result<(), Status>>,
    _over: DropGuard,
}

impl<M: Send + 'static> Answers<M> {
    /// And who gives orders. When those are dropped, the call ends at once, as a success.
    pub(crate) fn begin() -> (Orders<M>, BoxStream<'static, Result<M, Status>>) {
        let (sender, receiver) = mpsc::channel(ORDERS);
        let over = CancellationToken::new();
        let answers = Answers {
            orders: Some(receiver),
            followed: None,
            finish: None,
            _over: over.clone().drop_guard(),
        };
        let stream =
            unfold(answers, |mut answers: Answers<M>| async move { Some((answers.next().await?, answers)) });
        (Orders { orders: sender, over }, stream.boxed())
    }

    async fn next(&mut self) -> Option<Result<M, Status>> {
        loop {
            if self.followed.is_none()
                && let Some(finish) = self.finish.take()
            {
                return finish.err().map(Err);
            }
            tokio::select! {
                // What was ordered goes before what a program prints meanwhile: it may be the end.
                biased;
                order = recv(&mut self.orders) => match order? {
                    Order::Say(message) => return Some(Ok(message)),
                    Order::Follow(followed) => self.followed = Some(followed),
                    Order::Finish(status) => (self.finish, self.orders) = (Some(status), None),
                },
                said = said(&mut self.followed) => if let Some(message) = said {
                    return Some(Ok(message));
                },
            }
        }
    }
}

/// The next order; never one once the last was given.
async fn recv<M>(orders: &mut Option<mpsc::Receiver<Order<M>>>) -> Option<Order<M>> {
    match orders {
        Some(orders) => orders.recv().await,
        None => std::future::pending().await,
    }
}

/// What is to be said of what the program does next.
async fn said<M>(followed: &mut Option<Box<Followed<M>>>) -> Option<M> {
    let Some(Followed { output, forgotten, say }) = followed.as_deref_mut() else {
        return std::future::pending().await;
    };
    let printed = tokio::select! {
        biased;
        () = forgotten.cancelled() => None,
        printed = output.next() => Some(printed),
    };
    let last = matches!(printed, None | Some(Printed::Exited(_)));
    let message = printed.and_then(say);
    if last {
        *followed = None;
    }
    message
}
