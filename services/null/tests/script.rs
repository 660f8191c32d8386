//! The service as a script of what members send and get.

use pid1_null::Null;
use pid1_sdk::Role;
use pid1_sdk::api::command::Body;
use pid1_sdk::testing::{TestChannel, conformance};

#[tokio::test]
async fn everybody_may_open_it_and_nothing_is_supported() {
    let channel = TestChannel::open::<Null>(None);
    let mut viewer = channel.join(Role::Viewer).await;
    let mut editor = channel.join(Role::Editor).await;
    let refused = Body::Error("input is not supported yet".into());
    assert_eq!(editor.ask(Body::Input("x".into())).await, refused);
    let answer = viewer.ask(Body::Input("x".into())).await;
    assert!(matches!(answer, Body::Error(text) if text.contains("needs the role editor")));
}

#[tokio::test]
async fn it_keeps_the_promises_of_every_service() {
    conformance::<Null>(&[]).await;
}
