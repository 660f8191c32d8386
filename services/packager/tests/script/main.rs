//! The service as a script of what members send and get. What takes a registry is in the tests of the published client.

mod imports;

use std::fs;

use pid1_packager::Packager;
use pid1_sdk::api::{
    Package, PackageAdd, PackageInstall, PackageListSpecfile, PackageRemove, PackageSearch,
    PackageSearchResp, command::Body,
};
use pid1_sdk::engine::Settings;
use pid1_sdk::testing::{TestChannel, TestMember, conformance};
use pid1_sdk::{Role, limits};

fn package(name: &str, spec: &str) -> Package {
    Package { name: name.to_owned(), spec: spec.to_owned(), ..Package::default() }
}

fn add(name: &str, spec: &str) -> Body {
    Body::PackageAdd(PackageAdd { pkgs: vec![package(name, spec)], use_new_response: false })
}

fn remove(name: &str) -> Body {
    Body::PackageRemove(PackageRemove { pkgs: vec![package(name, "")] })
}

fn search(query: &str) -> Body {
    Body::PackageSearch(PackageSearch { query: query.to_owned() })
}

fn install() -> Body {
    Body::PackageInstall(PackageInstall::default())
}

const LIST: Body = Body::PackageListSpecfile(PackageListSpecfile {});
const OK: Body = Body::Ok(pid1_sdk::api::Ok {});

/// A channel whose workspace has these files, and its only member.
async fn project(files: &[(&str, &str)]) -> (TestChannel, TestMember) {
    let channel = TestChannel::open::<Packager>(None);
    for (path, text) in files {
        write(&channel, path, text);
    }
    let member = channel.join(Role::Editor).await;
    (channel, member)
}

fn write(channel: &TestChannel, path: &str, text: &str) {
    let path = channel.root().join(path);
    fs::create_dir_all(path.parent().expect("it is below the root")).expect("the workspace can be written");
    fs::write(path, text).expect("the workspace can be written");
}

async fn listed(member: &mut TestMember) -> Vec<String> {
    match member.ask(LIST).await {
        Body::PackageListSpecfileResp(list) => {
            list.pkgs.into_iter().map(|one| format!("{} {}", one.name, one.spec).trim().to_owned()).collect()
        }
        other => unreachable!("{other:?}"),
    }
}

async fn refused(member: &mut TestMember, body: Body) -> String {
    match member.ask(body.clone()).await {
        Body::Error(text) => text,
        other => unreachable!("{body:?}: {other:?}"),
    }
}

#[tokio::test]
async fn it_keeps_the_contract_of_services() {
    conformance::<Packager>(&[]).await;
}

#[tokio::test]
async fn specfiles_are_listed_as_they_are_written() {
    for (file, text, expected) in [
        ("requirements.txt", "# web\nflask>=2  # x\n-r more.txt\nsix\n", vec!["flask >=2", "six"]),
        (
            "pyproject.toml",
            "[project]\nname='x'\ndependencies=['a==1','b']\n[dependency-groups]\nt=['c']\n",
            vec!["a ==1", "b", "c"],
        ),
        (
            "package.json",
            r#"{"name":"x","dependencies":{"b":"^1","a":"2"},"devDependencies":{"@s/c":"*"}}"#,
            vec!["a 2", "b ^1", "@s/c *"],
        ),
        (
            "Cargo.toml",
            "[dependencies]\nb='1'\na={version='2'}\n[dev-dependencies]\nc='3'\n",
            vec!["b 1", "a 2", "c 3"],
        ),
    ] {
        let (_channel, mut member) = project(&[(file, text)]).await;
        assert_eq!(listed(&mut member).await, expected, "{file}");
    }
    for (file, text) in [("package.json", "{"), ("pyproject.toml", "["), ("Cargo.toml", "a = ")] {
        let (_channel, mut member) = project(&[(file, text)]).await;
        let error = refused(&mut member, LIST).await;
        assert!(error.starts_with(file), "{error}");
    }
}

#[tokio::test]
async fn the_language_is_that_of_packager_in_dot_replit_then_that_of_the_program() {
    let files = [
        ("requirements.txt", "py\n"),
        ("package.json", "{\"dependencies\":{\"js\":\"1\"}}"),
        ("main.py", ""),
    ];
    let (channel, mut member) = project(&files).await;
    assert_eq!(listed(&mut member).await, ["py"]);
    channel.engine().set_settings(Settings { language: "nodejs".into(), ..Settings::default() });
    assert_eq!(listed(&mut member).await, ["js 1"]);
    write(&channel, ".replit", "[packager]\nlanguage = \"python3\"\n");
    assert_eq!(listed(&mut member).await, ["py"]);
    write(&channel, ".replit", "language = \"go\"\n");
    channel.engine().set_settings(Settings::default());
    let error = refused(&mut member, LIST).await;
    assert!(
        error.contains("packages of Go are not managed here yet, those of JavaScript, Python"),
        "{error}"
    );
    write(&channel, ".replit", "[packager\n");
    let error = refused(&mut member, LIST).await;
    assert!(error.starts_with(".replit, line 1"), "{error}");
    let (_channel, mut member) = project(&[]).await;
    let error = refused(&mut member, install()).await;
    assert!(error.contains("begin with one of package.json, requirements.txt"), "{error}");
}

#[tokio::test]
async fn a_viewer_may_read_the_specfile_and_nothing_else() {
    let (channel, _editor) = project(&[("requirements.txt", "six\n")]).await;
    let mut viewer = channel.join(Role::Viewer).await;
    assert_eq!(listed(&mut viewer).await, ["six"]);
    for body in [add("a", ""), remove("six"), install(), search("a")] {
        let error = refused(&mut viewer, body).await;
        assert!(error.contains("viewer"), "{error}");
    }
    assert_eq!(channel.engine().processes().list().len(), 0);
}

#[tokio::test]
async fn what_cannot_be_a_package_starts_nothing() {
    let (channel, mut member) = project(&[("package.json", "{\"dependencies\":{\"a\":\"1\"}}")]).await;
    let long = "x".repeat(5000);
    for (name, spec, expected) in [
        ("", "", "\"\" cannot be a package"),
        ("--registry=x", "", "a package of npm is called such as"),
        ("../x", "", "a package of npm is called such as"),
        ("a", "1\u{1b}[0m\n", "a version of a package is such as"),
        (&long, "", "have at most 1024 bytes"),
    ] {
        let error = refused(&mut member, add(name, spec)).await;
        assert!(error.starts_with("packager: ") && error.contains(expected) && error.len() < 300, "{error}");
        assert!(!error.contains('\u{1b}'));
    }
    let many =
        PackageAdd { pkgs: vec![package("a", ""); limits::PACKAGES_AT_ONCE + 1], use_new_response: false };
    let error = refused(&mut member, Body::PackageAdd(many)).await;
    assert!(error.contains("a request names 1 to 256 packages, this one 257"), "{error}");
    let error = refused(&mut member, remove("b")).await;
    assert!(error.contains("the project's specfile does not name \"b\""), "{error}");
    assert_eq!(member.ask(search("  ")).await, Body::PackageSearchResp(PackageSearchResp::default()));
    assert_eq!(channel.engine().processes().list().len(), 0);
    assert_eq!(fs::read_dir(channel.root()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_tool_that_is_missing_is_named_with_where_it_comes_from() {
    for (file, text, expected) in [
        ("package.json", "{}", "npm is in no folder of $PATH: npm comes with Node.js"),
        ("pnpm-lock.yaml", "", "pnpm is in no folder of $PATH: the project's lock file is pnpm's"),
        ("requirements.txt", "a\n", "python3 is in no folder of $PATH: put the packages python3"),
        ("uv.lock", "", "uv is in no folder of $PATH: this project is uv's"),
        ("Cargo.toml", "[package]\n", "cargo is in no folder of $PATH: cargo comes with Rust"),
    ] {
        let (channel, mut member) = project(&[(file, text), (".replit", "language = \"nix\"\n")]).await;
        let language = match file {
            "package.json" | "pnpm-lock.yaml" => "nodejs",
            "Cargo.toml" => "rust",
            _ => "python3",
        };
        let env = vec![("PATH".into(), channel.root().join("none").into_os_string())];
        channel.engine().set_settings(Settings { language: language.into(), env, ..Settings::default() });
        if file == "pnpm-lock.yaml" {
            write(&channel, "package.json", "{}");
        }
        let error = refused(&mut member, install()).await;
        assert!(error.contains(expected), "{file}: {error}");
    }
}

#[tokio::test]
async fn other_peoples_lock_files_are_left_to_their_tools() {
    let (_channel, mut member) = project(&[("poetry.lock", ""), ("pyproject.toml", "[project]\n")]).await;
    let error = refused(&mut member, add("six", "")).await;
    assert_eq!(error, "packager: poetry.lock is poetry's: change this project's packages with poetry");
    let manifest = "{\"packageManager\":\"vlt@1\"}";
    let (_channel, mut member) = project(&[("package.json", manifest)]).await;
    let error = refused(&mut member, install()).await;
    assert!(error.contains("packageManager vlt is none of npm"), "{error}");
}

#[tokio::test]
async fn a_client_that_holds_snapshots_off_holds_changes_off() {
    let (channel, mut member) = project(&[("package.json", "{}")]).await;
    let lock = channel.engine().snapshots().take("packager", "somebody").unwrap();
    let error = refused(&mut member, install()).await;
    assert!(error.contains("the lock packager is held by somebody"), "{error}");
    drop(lock);
}

#[tokio::test]
async fn nothing_to_install_is_no_failure() {
    for (file, expected) in
        [("main.py", "no requirements.txt"), ("index.js", "no package.json"), ("main.rs", "no Cargo.toml")]
    {
        let (channel, mut member) = project(&[(file, "")]).await;
        member.send(install()).await;
        member.until_output(expected).await;
        assert_eq!(member.ask(install()).await, OK);
        assert_eq!(fs::read_dir(channel.root()).unwrap().count(), 1);
    }
}
