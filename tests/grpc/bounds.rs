//! What calls may cost: memory, others' time, and places of strangers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::join_all;
use pid1::proto::exec_service::exec_message::Payload;
use pid1::proto::exec_service::{ExecMessage, ExecStartRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::support::{
    Agent, Call, HEAVY, Http2, LATE, Raw, SLACK_BYTES, SOON, channel, eventually, input, settled, start,
    within,
};

const MIB: usize = 1 << 20;

/// Calls at once.
const CALLS: usize = 300;

#[tokio::test]
async fn one_message_of_60_mib_reaches_a_program_whole() {
    let _heavy = HEAVY.lock().await;
    let agent = Agent::start().await;
    let mut call = Call::open(&agent).await;
    call.send(start(&["sha256sum"])).await;
    let content: Bytes = (0..60 * MIB).map(|at| (at % 251) as u8).collect();
    let sum = sha2_of(&content);
    call.send(input(content)).await;
    call.send(Payload::StdinEof(Default::default())).await;
    let ended = within("the end", LATE, call.ended()).await;
    assert_eq!(String::from_utf8(ended.stdout).unwrap(), format!("{sum}  -\n"));
}

fn sha2_of(content: &[u8]) -> String {
    use sha2::Digest;
    data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(content))
}

#[tokio::test]
async fn what_is_over_the_limit_ends_its_own_call_only() {
    let agent = Agent::start().await;
    let channel = channel(&agent).await;
    let mut other = Call::on(channel.clone(), agent.token()).await.unwrap();
    other.send(start(&["cat"])).await;
    other.started().await;
    let mut call = Call::on(channel, agent.token()).await.unwrap();
    call.send(start(&["cat"])).await;
    call.started().await;
    call.send(input(vec![0; 100 * MIB])).await;
    let status = within("the end", LATE, call.over()).await.expect_err("that is no success");
    assert_eq!(status.code(), Code::OutOfRange);
    other.send(input("still here\n")).await;
    other.prints("still here").await;
    eventually("its program is ended", SOON, || agent.programs().len() == 1).await;
}

/// Two bytes on the wire could be a hundred in memory.
#[tokio::test]
async fn a_message_of_too_many_elements_is_not_decoded() {
    let agent = Agent::start().await;
    let before = agent.rss_bytes();
    let mut call = Call::open(&agent).await;
    let command = vec![String::new(); 20_000_000];
    call.send(Payload::StartRequest(ExecStartRequest { command, ..ExecStartRequest::default() })).await;
    let status = within("a refusal", LATE, call.over()).await.expect_err("it is refused");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    // The message itself, and as much again while it grew.
    let peak = agent.peak_rss_bytes() - before;
    assert!(peak < 160 << 20, "{peak} bytes for a message of 40 MB");
}

/// Large messages that are begun and never finished wait for each other, not in memory.
#[tokio::test]
async fn large_messages_share_what_there_is_and_nobody_else_waits() {
    let _heavy = HEAVY.lock().await;
    let agent = Agent::start().await;
    let before = agent.rss_bytes();
    let mut head = BytesMut::new();
    head.put_u8(0);
    head.put_u32(99 << 20);
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = Http2::dial(&agent).await;
        let body = Bytes::from([&head[..], &vec![0; 60 * MIB]].concat());
        let request = call_of(&client, &agent);
        clients.push(tokio::spawn(async move { client.send(request, body).await }));
    }
    let held = settled("memory", LATE, || agent.rss_bytes() >> 20).await;
    // Two of 99 MiB fit into 256; of the others comes as much as a connection's window.
    let bound = (before >> 20) + 2 * 100 + 8 * 17 + 40;
    assert!(held <= bound, "{held} MiB, at most {bound}");
    let mut small = Call::open(&agent).await;
    small.send(start(&["echo", "nobody waits"])).await;
    assert_eq!(small.ended().await.stdout, b"nobody waits\n");
    for client in clients {
        client.abort();
    }
}

fn call_of(client: &Http2, agent: &Agent) -> hyper::http::request::Builder {
    client
        .to("/exec_service.ExecService/ExecStream")
        .method("POST")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {}", agent.token()))
}

#[tokio::test]
async fn a_client_that_takes_nothing_holds_its_own_program_only() {
    let _heavy = HEAVY.lock().await;
    let agent = Agent::start().await;
    let channel = channel(&agent).await;
    let stuck = Call::on(channel.clone(), agent.token()).await.unwrap();
    stuck.send(start(&["sh", "-c", "yes & yes >&2"])).await;
    let rss = settled("memory", SOON, || agent.rss_bytes() >> 20).await;
    // On the same connection, and in the other direction on the same call.
    let mut other = Call::on(channel, agent.token()).await.unwrap();
    for round in 0..50 {
        other.send(start(&["echo", "round"])).await;
        assert_eq!(other.ended().await.stdout, b"round\n", "{round}");
    }
    let grown = (agent.rss_bytes() >> 20).saturating_sub(rss) << 20;
    assert!(grown <= SLACK_BYTES, "{grown} bytes");
    drop(stuck);
    eventually("its programs are ended", SOON, || agent.programs().is_empty()).await;
}

#[tokio::test]
async fn three_hundred_calls_at_once_all_go_on() {
    let _heavy = HEAVY.lock().await;
    let agent = Agent::start().await;
    let channel = channel(&agent).await;
    let (fed, all_fed) = (AtomicUsize::new(0), CancellationToken::new());
    let one = async |at: usize| {
        let mut call = Call::on(channel.clone(), agent.token()).await.unwrap();
        call.send(start(&["yes"])).await;
        call.started().await;
        let mut bytes = 0;
        // All read on: what one leaves unread uses up the connection's window for the others.
        loop {
            let message = tokio::select! {
                message = call.next() => message,
                () = all_fed.cancelled() => return call,
            };
            match message.unwrap().unwrap().payload {
                Some(Payload::OutputData(output)) => {
                    let before = bytes;
                    bytes += output.data.len();
                    if (before..bytes).contains(&(256 << 10))
                        && fed.fetch_add(1, Ordering::Relaxed) + 1 == CALLS
                    {
                        all_fed.cancel();
                    }
                }
                other => panic!("{at}: {other:?}"),
            }
        }
    };
    let calls = within("each has had its share", LATE, join_all((0..CALLS).map(one))).await;
    assert_eq!(agent.programs().len(), CALLS);
    drop(calls);
    eventually("all programs are ended", LATE, || agent.programs().is_empty()).await;
}

#[tokio::test]
async fn who_begins_http2_and_says_no_more_is_let_go() {
    let agent = Agent::with(&["--head-timeout", "0.5"]).await;
    for beginning in [
        &b"PRI"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ] {
        let mut stream = Raw::dial(&agent).await;
        stream.write_all(beginning).await.unwrap();
        let mut rest = Vec::new();
        let _ = within("the connection is closed", SOON, stream.read_to_end(&mut rest)).await;
    }
}

#[tokio::test]
async fn everything_else_is_there_by_http2_too() {
    let agent = Agent::start().await;
    let mut client = Http2::dial(&agent).await;
    let request = client.to("/healthz");
    let answer = client.send(request, "").await;
    assert_eq!(Http2::body(answer).await, "ok\n");
    let token = format!("Bearer {}", agent.token());
    let content = Bytes::from(vec![7; 3 * MIB]);
    let request = client.to("/files/a/b").method("PUT").header("authorization", &token);
    assert_eq!(client.send(request, content.clone()).await.status(), 201);
    let request = client.to("/files/a/b").header("authorization", &token);
    let answer = client.send(request, "").await;
    assert_eq!(Http2::body(answer).await, content);
    let request = client.to("/no.Service/Method").method("POST").header("content-type", "application/grpc");
    let answer = client.send(request, "").await;
    assert_eq!(answer.headers()["grpc-status"], "12");
}

/// While one stream is not read, its connection is alive; its turn is not for ever.
#[tokio::test]
async fn a_file_that_nobody_takes_by_http2_is_given_up() {
    let agent = Agent::with(&["--transfer-timeout", "0.5"]).await;
    std::fs::write(agent.root().join("large"), vec![0; 32 * MIB]).unwrap();
    let mut client = Http2::dial(&agent).await;
    let mut unread = Vec::new();
    // As many as one client may have at once, and one more.
    for _ in 0..16 {
        let request = client.to("/files/large").header("authorization", format!("Bearer {}", agent.token()));
        unread.push(client.send(request, "").await);
    }
    let begin = tokio::time::Instant::now();
    loop {
        let request = client.to("/files/large").header("authorization", format!("Bearer {}", agent.token()));
        let answer = client.send(request, "").await;
        if answer.status() == 200 {
            break;
        }
        assert_eq!(answer.status(), 429);
        assert!(begin.elapsed() < SOON, "nothing is given up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Who takes no answer makes the agent keep a few, not thousands.
#[tokio::test]
async fn a_stranger_has_few_requests_under_way() {
    let agent = Agent::start().await;
    let mut client = Http2::dial_narrow(&agent).await;
    let mut answers = Vec::new();
    for _ in 0..40 {
        let request = client.to("/healthz");
        answers.push(client.send(request, "").await);
    }
    let served = answers.iter().filter(|answer| answer.status() == 200).count();
    assert_eq!(served, 16);
    assert!(answers.iter().all(|answer| [200, 503].contains(&answer.status().as_u16())));
}

/// A message without anything in it.
const NOTHING: &[u8] = &[0; 5];

#[tokio::test]
async fn strangers_who_watch_keep_nobody_from_asking_for_health() {
    let agent = Agent::start().await;
    let health = |client: &Http2, method: &str| {
        let request = client.to(&format!("/grpc.health.v1.Health/{method}")).method("POST");
        request.header("content-type", "application/grpc").header("te", "trailers")
    };
    let mut watching = Vec::new();
    for _ in 0..32 {
        let mut client = Http2::dial(&agent).await;
        for _ in 0..16 {
            let request = health(&client, "Watch");
            watching.push(client.send(request, NOTHING).await);
        }
    }
    assert!(watching.iter().all(|answer| !answer.headers().contains_key("grpc-status")));
    let mut client = Http2::dial(&agent).await;
    let request = health(&client, "Check");
    let answer = client.send(request, NOTHING).await;
    // A message of two bytes: it serves.
    assert_eq!(Http2::body(answer).await, &[0, 0, 0, 0, 2, 8, 1][..]);
    let request = health(&client, "Check");
    let answer = client.send(request, vec![0; 8 << 10]).await;
    assert_eq!(answer.headers()["grpc-status"], "8", "resource exhausted");
}

/// Both listeners accept whoever comes, although strangers have taken all places.
#[tokio::test]
async fn a_quiet_listener_keeps_its_place() {
    let agent = Agent::start().await;
    let mut strangers = Vec::new();
    for _ in 0..400 {
        strangers.push(Raw::dial(&agent).await);
    }
    for _ in 0..3 {
        let mut stream = tokio::net::UnixStream::connect(agent.state().join("socket")).await.unwrap();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        within("an answer", SOON, stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.ends_with("ok\n"), "{answer}");
    }
}

#[tokio::test]
async fn the_end_gets_past_input_that_nobody_reads() {
    let agent = Agent::start().await;
    let mut call = Call::open(&agent).await;
    for _ in 0..2 {
        call.send(start(&["sleep", "1000"])).await;
        call.started().await;
        call.send(input(vec![0; 3 * MIB])).await;
    }
    eventually("the second has taken the first's place", SOON, || agent.programs().len() == 1).await;
    call.end();
    assert_eq!(call.next().await.unwrap(), None);
    eventually("its program is ended", SOON, || agent.programs().is_empty()).await;
}

/// More than fits anywhere, in pieces of every size, while its echo comes back.
#[tokio::test]
async fn input_goes_on_as_fast_as_it_is_read() {
    let agent = Agent::start().await;
    let mut call = Call::open(&agent).await;
    call.send(start(&["cat"])).await;
    call.started().await;
    let sizes = [1, 70_000, MIB, 2 * MIB, 10, 3 * MIB, MIB + 1, 5];
    let total: usize = 3 * sizes.iter().sum::<usize>();
    let sender = call.sender();
    let sending = async {
        for size in sizes.iter().cycle().take(3 * sizes.len()) {
            let message = ExecMessage { payload: Some(input(vec![7; *size])), ..ExecMessage::default() };
            sender.send(message).await.expect("the call goes on");
        }
        let end =
            ExecMessage { payload: Some(Payload::StdinEof(Default::default())), ..ExecMessage::default() };
        sender.send(end).await.expect("the call goes on");
    };
    let ((), ended) = within("all of it", LATE, async { tokio::join!(sending, call.ended()) }).await;
    assert_eq!((ended.stdout.len(), ended.code), (total, 0));
    assert!(ended.stdout.iter().all(|byte| *byte == 7));
}
