//! A client of ExecService.

use bytes::Bytes;
use pid1::proto::exec_service::exec_message::Payload;
use pid1::proto::exec_service::exec_output_data::StreamType;
use pid1::proto::exec_service::exec_service_client::ExecServiceClient;
use pid1::proto::exec_service::exec_status_response::Status as State;
use pid1::proto::exec_service::{ExecInputData, ExecMessage, ExecStartRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use super::{Agent, SOON, within};

/// A connection.
pub async fn channel(agent: &Agent) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", agent.address())).unwrap();
    within("a connection", SOON, endpoint.connect()).await.unwrap()
}

/// Runs these words.
pub fn start(args: &[&str]) -> Payload {
    let command = args.iter().map(|&arg| arg.to_owned()).collect();
    // With a container, so that each word is one.
    let container_id = "box".to_owned();
    Payload::StartRequest(ExecStartRequest { command, container_id, ..ExecStartRequest::default() })
}

pub fn input(data: impl Into<Bytes>) -> Payload {
    Payload::InputData(ExecInputData { data: data.into() })
}

/// One call.
pub struct Call {
    /// Our half; `None` once it is ended.
    messages: Option<mpsc::Sender<ExecMessage>>,
    answers: Streaming<ExecMessage>,
}

/// What a session came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub code: i32,
}

impl Call {
    /// On a connection of its own, as the owner.
    pub async fn open(agent: &Agent) -> Call {
        Call::on(channel(agent).await, agent.token()).await.unwrap()
    }

    pub async fn on(channel: Channel, token: &str) -> Result<Call, Status> {
        let (messages, ours) = mpsc::channel(4);
        let mut request = Request::new(ReceiverStream::new(ours));
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let answers = within("a call", SOON, ExecServiceClient::new(channel).exec_stream(request)).await?;
        Ok(Call { messages: Some(messages), answers: answers.into_inner() })
    }

    pub async fn send(&self, payload: Payload) {
        self.send_as("", payload).await;
    }

    /// With a session's id.
    pub async fn send_as(&self, session_id: &str, payload: Payload) {
        let message = ExecMessage { session_id: session_id.to_owned(), payload: Some(payload) };
        let sender = self.messages.as_ref().expect("our half is open");
        within("a message is taken", SOON, sender.send(message)).await.expect("the call goes on");
    }

    /// For who sends while somebody else reads.
    pub fn sender(&self) -> mpsc::Sender<ExecMessage> {
        self.messages.clone().expect("our half is open")
    }

    /// Ends our half.
    pub fn end(&mut self) {
        self.messages = None;
    }

    /// The next answer, or how the call ended.
    pub async fn next(&mut self) -> Result<Option<ExecMessage>, Status> {
        within("an answer", SOON, self.answers.message()).await
    }

    /// Reads to the end of the call, whatever comes.
    pub async fn over(&mut self) -> Result<(), Status> {
        while self.next().await?.is_some() {}
        Ok(())
    }

    /// Reads up to the beginning of a session; its id.
    pub async fn started(&mut self) -> String {
        let message = self.next().await.unwrap().expect("an answer");
        match message.payload {
            Some(Payload::Status(status)) if status.status() == State::Started => message.session_id,
            other => panic!("{other:?} instead of STARTED"),
        }
    }

    /// Reads output until it holds this text.
    pub async fn prints(&mut self, text: &str) {
        let mut seen = String::new();
        while !seen.contains(text) {
            match self.next().await.unwrap().and_then(|message| message.payload) {
                Some(Payload::OutputData(output)) => seen += &String::from_utf8_lossy(&output.data),
                other => panic!("{other:?} before {text:?}, behind {seen:?}"),
            }
        }
    }

    /// Reads a session from where it is to its end.
    pub async fn ended(&mut self) -> Ended {
        let mut ended = Ended { stdout: Vec::new(), stderr: Vec::new(), code: 0 };
        loop {
            match self.next().await.unwrap().and_then(|message| message.payload) {
                Some(Payload::OutputData(output)) if output.stream_type() == StreamType::Stderr => {
                    ended.stderr.extend_from_slice(&output.data);
                }
                Some(Payload::OutputData(output)) => ended.stdout.extend_from_slice(&output.data),
                Some(Payload::Status(status)) if status.status() == State::Exited => {
                    ended.code = status.exit_code;
                    return ended;
                }
                Some(Payload::Status(status)) if status.status() == State::Started => {}
                other => panic!("{other:?} instead of the end"),
            }
        }
    }
}
