//! Plain HTTP, written out: what a library would refuse to send can be sent.

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
