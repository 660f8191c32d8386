//! The services as a script of what members send and get.
#![allow(clippy::panic, reason = "a test ends by panicking")]

use std::fs;

use pid1_dotreplit::{DotReplit, Toolchain};
use pid1_sdk::Role;
use pid1_sdk::api::{
    DotReplitGetRequest, DotReplitUpdateOp, DotReplitUpdateRequest, DotReplitUpdateResponse,
    RunConfigGetRequest, ToolchainChanged, ToolchainConfigs, ToolchainGetRequest, command::Body,
    run_config_get_response::Config,
};
use pid1_sdk::channel::Leave;
use pid1_sdk::engine::Settings;
use pid1_sdk::testing::{TestChannel, TestMember, conformance};

const UPDATED: Body = Body::DotReplitUpdateResponse(DotReplitUpdateResponse {});

fn update(ops: &[(&str, &str, &str)]) -> Body {
    let op = |(op, path, value): &(&str, &str, &str)| DotReplitUpdateOp {
        op: (*op).into(),
        path: (*path).into(),
        value: (*value).into(),
    };
    Body::DotReplitUpdateRequest(DotReplitUpdateRequest { ops: ops.iter().map(op).collect() })
}

async fn error(member: &mut TestMember, body: Body) -> String {
    match member.ask(body).await {
        Body::Error(text) => text,
        other => panic!("{other:?} instead of an error"),
    }
}

async fn run_config(member: &mut TestMember) -> Config {
    match member.ask(Body::RunConfigGetRequest(RunConfigGetRequest {})).await {
        Body::RunConfigGetResponse(answer) => answer.config.expect("one of the two"),
        other => panic!("{other:?}"),
    }
}

async fn toolchain(member: &mut TestMember) -> ToolchainConfigs {
    match member.ask(Body::ToolchainGetRequest(ToolchainGetRequest {})).await {
        Body::ToolchainGetResponse(answer) => answer.configs.expect("there is one"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_was_changed_is_read_again() {
    let channel = TestChannel::open::<DotReplit>(None);
    let mut member = channel.join(Role::Editor).await;
    let get = || Body::DotReplitGetRequest(DotReplitGetRequest {});
    let Body::DotReplitGetResponse(empty) = member.ask(get()).await else { panic!("no answer") };
    assert_eq!(empty.dot_replit, Some(Default::default()));
    fs::write(channel.root().join(".replit"), "# mine\nlanguage = \"python3\"\n").unwrap();
    let change = update(&[("add", "run", "\"python3 x.py\""), ("add", "env/PORT", "\"80\"")]);
    assert_eq!(member.ask(change).await, UPDATED);
    let Body::DotReplitGetResponse(answer) = member.ask(get()).await else { panic!("no answer") };
    let file = answer.dot_replit.unwrap();
    assert_eq!((&*file.language, &*file.env["PORT"]), ("python3", "80"));
    assert_eq!(file.run.unwrap().args, ["sh", "-c", "python3 x.py"]);
    let text = fs::read_to_string(channel.root().join(".replit")).unwrap();
    assert_eq!(text, "# mine\nlanguage = \"python3\"\nrun = \"python3 x.py\"\n\n[env]\nPORT = \"80\"\n");
    let wrong = update(&[("remove", "run", ""), ("remove", "run", "")]);
    assert_eq!(error(&mut member, wrong).await, ".replit: cannot remove run: there is no such thing");
    assert_eq!(fs::read_to_string(channel.root().join(".replit")).unwrap(), text);
    fs::write(channel.root().join(".replit"), "run = 1").unwrap();
    assert!(error(&mut member, get()).await.starts_with(".replit, line 1 (run = 1): "));
}

#[tokio::test]
async fn how_the_program_is_run_is_told() {
    let channel = TestChannel::open::<DotReplit>(None);
    let mut member = channel.join(Role::Viewer).await;
    let nothing = error(&mut member, Body::RunConfigGetRequest(RunConfigGetRequest {})).await;
    assert!(nothing.starts_with("no program to run: write run = "), "{nothing}");
    fs::write(channel.root().join("main.c"), "").unwrap();
    let Config::Run(run) = run_config(&mut member).await else { panic!("an interpreter") };
    assert_eq!(run.run.unwrap().args, ["$build/main"]);
    assert!(run.compile.unwrap().args.contains(&"$build/main".to_owned()));
    let text = "run = 'x'\n[env]\nA = '1'\n[interpreter]\ncommand = ['bc']\nprompt = '> '";
    fs::write(channel.root().join(".replit"), text).unwrap();
    let Config::Interp(interp) = run_config(&mut member).await else { panic!("no interpreter") };
    assert_eq!((interp.command.unwrap().args, &interp.prompt[..]), (vec!["bc".to_owned()], &b"> "[..]));
    let refused = error(&mut member, update(&[("add", "run", "\"x\"")])).await;
    assert!(refused.contains("needs the role editor"), "{refused}");
}

#[tokio::test]
async fn members_are_told_when_it_is_another_one_and_only_then() {
    let channel = TestChannel::open::<Toolchain>(Some("toolchain"));
    let root = channel.root().to_owned();
    fs::write(root.join("main.py"), "").unwrap();
    let mut member = channel.join(Role::Viewer).await;
    let first = toolchain(&mut member).await;
    assert_eq!((&*first.entrypoint, &*first.runs[0].id), ("main.py", "language:python"));
    assert_eq!(first.runs[0].default_entrypoints, ["main.py", "app.py", "__main__.py"]);
    assert_eq!(first.runs[0].run.as_ref().unwrap().command.as_ref().unwrap().args[2], "$file");
    assert_eq!(first.packagers[0].packager_files[0], "requirements.txt");
    fs::write(root.join(".replit"), "run = 'x'\n").unwrap();
    let Body::ToolchainChanged(ToolchainChanged { configs }) = member.next().await else { panic!("other") };
    assert_eq!(configs, Some(toolchain(&mut member).await));
    // What changes nothing is not told, nor what makes the file wrong; then what does is.
    fs::write(root.join("main.py"), "print()").unwrap();
    fs::write(root.join(".replit"), "# other words\nrun = 'x'\n").unwrap();
    fs::write(root.join(".replit"), "run = ").unwrap();
    fs::write(root.join(".replit"), "run = 'last'\n").unwrap();
    loop {
        let Body::ToolchainChanged(ToolchainChanged { configs }) = member.next().await else {
            panic!("other")
        };
        let runs = configs.unwrap().runs;
        let own = runs.iter().find(|run| run.id == "dotreplit");
        let args = own.map(|run| run.run.as_ref().unwrap().command.as_ref().unwrap().args[2].clone());
        if args.as_deref() == Some("last") {
            break;
        }
    }
    fs::write(root.join("index.js"), "").unwrap();
    let Body::ToolchainChanged(ToolchainChanged { configs }) = member.next().await else { panic!("other") };
    let languages: Vec<_> = configs.unwrap().runs.into_iter().map(|run| run.language).collect();
    assert_eq!(languages, ["", "python", "javascript"]);
    let engine = channel.engine();
    engine.set_settings(Settings { language: "nodejs".to_owned(), ..engine.settings() });
    let Body::ToolchainChanged(ToolchainChanged { configs }) = member.next().await else { panic!("other") };
    let languages: Vec<_> = configs.unwrap().runs.into_iter().map(|run| run.language).collect();
    assert_eq!(languages, ["", "javascript", "python"]);
    // With nobody here nothing is watched.
    member.leave(Leave::Disconnect).await;
    fs::write(root.join(".replit"), "run = 'unseen'\n").unwrap();
    let mut again = channel.join(Role::Editor).await;
    let runs = toolchain(&mut again).await.runs;
    assert_eq!(runs[0].run.as_ref().unwrap().command.as_ref().unwrap().args[2], "unseen");
}

#[tokio::test]
async fn what_the_file_says_itself_is_told_as_run_does_it() {
    let channel = TestChannel::open::<Toolchain>(None);
    let mut member = channel.join(Role::Viewer).await;
    let text = "language = 'nodejs'\nrun = 'x'\ncompile = 'y'\n[languageServer]\nstart = 'serve-js'\nconfiguration = {a = 1}\n\
                [languages.python.languageServer]\nstart = 'pylsp'\n";
    fs::write(channel.root().join(".replit"), text).unwrap();
    let told = toolchain(&mut member).await;
    let servers: Vec<_> = told.language_servers.iter().map(|one| (&*one.id, &*one.language)).collect();
    assert_eq!(servers, [("python", "python"), ("dotreplit", "javascript")]);
    let config = told.language_servers[1].config.as_ref().unwrap();
    assert_eq!(config.start_command.as_ref().unwrap().args, ["sh", "-c", "serve-js"]);
    assert_eq!(config.configuration_json, r#"{"a":1}"#);
    assert!(told.runs[0].compile.is_some());
    let text = format!(
        "{text}[workflows]\nrunButton = 'A'\n[[workflows.workflow]]\nname = 'A'\n\
                        tasks = [{{task = 'shell.exec', args = 'a'}}, {{task = 'shell.exec', args = 'b'}}]\n"
    );
    fs::write(channel.root().join(".replit"), text).unwrap();
    let told = toolchain(&mut member).await;
    let command = told.runs[0].run.as_ref().unwrap().command.as_ref().unwrap();
    assert!(told.runs[0].compile.is_none() && command.args[2].contains(" -c b"), "{command:?}");
}

#[tokio::test]
async fn they_keep_the_promises_of_every_service() {
    conformance::<DotReplit>(&[]).await;
    conformance::<Toolchain>(&[]).await;
}
