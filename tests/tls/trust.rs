//! Which certificates are believed, and what is said of the others.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;

use super::{Pair, exec, exec_believing, refused, said, secure_agent, text};
use crate::support::{Agent, Launch};

#[tokio::test]
async fn a_certificate_that_nobody_knows() {
    let (agent, other) = (secure_agent().await, secure_agent().await);
    let (url, run) = (agent.url(), &["echo", "here"][..]);
    refused(exec(url, &[], run), agent.token(), &["by TLS", "--tls-ca FILE", "tls-cert.pem"]);
    // An agent's own is not any agent's own.
    refused(exec_believing(&other.ca(), url, run), agent.token(), &[text(&other.ca()), "signed by none"]);
    // Among several.
    let both = agent.root().join("both.pem");
    let all: String = [&other, &agent].iter().map(|agent| fs::read_to_string(agent.ca()).unwrap()).collect();
    fs::write(&both, all).unwrap();
    let output = exec_believing(&both, url, run).output().unwrap();
    assert_eq!(output.stdout, b"here\n", "{}", said(&output));
    // Where the machine keeps those that it believes; and then they do not count.
    let output = exec(url, &[], run).env("SSL_CERT_FILE", agent.ca()).output().unwrap();
    assert_eq!(output.stdout, b"here\n", "{}", said(&output));
    let mut only = exec_believing(&other.ca(), url, run);
    only.env("SSL_CERT_FILE", agent.ca());
    refused(only, agent.token(), &["signed by none"]);
}

#[tokio::test]
async fn a_file_that_is_of_no_use() {
    let agent = secure_agent().await;
    let (empty, missing) = (agent.root().join("empty.pem"), agent.root().join("missing.pem"));
    fs::write(&empty, "no certificate\n").unwrap();
    let broken = agent.root().join("broken.pem");
    fs::write(&broken, "-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n").unwrap();
    for (file, why) in [(&empty, "no certificate"), (&missing, "o such file"), (&broken, "cannot use")] {
        refused(exec_believing(file, agent.url(), &["true"]), agent.token(), &["--tls-ca", text(file), why]);
    }
    // Without TLS nobody looks at it.
    let plain = Agent::start().await;
    let output = exec_believing(&missing, plain.url(), &["echo", "here"]).output().unwrap();
    assert_eq!(output.stdout, b"here\n", "{}", said(&output));
}

#[tokio::test]
async fn a_certificate_for_somebody_else() {
    let launch = Launch::new();
    let pair = Pair::new(&launch, "box.example", false);
    let agent = launch.flags(&pair.flags()).start().await;
    let words = ["not for 127.0.0.1, but for box.example;", "--host 127.0.0.1"];
    refused(exec_believing(&pair.cert, agent.url(), &["true"]), agent.token(), &words);
}

#[tokio::test]
async fn a_certificate_that_somebody_has_signed() {
    let launch = Launch::new();
    let (pair, signer) = Pair::signed(&launch, "127.0.0.1");
    let agent = launch.flags(&pair.flags()).start().await;
    for believed in [&signer, &pair.cert] {
        let output = exec_believing(believed, agent.url(), &["echo", "here"]).output().unwrap();
        let here = output.stdout == b"here\n";
        // It counts who has signed: of a certificate that somebody else has signed, its own file says nothing.
        assert_eq!(here, believed == &signer, "{}", said(&output));
    }
}

/// What `openssl req -x509` makes of itself.
#[tokio::test]
async fn a_certificate_that_is_for_signing() {
    let launch = Launch::new();
    let pair = Pair::new(&launch, "127.0.0.1", true);
    let agent = launch.flags(&pair.flags()).start().await;
    refused(exec_believing(&pair.cert, agent.url(), &["true"]), agent.token(), &["CA:TRUE"]);
}

#[tokio::test]
async fn where_no_tls_is_spoken() {
    let agent = Agent::start().await;
    let url = agent.url().replace("http://", "https://");
    refused(exec(&url, &[], &["true"]), agent.token(), &["refuses TLS", "--tls-cert", "http://"]);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("wss://{}/wsv2/{}", other.local_addr().unwrap(), super::TOKEN);
    std::thread::spawn(move || {
        for stream in other.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    refused(exec(&url, &[], &["true"]), super::TOKEN, &["does not speak TLS", "http://"]);
}
