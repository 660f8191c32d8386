//! URLs that carry their own permission.

use std::fs;

use pid1_sdk::api::{File, FileAuthMethod, FileAuthReq, FileAuthRes, command::Body};

use super::{ask, get, put};
use crate::access::keys::Keys;
use crate::support::{Agent, Peer};

const NO_TOKEN: (&str, &str) = ("Authorization", "");

pub async fn sign(peer: &mut Peer, channel: i32, path: &str, method: FileAuthMethod) -> FileAuthRes {
    let file = Some(File { path: path.to_owned(), content: "not echoed".into(), ..File::default() });
    match peer.ask(channel, Body::FileAuthReq(FileAuthReq { file, method: method.into() })).await {
        Body::FileAuthRes(answer) => {
            assert_eq!(answer.method(), method);
            assert_eq!(answer.file, Some(File { path: path.to_owned(), ..File::default() }));
            answer
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_url_is_good_for_one_file_and_method() {
    let agent = Agent::start().await;
    fs::write(agent.root().join("a b"), "content").unwrap();
    fs::write(agent.root().join("other"), "content").unwrap();
    let mut peer = agent.client().await;
    let files = peer.open("files", "").await;
    for channel in [0, files] {
        let answer = sign(&mut peer, channel, "a b", FileAuthMethod::Get).await;
        assert_eq!(answer.error, "");
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
        assert!(answer.expire > now && answer.expire <= now + 3600, "{answer:?}");
        let url = answer.url.as_str();
        assert!(url.starts_with("/files/a%20b?") && !url.contains(agent.token()), "{url}");
        assert_eq!(get(&agent, url, &[NO_TOKEN]).await.text(), "content");
        let part = get(&agent, url, &[NO_TOKEN, ("Range", "bytes=1-2")]).await;
        assert_eq!((part.status, part.text()), (206, "on"));
        let query = url.split_once('?').unwrap().1;
        for (method, other) in [
            ("HEAD", url.to_owned()),
            ("PUT", url.to_owned()),
            ("DELETE", url.to_owned()),
            ("MOVE", url.to_owned()),
            ("GET", format!("/files/other?{query}")),
            ("GET", format!("/files/a%20b/?{query}")),
            ("GET", format!("/files/?{query}")),
            ("GET", url.replace("expire=", "expire=9")),
            ("PUT", url.replace("method=GET", "method=PUT")),
            ("GET", url.replace("role=owner", "role=editor")),
            ("GET", format!("{url}A")),
            ("GET", url.replace("signature=", "signature=A")),
            ("GET", format!("{url}&role=owner")),
        ] {
            let reply = ask(&agent, method, &other, &[NO_TOKEN, ("Destination", "/files/x")]).await;
            assert_eq!(reply.status, 403, "{method} {other}");
        }
        // Who shows a token is who he is.
        assert_eq!(
            get(&agent, url, &[("Authorization", "Bearer wrong-token-wrong-token")]).await.status,
            401
        );
    }
    let upload = sign(&mut peer, 0, "made/here", FileAuthMethod::Put).await.url;
    assert_eq!(put(&agent, &upload, &[NO_TOKEN], b"one").await.status, 201);
    assert_eq!(put(&agent, &upload, &[NO_TOKEN], b"two").await.status, 204, "as often as one likes");
    let removal = sign(&mut peer, 0, "made/", FileAuthMethod::Delete).await.url;
    assert_eq!(ask(&agent, "DELETE", &removal, &[NO_TOKEN]).await.status, 204);
    let head = sign(&mut peer, 0, "./other", FileAuthMethod::Head).await.url;
    assert_eq!(ask(&agent, "HEAD", &head, &[NO_TOKEN]).await.status, 200);
    assert_eq!(fs::read_dir(agent.root()).unwrap().count(), 2);
    assert!(!agent.log().contains("signature="), "whoever reads the log has no permission");
}

#[tokio::test]
async fn a_url_leads_nowhere_that_its_maker_may_not_go() {
    let (agent, keys) = Keys::agent(&[]).await;
    fs::write(agent.root().join("file"), "content").unwrap();
    let mut viewer = agent.client_as(&keys.jwt_of("viewer")).await;
    for method in [FileAuthMethod::Put, FileAuthMethod::Delete] {
        let answer = sign(&mut viewer, 0, "file", method).await;
        assert!(answer.error.contains("needs the role editor") && answer.url.is_empty(), "{answer:?}");
    }
    let url = sign(&mut viewer, 0, "file", FileAuthMethod::Get).await.url;
    assert_eq!(get(&agent, &url, &[NO_TOKEN]).await.text(), "content");
    let mut editor = agent.client_as(&keys.jwt_of("editor")).await;
    for path in ["../x", "/etc/passwd", "a/../../x"] {
        let answer = sign(&mut editor, 0, path, FileAuthMethod::Get).await;
        assert!(!answer.error.is_empty() && answer.url.is_empty(), "{answer:?}");
    }
    // What the path leads to is looked at when it is used.
    let url = sign(&mut editor, 0, "file", FileAuthMethod::Get).await.url;
    fs::remove_file(agent.root().join("file")).unwrap();
    assert_eq!(get(&agent, &url, &[NO_TOKEN]).await.status, 404);
    std::os::unix::fs::symlink("/etc/passwd", agent.root().join("file")).unwrap();
    assert_eq!(get(&agent, &url, &[NO_TOKEN]).await.status, 403);
    // None outlives its maker's token.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let mut guest = agent.client_as(&keys.jwt(&["--role", "viewer", "--ttl", "60s"])).await;
    let files = guest.open("files", "").await;
    for channel in [0, files] {
        let expire = sign(&mut guest, channel, "file", FileAuthMethod::Get).await.expire;
        assert!(expire > now && expire <= now + 65, "{expire} at {now}");
    }
    // Nor its agent.
    let absolute = agent.root().canonicalize().unwrap().join("new");
    let url = sign(&mut editor, 0, absolute.to_str().unwrap(), FileAuthMethod::Put).await.url;
    assert!(url.starts_with("/files/new?"), "{url}");
    let other = Agent::start().await;
    assert_eq!(put(&other, &url, &[NO_TOKEN], b"x").await.status, 403);
    assert_eq!(put(&agent, &url, &[NO_TOKEN], b"x").await.status, 201);
}
