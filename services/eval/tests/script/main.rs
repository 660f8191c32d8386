//! The service as a script of what members send and get, with the interpreters that people use.

mod javascript;
mod life;
mod python;
mod trouble;

use pid1_eval::Eval;
use pid1_sdk::Role;
use pid1_sdk::api::{Clear, State, command::Body};
use pid1_sdk::engine::Settings;
use pid1_sdk::testing::{TestChannel, TestMember, conformance};

const RUNNING: Body = Body::State(State::Running as i32);
const STOPPED: Body = Body::State(State::Stopped as i32);

fn eval(source: &str) -> Body {
    Body::Eval(source.to_owned())
}

fn result(text: &str) -> Body {
    Body::Result(text.to_owned())
}

fn input(text: &str) -> Body {
    Body::Input(text.to_owned())
}

const CLEAR: Body = Body::Clear(Clear {});
/// What a terminal's ^C is.
const INTERRUPT: &str = "\u{3}";

fn channel() -> TestChannel {
    TestChannel::open::<Eval>(Some("evaler"))
}

/// A channel whose settings name `language`, and the only member.
async fn in_language(language: &str) -> (TestChannel, TestMember) {
    let channel = channel();
    channel.engine().set_settings(Settings { language: language.to_owned(), ..Settings::default() });
    let member = channel.join(Role::Editor).await;
    (channel, member)
}

/// The text of the error that `source` is answered with.
async fn error_of(member: &mut TestMember, source: &str) -> String {
    match member.ask(eval(source)).await {
        Body::Error(text) => text,
        other => unreachable!("{source}: {other:?}"),
    }
}

/// Everything up to the next `state Stopped`, output joined, each with what came before it.
async fn one_turn(member: &mut TestMember) -> (String, Vec<Body>) {
    let (mut output, mut others) = (String::new(), Vec::new());
    loop {
        match member.next().await {
            Body::Output(text) => {
                assert!(
                    !matches!(others.last(), Some(Body::Result(_) | Body::Error(_))),
                    "{text:?} after the result"
                );
                output += &text;
            }
            STOPPED => return (output, others),
            other => others.push(other),
        }
    }
}

#[tokio::test]
async fn it_keeps_the_promises_of_every_service() {
    conformance::<Eval>(&[eval("while True: print('y')")]).await;
}
