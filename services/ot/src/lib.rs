//! The `ot` service: many people and programs edit one file at once, and nothing that was acknowledged is lost.
//!
//! In: `otLinkFile` binds the channel to a file; `ot` submits a change; `flush` asks for the file to be written;
//! `otFetchRequest` for old changes; `otTransformSelectionRequest`; `otNewCursor` and `otDeleteCursor`, which are relayed.
//! Out: `otstatus` to whoever joins; `ot` to everybody, its author included, when a change is committed; then `ok`.
//!
//! A change is in the store before anybody is told of it. What other programs write to the file becomes a change like any
//! other. Positions are code points. Source: the published editors, as far as they can be read, and the comments of the
//! published contract.
#![warn(missing_docs)]

mod cursors;
mod diff;
mod document;
mod editing;
mod file;
mod history;
mod op;
mod packet;
#[cfg(test)]
mod recovery;
mod room;
mod saving;
mod text;
mod transform;

use std::collections::HashSet;
use std::path::{Component, PathBuf};

use pid1_sdk::api::command::Body;
use pid1_sdk::api::{File, OtCursor, OtLinkFile, OtStatus};
use pid1_sdk::workspace::path_from_wire;
use pid1_sdk::{
    Channel, Error, Member, Reply, Result, Right, Service, SessionId, Ticket, limits, unsupported,
};

use cursors::Cursors;
use editing::{Editing, Event, Start};

/// One document.
#[derive(Debug)]
pub struct Ot {
    state: State,
    cursors: Cursors,
    /// Members who were told that there is no document yet, and have not asked for it: a client takes the first packet
    /// that it gets then for the whole text.
    unlinked: HashSet<SessionId>,
}

#[derive(Debug)]
enum State {
    /// Not bound to a file.
    Empty,
    /// The file is being opened, for those who wait.
    Opening { path: PathBuf, asked: Vec<(SessionId, Ticket)>, writes_through: bool },
    /// Bound.
    Open(Box<Editing>),
}

impl Service for Ot {
    type Event = Event;

    async fn open(_ch: &mut Channel<Event>) -> Result<Self> {
        Ok(Ot { state: State::Empty, cursors: Cursors::default(), unlinked: HashSet::new() })
    }

    fn needs(body: &Body) -> Right {
        match body {
            Body::OtFetchRequest(_)
            | Body::OtTransformSelectionRequest(_)
            | Body::OtNewCursor(_)
            | Body::OtDeleteCursor(_) => Right::Read,
            _ => Right::Write,
        }
    }

    async fn command(&mut self, ch: &mut Channel<Event>, from: &Member, body: Body) -> Result<Reply> {
        if !matches!(body, Body::Ot(_)) {
            // Nothing else sees a change that does not last yet.
            self.settle(ch).await;
        }
        match body {
            Body::OtLinkFile(link) => self.link(ch, from, link),
            Body::Ot(packet) => {
                let editing = self.editing()?;
                let packet = editing.submit(from, packet)?;
                editing.pend(packet, Some(ch.ticket()));
                Ok(Reply::Later)
            }
            Body::Flush(_) => {
                self.editing()?.flush(ch)?;
                Ok(Reply::Later)
            }
            Body::OtFetchRequest(request) => {
                self.editing()?.fetch(ch, &request)?;
                Ok(Reply::Later)
            }
            Body::OtTransformSelectionRequest(request) => {
                let moved = self.editing()?.transform_selection(&request)?;
                Ok(Reply::now(Body::OtTransformSelectionResponse(moved)))
            }
            Body::OtNewCursor(cursor) => {
                self.cursors.show(from.session(), &cursor)?;
                ch.broadcast_except(from.session(), Body::OtNewCursor(cursor));
                ch.pace(from);
                Ok(Reply::None)
            }
            Body::OtDeleteCursor(cursor) => {
                if self.cursors.delete(from.session(), &cursor.id) {
                    ch.broadcast_except(from.session(), Body::OtDeleteCursor(cursor));
                    ch.pace(from);
                }
                Ok(Reply::None)
            }
            other => unsupported(&other),
        }
    }

    async fn settle(&mut self, ch: &mut Channel<Event>) {
        if let State::Open(editing) = &mut self.state {
            editing.commit(ch, &self.unlinked);
        }
    }

    fn idle(&self) -> bool {
        match &self.state {
            State::Empty => true,
            State::Opening { .. } => false,
            State::Open(editing) => !editing.is_unwritten(),
        }
    }

    async fn attach(&mut self, ch: &mut Channel<Event>, member: &Member) {
        let cursors = self.cursors.all();
        let status = match &self.state {
            State::Open(editing) => OtStatus { cursors, ..editing.status() },
            State::Empty | State::Opening { .. } => {
                self.unlinked.insert(member.session());
                OtStatus { cursors, ..OtStatus::default() }
            }
        };
        ch.send(member.session(), Body::Otstatus(status));
    }

    async fn detach(&mut self, ch: &mut Channel<Event>, member: &Member) {
        self.unlinked.remove(&member.session());
        for cursor in self.cursors.leave(member.session()) {
            ch.broadcast(Body::OtDeleteCursor(OtCursor { id: cursor.id, ..OtCursor::default() }));
        }
        self.end_if_done(ch);
    }

    async fn event(&mut self, ch: &mut Channel<Event>, event: Event) {
        match (event, &mut self.state) {
            (Event::Opened(opened), State::Opening { .. }) => self.opened(ch, *opened),
            (event, State::Open(editing)) => editing.event(ch, event, &self.unlinked),
            (_, State::Empty | State::Opening { .. }) => {}
        }
        self.end_if_done(ch);
    }

    async fn close(&mut self, ch: &mut Channel<Event>) {
        if let State::Open(editing) = &mut self.state {
            editing.commit(ch, &self.unlinked);
            editing.finish(ch).await;
        }
    }
}

impl Ot {
    fn editing(&mut self) -> Result<&mut Editing> {
        match &mut self.state {
            State::Open(editing) => Ok(editing),
            State::Empty | State::Opening { .. } => {
                Err(Error::new("ot: this channel is not bound to a file yet: send otLinkFile first"))
            }
        }
    }

    fn link(&mut self, ch: &mut Channel<Event>, from: &Member, link: OtLinkFile) -> Result<Reply> {
        let shown = link.file.map(|file| file.path).unwrap_or_default();
        let path = path_from_wire(&shown).filter(|path| !path.as_os_str().is_empty());
        let path = path.ok_or_else(|| Error::new("ot: otLinkFile names no file"))?;
        // `./a` is `a`.
        let path: PathBuf = path.components().filter(|part| !matches!(part, Component::CurDir)).collect();
        match &mut self.state {
            State::Empty => {
                let asked = vec![(from.session(), ch.ticket())];
                editing::open(ch, path.clone(), shown);
                self.state = State::Opening { path, asked, writes_through: link.high_consistency };
            }
            State::Opening { path: opening, asked, writes_through } => {
                if *opening != path {
                    return Err(is_bound(&opening.to_string_lossy()));
                }
                if asked.len() >= limits::OT_WAITING {
                    return Err(Error::new("ot: too many wait for this file to be opened: try again"));
                }
                *writes_through |= link.high_consistency;
                asked.push((from.session(), ch.ticket()));
            }
            State::Open(editing) => {
                if !editing.is_of(&path, &shown) {
                    return Err(is_bound(editing.shown()));
                }
                editing.write_through(link.high_consistency);
                let is_first = self.unlinked.remove(&from.session());
                if !is_first && editing.is_long() {
                    return Err(Error::new("ot: this session has the document already, and it is long"));
                }
                let ticket = ch.ticket();
                editing.hand_over(ch, from.session(), ticket);
            }
        }
        Ok(Reply::Later)
    }

    fn opened(&mut self, ch: &mut Channel<Event>, opened: Result<Start>) {
        let State::Opening { asked, writes_through, .. } = std::mem::replace(&mut self.state, State::Empty)
        else {
            return;
        };
        let start = match opened {
            Ok(start) => start,
            Err(error) => {
                let reason = error.to_string();
                return asked.into_iter().for_each(|(_, ticket)| ticket.fail(Error::new(reason.clone())));
            }
        };
        let mut editing = Box::new(Editing::new(start, writes_through));
        for (session, ticket) in asked {
            if self.unlinked.remove(&session) || !editing.is_long() {
                editing.hand_over(ch, session, ticket);
            } else {
                ticket.fail(Error::new("ot: this session has asked twice, and the document is long"));
            }
        }
        // Whoever may only look on cannot ask.
        for member in ch.audience().members() {
            if !member.role().may(Right::Write) && self.unlinked.remove(&member.session()) {
                let status = OtStatus { cursors: self.cursors.all(), ..editing.status() };
                ch.send(member.session(), Body::Otstatus(status));
            }
        }
        editing.begin(ch);
        self.state = State::Open(editing);
    }

    /// With nobody left the document is written, and the channel ends.
    fn end_if_done(&mut self, ch: &mut Channel<Event>) {
        if !ch.audience().is_empty() {
            return;
        }
        match &mut self.state {
            State::Empty => drop(ch.close_if_empty()),
            State::Opening { .. } => {}
            State::Open(editing) => {
                if !editing.is_writing_last(ch) {
                    ch.close_if_empty();
                }
            }
        }
    }
}

fn is_bound(path: &str) -> Error {
    let path = pid1_sdk::error::printable(path);
    Error::new(format!("ot: this channel is bound to {path}: open another channel for another file"))
}

/// A file as clients are told of it.
fn linked(shown: &str, content: Vec<u8>) -> File {
    File { path: shown.to_owned(), content: content.into(), ..File::default() }
}
