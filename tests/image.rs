//! The static binary as process 1 of a container that holds nothing else: `make image-check`. Debian's `runc` runs it,
//! without limits of its own and in this machine's network, so that clients come from outside.
//!
//! Needs root and `runc`, and `busybox` where an image has a shell.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Peer, SOON, bare_root, binary, copy, eventually};

const TOKEN: &str = "a-token-for-the-image";

/// A name that only the image's `/etc/hosts` knows.
const HOST: &str = "box.example";

/// An image, and how it is run.
struct Image {
    bundle: TempDir,
    config: Value,
}

impl Image {
    /// The agent, and settings of a C library that is not there. Everything is read-only but the workspace and the state
    /// folder, which are volumes. The token is a secret's file.
    fn scratch() -> Image {
        let bundle = TempDir::with_prefix("pid1-test-").unwrap();
        let root = bundle.path().join("rootfs");
        bare_root(&root);
        fs::create_dir(root.join("etc")).unwrap();
        let missing = "passwd: missing files\ngroup: missing files\nhosts: missing files dns\n";
        fs::write(root.join("etc/nsswitch.conf"), missing).unwrap();
        // As container engines write them; nobody answers there.
        fs::write(root.join("etc/hosts"), format!("127.0.0.1 {HOST}\n")).unwrap();
        fs::write(root.join("etc/resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/app:/bin/sh\n").unwrap();
        for folder in ["app", "state"] {
            fs::create_dir(bundle.path().join(folder)).unwrap();
        }
        fs::write(bundle.path().join("token"), TOKEN).unwrap();
        assert!(runc(bundle.path(), &["spec"]).status.success(), "runc makes a configuration");
        let config = fs::read(bundle.path().join("config.json")).unwrap();
        let mut image = Image { config: serde_json::from_slice(&config).unwrap(), bundle };
        let process = image.config["process"].as_object_mut().unwrap();
        process.insert("terminal".into(), false.into());
        process.insert("cwd".into(), "/app".into());
        // What may be set here is the machine's affair, not the image's.
        process.remove("rlimits");
        process.remove("oomScoreAdj");
        let linux = image.config["linux"].as_object_mut().unwrap();
        linux.remove("resources");
        linux["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "network");
        image.mounts().retain(|mount| mount["type"] != "cgroup");
        for (folder, place) in [("app", "/app"), ("state", "/var/lib/pid1"), ("token", "/run/secrets/pid1")] {
            image.bind(folder, place);
        }
        image
    }

    /// With a shell and what else busybox does.
    fn with_shell() -> Image {
        let image = Image::scratch();
        let bin = image.root().join("bin");
        fs::create_dir(&bin).unwrap();
        let busybox =
            ["/bin/busybox", "/usr/bin/busybox"].map(Path::new).into_iter().find(|path| path.exists());
        copy(busybox.expect("busybox is installed: make tools"), &bin.join("busybox"));
        for name in ["sh", "sleep", "cat"] {
            std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
        }
        image
    }

    fn root(&self) -> std::path::PathBuf {
        self.bundle.path().join("rootfs")
    }

    fn mounts(&mut self) -> &mut Vec<Value> {
        self.config["mounts"].as_array_mut().unwrap()
    }

    fn bind(&mut self, name: &str, place: &str) {
        let source = self.bundle.path().join(name);
        let mount = json!({"destination": place, "type": "bind", "source": source, "options": ["bind"]});
        self.mounts().push(mount);
    }

    async fn run(mut self, args: &[&str]) -> Container {
        let agent =
            "/pid1 --listen 0.0.0.0:0 --token-file /run/secrets/pid1 --stop-grace 2 --host".split(' ');
        let line: Vec<&str> = agent.chain([HOST]).chain(args.iter().copied()).collect();
        self.config["process"]["args"] = json!(line);
        let path = |name: &str| self.bundle.path().join(name);
        fs::write(path("config.json"), self.config.to_string()).unwrap();
        let [out, log] = ["out", "log"].map(|name| File::create(path(name)).unwrap());
        let child = command(self.bundle.path(), &["run", &name(self.bundle.path())])
            .stdout(out)
            .stderr(log)
            .spawn()
            .unwrap();
        let mut container = Container { child, bundle: self.bundle, port: 0 };
        eventually("the agent says where it is", SOON, || {
            assert!(
                container.child.try_wait().unwrap().is_none(),
                "it did not start: {}",
                container.said("log")
            );
            let said = container.said("out");
            let url = said.lines().find_map(|line| line.strip_prefix("http://127.0.0.1:"));
            container.port = url.and_then(|rest| rest.trim_end_matches('/').parse().ok()).unwrap_or_default();
            container.port != 0
        })
        .await;
        container
    }
}

/// The container's, which is a name in the control groups of the whole machine, too.
fn name(bundle: &Path) -> String {
    bundle.file_name().unwrap().to_string_lossy().into_owned()
}

/// `runc` with a list of containers that is the test's own.
fn command(bundle: &Path, args: &[&str]) -> Command {
    let mut runc = Command::new("runc");
    runc.arg("--root").arg(bundle.join("runc")).args(args).current_dir(bundle).stdin(Stdio::null());
    runc
}

fn runc(bundle: &Path, args: &[&str]) -> Output {
    command(bundle, args).output().expect("runc is installed: make tools")
}

/// A running container; ended with all that is in it when dropped.
struct Container {
    child: Child,
    bundle: TempDir,
    port: u16,
}

impl Container {
    fn said(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.bundle.path().join(name)).unwrap()).into_owned()
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/#token={TOKEN}", self.port)
    }

    /// What `runc` says to a verb on this container.
    fn runc(&self, verb: &[&str], rest: &[&str]) -> Output {
        let bundle = self.bundle.path();
        runc(bundle, &[verb, &[&name(bundle)], rest].concat())
    }

    /// Process 1, as seen from here.
    fn first(&self) -> i32 {
        let state = self.runc(&["state"], &[]);
        let state: Value = serde_json::from_slice(&state.stdout).unwrap();
        state["pid"].as_i64().unwrap() as i32
    }

    /// What `proc` says of process 1.
    fn proc(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.first())).unwrap()
    }

    /// Runs a command there, from here.
    fn exec(&self, args: &[&str]) -> Output {
        Command::new(binary()).args(["exec", &self.url(), "--"]).args(args).output().unwrap()
    }

    /// Asks it to end; its status.
    async fn ended(mut self) -> (ExitStatus, String) {
        let first = self.first();
        assert!(self.runc(&["kill"], &["TERM"]).status.success());
        let mut status = None;
        eventually("the container ends", SOON, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        assert!(!Path::new(&format!("/proc/{first}")).exists(), "process 1 is gone, and all others with it");
        let left = runc(self.bundle.path(), &["list", "--quiet"]);
        assert_eq!(String::from_utf8(left.stdout).unwrap(), "", "containers are left");
        (status.unwrap(), self.said("log"))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.runc(&["delete", "--force"], &[]);
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the container's log ---\n{}", self.said("log"));
        }
    }
}

/// The compiler has a version in two places.
#[test]
fn the_image_is_built_by_our_compiler() {
    let read = |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let toolchain: toml::Table = read("rust-toolchain.toml").parse().unwrap();
    let version = toolchain["toolchain"]["channel"].as_str().unwrap();
    assert!(read("Dockerfile").contains(&format!("FROM rust:{version}-")), "{version}");
}

#[tokio::test]
async fn an_image_with_nothing_else_is_served() {
    let container = Image::scratch().run(&[]).await;
    let mut peer = Peer::connect(&container.url()).await;
    peer.ping().await;
    assert!(container.proc("status").lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1")));
    // A program.
    let output = container.exec(&["/pid1", "--version"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), concat!("pid1 ", env!("CARGO_PKG_VERSION"), "\n"));
    assert!(output.status.success(), "{output:?}");
    // Names, which a C library would look up in modules that are not there.
    let remote = format!("http://{HOST}:{}/#token={TOKEN}", container.port);
    let output = container.exec(&["/pid1", "exec", &remote, "--", "/pid1", "--version"]);
    assert!(output.status.success() && output.stdout.starts_with(b"pid1 "), "{output:?}");
    let output = container.exec(&["/pid1", "exec", "http://no-such-host.invalid/#token=none", "--", "none"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(255), "{said}");
    assert!(said.contains("no-such-host.invalid") && !said.contains("panicked"), "{said}");
    let said = peer.no_shell().await;
    assert!(said.starts_with("there is no shell to open here") && said.lines().count() == 1, "{said}");
    let (status, log) = container.ended().await;
    assert!(status.success(), "{status:?}");
    // There was no /tmp, and no right to make one.
    assert!(log.lines().any(|line| line.contains("WARN") && line.contains("/tmp")), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test]
async fn an_image_with_a_shell_and_a_main_command() {
    let script = "trap 'exit 7' TERM; cat /proc/1/cmdline; echo; while :; do sleep 1; done";
    let container = Image::with_shell().run(&["--", "sh", "-c", script]).await;
    eventually("the main command prints", SOON, || container.said("out").contains("/pid1\0--listen")).await;
    let mut peer = Peer::connect(&container.url()).await;
    let shell = peer.open("shell", "").await;
    peer.type_in(shell, "echo so''me $$ && cat <&0 <<'' && sleep 1000 &\nword\n\n").await;
    peer.output_until(shell, "some ").await;
    let output = container.exec(&["sh", "-c", "cat; exit 3"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let (status, log) = container.ended().await;
    assert_eq!(status.code(), Some(7), "{log}");
}

#[tokio::test]
async fn a_read_only_image_gets_room_for_temporary_files() {
    let mut image = Image::scratch();
    for set in ["bounding", "effective", "permitted"] {
        let all = image.config["process"]["capabilities"][set].as_array_mut().unwrap();
        all.push("CAP_SYS_ADMIN".into());
    }
    fs::create_dir(image.root().join("tmp")).unwrap();
    let container = image.run(&[]).await;
    let mounted = container.proc("mountinfo");
    let is_mounted = |path: &str| mounted.lines().any(|line| line.contains(path));
    assert!(is_mounted(" /tmp rw,nosuid,nodev"), "{mounted}");
    // It holds the secret.
    assert!(!is_mounted(" /run "), "{mounted}");
    let (status, log) = container.ended().await;
    assert!(status.success() && !log.contains("WARN"), "{log}");
}
