//! A registry of packages, over plain HTTP, that can be as slow to give them as a test needs it. What it has is told at
//! once; whoever wants a package itself waits until the test says so.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;

/// A package of Rust, and where a sparse index has it.
pub const CRATE: &str = "anabel";
const CRATE_INDEX: &str = "/an/ab/anabel";

/// Packages of Node: one that is nothing but its manifest, and one that is larger than small disks.
pub const SMALL: &str = "small";
pub const BIG: &str = "big";
const BIG_LINES: usize = 700_000;

/// Whoever wants this wants a package itself.
const DOWNLOADS: &str = "/dl/";

pub struct Registry {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    answers: Vec<(String, Vec<u8>)>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Packages are given.
    gives: bool,
    /// What was asked for, in order.
    asked: Vec<String>,
    /// Those who wait for a package, and for which.
    waiting: Vec<(String, TcpStream)>,
}

impl Registry {
    /// One that gives no package yet.
    pub fn start() -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answers = answers(&format!("http://{address}"));
        let shared = Arc::new(Shared { answers, state: Mutex::default() });
        let serving = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = serving.clone();
                thread::spawn(move || shared.serve(client));
            }
        });
        Registry { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked for so far.
    pub fn asked(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().asked.clone()
    }

    /// How often a package itself was asked for.
    pub fn downloads(&self) -> usize {
        self.asked().iter().filter(|path| path.starts_with(DOWNLOADS)).count()
    }

    /// From here on packages are given.
    pub fn give(&self) {
        let mut state = self.shared.state.lock().unwrap();
        state.gives = true;
        for (path, client) in state.waiting.drain(..) {
            self.shared.answer(&path, client);
        }
    }

    /// Those who wait get none.
    pub fn refuse(&self) {
        for (_, client) in self.shared.state.lock().unwrap().waiting.drain(..) {
            self.shared.answer("/nothing", client);
        }
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream) {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            match client.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return,
            }
        }
        let head = String::from_utf8_lossy(&head);
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut state = self.state.lock().unwrap();
        state.asked.push(path.clone());
        match path.starts_with(DOWNLOADS) && !state.gives {
            true => state.waiting.push((path, client)),
            false => {
                drop(state);
                self.answer(&path, client);
            }
        }
    }

    /// Whoever is not there to hear it does not mind.
    fn answer(&self, path: &str, mut client: TcpStream) {
        let found = self.answers.iter().find(|(known, _)| known == path);
        let (status, body) = found.map_or(("404 Not Found", &b"{}"[..]), |(_, body)| ("200 OK", body));
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        let _ = client.write_all(head.as_bytes()).and_then(|()| client.write_all(body));
    }
}

fn answers(url: &str) -> Vec<(String, Vec<u8>)> {
    let folder = TempDir::with_prefix("pid1-registry-").unwrap();
    let manifest = format!("[package]\nname = \"{CRATE}\"\nversion = \"1.0.0\"\nedition = \"2021\"\n");
    let files = [("Cargo.toml", manifest.into_bytes()), ("src/lib.rs", Vec::new())];
    let (archive, sha256) = packed(folder.path(), &format!("{CRATE}-1.0.0"), &files);
    let index = format!(
        "{{\"name\":\"{CRATE}\",\"vers\":\"1.0.0\",\"deps\":[],\"cksum\":\"{sha256}\",\"features\":{{}},\"yanked\":false}}\n"
    );
    let mut answers = vec![
        ("/config.json".to_owned(), format!("{{\"dl\":\"{url}/dl\",\"api\":null}}").into_bytes()),
        (CRATE_INDEX.to_owned(), index.into_bytes()),
        (format!("{DOWNLOADS}{CRATE}/1.0.0/download"), archive),
    ];
    for (name, lines) in [(SMALL, 0), (BIG, BIG_LINES)] {
        let manifest = format!("{{\"name\":\"{name}\",\"version\":\"1.0.0\"}}");
        // Nothing that is all the same: npm unpacks none of that.
        let content: String = (0..lines).map(|line| format!("{line:08}\n")).collect();
        let files = [("package.json", manifest.into_bytes()), ("content", content.into_bytes())];
        let (archive, _) = packed(&folder.path().join(name), "package", &files);
        let told = format!(
            "{{\"name\":\"{name}\",\"dist-tags\":{{\"latest\":\"1.0.0\"}},\"versions\":{{\"1.0.0\":{{\"name\":\"{name}\",\
             \"version\":\"1.0.0\",\"dist\":{{\"tarball\":\"{url}{DOWNLOADS}{name}.tgz\"}}}}}}}}"
        );
        answers.push((format!("/{name}"), told.into_bytes()));
        answers.push((format!("{DOWNLOADS}{name}.tgz"), archive));
    }
    answers
}

/// An archive of these files in a folder of this name, and what it is checked by.
fn packed(place: &Path, name: &str, files: &[(&str, Vec<u8>)]) -> (Vec<u8>, String) {
    for (file, content) in files {
        let path = place.join(name).join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let archive = place.join("archive");
    let tar = Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(place).arg(name).status().unwrap();
    assert!(tar.success());
    let sum = Command::new("sha256sum").arg(&archive).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    (fs::read(&archive).unwrap(), sum.split(' ').next().unwrap().to_owned())
}
