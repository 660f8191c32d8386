//! A client of the WebSocket door: what `pid1 exec` and `pid1 attach` are made of, and the tests.
//!
//! [`Client`] is one connection. [`Remote`] is one program that outlives connections.

mod address;
mod controls;
mod dial;
mod follow;
mod remote;
mod trust;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use pid1_sdk::api::{
    Command, OpenChannel, OpenChannelRes, command::Body, container_state, open_channel::Action,
    open_channel_res,
};
use pid1_sdk::error::printable;
use prost::Message as _;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message, protocol::WebSocketConfig};

pub use address::Address;
pub use controls::{Controls, Leave};
pub use remote::{End, Event, Program, Remote, Wanted};

/// How long connecting may take, until the agent says it is ready.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Redirects that are followed one after the other; more are a circle.
const REDIRECTS: usize = 5;

/// WebSocket close codes after which the same would happen again: protocol error, inconsistent data, policy (the
/// token), message too big.
const FINAL_CLOSE_CODES: [u16; 4] = [1002, 1007, 1008, 1009];

/// Why a client's call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL makes no sense.
    #[error("cannot use {url}: {why}")]
    Address {
        /// As given, without its token.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// No connection.
    #[error("cannot connect to {host}: {why}; is the agent running there?")]
    Connect {
        /// Host and port.
        host: String,
        /// The system's reason.
        why: String,
    },
    /// TLS is not spoken there, or its certificate is not believed.
    #[error("cannot connect to {host} by TLS: {why}")]
    Tls {
        /// Host and port.
        host: String,
        /// What is wrong, and what can be done about it.
        why: String,
    },
    /// The certificates that are to be believed cannot be used.
    #[error("cannot use --tls-ca {file}: {why}")]
    Certificates {
        /// Where they should be.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// The agent said no, and would say it again.
    #[error("{0}")]
    Refused(String),
    /// The program could not be started.
    #[error("{0}")]
    NotStarted(String),
    /// The agent wants us to connect elsewhere.
    #[error("the agent sends us to {to}")]
    Redirected {
        /// Where.
        to: String,
    },
    /// Our own output cannot be written.
    #[error("cannot write the command's output here: {0}")]
    Output(#[source] std::io::Error),
    /// The connection broke.
    #[error("the connection was lost: {0}")]
    Lost(String),
}

impl ClientError {
    /// Whether trying again may help: the network failed, nobody refused.
    pub fn is_passing(&self) -> bool {
        matches!(self, ClientError::Connect { .. } | ClientError::Lost(_))
    }
}

type Socket = WebSocketStream<Box<dyn dial::Stream>>;

/// A connected client.
#[derive(Debug)]
pub struct Client {
    sender: Sender,
    receiver: Receiver,
    /// Messages that came while something else was awaited.
    early: VecDeque<Command>,
    asked: u64,
}

/// The sending half.
#[derive(Debug)]
pub struct Sender(SplitSink<Socket, Message>);

/// The receiving half.
#[derive(Debug)]
pub struct Receiver(SplitStream<Socket>);

impl Client {
    /// Connects and waits until the agent is ready; goes where it is sent.
    pub async fn connect(address: &Address) -> Result<Client, ClientError> {
        let mut address = address.clone();
        for _ in 0..REDIRECTS {
            match Self::connect_there(&address).await {
                Err(ClientError::Redirected { to }) => address = address.moved(&to)?,
                other => return other,
            }
        }
        Err(ClientError::Refused(format!("sent elsewhere {REDIRECTS} times, at last to {address}: a circle")))
    }

    async fn connect_there(address: &Address) -> Result<Client, ClientError> {
        match tokio::time::timeout(CONNECT_TIMEOUT, Self::connect_unbounded(address)).await {
            Ok(connected) => connected,
            Err(_elapsed) => {
                Err(address.unreachable(format!("it did not answer within {CONNECT_TIMEOUT:?}")))
            }
        }
    }

    async fn connect_unbounded(address: &Address) -> Result<Client, ClientError> {
        let stream = address.dial().await?;
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let url = address.websocket_url();
        let (socket, _) = tokio_tungstenite::client_async_with_config(url, stream, Some(config))
            .await
            .map_err(|error| match error {
                tungstenite::Error::Http(answer) => {
                    let status = answer.status();
                    let said = String::from_utf8_lossy(answer.body().as_deref().unwrap_or_default());
                    let text = printable(&format!("{address} answered {status}: {}", said.trim()));
                    // A proxy whose agent is just being started says 502.
                    if status.is_server_error() || status.as_u16() == 429 {
                        ClientError::Lost(text)
                    } else {
                        ClientError::Refused(text)
                    }
                }
                other => ClientError::Lost(other.to_string()),
            })?;
        let (sender, receiver) = socket.split();
        let mut client =
            Client { sender: Sender(sender), receiver: Receiver(receiver), early: VecDeque::new(), asked: 0 };
        loop {
            if let Some(Body::ContainerState(state)) = client.receiver.next().await?.body
                && state.state() == container_state::State::Ready
            {
                return Ok(client);
            }
        }
    }

    /// Opens a channel; an empty name makes an anonymous one. Its number and how it was opened.
    pub async fn open(
        &mut self,
        service: &str,
        name: &str,
        action: Action,
    ) -> Result<(i32, open_channel_res::State), ClientError> {
        let request =
            OpenChannel { service: service.to_owned(), name: name.to_owned(), action: action.into(), id: 0 };
        match self.request(0, Body::OpenChan(request)).await? {
            Body::OpenChanRes(OpenChannelRes { error, .. }) if !error.is_empty() => {
                Err(ClientError::Refused(error))
            }
            Body::OpenChanRes(opened) => Ok((opened.id, opened.state())),
            other => Err(ClientError::Refused(format!("the agent answered {} to openChan", other.name()))),
        }
    }

    /// Sends without asking for an answer.
    pub async fn send(&mut self, channel: i32, body: Body) -> Result<(), ClientError> {
        self.sender.send(channel, String::new(), body).await
    }

    /// Sends and waits for the answer; what else arrives meanwhile is kept for [`next`](Client::next).
    pub async fn request(&mut self, channel: i32, body: Body) -> Result<Body, ClientError> {
        self.asked += 1;
        let reference = format!("r{}", self.asked);
        self.sender.send(channel, reference.clone(), body).await?;
        loop {
            let command = self.receiver.next().await?;
            if command.r#ref == reference {
                return command
                    .body
                    .ok_or_else(|| ClientError::Refused("the answer is of an unknown kind".into()));
            }
            self.early.push_back(command);
        }
    }

    /// The next message, in the order of arrival.
    pub async fn next(&mut self) -> Result<Command, ClientError> {
        match self.early.pop_front() {
            Some(command) => Ok(command),
            None => self.receiver.next().await,
        }
    }

    /// Both halves, so that sending cannot keep from receiving. What [`request`](Client::request) kept is given
    /// along.
    pub fn split(self) -> (Sender, Receiver, VecDeque<Command>) {
        (self.sender, self.receiver, self.early)
    }
}

impl Sender {
    /// Sends one command; with an empty `reference` it asks for no answer.
    pub async fn send(&mut self, channel: i32, reference: String, body: Body) -> Result<(), ClientError> {
        let command = Command { channel, session: 0, r#ref: reference, body: Some(body) };
        self.send_bytes(command.encode_to_vec().into()).await
    }

    /// Sends bytes as one message, whatever they are.
    pub async fn send_bytes(&mut self, bytes: Bytes) -> Result<(), ClientError> {
        self.0.send(Message::Binary(bytes)).await.map_err(|error| ClientError::Lost(error.to_string()))
    }

    /// Says goodbye.
    pub async fn close(&mut self) {
        let _ = self.0.close().await;
    }
}

impl Receiver {
    /// The next command.
    pub async fn next(&mut self) -> Result<Command, ClientError> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Binary(bytes))) => {
                    let command = Command::decode(bytes)
                        .map_err(|error| ClientError::Lost(format!("the agent sent no Command: {error}")))?;
                    match command.body {
                        Some(Body::Redirect(redirect)) if command.channel == 0 => {
                            return Err(ClientError::Redirected { to: printable(&redirect.url) });
                        }
                        Some(Body::FirewallDenied(_)) => {
                            return Err(ClientError::Refused(
                                "the agent runs without the restrictions that this token demands".to_owned(),
                            ));
                        }
                        _ => return Ok(command),
                    }
                }
                Some(Ok(Message::Close(Some(close)))) if FINAL_CLOSE_CODES.contains(&close.code.into()) => {
                    return Err(ClientError::Refused(printable(&close.reason)));
                }
                Some(Ok(Message::Close(close))) => {
                    let why =
                        close.map(|close| format!("{} ({})", close.reason, close.code)).unwrap_or_default();
                    return Err(ClientError::Lost(format!("the agent closed it: {why}")));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(ClientError::Lost(error.to_string())),
                None => return Err(ClientError::Lost("the agent is gone".to_owned())),
            }
        }
    }
}
