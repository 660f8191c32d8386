//! The task behind a channel: it alone calls the service, so the service needs no locks.
//!
//! Orders (join, leave, close) go first, but after the commands that were sent before them, so that "type, then
//! close" types. Commands and events take turns at random: neither can starve the other.

use std::future::Future;
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, debug_span, error, warn};

use super::greeting::{announce, farewell};
use super::membership::Order;
use super::{Channel, ChannelSeed, Delivery, Member};
use crate::api::command::Body;
use crate::api::{Ok as OkBody, close_channel_res::Status};
use crate::error::{Error, Result};
use crate::identity::SessionId;
use crate::limits;
use crate::service::{Reply, Service};

/// Starts the actor of a channel of service `S`.
pub(crate) fn spawn<S: Service>(seed: ChannelSeed) {
    let (events, reports) = mpsc::channel(limits::EVENTS);
    let span = debug_span!("channel", channel = seed.id.0, service = seed.service);
    let runtimes = seed.engine.runtimes().clone();
    let stop = seed.engine.stopping().child_token();
    let actor = Actor::<S> {
        service: Life::Waiting,
        inbox: seed.inbox,
        reports,
        on_end: seed.on_end,
        ch: Channel {
            id: seed.id,
            name: seed.name,
            engine: seed.engine,
            audience: Default::default(),
            membership: seed.membership,
            events,
            tasks: TaskTracker::new(),
            stop,
            asked: None,
            share: Default::default(),
            hold: None,
            ending: false,
        },
    };
    runtimes.spawn(actor.run().instrument(span));
}

struct Actor<S: Service> {
    service: Life<S>,
    ch: Channel<S::Event>,
    inbox: mpsc::Receiver<Box<Delivery>>,
    reports: mpsc::Receiver<S::Event>,
    on_end: Box<dyn FnOnce() + Send>,
}

enum Life<S> {
    /// Nobody with the right to start it has joined.
    Waiting,
    Running(S),
    /// `open` failed, with this reason.
    Failed(String),
}

/// Told when an order is carried out.
type Done = tokio::sync::oneshot::Sender<()>;

/// The channel ends; why, for those who are told.
enum End {
    /// The agent stops: the connections go too.
    Agent,
    /// Nobody belongs to it any more, or it ended itself.
    Itself,
    /// A member closed it, and waits for the answer if it gave a `ref`.
    By(SessionId, Option<String>, Done),
    /// The service panicked.
    Panic,
}

enum Turn<E> {
    Stop,
    Order(Order),
    Event(E),
    Command(Box<Delivery>),
    Released,
}

/// A panic in a service, already logged by the panic hook.
struct Panicked;

impl<S: Service> Actor<S> {
    async fn run(mut self) {
        let end = loop {
            let step = match self.next_turn().await {
                Turn::Stop => ControlFlow::Break(End::Agent),
                Turn::Order(order) => self.carry_out(order).await,
                Turn::Event(event) => self.event(event).await,
                Turn::Command(delivery) => match self.command(*delivery).await {
                    ControlFlow::Continue(()) => self.commands(limits::SETTLE_COMMANDS).await,
                    end => end,
                },
                Turn::Released => {
                    self.ch.hold = None;
                    ControlFlow::Continue(())
                }
            };
            match step {
                ControlFlow::Break(end) => break end,
                ControlFlow::Continue(()) if self.ch.ending => break End::Itself,
                ControlFlow::Continue(()) if self.ch.audience.is_empty() => {
                    self.ch.membership.set_idle(match &self.service {
                        Life::Running(service) => service.idle(),
                        Life::Waiting | Life::Failed(_) => true,
                    });
                }
                ControlFlow::Continue(()) => {}
            }
        };
        self.end(end).await;
    }

    /// Every arm is cancel-safe: what loses the race stays where it is.
    async fn next_turn(&mut self) -> Turn<S::Event> {
        let Channel { membership, hold, stop, .. } = &mut self.ch;
        let (reports, inbox) = (&mut self.reports, &mut self.inbox);
        let work = async {
            tokio::select! {
                Some(event) = reports.recv() => Turn::Event(event),
                Some(delivery) = inbox.recv(), if hold.is_none() => Turn::Command(delivery),
                () = released(hold), if hold.is_some() => Turn::Released,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => Turn::Stop,
            order = membership.next() => Turn::Order(order),
            turn = work => turn,
        }
    }

    async fn carry_out(&mut self, order: Order) -> ControlFlow<End> {
        // What was sent before this order is handled before it. A held channel is not waited for: its commands
        // may never be taken, and leaving must always work.
        if let ControlFlow::Break(end) = self.commands(self.inbox.len()).await {
            self.ch.membership.give_back(order); // answered at the end
            return ControlFlow::Break(end);
        }
        match order {
            Order::Join { member, reference, created, done } => {
                self.join(member, reference, created).await?;
                let _ = done.send(());
            }
            Order::Leave { session, reference, done } => {
                self.leave(session, reference).await?;
                let _ = done.send(());
            }
            Order::Close { by, reference, done } => return ControlFlow::Break(End::By(by, reference, done)),
            Order::Retire => return ControlFlow::Break(End::Itself),
        }
        ControlFlow::Continue(())
    }

    async fn join(&mut self, member: Member, reference: String, created: bool) -> ControlFlow<End> {
        if matches!(self.service, Life::Failed(_)) && self.ch.audience.is_empty() {
            // What was in the way may be gone by now.
            self.service = Life::Waiting;
        }
        let (mut greeted, mut panicked) = (Vec::new(), false);
        if matches!(self.service, Life::Waiting) && member.role().may(S::OPEN_NEEDS) {
            match self.open().await {
                Ok(life) => self.service = life,
                Err(Panicked) => panicked = true,
            }
            // Viewers who have been waiting here are greeted with the one who could start it.
            greeted = self.ch.audience.members();
        }
        announce(&self.ch, &member, reference, created);
        if self.ch.audience.contains(member.session()) {
            return ControlFlow::Continue(());
        }
        self.ch.audience.add(member.clone());
        if panicked {
            return ControlFlow::Break(End::Panic);
        }
        greeted.push(member);
        for member in greeted {
            match &mut self.service {
                Life::Waiting => {}
                Life::Failed(reason) => {
                    member.send(self.ch.id, Body::Error(reason.clone()));
                }
                Life::Running(service) => guard(service.attach(&mut self.ch, &member)).await?,
            }
        }
        ControlFlow::Continue(())
    }

    async fn open(&mut self) -> Result<Life<S>, Panicked> {
        let opening = AssertUnwindSafe(timeout(limits::OPEN_TIMEOUT, S::open(&mut self.ch))).catch_unwind();
        let reason = match opening.await.map_err(|_| Panicked)? {
            Ok(Ok(service)) => return Ok(Life::Running(service)),
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => format!("the service did not start within {:?}", limits::OPEN_TIMEOUT),
        };
        debug!(error = reason, "open failed");
        Ok(Life::Failed(reason))
    }

    async fn leave(&mut self, session: SessionId, reference: Option<String>) -> ControlFlow<End> {
        let Some(member) = self.ch.audience.remove(session) else { return ControlFlow::Continue(()) };
        member.outbox().cut_lane(
            self.ch.id,
            farewell(&self.ch, &member, reference.unwrap_or_default(), Status::Disconnect),
        );
        if let Life::Running(service) = &mut self.service {
            guard(service.detach(&mut self.ch, &member)).await?;
        }
        ControlFlow::Continue(())
    }

    async fn event(&mut self, event: S::Event) -> ControlFlow<End> {
        match &mut self.service {
            Life::Running(service) => guard(service.event(&mut self.ch, event)).await,
            Life::Waiting | Life::Failed(_) => ControlFlow::Continue(()),
        }
    }

    async fn command(&mut self, delivery: Delivery) -> ControlFlow<End> {
        let Delivery { from, reference, body, share } = delivery;
        if !self.ch.audience.contains(from.session()) {
            // It has left since; a late answer would reach it after its farewell.
            return ControlFlow::Continue(());
        }
        self.ch.begin(&from, reference, share);
        let started = Instant::now();
        let answer = match self.answer(&from, body).await {
            Ok(answer) => answer,
            Err(Panicked) => return ControlFlow::Break(End::Panic),
        };
        let elapsed = started.elapsed();
        if elapsed > limits::COMMAND_SLOW {
            warn!(session = from.session().0, elapsed_ms = elapsed.as_millis(), "a command held its channel");
        }
        match (answer, self.ch.handled()) {
            (Ok(Reply::None), Some(ticket)) => ticket.answer(Body::Ok(OkBody {})),
            (Ok(Reply::Now(body)), Some(ticket)) => ticket.answer(*body),
            (Err(error), Some(ticket)) => ticket.fail(error),
            // The service holds the ticket, or let it fall, which has answered.
            (_, None) | (Ok(Reply::Later), Some(_)) => {}
        }
        ControlFlow::Continue(())
    }

    /// Those that wait, at most so many, and then what they have in common.
    async fn commands(&mut self, most: usize) -> ControlFlow<End> {
        for _ in 0..most {
            if self.ch.hold.is_some() || self.ch.ending {
                break;
            }
            let Ok(delivery) = self.inbox.try_recv() else { break };
            self.command(*delivery).await?;
        }
        match &mut self.service {
            Life::Running(service) => guard(service.settle(&mut self.ch)).await,
            Life::Waiting | Life::Failed(_) => ControlFlow::Continue(()),
        }
    }

    async fn answer(&mut self, from: &Member, body: Option<Body>) -> Result<Result<Reply>, Panicked> {
        let Some(body) = body else { return Ok(Err(Error::NoBody(self.ch.id))) };
        let needed = S::needs(&body);
        if !from.role().may(needed) {
            return Ok(Err(Error::Forbidden { body: body.name(), needed, role: from.role() }));
        }
        let service = match &mut self.service {
            Life::Running(service) => service,
            Life::Failed(reason) => return Ok(Err(Error::new(reason.clone()))),
            Life::Waiting => {
                return Ok(Err(Error::new(format!(
                    "nothing runs here: a viewer opened this channel, and an {} must join to start it",
                    S::OPEN_NEEDS.lowest_role()
                ))));
            }
        };
        let name = body.name();
        let handling = timeout(limits::COMMAND_TIMEOUT, service.command(&mut self.ch, from, body));
        match AssertUnwindSafe(handling).catch_unwind().await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_elapsed)) => {
                Ok(Err(Error::new(format!("{name} was given up after {:?}", limits::COMMAND_TIMEOUT))))
            }
            Err(_panic) => Err(Panicked),
        }
    }

    async fn end(mut self, end: End) {
        let mut reason = "the channel has ended";
        if matches!(end, End::Panic) {
            error!("the service panicked; its channel is closed");
            reason = "the service failed unexpectedly; open it again";
        }
        if let Life::Running(service) = &mut self.service {
            // After a panic too: it is what ends the service's programs.
            let closing = timeout(limits::CLOSE_TIMEOUT, service.close(&mut self.ch));
            if !matches!(AssertUnwindSafe(closing).catch_unwind().await, Ok(Ok(()))) {
                warn!("the service did not close in good order");
            }
        }
        // Tickets in the service and in its tasks answer while their members can still be answered.
        self.service = Life::Failed(reason.to_owned());
        self.ch.asked = None;
        self.ch.tasks.close();
        self.ch.stop.cancel();
        let patience = Duration::from_secs(1); // a task ends at its next wait; this bounds one that never waits
        let _ = timeout(patience, self.ch.tasks.wait()).await;

        let mut asked = Vec::new();
        let failed = matches!(end, End::Panic);
        if let End::By(session, reference, done) = end {
            asked.push((session, reference, done));
        }
        let membership = self.ch.membership.clone();
        membership.end(|orders| {
            for order in orders {
                match order {
                    // Who was about to join is told of the channel, and then of its end.
                    Order::Join { member, reference, created, .. } => {
                        announce(&self.ch, &member, reference, created);
                        self.ch.audience.add(member);
                    }
                    Order::Leave { session, reference, done }
                    | Order::Close { by: session, reference, done } => {
                        asked.push((session, reference, done));
                    }
                    Order::Retire => {}
                }
            }
            self.last_words(reason, failed, &asked);
        });
        for (.., done) in asked {
            let _ = done.send(());
        }
        (self.on_end)();
    }

    /// Answers what can still be answered, and takes leave of every member.
    fn last_words(&mut self, reason: &str, failed: bool, asked: &[(SessionId, Option<String>, Done)]) {
        self.inbox.close();
        while let Ok(delivery) = self.inbox.try_recv() {
            if !delivery.reference.is_empty() && self.ch.audience.contains(delivery.from.session()) {
                delivery.from.answer(self.ch.id, delivery.reference, Body::Error(reason.to_owned()));
            }
        }
        if failed {
            self.ch.broadcast(Body::Error(reason.to_owned()));
        }
        for member in self.ch.audience.members() {
            match asked.iter().find(|(session, ..)| *session == member.session()) {
                Some((_, reference, _)) => {
                    let reference = reference.clone().unwrap_or_default();
                    let bytes = farewell(&self.ch, &member, reference, Status::Close);
                    member.outbox().cut_lane(self.ch.id, bytes);
                }
                None => {
                    let bytes = farewell(&self.ch, &member, String::new(), Status::Close);
                    member.outbox().close_lane(self.ch.id, bytes);
                }
            }
        }
    }
}

/// Waits for what holds the channel's commands back.
async fn released(hold: &mut Option<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>>) {
    if let Some(until) = hold {
        until.await;
    }
}

/// Runs one call into the service; a panic ends this channel and nothing else.
async fn guard(call: impl Future<Output = ()>) -> ControlFlow<End> {
    match AssertUnwindSafe(call).catch_unwind().await {
        Ok(()) => ControlFlow::Continue(()),
        Err(_panic) => ControlFlow::Break(End::Panic),
    }
}
