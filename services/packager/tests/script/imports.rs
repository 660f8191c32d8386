//! Which packages sources import, by the languages' own parsers. The programs that find them have tests of their own in
//! their languages, which run here, too.

use std::path::Path;

use pid1_sdk::api::{EnsurePackages, File, command::Body};
use pid1_sdk::process::{Io, Keep};
use pid1_sdk::testing::TestMember;

use crate::{project, refused};

fn ensure(file: Option<(&str, &str)>) -> Body {
    let file = file.map(|(path, content)| File {
        path: path.to_owned(),
        content: content.as_bytes().to_vec().into(),
        ..File::default()
    });
    Body::EnsurePackages(EnsurePackages { install: false, file })
}

/// What is printed.
async fn named(member: &mut TestMember, body: Body) -> String {
    member.send(body).await;
    member.until_output("]\n").await
}

#[tokio::test]
async fn packages_that_the_specfile_does_not_name_are_named() {
    let files = [
        ("main.py", "import os, numpy.linalg\nfrom PIL import Image\nimport yaml, six, own\n"),
        ("own.py", "import requests\n"),
        ("skipped/x.py", "import flask\n"),
        ("requirements.txt", "Six==1.16\n"),
        (".replit", "[packager]\nignoredPaths = [\"skipped\"]\nignoredPackages = [\"pyyaml\"]\n"),
    ];
    let (channel, mut member) = project(&files).await;
    let whole = "[{\"name\":\"Pillow\",\"version\":\"*\"},{\"name\":\"numpy\",\"version\":\"*\"},{\"name\":\"requests\",\"version\":\"*\"}]\n";
    assert_eq!(named(&mut member, ensure(None)).await, whole);
    // One file, with what the editor has of it.
    let printed = named(&mut member, ensure(Some(("main.py", "import bs4\n")))).await;
    assert_eq!(printed, "[{\"name\":\"beautifulsoup4\",\"version\":\"*\"}]\n");
    let printed =
        named(&mut member, ensure(Some(("index.ts", "import a from 'socket.io'; import fs from 'fs'\n"))))
            .await;
    assert!(printed.ends_with("[{\"name\":\"socket.io\",\"version\":\"*\"}]\n"), "{printed}");
    let printed = named(&mut member, ensure(Some(("bad.py", "import (\n")))).await;
    assert!(printed.starts_with("bad.py was not read: ") && printed.ends_with("\n[]\n"), "{printed}");
    let error = refused(&mut member, ensure(Some(("../../etc/x.py", "")))).await;
    assert!(error.starts_with("packager: cannot tell what is imported: "), "{error}");
    let error = refused(&mut member, ensure(Some(("main.rs", "use a;")))).await;
    assert!(error.contains("Python and JavaScript only"), "{error}");
    assert!(channel.engine().processes().list().iter().all(|process| process.try_exit().is_some()));
}

#[tokio::test]
async fn the_programs_pass_their_own_tests() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/imports");
    for args in
        [&["python3", "-B", "-m", "unittest", "test_python"][..], &["node", "--test", "test_node.mjs"]]
    {
        let (channel, _member) = project(&[]).await;
        let args = args.iter().map(Into::into).collect();
        let mut spec = channel.engine().spec(args, Vec::new(), Io::Pipes { split_stderr: false }, Keep::Tail);
        spec.cwd = folder.clone();
        let process = channel.engine().processes().start(spec).unwrap();
        let exit = process.exited().await;
        let (_, said) = process.stdout().tail(u64::MAX, 200, 64 << 10);
        assert!(exit.success(), "{}", String::from_utf8_lossy(&said));
    }
}
