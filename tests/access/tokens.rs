//! Each kind of token at the real door, and each way in which one is refused: 1008 and no detail for the client, the
//! reason for the operator.

use data_encoding::BASE64URL_NOPAD;
use pid1_sdk::api::{Hello, command::Body};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::keys::{AUDIENCE, Keys, TOKEN};
use crate::support::{Agent, LATE, Launch, Raw, SOON, eventually, within};

/// Whether its holder may run programs, and whether he may change settings.
async fn may(agent: &Agent, token: &str) -> (bool, bool) {
    let mut client = agent.client_as(token).await;
    let may = |answer: Body| !matches!(answer, Body::Error(error) if error.contains("needs the role"));
    let writes = matches!(client.ask(0, Body::HasCap(true)).await, Body::HasCap(true));
    (writes, may(client.ask(0, Body::Pid1Config(Default::default())).await))
}

#[tokio::test]
async fn every_kind_of_token_grants_its_role() {
    let (agent, keys) = Keys::agent(&[]).await;
    let (viewer, editor, owner) = ((false, false), (true, false), (true, true));
    for (what, token, granted) in [
        ("the secret", TOKEN.to_owned(), owner),
        ("bare PASETO", keys.paseto(&[]), editor),
        ("PASETO in a GovalToken", keys.paseto(&["--type-aware"]), editor),
        ("JWT, EdDSA", keys.jwt(&["--role", "owner"]), owner),
        ("JWT, EdDSA", keys.jwt(&["--role", "editor"]), editor),
        ("JWT, EdDSA", keys.jwt(&[]), viewer),
        ("JWT, HS256", keys.hs256(&["--role", "editor"]), editor),
        ("JWT, HS256", keys.hs256(&[]), viewer),
    ] {
        assert_eq!(may(&agent, &token).await, granted, "{what}");
    }
}

#[tokio::test]
async fn every_other_token_is_refused_without_a_word_why() {
    let (agent, keys) = Keys::agent(&[]).await;
    let other = keys.path("other").to_str().unwrap().to_owned();
    let other_shared = keys.path("other-shared").to_str().unwrap().to_owned();
    let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    let claims = format!(r#"{{"aud":"{AUDIENCE}","exp":4000000000,"role":"owner"}}"#);
    let unsigned = |header: &str| format!("{}.{}.", part(header), part(&claims));
    let (paseto, jwt) = (keys.paseto(&[]), keys.jwt(&["--role", "owner"]));
    let public_as_secret = launch_file(&keys, "public-as-secret", &keys.text("jwt.pub"));
    let expired = (keys.paseto(&["--ttl", "1s"]), keys.jwt(&["--ttl", "1s"]));
    for token in [&expired.0, &expired.1] {
        eventually_refused(&agent, token).await;
    }
    for (what, token, why) in [
        ("nothing known", "some-other-secret".to_owned(), "neither the shared secret nor"),
        ("expired PASETO", expired.0, "expired"),
        ("expired JWT", expired.1, "expired"),
        (
            "of another repl",
            keys.paseto(&["--repl-id", "another"]),
            "it is for \"another\", and this is \"box\"",
        ),
        ("of an unknown key", keys.paseto(&["--key-id", "k2"]), "key \"k2\" is not known"),
        ("wrong PASETO key", keys.paseto(&["--key", &other]), "signature is not that of key \"k1\""),
        ("wrong JWT key", keys.jwt(&["--key", &other]), "not that of a configured key"),
        ("wrong shared key", keys.hs256(&["--secret-file", &other_shared]), "not that of a configured key"),
        (
            "HS256 by the public key",
            keys.hs256(&["--secret-file", &public_as_secret]),
            "not that of a configured key",
        ),
        ("for another audience", keys.jwt(&["--audience", "another"]), "does not hold"),
        ("alg none", unsigned(r#"{"alg":"none"}"#), "algorithm that nobody may use"),
        ("alg HS256 unsigned", unsigned(r#"{"alg":"HS256"}"#), "not that of a configured key"),
        ("alg ES256", unsigned(r#"{"alg":"ES256"}"#), "no key for algorithm"),
        ("truncated PASETO", paseto[..paseto.len() - 9].to_owned(), ""),
        ("truncated JWT", jwt[..jwt.len() - 9].to_owned(), "malformed"),
        ("large", format!("v2.public.{}", "A".repeat(12_000)), "not known"),
    ] {
        let lines = agent.log().lines().count();
        let mut raw = Raw::upgrade(Raw::dial(&agent).await, &agent, &token).await;
        assert_eq!(raw.next().await, None, "{what} is told nothing");
        assert_eq!(raw.closed, Some((1008, "the token is not accepted".to_owned())), "{what}");
        let said = || agent.log().lines().skip(lines).collect::<Vec<_>>().join("\n").replace('\\', "");
        eventually("the log says why", SOON, || said().contains("token refused") && said().contains(why))
            .await;
        assert!(said().contains("peer=127.0.0.1:"), "{}", said());
        assert!(!said().contains(&token), "{what}: the token is in the log");
    }
    agent.client_as(TOKEN).await.ping().await;
}

/// Tries until it is not let in any more.
async fn eventually_refused(agent: &Agent, token: &str) {
    let refused = async {
        loop {
            let mut raw = Raw::upgrade(Raw::dial(agent).await, agent, token).await;
            if raw.next().await.is_none() {
                return;
            }
        }
    };
    within("it expires", SOON, refused).await;
}

fn launch_file(keys: &Keys, name: &str, text: &str) -> String {
    std::fs::write(keys.path(name), text).unwrap();
    keys.path(name).to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_huge_token_costs_nothing() {
    let (agent, _keys) = Keys::agent(&[]).await;
    let before = agent.rss_bytes();
    for _ in 0..20 {
        let mut stream = Raw::dial(&agent).await;
        let head = format!("GET /wsv2/v2.public.{} HTTP/1.1\r\n", "A".repeat(1 << 20));
        // The agent stops reading where no token can be that long, and closes.
        let _ = within("it is not read for ever", SOON, stream.write_all(head.as_bytes())).await;
        let mut answer = Vec::new();
        let _ = within("it is closed", SOON, stream.read_to_end(&mut answer)).await;
    }
    agent.client_as(TOKEN).await.ping().await;
    let grown = agent.rss_bytes().saturating_sub(before) >> 20;
    assert!(grown < 8, "20 MiB of tokens cost {grown} MiB");
}

#[tokio::test]
async fn an_open_session_ends_with_its_token() {
    let (agent, keys) = Keys::agent(&[]).await;
    let lasting = keys.paseto(&[]);
    let mut stays = agent.client_as(&lasting).await;
    for kind in ["paseto", "jwt"] {
        let token = if kind == "paseto" { keys.paseto(&["--ttl", "3s"]) } else { keys.jwt(&["--ttl", "3s"]) };
        let mut raw = Raw::upgrade(Raw::dial(&agent).await, &agent, &token).await;
        raw.ping("it is good at first").await;
        while within("it ends", LATE, raw.next_unbounded()).await.is_some() {}
        assert_eq!(raw.closed, Some((1008, "the token has expired".to_owned())));
    }
    stays.ping().await;
}

/// The token's name stands; where it gives none, the client may introduce itself, and never to another role.
#[tokio::test]
async fn who_it_is_stands_in_the_token() {
    let (agent, keys) = Keys::agent(&[]).await;
    let hello = |name: &str| Body::Hello(Hello { userid: 9, username: name.into(), token: TOKEN.into() });
    let token = keys.jwt(&["--user", "ada", "--user-id", "7"]);
    let mut ada = agent.client_as(&token).await;
    ada.ask(0, hello("root")).await;
    assert!(ada.refused(0, Body::Pid1Config(Default::default())).await.contains("viewer"), "no other role");
    eventually("the log says who", SOON, || agent.log().contains("user=\"ada\"")).await;
}

#[tokio::test]
async fn only_loopback_has_the_development_key() {
    let (status, said) =
        Launch::new().flags(&["--dev-key", "--listen", "0.0.0.0:0", "--token", TOKEN]).refused();
    assert!(!status.success() && said.contains("--dev-key") && said.contains("127.0.0.1"), "{said}");
    let agent = Agent::with(&["--dev-key"]).await;
    agent.client().await.ping().await;
}

#[test]
fn keys_that_are_not_safe_are_refused() {
    let launch = Launch::new();
    let keys = Keys::new(&launch);
    let public = keys.text("jwt.pub");
    let key = format!("k1={public}");
    for (flags, words) in [
        (&["--paseto-key", &key][..], &["--repl-id", "--any-repl"][..]),
        (&["--paseto-key", &public, "--any-repl"], &["ID=KEY"]),
        (&["--paseto-key", "k1=00", "--any-repl"], &["k1", "32 bytes"]),
        (&["--paseto-key", "k1=@/no/such/file", "--any-repl"], &["/no/such/file"]),
        (&["--paseto-key", &key, "--paseto-key", &key, "--any-repl"], &["two keys k1"]),
        (&["--paseto-role", "root"], &["root", "owner, editor or viewer"]),
        (&["--jwt-key", &public], &["--jwt-audience"]),
        (&["--jwt-key", "nonsense", "--jwt-audience", "a"], &["--jwt-key"]),
        (&["--jwt-secret", "fifteen-letters", "--jwt-audience", "a"], &["15", "32"]),
        (&["--paseto-key", &format!("={public}"), "--any-repl"], &["ID=KEY"]),
        (&["--paseto-key", &key, "--repl-id", ""], &["--repl-id is empty"]),
        (&["--paseto-key", &format!("dev={public}"), "--any-repl", "--dev-key"], &["--dev-key"]),
    ] {
        let (status, said) = launch.clone().flags(flags).refused();
        assert!(!status.success(), "{flags:?} serves");
        for word in words {
            assert!(said.contains(word), "{flags:?}: {said:?} should say {word:?}");
        }
        assert!(!said.contains("fifteen-letters") && !said.contains("nonsense"), "{said}");
    }
}

#[tokio::test]
async fn with_keys_alone_no_secret_is_made_beyond_this_machine() {
    let launch = Launch::new();
    let keys = Keys::new(&launch);
    let key = format!("k1={}", keys.text("paseto.pub"));
    let flags = ["--paseto-key", &key, "--any-repl", "--paseto-role", "owner", "--listen", "0.0.0.0:0"];
    let agent = launch.flags(&flags).start().await;
    assert!(agent.url().ends_with('/'), "{}", agent.url());
    assert_eq!(may(&agent, &keys.paseto(&["--repl-id", "whichever"])).await, (true, true));
    let mut raw = Raw::upgrade(Raw::dial(&agent).await, &agent, "undefined").await;
    assert_eq!(raw.end().await.map(|(code, _)| code), Some(1008));
}
