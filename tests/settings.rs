//! Flags, environment and `pid1.toml`: each setting can be given in all three ways, and the README's table of them is
//! made here, from the command line's own description.

use std::process::Command;

use clap::{Arg, ArgAction};

use crate::support::{Agent, Launch, binary, http_get};

const BEGIN: &str = "<!-- settings: begin -->\n";
const END: &str = "<!-- settings: end -->\n";

/// The flags of the subcommand `name`, without those that clap adds.
fn flags(name: &str) -> Vec<Arg> {
    let mut command = pid1::cli::command();
    command.build();
    let verb = command.find_subcommand(name).unwrap();
    let own = |arg: &&Arg| arg.get_long().is_some() && !["help", "version"].contains(&arg.get_id().as_str());
    verb.get_arguments().filter(own).cloned().collect()
}

#[test]
fn every_flag_has_a_variable() {
    let mut command = pid1::cli::command();
    command.build();
    let nested = |verb: &clap::Command| verb.get_subcommands().cloned().collect::<Vec<_>>();
    let verbs: Vec<_> =
        command.get_subcommands().flat_map(|verb| [vec![verb.clone()], nested(verb)].concat()).collect();
    for verb in verbs {
        for arg in verb.get_arguments().filter(|arg| arg.get_long().is_some()) {
            if ["help", "version"].contains(&arg.get_id().as_str()) {
                continue;
            }
            let variable = arg.get_env().and_then(|name| name.to_str());
            let flag = arg.get_long().unwrap();
            assert!(
                variable.is_some_and(|name| name.starts_with("PID1_")),
                "{} --{flag} has none",
                verb.get_name()
            );
            assert!(arg.get_help().is_some(), "{} --{flag} says nothing", verb.get_name());
        }
    }
    for arg in flags("serve") {
        let expected = format!("PID1_{}", arg.get_long().unwrap().replace('-', "_").to_uppercase());
        assert_eq!(arg.get_env().unwrap().to_str(), Some(expected.as_str()));
    }
}

/// Variables are set by people and by platforms, each with words of their own.
#[test]
fn every_switch_takes_the_usual_words() {
    for arg in flags("serve").iter().filter(|arg| matches!(arg.get_action(), ArgAction::SetTrue)) {
        let variable = arg.get_env().unwrap().to_str().unwrap();
        for word in ["1", "0", "yes", "no", "true", "false", "on", "off"] {
            let (status, said) = Launch::new().env(variable, word).flags(&["--threads", "0"]).refused();
            assert!(!status.success() && said.contains("--threads"), "{variable}={word}: {said}");
        }
    }
}

#[test]
fn the_readme_lists_every_setting() {
    let mut table = String::from("| `pid1.toml` | flag | variable | |\n|---|---|---|---|\n");
    for arg in flags("serve") {
        let long = arg.get_long().unwrap();
        let value = match arg.get_action() {
            ArgAction::SetTrue => String::new(),
            _ => format!(" {}", arg.get_value_names().unwrap()[0]),
        };
        let key = if long == "config" { String::new() } else { format!("`{long}`") };
        let default = match arg.get_default_values() {
            [] => String::new(),
            [value, ..] if arg.get_action().takes_values() => {
                format!(" [default: {}]", value.to_str().unwrap())
            }
            _ => String::new(),
        };
        let help = arg.get_help().unwrap().to_string();
        let variable = arg.get_env().unwrap().to_str().unwrap();
        table += &format!("| {key} | `--{long}{value}` | `{variable}` | {help}{default} |\n");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).expect("the README has a place for the table");
    let (found, after) = rest.split_once(END).expect("the place has an end");
    if std::env::var_os("PID1_UPDATE").is_some() {
        std::fs::write(path, [before, BEGIN, &table, END, after].concat()).unwrap();
    } else {
        assert_eq!(found, table, "run this test with PID1_UPDATE=1 to write the table into the README");
    }
}

#[tokio::test]
async fn a_file_is_read_and_what_is_nearer_goes_first() {
    let launch = Launch::new();
    let file = launch.home().join("settings.toml");
    let elsewhere = launch.home().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let text = format!(
        "# how this container is served\ntoken = 'token-of-the-file-1'\nhost = ['one.example', 'two.example']\n\
         log = 'error'\nping-interval = 7.5\nroot = {elsewhere:?}\n"
    );
    std::fs::write(&file, text).unwrap();
    let config = ["--config", file.to_str().unwrap()];
    let agent = launch.clone().flags(&config).start().await;
    agent.client_as("token-of-the-file-1").await.ping().await;
    assert_eq!(agent.log(), "", "the file's log level");
    let mut client = agent.client_as("token-of-the-file-1").await;
    let shell = client.shell("").await;
    let shown = client.shell_run(shell, "pwd").await;
    assert!(
        shown.contains("/root") && !shown.contains("elsewhere"),
        "the command line names the root: {shown}"
    );
    for host in ["one.example", "two.example"] {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(crate::support::http(&agent, &request).await.0, 200, "{host}");
    }
    drop(agent);
    let by_variable = launch.clone().env("PID1_CONFIG", config[1]).env("PID1_TOKEN", "token-of-the-variable");
    let agent = by_variable.start().await;
    agent.client_as("token-of-the-variable").await.ping().await;
    let (status, _, _) = http_get(&agent, "/healthz").await;
    assert_eq!(status, 200);
}

/// Of two settings that exclude each other too.
#[tokio::test]
async fn the_nearer_of_two_that_exclude_each_other_counts() {
    let launch = Launch::new();
    let token_file = launch.home().join("token");
    std::fs::write(&token_file, "token-of-the-token-file").unwrap();
    let token_file = token_file.to_str().unwrap();
    let config = launch.home().join("settings.toml");
    std::fs::write(&config, "token = 'token-of-the-settings'\nany-repl = true\n").unwrap();
    let config = config.to_str().unwrap();
    for (launch, token) in [
        (
            launch.clone().flags(&["--config", config]).env("PID1_TOKEN_FILE", token_file),
            "token-of-the-token-file",
        ),
        (
            launch.clone().flags(&["--token-file", token_file]).env("PID1_TOKEN", "t"),
            "token-of-the-token-file",
        ),
        (
            launch.clone().flags(&["--token-file", token_file]).env("PID1_TOKEN", ""),
            "token-of-the-token-file",
        ),
        (
            launch.clone().flags(&["--token-file", token_file]).env("PID1_ANY_REPL", "false"),
            "token-of-the-token-file",
        ),
        (launch.clone().flags(&["--config", config, "--repl-id", "box"]), "token-of-the-settings"),
    ] {
        launch.start().await.client_as(token).await.ping().await;
    }
    for both in [
        ["--token", "token-of-the-flag-1", "--token-file", token_file],
        ["--repl-id", "a", "--any-repl", "--dev-key"],
    ] {
        let (status, said) = launch.clone().flags(&both).refused();
        assert!(!status.success() && said.contains("exclude each other") && said.contains(both[0]), "{said}");
    }
}

#[tokio::test]
async fn the_variable_that_names_the_secrets_is_the_agents_own() {
    for value in ["abc", "0", "1", "2", "99", ""] {
        let (status, said) = Launch::new().env("PID1_SECRETS_FD", value).refused();
        assert!(!status.success() && said.contains("PID1_SECRETS_FD"), "{value:?}: {said}");
    }
    let named = Launch::new().flags(&["--secret-env", "FOO,PID1_SECRETS_FD"]).env("FOO", "1");
    named.start().await.client().await.ping().await;
}

#[test]
fn mistakes_in_a_file_name_the_file() {
    let launch = Launch::new();
    let file = launch.home().join("settings.toml");
    let path = file.to_str().unwrap();
    for (text, words) in [
        ("lissten = '127.0.0.1:0'", ["lissten", path]),
        ("threads = 'many'", ["--threads", path]),
        ("threads = 0", ["--threads", path]),
        ("dev-key = 'yes'", ["dev-key", path]),
        ("host = 'unfinished", ["TOML", path]),
    ] {
        std::fs::write(&file, text).unwrap();
        let (status, said) = launch.clone().flags(&["--config", path]).refused();
        assert!(!status.success(), "{text} serves");
        for word in words {
            assert!(said.contains(word), "{text}: {said:?} should say {word:?}");
        }
    }
    let (status, said) = launch.clone().flags(&["--config", "/no/such.toml"]).refused();
    assert!(!status.success() && said.contains("/no/such.toml"), "{said}");
}

/// Others may have written what is in the workspace.
#[tokio::test]
async fn a_file_in_the_workspace_is_not_read() {
    let launch = Launch::new();
    for folder in ["", "root"] {
        std::fs::create_dir_all(launch.home().join(folder)).unwrap();
        std::fs::write(launch.home().join(folder).join("pid1.toml"), "log = 'trace'\nnonsense = 1\n")
            .unwrap();
    }
    let agent: Agent = launch.start().await;
    agent.client().await.ping().await;
}

#[test]
fn completions_and_the_manual_page_are_made() {
    let print = |arguments: &[&str]| {
        let output = Command::new(binary()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = print(&["completions", shell]);
        for word in ["serve", "exec", "--paseto-key", "--jwt-audience"] {
            assert!(
                script.contains(word) || script.contains(word.trim_start_matches('-')),
                "{shell}: {word}"
            );
        }
    }
    // The scripts are read by the shell itself.
    let script = print(&["completions", "bash"]);
    let complete =
        "source /dev/stdin; COMP_WORDS=(pid1 se); COMP_CWORD=1; _pid1 pid1 se pid1; echo \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash")
        .args(["-c", complete])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut bash.stdin.take().unwrap(), script.as_bytes()).unwrap();
    let said = bash.wait_with_output().unwrap();
    let words = String::from_utf8(said.stdout).unwrap();
    assert!(words.split_whitespace().any(|word| word == "serve"), "{words}");
    let page = print(&["man"]);
    assert!(page.starts_with(".ie") || page.starts_with(".TH") || page.contains("\n.TH"), "{page}");
    for word in ["pid1", "paseto", "PID1 EXEC", "PID1 TOKEN", "PID1 TOKEN JWT", "ttl", "audience"] {
        assert!(page.contains(word), "{word}");
    }
}
