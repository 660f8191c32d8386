//! What an operator gives the agent in secret, no program that runs there can find.

use pid1_sdk::api::{Exec, command::Body};

use crate::support::{Launch, SOON, output_of, within};

const TOKEN: &str = "token-of-an-operator-1";
const JWT_SECRET: &str = "shared-key-of-a-signer-with-32-bytes";
const CLOUD: &str = "key-of-a-cloud-3";
const PLANTED: &str = "planted-for-the-test-4";

/// Looks where processes' secrets are found, for each line of the file `needles`, without having them in its own
/// command line. What a program was started with is readable by whoever has its user, as `planted` shows.
const SCAN: &str = r#"
PLANTED="$(tail -n 1 needles)" sleep 60 & planted=$!
while ! tr '\0' '\n' < /proc/$planted/environ | grep -q ^PLANTED=; do sleep 0.01; done
for file in /proc/[0-9]*/environ /proc/[0-9]*/cmdline; do
  while read -r needle; do
    if printf '%s' "$needle" | grep -qaF -f - "$file" 2>/dev/null; then echo "found $needle in $file"; fi
  done < needles
done
kill $planted
for file in mem maps environ auxv; do
  if ( exec 3< /proc/1/$file ) 2>/dev/null; then echo "opened $file"; else echo "closed $file"; fi
done
ls /proc/1/fd > /dev/null 2>&1 && echo "opened fd"
ls -l /proc/self/fd | grep memfd && echo "opened by inheritance"
id -u; env
echo scan-is-done
"#;

#[tokio::test]
async fn no_program_finds_the_secrets_of_process_1() {
    let launch = || Launch::new().confined().env("CLOUD_KEY", CLOUD).env("PLAIN", "for everybody");
    let flags = ["--jwt-audience", "box", "--secret-env", "CLOUD_KEY", "--log", "trace"];
    let by_flag = launch().flags(&flags).flags(&["--token", TOKEN]).env("PID1_JWT_SECRET", JWT_SECRET);
    let url = format!("ws://127.0.0.1/wsv2/{TOKEN}");
    let by_variable = launch().flags(&flags).flags(&["--jwt-secret", JWT_SECRET]).env("PID1_TOKEN", TOKEN);
    for launch in [by_flag, by_variable.env("PID1_URL", &url)] {
        no_program_finds_them(launch).await;
    }
}

async fn no_program_finds_them(launch: Launch) {
    let agent = launch.start().await;
    let needles = [TOKEN, JWT_SECRET, CLOUD, PLANTED].join("\n") + "\n";
    std::fs::write(agent.root().join("needles"), needles).unwrap();
    let mut client = agent.client_as(TOKEN).await;
    let channel = client.open("exec", "").await;
    let args = ["bash", "-c", SCAN].map(str::to_owned).to_vec();
    client.send(channel, Body::Exec(Exec { args, ..Exec::default() })).await;
    let mut said = String::new();
    let scan = async {
        while !said.contains("scan-is-done") {
            let command = client.until("output", |command| output_of(command, channel).is_some()).await;
            said += output_of(&command, channel).unwrap_or_default();
        }
    };
    within("the scan", SOON * 3, scan).await;
    let found: Vec<_> = said.lines().filter(|line| line.starts_with("found")).collect();
    assert!(!found.is_empty() && found.iter().all(|line| line.contains(PLANTED)), "{said}");
    assert!(!said.contains("opened"), "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("closed")).count(), 4, "{said}");
    assert!(said.lines().any(|line| line == "65534"), "it looked as an ordinary user: {said}");
    assert!(said.contains("PLAIN=for everybody") && !said.contains("CLOUD_KEY"), "{said}");
    let log = agent.log();
    for secret in [TOKEN, JWT_SECRET, CLOUD] {
        assert!(!log.contains(secret), "{secret} is in the log");
        assert!(!agent.url().contains(secret));
    }
}
