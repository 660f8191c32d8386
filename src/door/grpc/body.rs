//! What a client sends in a call, message by message: large ones wait for the budget before the first of their bytes is
//! handed on.
//!
//! A message has five bytes in front of it: whether it is compressed, and its length. What is not read here is not
//! acknowledged to the client, whose window closes.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::door::budget::{Budget, FREE_BYTES};

/// Bytes in front of a message.
const HEAD_BYTES: usize = 5;

/// The messages of one call.
pub(crate) struct Metered<B = Incoming> {
    body: B,
    budget: Budget,
    max_message_bytes: u64,
    place: Place,
    /// Received and not handed on yet; the place is behind its first `seen` bytes.
    piece: Bytes,
    seen: usize,
}

/// Where in the stream of messages we are.
#[derive(Default)]
struct Place {
    head: [u8; HEAD_BYTES],
    have: usize,
    /// Bytes of the current message to come.
    left: u64,
}

impl<B> Metered<B> {
    pub(super) fn new(body: B, budget: Budget, max_message_bytes: usize) -> Self {
        let max_message_bytes = max_message_bytes as u64;
        Metered { body, budget, max_message_bytes, place: Place::default(), piece: Bytes::new(), seen: 0 }
    }

    /// How much of the piece may be handed on now: up to the end of a message that holds budget, or before the last byte
    /// in front of one that needs some.
    fn advance(&mut self) -> usize {
        let place = &mut self.place;
        while self.seen < self.piece.len() {
            if place.left > 0 {
                let rest = (self.piece.len() - self.seen) as u64;
                let here = place.left.min(rest);
                place.left -= here;
                self.seen += here as usize;
                if place.left == 0 && self.budget.is_held() {
                    break;
                }
                continue;
            }
            place.head[place.have] = self.piece[self.seen];
            place.have += 1;
            self.seen += 1;
            if place.have == HEAD_BYTES {
                place.have = 0;
                let [_, length @ ..] = place.head;
                place.left = u32::from_be_bytes(length).into();
                // What is over the limit is refused at its head.
                if place.left > FREE_BYTES && place.left <= self.max_message_bytes {
                    self.budget.want(place.left);
                    return self.seen - 1;
                }
            }
        }
        self.seen
    }
}

impl<B> Body for Metered<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if this.place.left == 0 {
            // Asked for more only when the message before has been taken.
            this.budget.release();
        }
        loop {
            ready!(this.budget.poll(cx))?;
            if !this.piece.is_empty() {
                let free = this.advance();
                if free > 0 {
                    this.seen -= free;
                    return Poll::Ready(Some(Ok(Frame::data(this.piece.split_to(free)))));
                }
                continue;
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) => this.piece = piece,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.piece.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::sync::Arc;

    use futures_util::FutureExt;
    use http_body_util::BodyExt;
    use tokio::sync::Semaphore;

    use super::*;

    /// Pieces as they arrive; more may never come.
    struct Pieces(VecDeque<Bytes>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.pop_front().map_or(Poll::Pending, |piece| Poll::Ready(Some(Ok(Frame::data(piece)))))
        }
    }

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend((length as u32).to_be_bytes());
        bytes.extend(std::iter::repeat_n(7, length));
        bytes
    }

    /// The bodies of two calls with a budget of 3 MiB, each cut into pieces of `size`.
    fn two(messages: &[usize], size: usize) -> [Metered<Pieces>; 2] {
        let all = Arc::new(Semaphore::new(3 << 10));
        let bytes: Vec<u8> = messages.iter().flat_map(|&length| message(length)).collect();
        [(); 2].map(|()| {
            let pieces = bytes.chunks(size).map(Bytes::copy_from_slice).collect();
            Metered::new(Pieces(pieces), Budget::of(all.clone()), 4 << 20)
        })
    }

    /// All that comes without waiting.
    fn taken(body: &mut Metered<Pieces>) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(Some(Ok(frame))) = body.frame().now_or_never() {
            bytes.extend_from_slice(&frame.into_data().expect("data"));
        }
        bytes
    }

    #[tokio::test]
    async fn every_byte_passes_in_order_however_it_is_cut() {
        for size in [1 << 20, 100_000, 5, 4] {
            let messages: &[usize] =
                if size > 5 { &[0, 10, 2 << 20, 3, (1 << 20) + 1, 2 << 20] } else { &[0, 1, 0, 9] };
            let expected: Vec<u8> = messages.iter().flat_map(|&length| message(length)).collect();
            let [mut body, _] = two(messages, size);
            assert!(taken(&mut body) == expected, "pieces of {size}");
        }
    }

    #[tokio::test]
    async fn a_large_message_waits_before_its_length_is_known_until_another_is_taken() {
        let [mut first, mut second] = two(&[10, 2 << 20, 10], 64 << 10);
        let mut held = Vec::new();
        while held.len() < 100_000 {
            let frame = first.frame().now_or_never().flatten().expect("a piece").expect("no error");
            held.extend_from_slice(&frame.into_data().expect("data"));
        }
        assert_eq!(taken(&mut second).len(), 15 + HEAD_BYTES - 1, "the small one, and no whole head");
        held.extend(taken(&mut first));
        assert_eq!(held.len(), 15 + 5 + (2 << 20) + 15);
        assert_eq!(taken(&mut second).len() + 15 + HEAD_BYTES - 1, held.len());
    }

    #[tokio::test]
    async fn a_message_over_the_limit_waits_for_nothing() {
        let [mut body, _] = two(&[5 << 20], 1 << 20);
        assert_eq!(taken(&mut body).len(), 5 + (5 << 20));
    }
}
