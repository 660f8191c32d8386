//! A viewer sends every body of the contract to every service: nothing is started, typed, stopped or written.

use std::fs;

use pid1_sdk::Role;
use pid1_sdk::api::{Command, FIELDS, command::Body};
use pid1_sdk::service::Service;
use pid1_sdk::testing::TestChannel;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

/// The body with that field number, as empty as it can be.
pub fn body(number: u32) -> Body {
    let decoded = |wire: WireType| {
        let mut bytes = Vec::new();
        encode_key(number, wire, &mut bytes);
        encode_varint(0, &mut bytes);
        Command::decode(&bytes[..]).ok().and_then(|command| command.body)
    };
    let found = decoded(WireType::LengthDelimited).or_else(|| decoded(WireType::Varint));
    found.unwrap_or_else(|| panic!("field {number} cannot be made"))
}

/// What the service may answer to a viewer besides a refusal.
async fn walk<S: Service>(allowed: &[&str]) {
    let channel = TestChannel::open::<S>(Some("walked"));
    let editor = channel.join(Role::Editor).await;
    let mut viewer = channel.join(Role::Viewer).await;
    let programs =
        || channel.engine().processes().list().iter().map(|p| (p.id(), p.try_exit())).collect::<Vec<_>>();
    let files = || fs::read_dir(channel.root()).unwrap().count();
    let before = (programs(), files());
    for (_, number) in FIELDS {
        let body = body(*number);
        let name = body.name();
        let answer = viewer.ask(body).await;
        let refused = matches!(&answer, Body::Error(_));
        assert!(refused || allowed.contains(&name), "a viewer's {name} is answered {answer:?}");
        assert_eq!((programs(), files()), before, "a viewer's {name} changed something");
    }
    drop(editor);
}

#[tokio::test]
async fn a_viewer_changes_nothing_anywhere() {
    walk::<pid1_shell::Shell>(&[]).await;
    walk::<pid1_exec::Exec>(&[]).await;
    walk::<pid1_process::Programs>(&[]).await;
    walk::<pid1_null::Null>(&[]).await;
}
