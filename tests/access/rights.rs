//! Role by body by door: the whole table, at the real doors.

use std::collections::BTreeMap;
use std::path::Path;

use pid1_sdk::Role;
use pid1_sdk::api::{
    CloseChannel, CloseChannelRes, FIELDS, OpenChannel, ProcessAttach, close_channel::Action,
    close_channel_res::Status, command::Body, open_channel::Action as OpenAction, process_attach::Target,
};
use pid1_sdk::testing::samples;

use super::keys::{Keys, TOKEN};
use crate::support::http;

/// What a channel asks a role for: bodies that everybody may send, that only owners may; the others are for editors.
struct Row {
    service: &'static str,
    read: fn(&str) -> bool,
    own: &'static [&'static str],
}

/// The table. Channel 0 has no name; there, what is not an owner's changes nothing.
const ROWS: &[Row] = &[
    Row { service: "", read: |_| true, own: &["pid1Config", "toast"] },
    Row { service: "shell", read: |_| false, own: &[] },
    Row { service: "exec", read: |_| false, own: &[] },
    Row { service: "process", read: |body| body == "processAttach", own: &["processList"] },
    Row {
        service: "files",
        read: |body| ["read", "readdir", "stat", "checkChanges", "fileAuthReq"].contains(&body),
        own: &[],
    },
    Row { service: "snapshot", read: |_| false, own: &[] },
    Row {
        service: "ot",
        read: |body| {
            ["otFetchRequest", "otTransformSelectionRequest", "otNewCursor", "otDeleteCursor"].contains(&body)
        },
        own: &[],
    },
    Row {
        service: "presence",
        read: |body| ["openFile", "followUser", "unfollowUser", "updateSessionTimestamp"].contains(&body),
        own: &[],
    },
    Row { service: "chat", read: |body| ["chatMessage", "chatTyping"].contains(&body), own: &[] },
    Row { service: "meta", read: |body| body == "readMeta", own: &[] },
    Row { service: "packager3", read: |body| body == "packageListSpecfile", own: &[] },
    Row { service: "null", read: |_| false, own: &[] },
];

impl Row {
    fn lowest(&self, body: &str) -> Role {
        match () {
            () if self.own.contains(&body) => Role::Owner,
            () if (self.read)(body) => Role::Viewer,
            () => Role::Editor,
        }
    }
}

#[tokio::test]
async fn every_role_sends_every_body_to_every_channel() {
    let (agent, keys) = Keys::agent(&[]).await;
    let mut editor = agent.client_as(&keys.jwt_of("editor")).await;
    let mut rows = 0;
    for row in ROWS {
        let name = format!("shared-{}", row.service);
        if !row.service.is_empty() {
            editor.open(row.service, &name).await;
        }
        for role in [Role::Viewer, Role::Editor, Role::Owner] {
            let mut client = agent.client_as(&keys.jwt_of(&role.to_string())).await;
            let channel = if row.service.is_empty() { 0 } else { client.open(row.service, &name).await };
            let before = (tree(&agent.root()), agent.programs());
            let mut bodies: Vec<_> = samples().into_iter().map(|sample| sample.body).collect();
            // The first of each is empty. Saying goodbye ends the session.
            bodies.dedup_by_key(|body| body.number());
            bodies.sort_by_key(|body| body.name() == "goodbye");
            for body in bodies {
                let what = body.name();
                let answer = client.ask(channel, body).await;
                let lowest = row.lowest(what);
                let text = format!("{what} needs the role {lowest}, and this session has the role {role}");
                let refused = answer == Body::Error(text);
                assert_eq!(refused, role < lowest, "a {role}'s {what} on {:?}: {answer:?}", row.service);
                rows += 1;
            }
            if role == Role::Viewer {
                assert_eq!((tree(&agent.root()), agent.programs()), before, "a viewer changed something");
            }
        }
    }
    assert_eq!(rows, ROWS.len() * 3 * FIELDS.len());
}

/// What is not on the channel itself is other people's.
#[tokio::test]
async fn only_an_owner_follows_programs_of_other_channels() {
    let (agent, keys) = Keys::agent(&[]).await;
    let mut editor = agent.client_as(&keys.jwt_of("editor")).await;
    editor.shell("work").await;
    let pid = *agent.programs().first().expect("a shell runs");
    for role in ["viewer", "editor", "owner"] {
        let mut client = agent.client_as(&keys.jwt_of(role)).await;
        let channel = client.open("process", "").await;
        let attach = ProcessAttach { target: Some(Target::Pid(pid)), ..ProcessAttach::default() };
        let answer = client.ask(channel, Body::ProcessAttach(attach)).await;
        match (role, answer) {
            ("owner", Body::ProcessStarted(started)) => assert_eq!(started.pid, pid),
            ("viewer" | "editor", Body::Error(error)) => {
                assert!(error.contains("needs the role owner"), "{error}")
            }
            (_, other) => panic!("a {role} gets {other:?}"),
        }
    }
}

/// A viewer's open starts nothing; the first editor's does.
#[tokio::test]
async fn a_viewers_channel_waits_for_an_editor() {
    let (agent, keys) = Keys::agent(&[]).await;
    let mut viewer = agent.client_as(&keys.jwt_of("viewer")).await;
    let shell = viewer.open("shell", "first").await;
    let refusal = viewer.refused(shell, Body::Input("echo hello\n".into())).await;
    assert!(refusal.contains("needs the role editor"), "{refusal}");
    assert_eq!(agent.programs(), [0; 0], "nothing runs");
    let mut editor = agent.client_as(&keys.jwt_of("editor")).await;
    let same = editor.shell("first").await;
    assert_eq!(same, shell);
    editor.type_in(shell, "echo he''llo\n").await;
    viewer.output_until(shell, "hello").await;
}

/// However a viewer leaves, others stay and their programs run.
#[tokio::test]
async fn a_viewer_ends_no_channel_that_others_use_or_left_running() {
    let (agent, keys) = Keys::agent(&[]).await;
    let mut editor = agent.client_as(&keys.jwt_of("editor")).await;
    let (shared, left) = (editor.shell("shared").await, editor.shell("left").await);
    let close = |id, action: Action| Body::CloseChan(CloseChannel { id, action: action.into() });
    editor.ask(0, close(left, Action::Disconnect)).await;
    let before = agent.programs();
    assert_eq!(before.len(), 2);
    let mut viewer = agent.client_as(&keys.jwt_of("viewer")).await;
    for name in ["shared", "left"] {
        for action in [Action::Close, Action::TryClose, Action::Disconnect] {
            let id = viewer.open("shell", name).await;
            let answer = viewer.ask(0, close(id, action)).await;
            let expected = CloseChannelRes { id, status: Status::Disconnect.into() };
            assert_eq!(answer, Body::CloseChanRes(expected), "{name} {action:?}");
        }
    }
    drop(viewer);
    editor.shell_run(shared, "echo still here").await;
    assert_eq!(editor.open("shell", "left").await, left);
    assert_eq!(agent.programs(), before);
}

/// Neither by taking a name for another service, nor by using up all there may be.
#[tokio::test]
async fn a_viewer_takes_no_name_away_from_editors() {
    let (agent, keys) = Keys::agent(&[]).await;
    let mut viewer = agent.client_as(&keys.jwt_of("viewer")).await;
    viewer.open("null", "work").await;
    let watched = viewer.open("shell", "work").await;
    for number in 0..1000 {
        viewer.open("null", &format!("squatted-{number}")).await;
    }
    let mut another = agent.client_as(&keys.jwt_of("viewer")).await;
    let mut refused = 0;
    for number in 0..60 {
        let body = OpenChannel {
            service: "shell".into(),
            name: format!("more-{number}"),
            action: OpenAction::AttachOrCreate.into(),
            ..OpenChannel::default()
        };
        match another.ask(0, Body::OpenChan(body)).await {
            Body::OpenChanRes(answer) if answer.error.is_empty() => {}
            Body::OpenChanRes(answer) => {
                assert!(answer.error.contains("1024 named channels"), "{}", answer.error);
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 0, "viewers use up their own");
    let mut editor = agent.client_as(&keys.jwt_of("editor")).await;
    let shell = editor.shell("work").await;
    assert_eq!(shell, watched, "who waited for it is on it");
    editor.shell_run(shell, "echo shown to all").await;
    viewer.output_until(shell, "shown to all").await;
    editor.open("exec", "squatted-1").await;
}

/// Beside files HTTP serves nothing that needs a role, so no token makes a difference there.
#[tokio::test]
async fn http_gives_no_role_anything() {
    let (agent, keys) = Keys::agent(&[]).await;
    let tokens = ["viewer", "editor", "owner"].map(|role| keys.jwt_of(role));
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        for path in ["/", "/healthz", "/readyz", "/wsv2/", "/metrics"] {
            let mut answers = Vec::new();
            for token in
                [None, Some(TOKEN)].into_iter().chain(tokens.iter().map(|token| Some(token.as_str())))
            {
                let authorization =
                    token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
                let request = format!(
                    "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{authorization}\r\n",
                    agent.address()
                );
                let (status, _, body) = http(&agent, &request).await;
                answers.push((status, body));
            }
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{method} {path}: {answers:?}");
            let open = matches!(method, "GET" | "HEAD") && matches!(path, "/" | "/healthz" | "/readyz");
            assert_eq!(answers[0].0 == 200, open, "{method} {path}: {}", answers[0].0);
        }
    }
}

/// Every file beneath `folder`, with its content.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
        }
        found.insert(path.display().to_string(), std::fs::read(&path).unwrap_or_default());
    }
    found
}
