//! What browsers are told: the workspace's content must never act as this agent's own page.

use std::fs;

use super::{ask, get, put};
use crate::support::Agent;

#[tokio::test]
async fn content_never_runs_with_our_origin() {
    let agent = Agent::start().await;
    let page = "<script>fetch('/files/')</script>";
    for (name, kind, shown) in [
        ("page.html", "text/html; charset=utf-8", false),
        ("page.xhtml", "application/xhtml+xml", false),
        ("image.svg", "image/svg+xml", false),
        ("script.js", "text/javascript; charset=utf-8", false),
        ("style.css", "text/css; charset=utf-8", false),
        ("paper.pdf", "application/pdf", false),
        ("no-ending", "application/octet-stream", false),
        ("page.html%0d%0ax", "application/octet-stream", false),
        ("note.txt", "text/plain; charset=utf-8", true),
        ("photo.png", "image/png", true),
        ("film.mp4", "video/mp4", true),
        ("sound.mp3", "audio/mpeg", true),
    ] {
        put(&agent, &format!("/files/{name}"), &[], page.as_bytes()).await;
        for method in ["GET", "HEAD"] {
            let reply = ask(&agent, method, &format!("/files/{name}"), &[]).await;
            assert_eq!(reply.header("content-type"), kind, "{name}");
            assert_eq!(reply.header("content-disposition"), if shown { "" } else { "attachment" }, "{name}");
        }
    }
    fs::create_dir(agent.root().join("folder")).unwrap();
    let tag = get(&agent, "/files/page.html", &[]).await.header("etag").to_owned();
    for (method, path, header) in [
        ("GET", "/files/page.html", ("X", "x")),
        ("GET", "/files/page.html", ("Range", "bytes=0-3")),
        ("GET", "/files/page.html", ("Range", "bytes=1000-")),
        ("GET", "/files/page.html", ("If-None-Match", tag.as_str())),
        ("GET", "/files/folder", ("X", "x")),
        ("GET", "/files/%3Cscript%3E", ("X", "x")),
        ("GET", "/files/page.html", ("Authorization", "")),
        ("POST", "/files/page.html", ("X", "x")),
        ("DELETE", "/files/none", ("X", "x")),
        ("OPTIONS", "/files/page.html", ("X", "x")),
    ] {
        let reply = ask(&agent, method, path, &[header]).await;
        let what = format!("{method} {path} {header:?}: {reply:?}");
        assert_eq!(reply.header("content-security-policy"), "sandbox; default-src 'none'", "{what}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{what}");
        assert_eq!(reply.header("cross-origin-resource-policy"), "same-origin", "{what}");
        assert_eq!(reply.header("cache-control"), "private, no-cache", "{what}");
        assert_eq!(reply.header("set-cookie"), "", "{what}");
        assert_eq!(reply.header("access-control-allow-origin"), "", "{what}");
    }
}

/// A page of an operator's origin asks first, without the token.
#[tokio::test]
async fn pages_of_known_origins_are_told_what_they_may_do() {
    let agent = Agent::with(&["--origin", "https://ide.example.com"]).await;
    fs::write(agent.root().join("file"), "x").unwrap();
    let known = ("Origin", "https://ide.example.com");
    let wish = ("Access-Control-Request-Method", "PUT");
    let reply = ask(&agent, "OPTIONS", "/files/file", &[known, wish, ("Authorization", "")]).await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (204, known.1));
    for method in ["GET", "PUT", "DELETE", "MOVE", "MKCOL"] {
        assert!(reply.header("access-control-allow-methods").contains(method), "{method}");
    }
    let headers = reply.header("access-control-allow-headers");
    assert!(headers.contains("Authorization") && headers.contains("If-Match"), "{headers}");
    assert!(
        reply.header("vary").contains("Origin")
            && reply.header("access-control-allow-credentials").is_empty()
    );
    for origin in ["https://evil.example.com", "null"] {
        let reply = ask(&agent, "OPTIONS", "/files/file", &[("Origin", origin), wish]).await;
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (403, ""), "{origin}");
    }
    for path in ["/files/file", "/files/none"] {
        let reply = get(&agent, path, &[known]).await;
        assert_eq!(reply.header("access-control-allow-origin"), known.1, "{path}");
        assert!(reply.header("access-control-expose-headers").contains("ETag"));
    }
    let refused = get(&agent, "/files/file", &[known, ("Authorization", "")]).await;
    assert_eq!(
        (refused.status, refused.header("access-control-allow-origin")),
        (401, known.1),
        "it can read why"
    );
    // Elsewhere there is nothing for pages of other origins.
    let page = ask(&agent, "OPTIONS", "/", &[known, wish]).await;
    assert_eq!((page.status, page.header("access-control-allow-origin")), (405, ""));
}
