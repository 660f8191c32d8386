//! Files over HTTP: with raw sockets, which can send what is wrong, and with curl, as people do it.

mod access;
mod bounds;
mod broken;
mod changing;
mod conditions;
mod pages;
mod reading;
mod signed;
mod writing;

use std::process::{Command, Output};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Agent, LATE, Raw, within};

/// What came back.
#[derive(Debug, PartialEq, Eq)]
struct Reply {
    status: u16,
    /// Names in small letters.
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Reply {
    fn header(&self, name: &str) -> &str {
        let mut values = self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let value = values.next().unwrap_or_default();
        assert_eq!(values.next(), None, "{name} comes twice");
        value
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Reads one, to the end of the connection. What was promised but did not come is missing in the body.
    async fn read(stream: &mut TcpStream) -> Reply {
        let mut all = Vec::new();
        // A reset cuts off no more than what comes after it.
        let _ = within("an answer", LATE, stream.read_to_end(&mut all)).await;
        Reply::parse(&all).unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(&all)))
    }

    fn parse(all: &[u8]) -> Option<Reply> {
        let end = all.windows(4).position(|window| window == b"\r\n\r\n")?;
        let (head, rest) = (String::from_utf8(all[..end].to_vec()).ok()?, &all[end + 4..]);
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        if status == 100 {
            return Reply::parse(rest);
        }
        let fields = lines.map(|line| line.split_once(": ").unwrap());
        let headers = fields.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        let mut reply = Reply { status, headers, body: rest.to_vec() };
        if reply.header("transfer-encoding") == "chunked" {
            reply.body = unchunked(rest);
        }
        Some(reply)
    }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
    }
}

/// The head of a request, with the agent's own token unless `headers` says otherwise.
fn head(agent: &Agent, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    let given = |name: &str| headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
    if !given("host") {
        head += &format!("Host: {}\r\n", agent.address());
    }
    if !given("connection") {
        head += "Connection: close\r\n";
    }
    if !given("authorization") {
        head += &format!("Authorization: Bearer {}\r\n", agent.token());
    }
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        head += &format!("{name}: {value}\r\n");
    }
    head + "\r\n"
}

/// One request without a body.
async fn ask(agent: &Agent, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut stream = Raw::dial(agent).await;
    stream.write_all(head(agent, method, path, headers).as_bytes()).await.unwrap();
    let reply = Reply::read(&mut stream).await;
    if !reply.header("content-length").is_empty() && method != "HEAD" && reply.status != 304 {
        assert_eq!(reply.header("content-length"), reply.body.len().to_string(), "{method} {path}");
    }
    reply
}

async fn get(agent: &Agent, path: &str, headers: &[(&str, &str)]) -> Reply {
    ask(agent, "GET", path, headers).await
}

/// One request with a body of known length.
async fn put(agent: &Agent, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut stream = Raw::dial(agent).await;
    let length = body.len().to_string();
    let headers = [headers, &[("Content-Length", &length)]].concat();
    let all = [head(agent, "PUT", path, &headers).as_bytes(), body].concat();
    // It may be answered before it is all sent.
    let _ = within("the body is taken", LATE, stream.write_all(&all)).await;
    Reply::read(&mut stream).await
}

/// curl as a person calls it, with the token of the agent and the address of `path` behind `arguments`.
fn curl(agent: &Agent, arguments: &[&str], path: &str) -> Output {
    let token = format!("Authorization: Bearer {}", agent.token());
    Command::new("curl")
        .args(["--silent", "--show-error", "--header", &token])
        .args(arguments)
        .arg(format!("http://{}{path}", agent.address()))
        .current_dir(agent.root().parent().unwrap())
        .output()
        .expect("curl is installed: make tools")
}

/// What curl says when it is asked for the status only.
fn curl_status(agent: &Agent, arguments: &[&str], path: &str) -> String {
    let output =
        curl(agent, &[&["--output", "/dev/null", "--write-out", "%{http_code}"], arguments].concat(), path);
    String::from_utf8(output.stdout).unwrap()
}
