//! A client that does as the test says: WebSocket frames made by hand, so that broken ones can be sent, and a socket
//! that can be left unread.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use pid1_sdk::api::{
    Command, OpenChannel, OpenChannelRes, command::Body, container_state, open_channel::Action,
};
use prost::Message as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::{Agent, SOON, within};

/// Set in the first byte of a message's last fragment.
pub const FINAL: u8 = 0x80;
/// First bytes of frames that are whole messages.
pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;

/// Some mask; all zeros would hide a missing unmasking...
const MASK: [u8; 4] = [0x5a, 0x01, 0xc3, 0x7e];

/// ...but in an unoptimized test a hundred megabytes are masked too slowly.
const UNMASKED_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub struct Frame {
    /// The whole first byte: final bit, reserved bits, opcode.
    pub first: u8,
    pub payload: BytesMut,
}

pub struct Raw {
    stream: TcpStream,
    unread: BytesMut,
    /// How the agent closed, once it has.
    pub closed: Option<(u16, String)>,
}

impl Raw {
    /// A bare connection.
    pub async fn dial(agent: &Agent) -> TcpStream {
        Self::dial_with(agent, None).await.unwrap()
    }

    /// The same for who holds little that he has not read.
    pub async fn dial_narrow(agent: &Agent) -> TcpStream {
        Self::dial_with(agent, Some(4 << 10)).await.unwrap()
    }

    async fn dial_with(agent: &Agent, receive_buffer_bytes: Option<u32>) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        let stream = socket.connect(agent.address()).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// A session that has been told that the agent is ready.
    pub async fn open(agent: &Agent) -> Raw {
        Self::ready(Self::upgrade(Self::dial(agent).await, agent, agent.token()).await).await
    }

    /// One whose socket holds little that is not read.
    pub async fn narrow(agent: &Agent) -> Raw {
        Self::narrow_as(agent, agent.token()).await
    }

    /// As [`narrow`](Raw::narrow), with a token of its own.
    pub async fn narrow_as(agent: &Agent, token: &str) -> Raw {
        let stream = Self::dial_narrow(agent).await;
        Self::ready(Self::upgrade(stream, agent, token).await).await
    }

    /// A WebSocket, whatever its token is worth.
    pub async fn upgrade(mut stream: TcpStream, agent: &Agent, token: &str) -> Raw {
        let head = format!(
            "GET /wsv2/{token} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            agent.address()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut unread = BytesMut::new();
        let end = within("the upgrade is answered", SOON, async {
            loop {
                if let Some(end) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
                    return end;
                }
                assert_ne!(stream.read_buf(&mut unread).await.unwrap(), 0, "closed: {unread:?}");
            }
        })
        .await;
        let head = unread.split_to(end + 4);
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{head:?}");
        Raw { stream, unread, closed: None }
    }

    async fn ready(mut raw: Raw) -> Raw {
        loop {
            let command =
                raw.next().await.unwrap_or_else(|| panic!("closed instead of ready: {:?}", raw.closed));
            if let Some(Body::ContainerState(state)) = command.body {
                assert_eq!(state.state(), container_state::State::Ready);
                return raw;
            }
        }
    }

    /// Sends bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        within("the agent reads", SOON, self.stream.write_all(bytes)).await
    }

    /// Sends bytes for as long as they are taken; false once nothing was for `patience`, or the connection is gone.
    pub async fn write_for(&mut self, bytes: &[u8], patience: Duration) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            match tokio::time::timeout(patience, self.stream.write(rest)).await {
                Ok(Ok(taken @ 1..)) => rest.advance(taken),
                _ => return false,
            }
        }
        true
    }

    pub async fn frame(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        self.write(&masked(first, payload)).await
    }

    pub async fn command(&mut self, channel: i32, reference: &str, body: Option<Body>) -> io::Result<()> {
        self.frame(BINARY, &encoded(channel, reference, body)).await
    }

    /// The next frame of any kind; `None` when the connection has ended, however it did.
    pub async fn next_frame(&mut self) -> Option<Frame> {
        within("a frame or the end", SOON, self.frame_or_end()).await
    }

    /// The next command, pings answered; `None` when the agent has closed.
    pub async fn next(&mut self) -> Option<Command> {
        within("a message or the end", SOON, self.next_unbounded()).await
    }

    /// As [`next`](Raw::next), without a deadline.
    pub async fn next_unbounded(&mut self) -> Option<Command> {
        loop {
            let frame = self.frame_or_end().await?;
            match frame.first {
                BINARY => return Some(Command::decode(frame.payload).unwrap()),
                PING => self.stream.write_all(&masked(PONG, &frame.payload)).await.ok()?,
                CLOSE => {
                    let code = frame.payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    let reason = frame.payload.get(2..).unwrap_or_default();
                    self.closed = Some((code, String::from_utf8(reason.to_vec()).unwrap()));
                    let _ = self.stream.write_all(&masked(CLOSE, &frame.payload)).await;
                    return None;
                }
                _ => {}
            }
        }
    }

    /// Reads to the end; close code and reason if the agent said them.
    pub async fn end(&mut self) -> Option<(u16, String)> {
        while self.next().await.is_some() {}
        self.closed.clone()
    }

    async fn frame_or_end(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = take_frame(&mut self.unread) {
                return Some(frame);
            }
            match self.stream.read_buf(&mut self.unread).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Asks, and reads until the answer; what came before it is given along.
    pub async fn ask(
        &mut self,
        channel: i32,
        reference: &str,
        body: Option<Body>,
    ) -> (Command, Vec<Command>) {
        self.command(channel, reference, body).await.unwrap();
        let mut before = Vec::new();
        loop {
            let command = self.next().await.unwrap_or_else(|| panic!("closed: {:?}", self.closed));
            if command.r#ref == reference {
                return (command, before);
            }
            before.push(command);
        }
    }

    pub async fn open_channel(&mut self, service: &str, name: &str) -> i32 {
        let action = if name.is_empty() { Action::Create } else { Action::AttachOrCreate };
        match self.ask(0, "open", Some(open_channel(service, name, action))).await.0.body {
            Some(Body::OpenChanRes(OpenChannelRes { id, error, .. })) if error.is_empty() => id,
            other => panic!("{other:?}"),
        }
    }

    pub async fn ping(&mut self, reference: &str) -> Vec<Command> {
        let (pong, before) = self.ask(0, reference, Some(Body::Ping(Default::default()))).await;
        assert!(matches!(pong.body, Some(Body::Pong(_))), "{pong:?}");
        before
    }

    /// Goes without a word: the agent's next write is answered by a reset.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    pub fn into_stream(self) -> TcpStream {
        self.stream
    }
}

impl Raw {
    /// A masked frame as a client sends it, whatever its first byte means.
    pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        masked(first, payload)
    }

    pub fn encoded(channel: i32, reference: &str, body: Option<Body>) -> Vec<u8> {
        encoded(channel, reference, body)
    }

    /// Only the head of a masked frame.
    pub fn head(first: u8, len: u64) -> Vec<u8> {
        let mut head = vec![first];
        match len {
            0..126 => head.push(0x80 | len as u8),
            126..65_536 => {
                head.push(0x80 | 126);
                head.extend((len as u16).to_be_bytes());
            }
            _ => {
                head.push(0x80 | 127);
                head.extend(len.to_be_bytes());
            }
        }
        head.extend(MASK);
        head
    }

    pub fn open_body(service: &str, name: &str, action: Action) -> Body {
        open_channel(service, name, action)
    }
}

fn open_channel(service: &str, name: &str, action: Action) -> Body {
    Body::OpenChan(OpenChannel { service: service.into(), name: name.into(), action: action.into(), id: 0 })
}

fn encoded(channel: i32, reference: &str, body: Option<Body>) -> Vec<u8> {
    Command { channel, session: 0, r#ref: reference.to_owned(), body }.encode_to_vec()
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Raw::head(first, payload.len() as u64);
    if payload.len() >= UNMASKED_BYTES {
        let mask = frame.len() - MASK.len();
        frame[mask..].fill(0);
        frame.extend_from_slice(payload);
        return frame;
    }
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn take_frame(unread: &mut BytesMut) -> Option<Frame> {
    let (&first, &second) = (unread.first()?, unread.get(1)?);
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (head, len) = match second {
        126 => (4, usize::from(u16::from_be_bytes(unread.get(2..4)?.try_into().unwrap()))),
        127 => (10, usize::try_from(u64::from_be_bytes(unread.get(2..10)?.try_into().unwrap())).unwrap()),
        len => (2, usize::from(len)),
    };
    if unread.len() < head + len {
        unread.reserve(head + len - unread.len());
        return None;
    }
    unread.advance(head);
    Some(Frame { first, payload: unread.split_to(len) })
}

/// `inner` as a field of a message.
pub fn wrapped(field: u32, inner: &[u8]) -> Vec<u8> {
    let mut outer = Vec::with_capacity(inner.len() + 8);
    prost::encoding::encode_key(field, prost::encoding::WireType::LengthDelimited, &mut outer);
    prost::encoding::encode_varint(inner.len() as u64, &mut outer);
    outer.extend_from_slice(inner);
    outer
}
