//! Presence at the real door: people by their tokens, and lines that break.

use pid1_sdk::api::{FollowUser, OpenFile, Roster, User, command::Body};

use super::{OK, next};
use crate::access::keys::{Keys, TOKEN};
use crate::support::{Agent, Peer};

/// Whom the roster names: session, user's number, name.
fn users(roster: &Roster) -> Vec<(i32, u32, &str)> {
    roster.user.iter().map(|user| (user.session, user.id, user.name.as_str())).collect()
}

async fn join(peer: &mut Peer) -> (i32, Roster) {
    let channel = peer.open("presence", "presencer").await;
    let roster = next(peer, channel, "a roster", |body| match body {
        Body::Roster(roster) => Some(roster.clone()),
        _ => None,
    });
    (channel, roster.await)
}

async fn joined(peer: &mut Peer, channel: i32) -> User {
    next(peer, channel, "join", |body| match body {
        Body::Join(user) => Some(user.clone()),
        _ => None,
    })
    .await
}

async fn parted(peer: &mut Peer, channel: i32) -> User {
    next(peer, channel, "part", |body| match body {
        Body::Part(user) => Some(user.clone()),
        _ => None,
    })
    .await
}

/// One person twice, a viewer who was there first, and one whose token names nobody.
#[tokio::test]
async fn people_are_who_their_tokens_say() {
    let (agent, keys) = Keys::agent(&[]).await;
    let token = |role, name, id| keys.jwt(&["--role", role, "--user", name, "--user-id", id]);
    let mut viewer = agent.client_as(&token("viewer", "vera", "7")).await;
    let (channel, roster) = join(&mut viewer).await;
    assert_eq!(users(&roster), [(2, 7, "vera")]);
    let ada = token("editor", "ada", "9");
    let (mut one, mut two) = (agent.client_as(&ada).await, agent.client_as(&ada).await);
    assert_eq!(join(&mut one).await.0, channel, "viewers and editors are on one channel");
    assert_eq!(users(&join(&mut two).await.1), [(2, 7, "vera"), (3, 9, "ada"), (4, 9, "ada")]);
    assert_eq!(joined(&mut viewer, channel).await.session, 3);
    assert_eq!(joined(&mut viewer, channel).await.session, 4);
    let mut nobody = agent.client_as(TOKEN).await;
    assert_eq!(users(&join(&mut nobody).await.1)[3], (5, 0, "guest 5"));

    assert_eq!(one.ask(channel, Body::OpenFile(OpenFile { file: "src/main.rs".into() })).await, OK);
    let opened = next(&mut viewer, channel, "fileOpened", |body| match body {
        Body::FileOpened(opened) => Some(opened.clone()),
        _ => None,
    })
    .await;
    assert_eq!((opened.session, opened.user_id, opened.file.as_str()), (3, 9, "src/main.rs"));
    assert_eq!(viewer.ask(channel, Body::FollowUser(FollowUser { session: 3 })).await, OK);
    let follower = next(&mut one, channel, "followUser", |body| match body {
        Body::FollowUser(follow) => Some(follow.session),
        _ => None,
    })
    .await;
    assert_eq!(follower, 2);

    // The line breaks without a goodbye.
    drop(one);
    let gone = parted(&mut viewer, channel).await;
    assert_eq!((gone.session, gone.id, gone.name.as_str()), (-3, 9, "ada"));
    let mut late = agent.client_as(&ada).await;
    let roster = join(&mut late).await.1;
    assert_eq!((users(&roster).len(), roster.files.len()), (4, 0));
}

/// `hello` names who has no name, as channel 0 has it.
#[tokio::test]
async fn who_says_hello_is_called_so() {
    let agent = Agent::start().await;
    let mut peer = agent.client().await;
    let hello = pid1_sdk::api::Hello { username: "grace".into(), ..Default::default() };
    assert_eq!(peer.ask(0, Body::Hello(hello)).await, OK);
    assert_eq!(users(&join(&mut peer).await.1), [(2, 0, "grace")]);
}

/// Many come and go at once: whoever stays has heard of each exactly once.
#[tokio::test]
async fn a_crowd_adds_up() {
    let agent = Agent::start().await;
    let mut watcher = agent.client().await;
    let (channel, _) = join(&mut watcher).await;
    let crowd = (0..50).map(|_| async {
        let mut peer = agent.client().await;
        (join(&mut peer).await, peer)
    });
    let crowd = futures_util::future::join_all(crowd).await;
    let mut here = std::collections::BTreeSet::new();
    for _ in 0..50 {
        assert!(here.insert(joined(&mut watcher, channel).await.session));
    }
    drop(crowd);
    for _ in 0..50 {
        assert!(here.remove(&-parted(&mut watcher, channel).await.session));
    }
    assert_eq!(users(&join(&mut agent.client().await).await.1).len(), 2);
}
