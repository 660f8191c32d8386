//! A client that reads late: what TLS holds back for it arrives all the same.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use pid1_sdk::api::{Command, File, OpenChannel, command::Body, open_channel::Action};
use prost::Message as _;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::secure_agent;
use crate::support::{Agent, HEAVY, LATE, SOON, settled, within};

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// Less than what the TLS library holds back at most, which is 64 KiB.
const STEP_BYTES: usize = 48 << 10;

async fn connect(agent: &Agent) -> Socket {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(agent.ca()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(agent.address()).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let url = format!("ws://{}/wsv2/{}", agent.address(), agent.token());
    tokio_tungstenite::client_async(url, stream).await.unwrap().0
}

async fn ask(socket: &mut Socket, channel: i32, body: Body) {
    let command = Command { channel, r#ref: "asked".into(), body: Some(body), ..Command::default() };
    socket.send(Message::Binary(command.encode_to_vec().into())).await.unwrap();
}

async fn answer(socket: &mut Socket) -> Body {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Binary(bytes) => {
                let command = Command::decode(bytes).unwrap();
                if command.r#ref == "asked" {
                    return command.body.unwrap();
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Wherever in an answer the network is full: so one of each size, from all that fits to more than fits.
#[tokio::test]
async fn the_last_bytes_come_without_another_word() {
    let _alone = HEAVY.lock().await;
    let agent = secure_agent().await;
    let mut clients = Vec::new();
    for number in 1..=100 {
        let file = std::fs::File::create(agent.root().join(number.to_string())).unwrap();
        file.set_len((number * STEP_BYTES) as u64).unwrap();
        let mut socket = connect(&agent).await;
        let open =
            OpenChannel { service: "files".into(), action: Action::Create.into(), ..Default::default() };
        ask(&mut socket, 0, Body::OpenChan(open)).await;
        let Body::OpenChanRes(opened) = answer(&mut socket).await else { panic!("no channel") };
        let file = File { path: number.to_string(), ..File::default() };
        ask(&mut socket, opened.id, Body::Read(file)).await;
        clients.push((number, socket));
    }
    let unread = || {
        let unread = |socket: &Socket| rustix::io::ioctl_fionread(socket.get_ref().get_ref().0).unwrap();
        clients.iter().map(|(_, socket)| unread(socket)).sum::<u64>()
    };
    settled("the agent has sent what there is room for", LATE, unread).await;
    for (number, mut socket) in clients {
        let what = format!("all of {number} steps");
        let Body::File(file) = within(&what, SOON, answer(&mut socket)).await else { panic!("{what}") };
        assert_eq!(file.content.len(), number * STEP_BYTES);
    }
}
