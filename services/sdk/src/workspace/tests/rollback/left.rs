//! What an agent that was killed has left: finished by the next one, however far it came, and believed only as far as it
//! can do no harm.

use super::*;

/// The copy of a file that a journal tells of.
fn copy_of(files: &Files, number: usize) -> PathBuf {
    let journal: serde_json::Value = serde_json::from_slice(&fs::read(files.journal()).unwrap()).unwrap();
    let entry = &journal["files"][number];
    let path = files.root().join(from_wire(entry["path"].as_str().unwrap()));
    path.with_file_name(entry["was"]["there"]["copy"].as_str().unwrap())
}

#[test]
fn the_next_agent_puts_back_what_is_half_changed() {
    let files = project();
    let odd = std::ffi::OsStr::from_bytes(b"caf\xe9\n");
    fs::write(files.root().join(odd), "odd").unwrap();
    drop(files.begin_change(&[Path::new(SPEC), Path::new(LOCK), Path::new(odd), Path::new("made")]).unwrap());
    files.write_in_place(SPEC, "ha");
    fs::write(files.root().join(odd), "changed").unwrap();
    files.write_in_place("made", "x");
    let next = files.next_agent();
    let restored = next.roll_back_left().unwrap();
    assert_eq!(
        restored.iter().map(|file| file.path.as_os_str()).collect::<Vec<_>>(),
        [SPEC.as_ref(), odd, "made".as_ref()]
    );
    assert_eq!(kept(&restored[0]), "ha");
    assert_eq!(fs::read(files.root().join(odd)).unwrap(), b"odd");
    assert!(
        !files.root().join("made").exists() && files.read_text(SPEC).unwrap() == "spec" && files.is_tidy()
    );
    assert_eq!(next.roll_back_left().unwrap(), []);
    assert_eq!(files.next_agent().roll_back_left().unwrap(), []);
}

#[test]
fn who_was_killed_while_putting_back_is_followed_by_one_who_goes_on() {
    // How far the one before came: of three files, the first was changed, the second was not, the third was made.
    for steps in 0..=5 {
        let files = project();
        drop(files.change(&[SPEC, LOCK, "made"]).unwrap());
        files.write_in_place(SPEC, "ha");
        files.write_in_place("made", "x");
        let (spec, lock) = (copy_of(&files, 0), copy_of(&files, 1));
        let replaced = files.scratch().join("replaced/package.json.1");
        let done: [&dyn Fn(); 5] = [
            &|| fs::hard_link(files.root().join(SPEC), &replaced).unwrap(),
            &|| fs::rename(&spec, files.root().join(SPEC)).unwrap(),
            &|| fs::remove_file(&lock).unwrap(),
            &|| fs::hard_link(files.root().join("made"), replaced.with_file_name("made.2")).unwrap(),
            &|| fs::remove_file(files.root().join("made")).unwrap(),
        ];
        done[..steps].iter().for_each(|step| step());
        let restored = files.next_agent().roll_back_left().unwrap();
        let expected: &[&str] =
            [&[SPEC, "made"][..], &["made"], &[]][usize::from(steps > 1) + usize::from(steps > 4)];
        assert_eq!(paths(&restored), expected, "after {steps} steps");
        assert_eq!(
            (files.read_text(SPEC).unwrap(), files.read_text(LOCK).unwrap()),
            ("spec".into(), "lock".into())
        );
        assert!(!files.root().join("made").exists() && files.is_tidy());
        assert_eq!(files.next_agent().roll_back_left().unwrap(), []);
    }
}

#[test]
fn what_was_left_before_or_after_a_journal_is_in_nobodys_way() {
    let files = project();
    // Killed while the copies were made or removed, and while the journal was written.
    drop(files.change(&[SPEC, LOCK]).unwrap());
    fs::rename(files.journal(), files.scratch().join("rollback.new")).unwrap();
    files.write_in_place(SPEC, "kept");
    let next = files.next_agent();
    assert_eq!(next.roll_back_left().unwrap(), []);
    assert_eq!(
        (files.read_text(SPEC).unwrap(), files.names("")),
        ("kept".into(), vec![SPEC.into(), "sub".into()])
    );
    next.begin_change(&[Path::new(SPEC)]).unwrap().keep().unwrap();
    assert!(!files.scratch().join("rollback.new").exists());
}

/// What the next agent says of the journal; that it is out of the way then, and nothing has been touched.
fn refused(files: &Files, journal: &[u8]) -> String {
    let listing = |folder: &Path| {
        let mut all: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        all.sort();
        all
    };
    let state = || (listing(files.folder.path()), listing(files.root()), listing(&files.root().join("sub")));
    let before = state();
    fs::write(files.journal(), journal).unwrap();
    let said = text(files.next_agent().roll_back_left());
    assert!(said.ends_with("/scratch/rollback.failed"), "{said}");
    assert_eq!(fs::read(files.scratch().join("rollback.failed")).unwrap(), journal);
    assert!(!files.journal().exists() && state() == before, "{said}");
    assert_eq!(files.next_agent().roll_back_left().unwrap(), []);
    assert_eq!(fs::read_to_string(files.folder.path().join("secret")).unwrap(), "outside");
    said
}

#[test]
fn a_journal_that_is_cut_off_or_something_else_does_nothing() {
    let files = project();
    drop(files.change(&[SPEC, LOCK, "absent"]).unwrap());
    let whole = fs::read(files.journal()).unwrap();
    files.write_in_place(SPEC, "x");
    files.write_in_place("absent", "x");
    for length in 0..whole.len() {
        let said = refused(&files, &whole[..length]);
        assert!(said.contains("/scratch/rollback: it is no journal of a change: "), "{said}");
    }
    let text = String::from_utf8(whole.clone()).unwrap();
    for other in [vec![0; whole.len()], vec![0xff; 10], vec![b'['; 2 << 20], b"{}".to_vec()] {
        assert!(refused(&files, &other).contains("it is no journal of a change: "));
    }
    let said = refused(&files, text.replace("\"form\":1", "\"form\":2").as_bytes());
    assert!(said.contains("it is of the form 2, not 1; "), "{said}");
    let said = refused(&files, text.replace("/root\"", "/other\"").as_bytes());
    assert!(said.contains("it is of another workspace, ") && said.contains("/other; "), "{said}");
    // What does not say what a file was does not say that there was none.
    let said = refused(&files, text.replace(",\"was\":\"absent\"", "").as_bytes());
    assert!(said.contains("missing field `was`"), "{said}");
    // The whole one still does.
    fs::write(files.journal(), whole).unwrap();
    assert_eq!(paths(&files.next_agent().roll_back_left().unwrap()), [SPEC, "absent"]);
}

#[test]
fn a_journal_with_foreign_paths_touches_nothing() {
    let files = project();
    fs::create_dir(files.root().join(".pid1")).unwrap();
    fs::write(files.root().join(".pid1/lock"), "x").unwrap();
    let outside = files.folder.path().join("other");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "outside").unwrap();
    symlink(&outside, files.root().join("out")).unwrap();
    symlink("sub", files.root().join("way")).unwrap();
    let root = files.root().display().to_string();
    let journal = |path: &str, was: &str| {
        format!(r#"{{"form":1,"root":"{root}","files":[{{"path":"{path}","was":{was}}}]}}"#).into_bytes()
    };
    let there = |copy: &str| format!(r#"{{"there":{{"copy":"{copy}","mode":420,"owner":0,"group":0}}}}"#);
    let temporary = ".pid1-tmp-0000000000000001";
    for path in ["../secret", "sub/../../secret", "/etc/passwd", "", ".", "sub/..", "..", "\\u0000/.."] {
        for was in ["\"absent\"", &there(temporary)] {
            let said = refused(&files, &journal(path, was));
            assert!(said.contains("a path that is not from the root of the workspace"), "{path}: {said}");
        }
    }
    for copy in ["../secret", "package.json", "", ".pid1-tmp-0000000000000001/x"] {
        let said = refused(&files, &journal("made", &there(copy)));
        assert!(said.contains("a copy with a name that the agent gives to none"), "{said}");
    }
    fs::write(outside.join(temporary), "x").unwrap();
    for was in ["\"absent\"", &there(temporary)] {
        assert!(refused(&files, &journal("out/file", was)).contains("leads out of the workspace"));
        assert!(refused(&files, &journal(".pid1/lock", was)).contains("no such file or directory"));
    }
    let said = refused(&files, &journal("way/lock", "\"absent\""));
    assert!(said.starts_with("roll back way/lock: a folder on its way is a link now; "), "{said}");
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "outside");
    assert_eq!(fs::read_to_string(files.root().join(".pid1/lock")).unwrap(), "x");
}

#[test]
fn a_folder_that_was_swapped_for_a_link_leads_nowhere() {
    let files = project();
    let change = files.change(&[LOCK, "sub/made"]).unwrap();
    let outside = files.folder.path().join("moved");
    fs::rename(files.root().join("sub"), &outside).unwrap();
    fs::write(outside.join("lock"), "outside").unwrap();
    fs::write(outside.join("made"), "outside").unwrap();
    symlink(&outside, files.root().join("sub")).unwrap();
    let said = text(change.roll_back());
    assert!(said.starts_with("roll back sub/lock: the link sub leads out of the workspace"), "{said}");
    assert_eq!(fs::read_to_string(outside.join("lock")).unwrap(), "outside");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 3);
}
