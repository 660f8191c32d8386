//! Removing, moving, making folders.

use std::fs;
use std::os::unix::fs::symlink;

use super::{ask, curl_status};
use crate::support::Agent;

#[tokio::test]
async fn files_links_and_folders_are_removed() {
    let agent = Agent::start().await;
    let root = agent.root();
    fs::create_dir_all(root.join("folder/inner")).unwrap();
    fs::write(root.join("folder/inner/file"), "x").unwrap();
    fs::write(root.join("file"), "x").unwrap();
    symlink("file", root.join("link")).unwrap();
    symlink("/etc", root.join("away")).unwrap();
    for (path, status, words) in [
        ("/files/link", 204, ""),
        ("/files/away/", 409, "no folder"),
        ("/files/away", 204, ""),
        ("/files/file/", 409, "no folder"),
        ("/files/file", 204, ""),
        ("/files/file", 404, "no such file"),
        ("/files/folder", 409, "slash"),
        ("/files/folder/inner/none", 404, "no such file"),
        ("/files/", 403, "workspace itself"),
        ("/files/folder/..", 403, "workspace itself"),
        ("/files/../x", 403, "leads out"),
        ("/files/.pid1/", 404, "no such file"),
        ("/files/folder/", 204, ""),
    ] {
        let reply = ask(&agent, "DELETE", path, &[]).await;
        assert_eq!(reply.status, status, "{path}: {reply:?}");
        assert!(reply.text().contains(words), "{path}: {}", reply.text());
    }
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    assert!(std::path::Path::new("/etc/passwd").exists());
}

#[tokio::test]
async fn a_file_is_moved() {
    let agent = Agent::start().await;
    let root = agent.root();
    fs::create_dir_all(root.join("folder/inner")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    for name in ["file", "other", "folder/a b"] {
        fs::write(root.join(name), name).unwrap();
    }
    let here = format!("http://{}/files/absolute", agent.address());
    for (from, to, more, status) in [
        ("file", "/files/moved", "T", 201),
        ("moved", "/files/other", "F", 412),
        ("moved", "/files/other", "f", 412),
        ("moved", "/files/other", "X", 400),
        ("moved", "/files/other", "", 204),
        ("other", here.as_str(), "F", 201),
        ("absolute", "/files/no/such/folder", "", 409),
        ("absolute", "/files/../x", "", 403),
        ("absolute", "/files/.pid1", "", 409),
        ("absolute", "/files/", "", 403),
        ("absolute", "/files/folder", "", 409),
        ("absolute", "/files/x/", "", 409),
        ("absolute", "http://other.example/files/x", "", 502),
        ("absolute", "/elsewhere", "", 400),
        ("absolute", "", "", 400),
        ("none", "/files/x", "", 404),
        ("", "/files/x", "", 403),
        ("folder", "/files/folder/inner/x", "", 409),
        ("folder", "/files/empty", "F", 412),
        ("folder", "/files/empty/", "", 204),
        ("empty/a%20b", "/files/a%2bb", "F", 201),
    ] {
        let reply =
            ask(&agent, "MOVE", &format!("/files/{from}"), &[("Destination", to), ("Overwrite", more)]).await;
        assert_eq!(reply.status, status, "{from} -> {to} {more:?}: {reply:?}");
    }
    assert_eq!(fs::read_to_string(root.join("absolute")).unwrap(), "file");
    assert_eq!(fs::read_to_string(root.join("a+b")).unwrap(), "folder/a b");
    assert!(root.join("empty/inner").is_dir() && !root.join("folder").exists());
    let moving = ["-X", "MOVE", "--header", "Destination: /files/empty/last"];
    assert_eq!(curl_status(&agent, &moving, "/files/absolute"), "201");
    assert!(root.join("empty/last").exists());
}

#[tokio::test]
async fn a_folder_is_made() {
    let agent = Agent::start().await;
    fs::write(agent.root().join("file"), "").unwrap();
    fs::create_dir(agent.root().join("real")).unwrap();
    symlink("real", agent.root().join("link")).unwrap();
    for (path, status) in [
        ("/files/new", 201),
        ("/files/new", 405),
        ("/files/new/inner%FF/", 201),
        ("/files/link/inner", 201),
        ("/files/file", 405),
        ("/files/file/x", 409),
        ("/files/no/parent", 409),
        ("/files/", 405),
        ("/files/../x", 403),
        ("/files/.pid1/x", 409),
    ] {
        let reply = ask(&agent, "MKCOL", path, &[]).await;
        assert_eq!(reply.status, status, "{path}: {reply:?}");
    }
    assert!(agent.root().join("real/inner").is_dir() && !agent.root().join(".pid1").exists());
    assert_eq!(curl_status(&agent, &["-X", "MKCOL", "--data", "x"], "/files/y"), "415");
    assert_eq!(curl_status(&agent, &["-X", "MKCOL"], "/files/y"), "201");
}
