//! What a transfer may cost: memory, time of others, room on the disk.

use std::fs;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pid1_sdk::api::FileAuthMethod;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::broken::Upload;
use super::signed::sign;
use super::{Reply, ask, get, head, put};
use crate::access::keys::{Keys, TOKEN};
use crate::support::{Agent, HEAVY, LATE, Launch, Raw, SOON, size, within};

/// As much may the agent hold when a file of any size goes through it.
const RESIDENT_BYTES: u64 = 40 << 20;

/// Clients who have all that one may have, if nobody else gets anything any more, and how much that is.
const CLIENTS: usize = 4;
const SHARE: usize = 16;

/// Takes `bytes` and drops them.
async fn drain(agent: &Agent, path: &str, bytes: u64) {
    let mut stream = Raw::dial(agent).await;
    stream.write_all(head(agent, "GET", path, &[]).as_bytes()).await.unwrap();
    let (mut piece, mut came) = (vec![0; 1 << 20], 0);
    let all = async {
        while let read @ 1.. = stream.read(&mut piece).await.unwrap() {
            came += read as u64;
        }
    };
    within("the whole file", LATE, all).await;
    assert!(came > bytes && came < bytes + 2000, "{came} of {bytes} and a head");
}

/// Sends so many zeros.
async fn fill(agent: &Agent, path: &str, bytes: u64) -> Reply {
    let mut stream = Raw::dial(agent).await;
    let length = bytes.to_string();
    stream.write_all(head(agent, "PUT", path, &[("Content-Length", &length)]).as_bytes()).await.unwrap();
    let piece = vec![0; 1 << 20];
    let mut left = bytes;
    let all = async {
        while left > 0 {
            let part = left.min(piece.len() as u64);
            if stream.write_all(&piece[..part as usize]).await.is_err() {
                return;
            }
            left -= part;
        }
    };
    within("the whole file is taken", LATE, all).await;
    Reply::read(&mut stream).await
}

#[tokio::test]
async fn memory_is_flat_whatever_the_size() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let bytes = size(512 << 20, 4 << 30) as u64;
    fs::File::create(agent.root().join("sparse")).unwrap().set_len(bytes).unwrap();
    let begin = Instant::now();
    drain(&agent, "/files/sparse", bytes).await;
    let read = begin.elapsed();
    assert_eq!(fill(&agent, "/files/copy", bytes).await.status, 201);
    let peak = agent.peak_rss_bytes();
    eprintln!(
        "{} MiB out in {read:?}, in in {:?}: {} MiB resident",
        bytes >> 20,
        begin.elapsed() - read,
        peak >> 20
    );
    assert_eq!(fs::metadata(agent.root().join("copy")).unwrap().len(), bytes);
    assert!(peak < RESIDENT_BYTES, "{} MiB were resident", peak >> 20);
}

/// Many at once that are not taken: one client leaves room for others, and all together for who does not move files.
#[tokio::test]
async fn transfers_at_once_are_bounded() {
    let _alone = HEAVY.lock().await;
    let (agent, keys) = Keys::agent(&[]).await;
    fs::File::create(agent.root().join("large")).unwrap().set_len(1 << 30).unwrap();
    let one_byte = async |token: &str, path: &str| {
        let bearer = if token.is_empty() { String::new() } else { format!("Bearer {token}") };
        get(&agent, path, &[("Range", "bytes=0-0"), ("Authorization", &bearer)]).await
    };
    let jwt = |client: usize| keys.jwt(&["--role", "viewer", "--user-id", &(client + 1).to_string()]);
    let mut viewer = agent.client_as(&jwt(0)).await;
    let signed = sign(&mut viewer, 0, "large", FileAuthMethod::Get).await.url;
    let mut stuck = Vec::new();
    for client in 0..CLIENTS {
        let bearer = format!("Bearer {}", jwt(client));
        for _ in 0..SHARE {
            let mut stream = Raw::dial(&agent).await;
            let head = head(&agent, "GET", "/files/large", &[("Authorization", &bearer)]);
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut first = [0; 100];
            within("it begins", SOON, stream.read_exact(&mut first)).await.unwrap();
            stuck.push(stream);
        }
        if client == 0 {
            // Neither another token of his nor a URL gives him more; others do not feel it.
            let another = jwt(0);
            let tries = [one_byte(&another, "/files/large"), one_byte("", &signed)];
            let (refused, others) = tokio::join!(join_all(tries), one_byte(TOKEN, "/files/large"));
            for refused in refused {
                assert_eq!((refused.status, refused.header("retry-after")), (429, "1"), "{refused:?}");
                assert!(refused.text().starts_with("16 of your requests"), "{}", refused.text());
            }
            assert_eq!(others.status, 206, "{others:?}");
        }
    }
    let begin = Instant::now();
    let refused = one_byte(TOKEN, "/files/large").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"), "after {:?}", begin.elapsed());
    agent.client_as(TOKEN).await.ping().await;
    assert!(agent.rss_bytes() < 2 * RESIDENT_BYTES, "{} MiB", agent.rss_bytes() >> 20);
    let waiting = one_byte(TOKEN, "/files/large");
    let leaving = async {
        tokio::task::yield_now().await;
        drop(stuck);
    };
    assert_eq!(futures_util::future::join(waiting, leaving).await.0.status, 206, "it waits for its turn");
}

/// Somebody who types does not feel that others move files.
#[tokio::test]
async fn nobody_waits_for_a_transfer() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let bytes = 256 << 20;
    fs::File::create(agent.root().join("large")).unwrap().set_len(bytes).unwrap();
    let mut client = agent.client().await;
    let (mut slowest, mut pings) = (Duration::ZERO, 0);
    let moving = async {
        drain(&agent, "/files/large", bytes).await;
        assert_eq!(fill(&agent, "/files/copy", bytes).await.status, 201);
    };
    let mut moving = std::pin::pin!(moving);
    loop {
        let ping = async {
            let begin = Instant::now();
            client.ping().await;
            begin.elapsed()
        };
        tokio::select! {
            biased;
            took = ping => (pings, slowest) = (pings + 1, slowest.max(took)),
            () = &mut moving => break,
        }
    }
    eprintln!("{pings} pings, the slowest {slowest:?}");
    assert!(pings > 10 && slowest < Duration::from_secs(1), "{pings}: {slowest:?}");
}

/// A disk of the workspace's own, of 8 MiB. Needs root.
const SMALL_DISK: &str =
    "mount -t tmpfs -o size=8m none \"$DISK\"; printf kept > \"$DISK/old\"; exec \"$0\" \"$@\"";

#[tokio::test]
async fn on_a_full_disk_nothing_is_half_written() {
    let launch = Launch::new();
    let disk = launch.home().join("root");
    let launch = launch.env("DISK", disk.to_str().unwrap());
    let agent = launch.through(&["unshare", "--mount", "sh", "-c", SMALL_DISK]).start().await;
    for (path, known_length) in [("/files/old", true), ("/files/new", true), ("/files/old", false)] {
        let reply = if known_length {
            put(&agent, path, &[], &vec![b'x'; 20 << 20]).await
        } else {
            let mut upload = Upload::begin(&agent, path, &[], 1 << 40).await;
            for _ in 0..20 {
                upload.send(&vec![b'x'; 1 << 20]).await;
            }
            upload.end().await
        };
        assert_eq!(reply.status, 507, "{path}: {reply:?}");
        assert!(reply.text().contains("no space left on device"), "{}", reply.text());
    }
    assert_eq!(get(&agent, "/files/old", &[]).await.text(), "kept");
    let names = get(&agent, "/files/", &[]).await;
    assert_eq!(names.text().matches("\"name\"").count(), 1, "{}", names.text());
    assert_eq!(
        put(&agent, "/files/fits", &[], &vec![b'x'; 7 << 20]).await.status,
        201,
        "its room is free again"
    );
    assert_eq!(ask(&agent, "DELETE", "/files/fits", &[]).await.status, 204);
}

/// Two disks in one workspace: what cannot be renamed is copied. Needs root.
#[tokio::test]
async fn files_move_between_disks() {
    let launch = Launch::new();
    let disk = launch.home().join("root");
    fs::create_dir_all(disk.join("volume")).unwrap();
    let launch = launch.env("DISK", disk.join("volume").to_str().unwrap());
    let agent = launch.through(&["unshare", "--mount", "sh", "-c", SMALL_DISK]).start().await;
    put(&agent, "/files/here/file", &[], b"content").await;
    for (from, to, overwrite, status) in [
        ("here/", "/files/volume/there", "F", 201),
        ("volume/there/file", "/files/back", "F", 201),
        ("volume/old", "/files/back", "F", 412),
        ("volume/old", "/files/no/folder", "T", 409),
        ("volume/old", "/files/back", "T", 204),
    ] {
        let headers = [("Destination", to), ("Overwrite", overwrite)];
        let reply = ask(&agent, "MOVE", &format!("/files/{from}"), &headers).await;
        assert_eq!(reply.status, status, "{from} -> {to}: {reply:?}");
    }
    assert_eq!(get(&agent, "/files/back", &[]).await.text(), "kept");
    assert_eq!(get(&agent, "/files/volume/", &[]).await.text().matches("\"name\"").count(), 1);
}

/// What may not be written is not, and what may not be read neither. Needs root, to be somebody else.
#[tokio::test]
async fn the_users_own_rights_hold() {
    use std::os::unix::fs::PermissionsExt;
    let agent = Launch::new().confined().start().await;
    let root = agent.root();
    fs::write(root.join("closed"), "kept").unwrap();
    fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::create_dir(root.join("others")).unwrap();
    assert_eq!(get(&agent, "/files/closed", &[]).await.status, 403);
    let reply = put(&agent, "/files/closed", &[], b"x").await;
    assert_eq!(reply.status, 403, "{reply:?}");
    let reply = put(&agent, "/files/others/new", &[], b"x").await;
    assert_eq!((reply.status, reply.text().contains("permission denied")), (403, true), "{reply:?}");
    assert_eq!(ask(&agent, "MKCOL", "/files/others/new", &[]).await.status, 403);
    assert_eq!(fs::read_to_string(root.join("closed")).unwrap(), "kept");
}
