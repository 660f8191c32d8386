//! The `fsevents` service: what happens to files, told to whoever asked for them.
//!
//! In: `subscribeFile` adds paths to the set of its sender, and is answered `ok`. Out: `fileEvent` for each path of the
//! set and for the direct children of each folder in it. Each member has its own set, which ends when it leaves.
//!
//! How it is known what happened, what a subscription to something missing means, and what becomes of it when folders
//! move, is said in [`pid1_sdk::watch`]. Here it becomes messages, no faster than each member takes them: one who is slow
//! gets the difference later and holds up nobody.
#![warn(missing_docs)]

use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use pid1_sdk::api::{File, FileEvent, SubscribeFile, Toast, command::Body, file::Type, file_event::Op};
use pid1_sdk::error::printable;
use pid1_sdk::watch::{Change, Kind, News, Watch, What};
use pid1_sdk::workspace::{from_wire, to_wire};
use pid1_sdk::{
    Channel, ChannelId, Error, Member, Reply, Result, Right, Service, SessionId, limits, unsupported,
};

/// The sets of one channel's members.
#[derive(Debug, Default)]
pub struct FsEvents {
    seats: HashMap<SessionId, Seat>,
    seated: u64,
}

#[derive(Debug)]
struct Seat {
    /// Told apart from that of the same session before it left and came back.
    number: u64,
    watch: Watch,
    /// Folders that were asked for by way of a link: where they are, and what they were called.
    links: BTreeSet<(PathBuf, PathBuf)>,
}

/// Something that a member is to be told.
#[derive(Debug)]
pub struct Event {
    session: SessionId,
    seat: u64,
    /// `None` if nothing will be told any more.
    news: Option<News>,
}

impl Service for FsEvents {
    type Event = Event;

    /// Whoever may only look on may also see what changes.
    const OPEN_NEEDS: Right = Right::Read;

    async fn open(_ch: &mut Channel<Event>) -> Result<Self> {
        Ok(FsEvents::default())
    }

    fn needs(body: &Body) -> Right {
        match body {
            Body::SubscribeFile(_) => Right::Read,
            _ => Right::Write,
        }
    }

    async fn command(&mut self, ch: &mut Channel<Event>, from: &Member, body: Body) -> Result<Reply> {
        let Body::SubscribeFile(SubscribeFile { files }) = body else { return unsupported(&body) };
        let asked: Vec<PathBuf> = files.iter().map(|file| from_wire(&file.path).into()).collect();
        let workspace = ch.engine().workspace().clone();
        let resolve = move || {
            let resolved = asked.into_iter().map(|path| (workspace.resolve(&path), path));
            resolved.collect::<Vec<_>>()
        };
        let resolved = ch.engine().runtimes().file_work(resolve).await;
        let resolved = resolved.ok_or_else(|| Error::new("fsevents: the agent is stopping"))?;
        let seat = self.seat(ch, from)?;
        let (mut paths, mut wrong, mut too_many) = (Vec::new(), None, None);
        for (real, asked) in resolved {
            let real = match real {
                Ok(real) => real,
                Err(error) => {
                    wrong.get_or_insert(error);
                    continue;
                }
            };
            if let Some(asked) = plain(&asked).filter(|asked| *asked != real) {
                let link = (real.clone(), asked.clone());
                if seat.links.len() >= limits::WATCH_LINKS && !seat.links.contains(&link) {
                    too_many = Some(Error::new(format!(
                        "cannot watch {}: {} paths with links in them are watched already",
                        printable(&asked.to_string_lossy()),
                        limits::WATCH_LINKS
                    )));
                    break;
                }
                paths.push(asked);
                seat.links.insert(link);
            }
            paths.push(real);
        }
        // Where there is no room for more, those before are watched; where one is wrong, so are all others.
        seat.watch.add(paths).await.and(too_many.map_or(Ok(()), Err)).map_err(because)?;
        wrong.map_or(Ok(Reply::None), |error| Err(because(error.into())))
    }

    fn idle(&self) -> bool {
        self.seats.is_empty()
    }

    async fn detach(&mut self, _ch: &mut Channel<Event>, member: &Member) {
        self.seats.remove(&member.session());
    }

    async fn event(&mut self, ch: &mut Channel<Event>, event: Event) {
        let Some(seat) = self.seats.get_mut(&event.session).filter(|seat| seat.number == event.seat) else {
            return;
        };
        match event.news {
            Some(News::Changes(changes)) => {
                seat.forget_stale_links(ch, &changes).await;
                for change in changes {
                    for by_link in through_links(&seat.links, &change) {
                        ch.send(event.session, message(&by_link));
                    }
                    ch.send(event.session, message(&change));
                }
            }
            Some(News::Notice(text)) => toast(ch, event.session, text),
            None => {
                self.seats.remove(&event.session);
                let text = "Files are not watched any more, because of an error in the agent. Load this page again to \
                            watch them again.";
                toast(ch, event.session, text.to_owned());
            }
        }
    }
}

impl Seat {
    /// Of the links by way of which these changes would be told of, forgets those that lead elsewhere by now.
    async fn forget_stale_links(&mut self, ch: &mut Channel<Event>, changes: &[Arc<Change>]) {
        let ends = changes.iter().flat_map(|change| match &change.what {
            What::Move(to) => [Some(&change.path), Some(to)],
            _ => [Some(&change.path), None],
        });
        let folders: BTreeSet<&Path> = ends.flatten().filter_map(|path| path.parent()).collect();
        let used = self.links.iter().filter(|(real, _)| folders.contains(&**real));
        let mut used: Vec<(PathBuf, PathBuf)> = used.cloned().collect();
        if used.is_empty() {
            return;
        }
        let workspace = ch.engine().workspace().clone();
        let stale = move || {
            // One of which nothing can be said is kept.
            used.retain(|(real, link)| workspace.resolve(link).is_ok_and(|now| now != *real));
            used
        };
        for link in ch.engine().runtimes().file_work(stale).await.unwrap_or_default() {
            self.links.remove(&link);
        }
    }
}

impl FsEvents {
    /// The member's own set; its first subscription makes it.
    fn seat(&mut self, ch: &Channel<Event>, member: &Member) -> Result<&mut Seat> {
        let session = member.session();
        if !self.seats.contains_key(&session) {
            let (watch, mut changes) = ch.engine().watcher().subscribe().map_err(because)?;
            self.seated += 1;
            let (seat, member, audience, events) =
                (self.seated, member.clone(), ch.audience().clone(), ch.events());
            // Ends with the set.
            ch.spawn(async move {
                while let Some(news) = changes.next().await {
                    audience.room_of(&member, false).await;
                    if events.send(Event { session, seat, news: Some(news) }).await.is_err() {
                        return;
                    }
                }
                // Unless the member has left, this is an error in the watcher.
                let _ = events.send(Event { session, seat, news: None }).await;
            });
            self.seats.insert(session, Seat { number: seat, watch, links: BTreeSet::new() });
        }
        self.seats.get_mut(&session).ok_or_else(|| Error::new("fsevents: this session has left"))
    }
}

fn toast(ch: &Channel<Event>, to: SessionId, text: String) {
    if let Some(member) = ch.audience().find(to) {
        member.send(ChannelId::CONTROL, Body::Toast(Toast { text }));
    }
}

fn because(error: Error) -> Error {
    Error::new(format!("fsevents: {error}"))
}

/// The path as the client will know its children: without what means nothing in it. `None` if it is no name from the
/// root down; its children are then told of by where they are.
fn plain(path: &Path) -> Option<PathBuf> {
    path.components()
        .filter(|part| *part != Component::CurDir)
        .map(|part| matches!(part, Component::Normal(_)).then_some(part))
        .collect()
}

/// The same, as it is called by way of each link that was asked for.
fn through_links(links: &BTreeSet<(PathBuf, PathBuf)>, change: &Change) -> Vec<Change> {
    let called = |path: &Path| -> Vec<PathBuf> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
        let from = links.range((folder.to_owned(), PathBuf::new())..);
        from.take_while(|(real, _)| real == folder).map(|(_, link)| link.join(name)).collect()
    };
    let one = |path, what| Change { path, kind: change.kind, what };
    let here = called(&change.path).into_iter();
    match &change.what {
        What::Move(to) if to.parent() == change.path.parent() => {
            here.zip(called(to)).map(|(path, to)| one(path, What::Move(to))).collect()
        }
        // What the one folder is called says nothing of what the other is.
        What::Move(to) => {
            let there = called(to).into_iter().map(|path| one(path, What::Create));
            here.map(|path| one(path, What::Remove)).chain(there).collect()
        }
        what => here.map(|path| one(path, what.clone())).collect(),
    }
}

fn message(change: &Change) -> Body {
    let file = |path: &Path| {
        let kind = match change.kind {
            Kind::File => Type::Regular,
            Kind::Folder => Type::Directory,
        };
        File { path: to_wire(path.as_os_str()).into_owned(), r#type: kind.into(), ..File::default() }
    };
    let (op, dest) = match &change.what {
        What::Create => (Op::Create, None),
        What::Remove => (Op::Remove, None),
        What::Modify => (Op::Modify, None),
        What::Move(to) => (Op::Move, Some(file(to))),
    };
    Body::FileEvent(FileEvent { file: Some(file(&change.path)), op: op.into(), dest })
}
