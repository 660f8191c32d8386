//! An answer that holds something until all of it was sent, or was given up.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};

use super::http::{Answer, Content};

/// `answer`, with `held` for as long as any of it is there.
pub(super) fn hold(answer: Answer, held: impl Send + Unpin + 'static) -> Answer {
    answer.map(|content| Held { content, _held: held }.boxed_unsync())
}

struct Held<T> {
    content: Content,
    _held: T,
}

impl<T: Unpin> Body for Held<T> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.content).poll_frame(cx)
    }

    /// Said through: what is taken for an error that ends with its head must not have an empty body instead.
    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}
