//! What one client knows and is owed: the rules that hold whoever else does what meanwhile.

use std::collections::{BTreeSet, HashMap};

use pid1_sdk::api::{
    CloseChannelRes, Command, OpenChannelRes, close_channel_res::Status, command::Body,
    open_channel_res::State,
};

/// One client's books.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Its number; learnt from the first answer.
    session: Option<i32>,
    /// Channels that it has been told of, and not of their end.
    on: BTreeSet<i32>,
    asked: u32,
    owed: HashMap<String, Asked>,
    /// What it asked on channels before it closed them, with a `ref` that cannot be told from others' closing: may
    /// be answered once, or not.
    perhaps: HashMap<String, Asked>,
    /// Opens, pings and closes without a `ref`.
    silent_opens: u32,
    silent_pings: u32,
    silent_closes: Vec<(i32, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    at: u32,
    channel: i32,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Open,
    Close(i32),
    Ping,
    Other,
}

impl Ledger {
    /// Channels that it is on.
    pub fn on(&self) -> &BTreeSet<i32> {
        &self.on
    }

    /// It asks something; a `ref` is made for it if it wants one.
    pub fn ask(&mut self, channel: i32, body: Option<Body>, with_ref: bool) -> Command {
        self.asked += 1;
        let at = self.asked;
        let kind = match &body {
            Some(Body::OpenChan(_)) if channel == 0 => Kind::Open,
            Some(Body::CloseChan(request)) if channel == 0 => Kind::Close(request.id),
            Some(Body::Ping(_)) if channel == 0 => Kind::Ping,
            _ => Kind::Other,
        };
        let mut reference = String::new();
        if with_ref {
            reference = format!("r{at}");
            self.owed.insert(reference.clone(), Asked { at, channel, kind });
        } else {
            match kind {
                Kind::Open => self.silent_opens += 1,
                Kind::Close(id) => self.silent_closes.push((id, at)),
                Kind::Ping => self.silent_pings += 1,
                Kind::Other => {}
            }
        }
        // The session that a client writes is nobody's business.
        Command { channel, session: 3 - at as i32, r#ref: reference, body }
    }

    /// A message comes. `dead` are channels that have ended before it can have been sent.
    pub fn receive(&mut self, message: &Command, dead: &BTreeSet<i32>) {
        let body = message.body.as_ref().expect("a message has a body");
        let asked = (!message.r#ref.is_empty()).then(|| {
            let asked = self.owed.remove(&message.r#ref).or_else(|| self.perhaps.remove(&message.r#ref));
            asked
                .unwrap_or_else(|| panic!("nobody asked, or it is answered already or too late: {message:?}"))
        });
        if asked.is_some() {
            let session = *self.session.get_or_insert(message.session);
            assert!(session > 1 && session == message.session, "an answer names who asked: {message:?}");
        }
        if let Some(asked) = asked {
            assert_eq!(asked.channel, message.channel, "an answer comes where it was asked: {message:?}");
        }
        if message.channel != 0 {
            let refused = asked.is_some() && matches!(body, Body::Error(_));
            assert!(refused || self.on.contains(&message.channel), "it is not on that channel: {message:?}");
            return;
        }
        match (asked.map(|asked| asked.kind), body) {
            (Some(Kind::Open), Body::OpenChanRes(told)) => self.opened(told, dead),
            (None, Body::OpenChanRes(told)) => {
                self.silent_opens = self.silent_opens.checked_sub(1).expect("it asked for no channel");
                self.opened(told, dead);
            }
            (Some(Kind::Close(id)), Body::CloseChanRes(told)) => {
                assert_eq!(id, told.id);
                self.closed(told, asked.map(|asked| asked.at));
            }
            (None, Body::CloseChanRes(told)) => self.closed(told, None),
            (Some(Kind::Ping), Body::Pong(_)) => {}
            (None, Body::Pong(_)) => {
                self.silent_pings = self.silent_pings.checked_sub(1).expect("it did not ping");
            }
            (Some(Kind::Other), _) | (None, Body::Toast(_)) => {}
            _ => panic!("that is no answer to {asked:?}: {message:?}"),
        }
    }

    fn opened(&mut self, told: &OpenChannelRes, dead: &BTreeSet<i32>) {
        if told.state() == State::Error {
            return assert!(told.id == 0 && !told.error.is_empty(), "{told:?}");
        }
        assert!(told.id > 0 && !dead.contains(&told.id), "a number is used twice: {told:?}");
        if !self.on.insert(told.id) {
            assert_eq!(told.state(), State::Attached, "it knows that channel: {told:?}");
        }
    }

    /// `asked` is when it asked for that, if it is certain that it did.
    fn closed(&mut self, told: &CloseChannelRes, asked: Option<u32>) {
        if told.status() == Status::Nothing {
            return assert!(!self.on.contains(&told.id), "it is on that channel: {told:?}");
        }
        assert!(self.on.remove(&told.id), "it was not on that channel: {told:?}");
        let silent = self.silent_closes.iter().rfind(|(id, _)| *id == told.id).map(|(_, at)| *at);
        let Some(at) = asked.or(silent) else {
            return assert_eq!(told.status(), Status::Close, "nobody else can take it off");
        };
        let dropped = self.owed.extract_if(|_, owed| owed.channel == told.id && owed.at < at);
        let dropped: Vec<_> = dropped.collect();
        if asked.is_none() {
            self.perhaps.extend(dropped);
        }
    }

    /// Nobody has anything left to do.
    pub fn settle(&mut self) {
        assert!(self.owed.is_empty(), "never answered: {:?}", self.owed);
        assert_eq!((self.silent_opens, self.silent_pings), (0, 0), "opens and pings never answered");
        self.silent_closes.clear();
        self.perhaps.clear();
    }
}
