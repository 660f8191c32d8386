//! Plain HTTP, written out: what a library would refuse to send can be sent. And HTTP/2, by a library.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder as Builder2, SendRequest};
use hyper::http::request::Builder;
use hyper::http::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Agent, Raw, SOON, within};

/// One HTTP request as it stands; status, head and body of the answer. The agent is asked to close afterwards.
pub async fn http(agent: &Agent, request: &str) -> (u16, String, String) {
    let mut stream = Raw::dial(agent).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is the agent's way not to read what it refused.
    let _ = within("the request is answered", SOON, stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, head.to_owned(), body.to_owned())
}

pub async fn http_get(agent: &Agent, path: &str) -> (u16, String, String) {
    http(agent, &format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", agent.address()))
        .await
}

/// One connection of HTTP/2.
pub struct Http2 {
    sender: SendRequest<Full<Bytes>>,
    agent: String,
}

impl Http2 {
    pub async fn dial(agent: &Agent) -> Http2 {
        Self::with(agent, Builder2::new(TokioExecutor::new())).await
    }

    /// One that never has room for anything but heads.
    pub async fn dial_narrow(agent: &Agent) -> Http2 {
        let mut builder = Builder2::new(TokioExecutor::new());
        builder.initial_stream_window_size(0);
        Self::with(agent, builder).await
    }

    async fn with(agent: &Agent, builder: Builder2<TokioExecutor>) -> Http2 {
        let stream = TokioIo::new(Raw::dial(agent).await);
        let (sender, connection) = within("a connection", SOON, builder.handshake(stream)).await.unwrap();
        tokio::spawn(connection);
        Http2 { sender, agent: agent.address().to_string() }
    }

    /// A request to this path of the agent.
    pub fn to(&self, path: &str) -> Builder {
        Request::builder().uri(format!("http://{}{path}", self.agent))
    }

    pub async fn send(&mut self, request: Builder, body: impl Into<Bytes>) -> Response<Incoming> {
        let request = request.body(Full::new(body.into())).unwrap();
        within("an answer", SOON, self.sender.send_request(request)).await.unwrap()
    }

    /// The whole body of an answer.
    pub async fn body(answer: Response<Incoming>) -> Bytes {
        within("a body", SOON, answer.into_body().collect()).await.unwrap().to_bytes()
    }
}
