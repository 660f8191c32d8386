//! What members of one terminal see while it floods and they come, go and stall: whole lines in order, without hole
//! or doubling, from where they came in.

use pid1_sdk::api::{ProcessStart, ResizeTerm, command::Body, process_exited::Status};

use crate::support::{
    Agent, HEAVY, LATE, PROMPT, Raw, SOON, eventually, named, output_of, settled, size, within, wrote_bytes,
};

/// The numbers of a text of one number a line; what is no number is left out.
fn numbers(text: &str) -> Vec<usize> {
    text.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

/// Each number is the one before and one, up to `last`.
fn are_in_order(numbers: &[usize], last: usize) -> Result<(), String> {
    let gap = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1);
    match gap {
        Some(pair) => Err(format!("{} after {}", pair[1], pair[0])),
        None if numbers.last() != Some(&last) => Err(format!("ends with {:?}, not {last}", numbers.last())),
        None => Ok(()),
    }
}

/// Reads a shell's output up to `end`.
async fn text_until(raw: &mut Raw, shell: i32, end: &str) -> String {
    let mut text = String::new();
    let read = async {
        while !text[text.ceil_char_boundary(text.len().saturating_sub(200))..].contains(end) {
            let command = raw.next().await.unwrap_or_else(|| panic!("closed: {:?}", raw.closed));
            text += output_of(&command, shell).unwrap_or_default();
        }
    };
    within(end, LATE, read).await;
    text
}

async fn input(raw: &mut Raw, shell: i32, text: &str) {
    raw.command(shell, "", Some(Body::Input(text.into()))).await.unwrap();
}

#[tokio::test]
async fn who_joins_a_flood_sees_it_without_a_hole() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let mut first = Raw::open(&agent).await;
    let shell = first.open_channel("shell", "shared").await;
    text_until(&mut first, shell, PROMPT).await;
    let last = size(400_000, 5_000_000);
    input(&mut first, shell, &format!("seq 1 {last}; echo en''ded\n")).await;
    let mut watch = first;
    let watching = async {
        let text = text_until(&mut watch, shell, "ended").await;
        are_in_order(&numbers(&text), last).unwrap_or_else(|error| panic!("the first: {error}"));
    };
    let joining = async {
        for n in 0..5 {
            let mut raw = Raw::open(&agent).await;
            assert_eq!(raw.open_channel("shell", "shared").await, shell);
            let text = text_until(&mut raw, shell, "ended").await;
            let numbers = numbers(&text);
            are_in_order(&numbers, last).unwrap_or_else(|error| panic!("newcomer {n}: {error}"));
            eprintln!("newcomer {n} saw {} lines", numbers.len());
            assert!(n > 0 || numbers.len() > 1000, "the first of them saw more than the past");
        }
    };
    tokio::join!(watching, joining);
}

/// Both stand still together and lose nothing; once one goes on, the other is skipped and shown the end.
#[tokio::test]
async fn two_that_stall_hold_the_program_until_one_goes_on() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let (mut one, mut other) = (Raw::narrow(&agent).await, Raw::narrow(&agent).await);
    let shell = one.open_channel("shell", "shared").await;
    text_until(&mut one, shell, PROMPT).await;
    assert_eq!(other.open_channel("shell", "shared").await, shell);
    let last = size(2_000_000, 20_000_000);
    input(&mut one, shell, &format!("seq 1 {last}; echo en''ded\n")).await;
    let mut seq = Vec::new();
    eventually("seq runs", SOON, || {
        seq = named(&agent.programs(), "seq 1");
        !seq.is_empty()
    })
    .await;
    settled("seq is held back", LATE, || wrote_bytes(seq[0])).await;
    assert!(!named(&agent.programs(), "seq 1").is_empty(), "it has not run to its end");
    let text = text_until(&mut one, shell, "ended").await;
    let begin = text.find("ended").unwrap_or(0); // the echo of what was typed has it in another form
    let seen = numbers(&text);
    assert!(begin > 0 && seen.first() == Some(&1), "{:?}", seen.first());
    are_in_order(&seen, last).unwrap();
    let text = text_until(&mut other, shell, "ended").await;
    let (before, after) = text.split_once("of output skipped").expect("a notice");
    let mut before = numbers(before);
    before.pop(); // it may have been cut off within the last number
    let until = before.last().copied().unwrap_or_default();
    are_in_order(&before, until).unwrap_or_else(|error| panic!("before it was skipped: {error}"));
    let begin = before.first().copied();
    assert!(begin == Some(1), "{begin:?}");
    are_in_order(&numbers(after), last).unwrap();
}

/// With the reader gone, the one that was skipped is all there is: it is brought back to a program that runs.
#[tokio::test]
async fn who_was_skipped_is_brought_back_when_the_others_have_left() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let (mut reader, mut stuck) = (agent.client().await, Raw::narrow(&agent).await);
    let shell = reader.shell("shared").await;
    assert_eq!(stuck.open_channel("shell", "shared").await, shell);
    reader.type_in(shell, "yes 'still here'\n").await;
    let mut taken = 0;
    let enough = 20 << 20;
    reader
        .until("a flood", |command| {
            taken += output_of(command, shell).map_or(0, str::len);
            taken > enough
        })
        .await;
    drop(reader);
    text_until(&mut stuck, shell, "of output skipped").await;
    let mut more = 0;
    while more < 5 << 20 {
        more += output_of(&stuck.next().await.unwrap(), shell).map_or(0, str::len);
    }
    input(&mut stuck, shell, "\x03").await;
    text_until(&mut stuck, shell, PROMPT).await;
    input(&mut stuck, shell, "echo fi''ne\n").await;
    text_until(&mut stuck, shell, "fine").await;
}

/// A terminal reports its end while there is still output in it: that comes first.
#[tokio::test]
async fn the_last_words_of_a_terminal_are_heard() {
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    for round in 0..size(30, 1_000) {
        let channel = client.open("process", "").await;
        let start = ProcessStart {
            args: ["sh", "-c", "stty raw; head -c 50000 /dev/zero | tr '\\0' x; printf END"]
                .map(str::to_owned)
                .to_vec(),
            terminal: Some(ResizeTerm { rows: 24, cols: 80 }),
            ..ProcessStart::default()
        };
        assert!(matches!(client.ask(channel, Body::ProcessStart(start)).await, Body::ProcessStarted(_)));
        let mut got = Vec::new();
        let mut exited = None;
        client
            .until("it ends", |command| {
                match &command.body {
                    Some(Body::ProcessOutput(output)) => got.extend_from_slice(&output.data),
                    Some(Body::ProcessExited(end)) => exited = Some(*end),
                    _ => {}
                }
                exited.is_some()
            })
            .await;
        let exited = exited.unwrap();
        assert_eq!((exited.status, exited.stdout_end), (Some(Status::Code(0)), 50_003), "round {round}");
        assert!(got.len() == 50_003 && got.ends_with(b"xEND"), "round {round}: {} bytes", got.len());
    }
}
