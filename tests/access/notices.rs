//! What the agent tells clients unasked: that they may not come in here, should go elsewhere, that it stops.

use nix::sys::signal::Signal;
use pid1_sdk::api::{Command, Toast, command::Body, container_state};

use super::keys::{Keys, TOKEN, pid1};
use crate::support::{Agent, Launch, Raw, SOON, binary, within};

async fn greeted(agent: &Agent, token: &str) -> (Vec<Body>, Raw) {
    let mut raw = Raw::upgrade(Raw::dial(agent).await, agent, token).await;
    let mut bodies = Vec::new();
    while let Some(Command { channel, body, .. }) = raw.next().await {
        assert_eq!(channel, 0);
        let body = body.unwrap();
        let is_ready = is_ready(&body);
        bodies.push(body);
        if is_ready {
            break;
        }
    }
    (bodies, raw)
}

fn is_ready(body: &Body) -> bool {
    matches!(body, Body::ContainerState(state) if state.state() == container_state::State::Ready)
}

#[tokio::test]
async fn a_restricted_token_is_denied_where_the_container_runs_unrestricted() {
    for (flags, first, denied) in [
        (&[][..], Some(false), true),
        (&[], None, false),
        (&["--network", "open"], None, true),
        (&["--network", "restricted"], Some(false), false),
    ] {
        let (agent, keys) = Keys::agent(flags).await;
        let _first = match first {
            Some(_unrestricted) => Some(agent.client_as(&keys.paseto(&[])).await),
            None => None,
        };
        for restricted in
            [keys.paseto(&["--restrict-network"]), keys.paseto(&["--restrict-network", "--type-aware"])]
        {
            let (told, mut raw) = greeted(&agent, &restricted).await;
            if denied {
                assert_eq!(told, [Body::FirewallDenied(Default::default())], "{flags:?}");
                assert_eq!(raw.end().await.map(|(code, _)| code), Some(4000), "{flags:?}");
            } else {
                assert!(told.last().is_some_and(is_ready), "{flags:?} {told:?}");
            }
        }
        agent.client_as(&keys.paseto(&[])).await.ping().await;
    }
}

#[tokio::test]
async fn a_toast_reaches_everybody_and_only_owners_make_one() {
    let (agent, keys) = Keys::agent(&[]).await;
    let (mut viewer, mut editor) =
        (agent.client_as(&keys.jwt_of("viewer")).await, agent.client_as(&keys.jwt_of("editor")).await);
    let url = format!("ws://{}/wsv2/{TOKEN}", agent.address());
    tokio::task::spawn_blocking(move || pid1(&["toast", &url, "back in\x1b[2J five"])).await.unwrap();
    for client in [&mut viewer, &mut editor] {
        let toast = client.until("a toast", |command| matches!(command.body, Some(Body::Toast(_)))).await;
        assert_eq!((toast.channel, toast.session), (0, 0));
        assert_eq!(toast.body, Some(Body::Toast(Toast { text: "back in [2J five".into() })));
    }
    for client in [&mut viewer, &mut editor] {
        let refusal = client.refused(0, Body::Toast(Toast { text: "mine".into() })).await;
        assert!(refusal.starts_with("toast needs the role owner"), "{refusal}");
    }
    let toast = std::process::Command::new(binary())
        .args(["toast", "by the variable"])
        .env("PID1_URL", format!("ws://{}/wsv2/{TOKEN}", agent.address()))
        .status();
    assert!(toast.unwrap().success());
    viewer
        .until(
            "a toast",
            |command| matches!(&command.body, Some(Body::Toast(toast)) if toast.text == "by the variable"),
        )
        .await;
    let mut owner = agent.client_as(TOKEN).await;
    for text in ["", " ", &"x".repeat(1001)] {
        let refusal = owner.refused(0, Body::Toast(Toast { text: text.into() })).await;
        assert!(refusal.contains("1 to 1000 characters"), "{refusal}");
    }
}

#[tokio::test]
async fn clients_are_told_of_the_end_and_where_to_go() {
    for flags in [&[][..], &["--moved-to", "ws://elsewhere.example:4560"]] {
        let (mut agent, _keys) = Keys::agent(flags).await;
        let (told, mut raw) = greeted(&agent, TOKEN).await;
        let redirects = |bodies: &[Body]| {
            let urls = bodies.iter().filter_map(|body| match body {
                Body::Redirect(redirect) => Some(redirect.url.clone()),
                _ => None,
            });
            urls.collect::<Vec<_>>()
        };
        let expected: Vec<_> = flags.get(1).map(|url| (*url).to_owned()).into_iter().collect();
        assert_eq!(redirects(&told), expected);
        raw.ping("who does not follow is served").await;
        agent.signal(Signal::SIGTERM);
        let mut bodies = Vec::new();
        while let Some(command) = within("the end", SOON, raw.next_unbounded()).await {
            bodies.extend(command.body);
        }
        assert!(matches!(&bodies[0], Body::Toast(toast) if toast.text.contains("stopping")), "{bodies:?}");
        assert_eq!(redirects(&bodies), expected);
        let last = bodies.last().unwrap();
        assert!(
            matches!(last, Body::ContainerState(state) if state.state() == container_state::State::Sleep),
            "{last:?}"
        );
        assert_eq!(raw.closed.map(|(code, _)| code), Some(1001));
        assert!(agent.ended().await.success());
    }
}

#[test]
fn a_url_that_clients_cannot_follow_is_refused() {
    let junk = [
        "",
        "http://box",
        "ws://",
        "elsewhere",
        "ws://?x",
        "ws://#",
        "ws:// a",
        "ws://a:99999",
        "ws://a:b",
        "ws://u@a",
    ];
    for url in junk.into_iter().chain(["ws://a\n"]) {
        let (status, said) = Launch::new().flags(&["--moved-to", url]).refused();
        assert!(!status.success() && said.contains("--moved-to"), "{url}: {said}");
    }
}
