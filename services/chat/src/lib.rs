//! The `chat` service: messages to everybody else, the last of which are kept.
//!
//! In: `chatMessage`, `chatTyping`. Out: the same to all others; `chatScrollback` to whoever joins, also when nothing was
//! said. A message is in the store before anybody is told of it, so what was seen outlives the agent. What is kept belongs
//! to the channel's name; a channel without one keeps nothing.
//!
//! Source: the published documentation of the protocol, as far as it can be read. The name of who speaks is their own word.
#![warn(missing_docs)]

mod log;

use pid1_sdk::api::{ChatMessage, ChatScrollback, command::Body};
use pid1_sdk::{
    Channel, Error, Member, Reply, Result, Right, Service, SessionId, Ticket, limits, unsupported,
};

/// What was said and nobody has been told of yet.
#[derive(Debug, Default)]
pub struct Chat {
    said: Vec<Said>,
}

#[derive(Debug)]
struct Said {
    by: Member,
    message: ChatMessage,
    ticket: Ticket,
}

impl Service for Chat {
    type Event = ();

    /// Nothing is started: whoever may only look on may talk.
    const OPEN_NEEDS: Right = Right::Read;

    async fn open(_ch: &mut Channel<()>) -> Result<Self> {
        Ok(Chat::default())
    }

    fn needs(body: &Body) -> Right {
        match body {
            Body::ChatMessage(_) | Body::ChatTyping(_) => Right::Read,
            _ => Right::Write,
        }
    }

    async fn attach(&mut self, ch: &mut Channel<()>, member: &Member) {
        let kept = ch.name().map(|room| log::read(ch.engine().store(), room));
        let scrollback = kept.unwrap_or(Ok(Vec::new())).unwrap_or_else(|error| {
            let error = format!("chat: what was said before cannot be shown: {error}");
            ch.send(member.session(), Body::Error(pid1_sdk::error::printable(&error)));
            Vec::new()
        });
        ch.send(member.session(), Body::ChatScrollback(ChatScrollback { scrollback }));
    }

    async fn command(&mut self, ch: &mut Channel<()>, from: &Member, body: Body) -> Result<Reply> {
        match body {
            Body::ChatMessage(message) => {
                let ticket = ch.ticket();
                match check_name(&message.username).and_then(|()| check_text(&message.text)) {
                    Ok(()) => self.said.push(Said { by: from.clone(), message, ticket }),
                    Err(error) => refuse(ch, from.session(), ticket, &error.to_string()),
                }
                Ok(Reply::Later)
            }
            Body::ChatTyping(typing) => {
                check_name(&typing.username)?;
                // What was said before it is heard before it.
                self.settle(ch).await;
                ch.broadcast_except(from.session(), Body::ChatTyping(typing));
                ch.pace(from);
                Ok(Reply::None)
            }
            other => unsupported(&other),
        }
    }

    async fn settle(&mut self, ch: &mut Channel<()>) {
        let said = std::mem::take(&mut self.said);
        if said.is_empty() {
            return;
        }
        if let Some(Err(error)) = ch.name().map(|room| log::add(ch.engine().store(), room, &said)) {
            let error = format!("chat: the message is not kept, so nobody is shown it: {error}");
            for Said { by, ticket, .. } in said {
                refuse(ch, by.session(), ticket, &error);
            }
            return;
        }
        for Said { by, message, ticket } in said {
            ch.broadcast_except(by.session(), Body::ChatMessage(message));
            ch.pace(&by);
            ticket.answer(Body::Ok(Default::default()));
        }
    }

    fn idle(&self) -> bool {
        true
    }
}

/// Whoever has spoken believes that it was heard, so they are told that it was not, even if they did not ask.
fn refuse(ch: &Channel<()>, session: SessionId, ticket: Ticket, error: &str) {
    match ticket.session() {
        Some(_) => ticket.fail(Error::new(error)),
        None => ch.send(session, Body::Error(pid1_sdk::error::printable(error))),
    }
}

fn check_name(name: &str) -> Result<()> {
    let (length, most) = (name.chars().count(), limits::DISPLAY_NAME_CHARS);
    if length > most {
        return Err(Error::new(format!("chat: a username has at most {most} characters, not {length}")));
    }
    Ok(())
}

fn check_text(text: &str) -> Result<()> {
    let (length, most) = (text.len(), limits::CHAT_TEXT_BYTES);
    if length > most {
        let error =
            format!("chat: a message has at most {most} bytes, not {length}: put the rest into a file");
        return Err(Error::new(error));
    }
    Ok(())
}
