//! A lean client: one blocking socket, one large buffer, frames looked at in place.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use pid1_sdk::api::{
    CloseChannel, OpenChannel, OpenChannelRes, close_channel, command::Body, open_channel::Action,
};
use prost::Message as _;

use crate::agent::{Agent, TOKEN};
use crate::frames::{self, Message};

/// Room for what the kernel hands out at once.
const BUFFER_BYTES: usize = 1 << 20;

/// Nothing here takes that long; a bench that hangs helps nobody.
const PATIENCE: Duration = Duration::from_secs(30);

const BINARY: u8 = 2;
const CLOSE: u8 = 8;

/// A connected client.
pub struct Client {
    socket: TcpStream,
    buffer: Vec<u8>,
    /// What of the buffer was received and not yet taken.
    filled: Range<usize>,
    asked: u64,
    outgoing: Vec<u8>,
}

impl Client {
    /// Connects and waits until the agent is ready.
    pub fn connect(agent: &Agent) -> Result<Client> {
        let mut socket = TcpStream::connect(agent.address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let request = format!(
            "GET /wsv2/{TOKEN} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            agent.address
        );
        socket.write_all(request.as_bytes())?;
        let mut client =
            Client { socket, buffer: vec![0; 4096], filled: 0..0, asked: 0, outgoing: Vec::new() };
        client.skip_answer()?;
        // READY is the last of the greeting.
        while client.next()?.field != frames::CONTAINER_STATE {}
        Ok(client)
    }

    fn skip_answer(&mut self) -> Result<()> {
        loop {
            self.fill()?;
            let answer = &self.buffer[self.filled.clone()];
            if let Some(at) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
                if !answer.starts_with(b"HTTP/1.1 101") {
                    bail!("the agent answered {}", String::from_utf8_lossy(&answer[..at]));
                }
                self.filled.start += at + 4;
                return Ok(());
            }
        }
    }

    /// Gets a buffer for throughput; a small one is enough for a mere member.
    pub fn with_large_buffer(mut self) -> Client {
        self.buffer.resize(BUFFER_BYTES, 0);
        self
    }

    /// Sends a command; with an empty `reference` it asks for no answer.
    pub fn send(&mut self, channel: i32, reference: &str, body: Body) -> Result<()> {
        self.outgoing.clear();
        frames::put(&mut self.outgoing, channel, reference, body);
        Ok(self.socket.write_all(&self.outgoing)?)
    }

    /// Sends frames that were put together before.
    pub fn send_frames(&mut self, frames: &[u8]) -> Result<()> {
        Ok(self.socket.write_all(frames)?)
    }

    /// Sends a command that wants an answer, and waits for it; what else arrives is dropped.
    pub fn ask(&mut self, channel: i32, body: Body) -> Result<Message<'_>> {
        self.asked += 1;
        let reference = self.asked.to_string();
        self.send(channel, &reference, body)?;
        let range = loop {
            let range = self.advance()?;
            let message = parse(&self.buffer[range.clone()])?;
            if message.reference == reference {
                if message.field == frames::ERROR {
                    bail!("the agent says: {}", String::from_utf8_lossy(message.body));
                }
                break range;
            }
        };
        parse(&self.buffer[range])
    }

    /// Opens a channel.
    pub fn open(&mut self, service: &str, name: &str) -> Result<i32> {
        let action = if name.is_empty() { Action::Create } else { Action::AttachOrCreate };
        let request = OpenChannel {
            service: service.to_owned(),
            name: name.to_owned(),
            action: action.into(),
            ..OpenChannel::default()
        };
        let opened = OpenChannelRes::decode(self.ask(0, Body::OpenChan(request))?.body)?;
        if opened.id == 0 {
            bail!("cannot open {service}: {}", opened.error);
        }
        Ok(opened.id)
    }

    /// Ends a channel and waits until that is said.
    pub fn close(&mut self, channel: i32) -> Result<()> {
        let request = CloseChannel { id: channel, action: close_channel::Action::Close.into() };
        self.ask(0, Body::CloseChan(request))?;
        Ok(())
    }

    /// The next message.
    pub fn next(&mut self) -> Result<Message<'_>> {
        let range = self.advance()?;
        parse(&self.buffer[range])
    }

    /// The body of the next message of that kind on that channel; others are dropped.
    pub fn next_of(&mut self, channel: i32, field: u32) -> Result<&[u8]> {
        let range = loop {
            let range = self.advance()?;
            let message = parse(&self.buffer[range.clone()])?;
            if (message.channel, message.field) == (channel, field) {
                break range;
            }
        };
        Ok(parse(&self.buffer[range])?.body)
    }

    /// The socket, and what was received and not yet taken.
    pub fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.socket, self.buffer[self.filled].to_vec())
    }

    /// Another handle of the socket, to end a read that waits.
    pub fn socket(&self) -> Result<TcpStream> {
        Ok(self.socket.try_clone()?)
    }

    /// Goes without a word: its connection is reset.
    pub fn vanish(self) -> Result<()> {
        Ok(rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO))?)
    }

    fn advance(&mut self) -> Result<Range<usize>> {
        loop {
            let bytes = &self.buffer[self.filled.clone()];
            let mut wanted = 0;
            if let Some(head) = frames::head(bytes) {
                wanted = head.len + head.payload;
                if bytes.len() >= wanted {
                    let payload = self.filled.start + head.len..self.filled.start + wanted;
                    self.filled.start += wanted;
                    match head.opcode {
                        BINARY => return Ok(payload),
                        CLOSE => {
                            let reason = self.buffer[payload].get(2..).unwrap_or_default();
                            bail!("the agent closed the connection: {}", String::from_utf8_lossy(reason));
                        }
                        _ => continue,
                    }
                }
            }
            self.make_room(wanted);
            self.fill()?;
        }
    }

    /// Moves what is there to the front if what is wanted would not fit behind it.
    fn make_room(&mut self, wanted: usize) {
        if self.filled.is_empty() {
            self.filled = 0..0;
        } else if self.filled.end == self.buffer.len() || self.filled.start + wanted > self.buffer.len() {
            self.buffer.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
        }
        if self.buffer.len() < wanted.max(self.filled.end + 1) {
            self.buffer.resize(2 * wanted.max(self.buffer.len()), 0);
        }
    }

    fn fill(&mut self) -> Result<()> {
        match self.socket.read(&mut self.buffer[self.filled.end..]).context("nothing comes from the agent")? {
            0 => bail!("the agent ended the connection"),
            read => self.filled.end += read,
        }
        Ok(())
    }
}

fn parse(payload: &[u8]) -> Result<Message<'_>> {
    frames::message(payload).context("the agent sent no command")
}
