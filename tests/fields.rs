//! The README's table of every field of the published `Command`: made from what the running agent does.
//!
//! Each field is sent, empty and with a `ref`, on channel 0 and on a channel of each service. What is answered by
//! anything but "not supported yet" works, and so does what the agent was seen to send. The table in the README must
//! say the same; with `PID1_UPDATE=1` it is rewritten.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use pid1::client::{Client, Receiver, Sender};
use pid1_sdk::api::{
    CloseChannel, DESCRIPTOR, Exec, FIELDS, File, OpenChannel, ProcessStart, SubscribeFile, close_channel,
    command::Body, open_channel::Action,
};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, string};
use prost_types::FileDescriptorSet;
use prost_types::field_descriptor_proto::Type;

use crate::support::{Agent, Raw, SOON, within};

/// Accepted, and nothing is behind them: there is no manager that counts references.
const ANSWERED: &[&str] = &["incRef"];
/// Sent where a registry has answered: the tests of the published client see it.
const ELSEWHERE: &[&str] = &["packageInfoResp"];
const SERVICES: &[&str] = &[
    "shell",
    "exec",
    "run2",
    "eval",
    "process",
    "gcsfiles",
    "fsevents",
    "snapshot",
    "ot",
    "presence",
    "chat",
    "meta",
    "packager3",
    "null",
];
const BEGIN: &str = "<!-- fields -->\n";
const END: &str = "<!-- /fields -->";

#[tokio::test]
async fn the_readme_tells_of_every_field_what_the_agent_does() {
    let agent = Agent::start().await;
    let sent = what_the_agent_sends(&agent).await;
    let mut works: BTreeSet<String> = sent;
    for service in SERVICES {
        works.extend(what_is_handled(&agent, service).await);
    }
    assert!(works.len() > 25, "far too little works: {works:?}");

    let mut table = String::from("| field | name | |\n|---|---|---|\n");
    for (name, number) in published_fields() {
        let status = match name.as_str() {
            _ if ANSWERED.contains(&name.as_str()) => "answered",
            "channel" | "session" | "ref" => "works",
            _ if works.contains(&name) || ELSEWHERE.contains(&name.as_str()) => "works",
            _ => "refused",
        };
        let _ = writeln!(table, "| {number} | `{name}` | {status} |");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).expect("the README has the marker");
    let (written, after) = rest.split_once(END).expect("the README has the marker");
    if std::env::var_os("PID1_UPDATE").is_some() {
        std::fs::write(&path, [before, BEGIN, &table, END, after].concat()).unwrap();
    } else {
        assert_eq!(written, table, "run this test with PID1_UPDATE=1 to write the table into the README");
    }
}

/// The 107 fields of the published protocol, in ascending order.
fn published_fields() -> Vec<(String, u32)> {
    let seed = include_str!("fixtures/seed-table.txt");
    let mut fields: Vec<(String, u32)> = seed
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words.len() > 3 && words[0] == "field" && words[1] == "Command")
        .map(|words| (words[3].to_owned(), words[2].parse().unwrap()))
        .collect();
    fields.sort_by_key(|(_, number)| *number);
    assert_eq!(fields.len(), 107);
    fields
}

/// Bodies seen in a session that does a little of everything.
async fn what_the_agent_sends(agent: &Agent) -> BTreeSet<String> {
    let mut client = Client::connect(&agent.url().parse().unwrap()).await.unwrap();
    // Seen before `connect` returns, which waits for the last of them.
    let mut seen: BTreeSet<String> = ["bootStatus", "containerState"].map(str::to_owned).into();
    let (shell, _) = client.open("shell", "", Action::Create).await.unwrap();
    let (exec, _) = client.open("exec", "", Action::Create).await.unwrap();
    seen.insert("openChanRes".to_owned());
    client.send(shell, Body::Input("echo hello\n".into())).await.unwrap();
    let run = Exec {
        args: ["sh", "-c", "echo out; echo err >&2"].map(str::to_owned).into(),
        split_stderr: true,
        ..Exec::default()
    };
    seen.insert(client.request(exec, Body::Exec(run)).await.unwrap().name().to_owned());
    let missing = Exec { args: vec!["no-such-program".into()], ..Exec::default() };
    seen.insert(client.request(exec, Body::Exec(missing)).await.unwrap().name().to_owned());
    let (eval, _) = client.open("eval", "", Action::Create).await.unwrap();
    seen.insert(client.request(eval, Body::Eval("1 + 1".into())).await.unwrap().name().to_owned());
    let (events, _) = client.open("fsevents", "", Action::Create).await.unwrap();
    let root = SubscribeFile { files: vec![File { path: ".".into(), ..File::default() }] };
    client.request(events, Body::SubscribeFile(root)).await.unwrap();
    let (files, _) = client.open("files", "", Action::Create).await.unwrap();
    let write = File { path: "file".into(), ..File::default() };
    seen.insert(client.request(files, Body::Write(write.clone())).await.unwrap().name().to_owned());
    for look in [Body::Read(write.clone()), Body::Readdir(File::default()), Body::Stat(write)] {
        seen.insert(client.request(files, look).await.unwrap().name().to_owned());
    }
    seen.insert(client.request(0, Body::FileAuthReq(Default::default())).await.unwrap().name().to_owned());
    let project =
        "run = \"echo output\"\nlanguage = \"python3\"\n[[hints]]\nregex = \"output\"\nmessage = \"told\"\n";
    let project = File { path: ".replit".into(), content: project.into(), ..File::default() };
    client.request(files, Body::Write(project)).await.unwrap();
    let (window, _) = client.open("run2", "", Action::Create).await.unwrap();
    client.request(window, Body::RunMain(Default::default())).await.unwrap();
    let (packages, _) = client.open("packager3", "", Action::Create).await.unwrap();
    for ask in [Body::PackageListSpecfile(Default::default()), Body::PackageSearch(Default::default())] {
        seen.insert(client.request(packages, ask).await.unwrap().name().to_owned());
    }
    for service in ["presence", "chat"] {
        client.open(service, service, Action::AttachOrCreate).await.unwrap();
    }
    let mut other = Client::connect(&agent.url().parse().unwrap()).await.unwrap();
    let (presence, _) = other.open("presence", "presence", Action::AttachOrCreate).await.unwrap();
    other.request(0, Body::CloseChan(CloseChannel { id: presence, ..Default::default() })).await.unwrap();
    let close = CloseChannel { id: exec, action: close_channel::Action::Close.into() };
    seen.insert(client.request(0, Body::CloseChan(close)).await.unwrap().name().to_owned());
    seen.insert(client.request(0, Body::Ping(Default::default())).await.unwrap().name().to_owned());
    let pong = client.request(0, Body::Ping(Default::default()));
    assert_eq!(within("a pong", SOON, pong).await.unwrap().name(), "pong");
    for wanted in
        ["output", "state", "stderr", "hint", "fileEvent", "roster", "join", "part", "chatScrollback"]
    {
        while !seen.contains(wanted) {
            let command = within(wanted, SOON, client.next()).await.unwrap();
            seen.extend(command.body.map(|body| body.name().to_owned()));
        }
    }
    let moved = Agent::with(&["--moved-to", "ws://elsewhere.example"]).await;
    let mut raw = Raw::upgrade(Raw::dial(&moved).await, &moved, moved.token()).await;
    while !seen.contains("redirect") {
        seen.extend(raw.next().await.unwrap().body.map(|body| body.name().to_owned()));
    }
    seen
}

/// Fields that are answered by more than "not supported yet", on channel 0 or on a channel of `service`.
async fn what_is_handled(agent: &Agent, service: &str) -> BTreeSet<String> {
    let mut handled = BTreeSet::new();
    let mut client = Client::connect(&agent.url().parse().unwrap()).await.unwrap();
    let (channel, _) = client.open(service, "", Action::Create).await.unwrap();
    if service == "exec" || service == "process" {
        // Something that input can go to.
        let args = vec!["cat".to_owned()];
        match service {
            "exec" => client.send(channel, Body::Exec(Exec { args, ..Exec::default() })).await.unwrap(),
            _ => {
                let start = Body::ProcessStart(ProcessStart { args, ..ProcessStart::default() });
                client.request(channel, start).await.unwrap();
            }
        }
    }
    let (mut sender, mut receiver, _) = client.split();
    for (name, number) in FIELDS {
        // These end what is being tested.
        if ["goodbye", "inputClose"].contains(name) {
            handled.insert((*name).to_owned());
            continue;
        }
        for target in [0, channel] {
            let text = probe(&mut sender, &mut receiver, target, name, *number).await;
            if text.is_none_or(|error| !error.ends_with("is not supported yet")) {
                handled.insert((*name).to_owned());
            }
        }
    }
    handled
}

/// Sends one field; the error it is answered with, if it is one.
async fn probe(
    sender: &mut Sender,
    receiver: &mut Receiver,
    channel: i32,
    name: &str,
    number: u32,
) -> Option<String> {
    let reference = format!("{channel}-{name}");
    let mut bytes = Vec::new();
    encode_key(1, WireType::Varint, &mut bytes);
    encode_varint(channel as u64, &mut bytes);
    match wire_type(number) {
        WireType::Varint => {
            encode_key(number, WireType::Varint, &mut bytes);
            encode_varint(0, &mut bytes);
        }
        _ => {
            let empty = OpenChannel::default().encode_to_vec();
            encode_key(number, WireType::LengthDelimited, &mut bytes);
            encode_varint(empty.len() as u64, &mut bytes);
        }
    }
    string::encode(1000, &reference, &mut bytes);
    sender.send_bytes(bytes.into()).await.unwrap();
    loop {
        let command = within(&reference, SOON, receiver.next()).await.unwrap();
        if command.r#ref == reference {
            return match command.body {
                Some(Body::Error(error)) => Some(error),
                _ => None,
            };
        }
    }
}

/// How the value of a body is encoded, from the contract itself.
fn wire_type(number: u32) -> WireType {
    let set = FileDescriptorSet::decode(DESCRIPTOR).unwrap();
    let mut messages = set.file.iter().flat_map(|file| &file.message_type);
    let command = messages.rfind(|message| message.name() == "Command").unwrap();
    let field = command.field.iter().find(|field| field.number() as u32 == number).unwrap();
    match field.r#type() {
        Type::Message | Type::String | Type::Bytes => WireType::LengthDelimited,
        _ => WireType::Varint,
    }
}
