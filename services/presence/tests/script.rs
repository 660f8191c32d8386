//! The service as a script of what members send and get.
#![allow(clippy::panic, reason = "a test ends by panicking")]

use pid1_presence::Presence;
use pid1_sdk::Role;
use pid1_sdk::api::{
    FileOpened, FollowUser, Ok as Done, OpenFile, Roster, SessionTimestampUpdated, UnfollowUser, User,
    command::Body,
};
use pid1_sdk::channel::Leave;
use pid1_sdk::testing::{TestChannel, TestMember, conformance};

const OK: Body = Body::Ok(Done {});

fn guest(session: i32) -> User {
    User { name: format!("guest {}", session.abs()), session, ..User::default() }
}

fn open(file: &str) -> Body {
    Body::OpenFile(OpenFile { file: file.into() })
}

async fn roster(member: &mut TestMember) -> Roster {
    match member.next().await {
        Body::Roster(roster) => roster,
        other => panic!("{other:?} instead of a roster"),
    }
}

async fn opened(member: &mut TestMember) -> FileOpened {
    match member.next().await {
        Body::FileOpened(opened) => opened,
        other => panic!("{other:?} instead of fileOpened"),
    }
}

#[tokio::test]
async fn everybody_knows_who_is_here() {
    let channel = TestChannel::open::<Presence>(Some("presencer"));
    let mut one = channel.join(Role::Viewer).await;
    assert_eq!(roster(&mut one).await, Roster { user: vec![guest(2)], files: vec![] });
    let mut two = channel.join(Role::Editor).await;
    assert_eq!(roster(&mut two).await, Roster { user: vec![guest(2), guest(3)], files: vec![] });
    assert_eq!(one.next().await, Body::Join(guest(3)));
    let three = channel.join(Role::Editor).await;
    for (member, how) in [(&two, Leave::Disconnect), (&three, Leave::Vanish)] {
        member.leave(how).await;
    }
    assert_eq!(one.next().await, Body::Join(guest(4)));
    for gone in [-3, -4] {
        let command = one.next_command().await;
        assert_eq!((command.body, command.session), (Some(Body::Part(guest(gone))), gone));
    }
    assert_eq!(one.waiting(), []);
}

#[tokio::test]
async fn what_each_has_open_is_told_and_kept_while_they_are_here() {
    let channel = TestChannel::open::<Presence>(Some("presencer"));
    let mut one = channel.join(Role::Viewer).await;
    let mut two = channel.join(Role::Viewer).await;
    for member in [&mut one, &mut two] {
        roster(member).await;
    }
    one.next().await;
    for file in ["first.rs", "src/main.rs"] {
        assert_eq!(one.ask(open(file)).await, OK);
        let told = opened(&mut two).await;
        assert_eq!((told.file.as_str(), told.session, told.user_id), (file, 2, 0));
        assert!(told.timestamp.is_some_and(|at| at.seconds > 1_700_000_000));
    }
    assert_eq!(two.ask(open("b")).await, OK);
    assert_eq!(opened(&mut one).await.session, 3);
    assert_eq!(one.waiting(), [], "nobody is told of what they did themselves");
    let mut three = channel.join(Role::Editor).await;
    let files = roster(&mut three).await.files;
    assert_eq!(
        files.iter().map(|f| (f.session, f.file.as_str())).collect::<Vec<_>>(),
        [(2, "src/main.rs"), (3, "b")]
    );
    one.leave(Leave::Vanish).await;
    let mut four = channel.join(Role::Editor).await;
    let found = roster(&mut four).await;
    assert_eq!((found.files.len(), found.user.len()), (1, 3));
    let long = two.ask(open(&"x".repeat(4096))).await;
    assert_eq!(long, Body::Error("presence: a path has at most 4095 bytes, not 4096".into()));
}

#[tokio::test]
async fn who_is_followed_learns_by_whom_and_nobody_else_does() {
    let channel = TestChannel::open::<Presence>(Some("presencer"));
    let mut one = channel.join(Role::Viewer).await;
    let mut two = channel.join(Role::Editor).await;
    let mut three = channel.join(Role::Editor).await;
    for member in [&mut one, &mut two, &mut three] {
        member.waiting();
    }
    assert_eq!(one.ask(Body::FollowUser(FollowUser { session: 3 })).await, OK);
    assert_eq!(two.next().await, Body::FollowUser(FollowUser { session: 2 }));
    assert_eq!(one.ask(Body::UnfollowUser(UnfollowUser { session: 3 })).await, OK);
    assert_eq!(two.next().await, Body::UnfollowUser(UnfollowUser { session: 2 }));
    for nobody in [2, 0, -3, 99] {
        let text = format!("presence: nobody else is here with the session {nobody}");
        assert_eq!(one.ask(Body::FollowUser(FollowUser { session: nobody })).await, Body::Error(text));
    }
    for member in [&mut one, &mut two, &mut three] {
        assert_eq!(member.waiting(), []);
    }
}

#[tokio::test]
async fn everybody_is_told_that_somebody_does_something() {
    let channel = TestChannel::open::<Presence>(Some("presencer"));
    let mut one = channel.join(Role::Viewer).await;
    let mut two = channel.join(Role::Editor).await;
    assert_eq!(one.ask(Body::UpdateSessionTimestamp(Default::default())).await, OK);
    for member in [&mut one, &mut two] {
        let told = member.until(|body| matches!(body, Body::SessionTimestampUpdated(_))).await;
        assert!(matches!(
            told,
            Body::SessionTimestampUpdated(SessionTimestampUpdated { session: 2, timestamp: Some(_) })
        ));
    }
}

#[tokio::test]
async fn it_keeps_the_promises_of_every_service() {
    conformance::<Presence>(&[]).await;
}
