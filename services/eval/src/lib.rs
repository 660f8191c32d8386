//! The `eval` service: one interpreter, shared by all members of the channel, whose state stays from one evaluation to the
//! next.
//!
//! In: `eval` with a source; `runMain` for the workspace's main file; `input`, to the interpreter's stdin, with ^C (U+0003)
//! for SIGINT while something is evaluated; `clear`, which ends it with all that it has started. Out, for each evaluation:
//! `state Running`, `output`, then to the sender, with its `ref`, `result` or `error` (`ok` for `runMain`), then
//! `state Stopped`. Evaluations queue. All that was printed before a result comes before it.
//!
//! **Life.** Nothing is started before the first evaluation, and nothing after a `clear` or a crash before the next one. An
//! interpreter that ends by itself fails what it was evaluating; the others are told by a `hint` that its state is lost.
//!
//! What interpreters are, and how they are spoken to, is in the README.
#![warn(missing_docs)]

mod interpreter;
mod languages;
mod lines;

use std::collections::VecDeque;
use std::sync::Arc;

use pid1_sdk::api::{Hint, Ok as Done, State, command::Body};
use pid1_sdk::channel::{Share, Timer};
use pid1_sdk::engine::Engine;
use pid1_sdk::error::printable_lines;
use pid1_sdk::process::{Process, Signal, StdinError, StopCause};
use pid1_sdk::{Channel, Error, Member, Reply, Result, Service, SessionId, Ticket, limits, unsupported};

use interpreter::{Interpreter, Report};
use languages::Chosen;

/// The key that interrupts what runs, on any terminal.
const INTERRUPT: char = '\u{3}';

/// What a message takes beside the text in it, and more.
const ENVELOPE_BYTES: usize = 1 << 10;

/// The interpreter of one channel, and what waits for it.
#[derive(Debug, Default)]
pub struct Eval {
    waiting: VecDeque<Job>,
    waiting_bytes: usize,
    /// What is evaluated, or will be once the interpreter is ready.
    running: Option<Job>,
    /// Of the present interpreter, or the next.
    chosen: Option<Chosen>,
    interpreter: Option<Interpreter>,
    /// The interpreter before: until it is gone with all that it had started, there is no next one.
    ending: Option<Process>,
    /// `clear` was asked for, and is done when that is gone.
    clearing: bool,
    lives: u64,
    /// Until the interpreter is ready.
    start: Option<Timer>,
    /// While nobody is attached, if shells are not kept for ever.
    vacancy: Option<Timer>,
}

/// Something to evaluate.
#[derive(Debug)]
struct Job {
    source: String,
    /// It is the workspace's main file.
    main: bool,
    by: SessionId,
    ticket: Ticket,
    _share: Share,
}

/// What is told of the interpreter of some life; and of life 0, that nobody has been attached for as long as one is kept.
#[derive(Debug)]
pub struct Event {
    life: u64,
    report: Report,
}

impl Service for Eval {
    type Event = Event;

    async fn open(_ch: &mut Channel<Event>) -> Result<Self> {
        Ok(Eval::default())
    }

    async fn command(&mut self, ch: &mut Channel<Event>, from: &Member, body: Body) -> Result<Reply> {
        match body {
            Body::Eval(source) => {
                self.choose(ch.engine()).await?;
                self.ask(ch, from, source, false)
            }
            Body::RunMain(request) => {
                self.choose(ch.engine()).await?;
                let source = self.main(ch.engine(), request.file_path).await?;
                self.ask(ch, from, source, true)
            }
            Body::Input(text) => {
                self.input(text)?;
                Ok(Reply::None)
            }
            Body::Clear(_) => {
                self.clear(ch, from);
                Ok(Reply::None)
            }
            other => unsupported(&other),
        }
    }

    fn idle(&self) -> bool {
        self.running.is_none()
    }

    async fn attach(&mut self, ch: &mut Channel<Event>, member: &Member) {
        self.vacancy = None;
        if self.running.is_some() {
            ch.send(member.session(), Body::State(State::Running.into()));
        }
    }

    async fn detach(&mut self, ch: &mut Channel<Event>, _member: &Member) {
        if ch.audience().is_empty()
            && let Some(keep) = ch.engine().keep_shells()
        {
            self.vacancy = Some(ch.after(keep, Event { life: 0, report: Report::Late }));
        }
    }

    async fn event(&mut self, ch: &mut Channel<Event>, Event { life, report }: Event) {
        if let Report::Gone = report {
            return self.gone(ch);
        }
        if life == 0 && self.vacancy.is_some() {
            ch.close_if_empty();
        }
        let Some(interpreter) = self.interpreter.as_mut().filter(|one| one.life == life) else { return };
        match report {
            Report::Printed(text, _pace) => ch.broadcast(Body::Output(text)),
            Report::Ready if !interpreter.ready => {
                interpreter.ready = true;
                self.start = None;
                self.hand_over(ch);
            }
            // The answer of another has come too late, or is a forged one's.
            Report::Outcome(Some(id), _) if id != interpreter.asked => {}
            Report::Outcome(_, outcome) if interpreter.ready && self.running.is_some() => {
                self.finish(ch, outcome);
                self.advance(ch);
            }
            Report::Lost(why) => self.lost(ch, &why),
            Report::Late if !interpreter.ready => {
                self.lost(ch, &format!("it was not ready within {:?}", limits::EVAL_START));
            }
            // Nobody has asked.
            Report::Ready | Report::Outcome(..) | Report::Late | Report::Gone => {}
        }
    }

    async fn close(&mut self, _ch: &mut Channel<Event>) {
        if let Some(interpreter) = &self.interpreter {
            interpreter.process.stop(StopCause::Closed);
        }
    }
}

impl Eval {
    /// Finds out what the next interpreter is, if none runs.
    async fn choose(&mut self, engine: &Arc<Engine>) -> Result<()> {
        if self.interpreter.is_none() {
            self.chosen = Some(look(engine, Chosen::of_workspace).await?);
        }
        Ok(())
    }

    /// What evaluates the workspace's main file, or the one that is named.
    async fn main(&self, engine: &Arc<Engine>, file: String) -> Result<String> {
        let language = self.chosen()?.language;
        look(engine, move |engine| language.main(engine, &file)).await
    }

    fn chosen(&self) -> Result<&Chosen> {
        self.chosen.as_ref().ok_or_else(|| Error::new("eval: no language is known"))
    }

    /// Takes something to evaluate.
    fn ask(&mut self, ch: &mut Channel<Event>, from: &Member, source: String, main: bool) -> Result<Reply> {
        if self.waiting.len() >= limits::EVAL_QUEUE {
            return Err(Error::new(format!("eval: {} evaluations are waiting already", limits::EVAL_QUEUE)));
        }
        let size_bytes = source.len();
        if size_bytes + self.waiting_bytes > limits::EVAL_QUEUE_BYTES {
            return Err(Error::new(format!(
                "eval: {size_bytes} bytes of source are too much, with {} bytes waiting",
                self.waiting_bytes
            )));
        }
        self.waiting_bytes += size_bytes;
        let (ticket, share) = (ch.ticket(), ch.share());
        self.waiting.push_back(Job { source, main, by: from.session(), ticket, _share: share });
        self.advance(ch);
        Ok(Reply::Later)
    }

    /// Begins with what waits, if nothing is in its way.
    fn advance(&mut self, ch: &mut Channel<Event>) {
        while self.running.is_none() && self.ending.is_none() {
            let Some(job) = self.waiting.pop_front() else { return };
            self.waiting_bytes -= job.source.len();
            self.running = Some(job);
            ch.broadcast(Body::State(State::Running.into()));
            if let Err(error) = self.ensure_started(ch) {
                self.finish(ch, Err(error.to_string()));
            } else {
                self.hand_over(ch);
            }
        }
    }

    fn ensure_started(&mut self, ch: &mut Channel<Event>) -> Result<()> {
        if self.interpreter.is_none() {
            let life = self.lives + 1;
            self.interpreter = Some(Interpreter::start(ch, self.chosen()?, life)?);
            self.lives = life;
            self.start = Some(ch.after(limits::EVAL_START, Event { life, report: Report::Late }));
        }
        Ok(())
    }

    /// Gives the interpreter, if it is ready, what is to be evaluated.
    fn hand_over(&mut self, ch: &mut Channel<Event>) {
        let (Some(interpreter), Some(job)) = (&mut self.interpreter, &self.running) else { return };
        if !interpreter.ready {
            return;
        }
        if !interpreter.evaluate(&job.source) {
            self.lost(ch, "it takes no more sources");
        }
    }

    /// What is evaluated is done.
    fn finish(&mut self, ch: &Channel<Event>, outcome: Result<String, String>) {
        if let Some(job) = self.running.take() {
            job.answer(ch, outcome);
            ch.broadcast(Body::State(State::Stopped.into()));
        }
    }

    /// The interpreter has ended, or is of no more use.
    fn lost(&mut self, ch: &mut Channel<Event>, why: &str) {
        let Some(interpreter) = self.interpreter.take() else { return };
        let name = interpreter.language.language.name;
        let text = if interpreter.ready {
            format!(
                "eval: {name} has ended ({why}): its state is lost, and the next evaluation starts it anew"
            )
        } else {
            format!("eval: {name} cannot be used ({why})")
        };
        if !interpreter.ready {
            // The next would wait as long for the same.
            self.refuse_waiting(ch, &text);
        }
        let hint = Body::Hint(Hint { text: printable_lines(&text) });
        match &self.running {
            Some(job) => ch.broadcast_except(job.by, hint),
            None => ch.broadcast(hint),
        }
        self.end(ch, interpreter);
        self.finish(ch, Err(text));
    }

    fn clear(&mut self, ch: &mut Channel<Event>, from: &Member) {
        let by = format!("eval: stopped by session {}, who has cleared the interpreter", from.session());
        self.refuse_waiting(ch, &by);
        if let Some(job) = self.running.take() {
            job.answer(ch, Err(by));
        }
        if let Some(interpreter) = self.interpreter.take() {
            ch.broadcast_except(
                from.session(),
                Body::Hint(Hint { text: "the interpreter was cleared: its state is gone".to_owned() }),
            );
            self.end(ch, interpreter);
        }
        match self.ending {
            Some(_) => self.clearing = true,
            None => ch.broadcast(Body::State(State::Stopped.into())),
        }
    }

    fn refuse_waiting(&mut self, ch: &Channel<Event>, why: &str) {
        self.waiting_bytes = 0;
        for job in std::mem::take(&mut self.waiting) {
            job.answer(ch, Err(why.to_owned()));
        }
    }

    /// Ends an interpreter and all that it has started.
    fn end(&mut self, ch: &Channel<Event>, interpreter: Interpreter) {
        let Interpreter { life, process, .. } = interpreter;
        self.start = None;
        process.stop(StopCause::Request);
        self.ending = Some(process.clone());
        let events = ch.events();
        ch.spawn(async move {
            process.stopped().await;
            let _ = events.send(Event { life, report: Report::Gone }).await;
        });
    }

    fn gone(&mut self, ch: &mut Channel<Event>) {
        self.ending = None;
        if std::mem::take(&mut self.clearing) {
            ch.broadcast(Body::State(State::Stopped.into()));
        }
        self.advance(ch);
    }

    /// Types into the interpreter's stdin. Commands are never held back for it: `clear` must get through.
    fn input(&mut self, text: String) -> Result<()> {
        let interpreter = self.interpreter.as_ref();
        let interpreter =
            interpreter.ok_or_else(|| Error::new("eval: nothing is running on this channel"))?;
        let mut typed = text.as_str();
        if let Some((_, behind)) = text.rsplit_once(INTERRUPT) {
            typed = behind;
            if interpreter.ready && self.running.is_some() {
                // It has just ended: that is told elsewhere.
                let _ = interpreter.process.signal(Signal::SIGINT);
            }
        }
        match interpreter.process.stdin().push(typed.to_owned().into()) {
            Ok(()) | Err(StdinError::Closed) => Ok(()),
            Err(error) => Err(Error::new(format!("eval: {error}"))),
        }
    }
}

/// What `ask` finds out, on a thread for files.
async fn look<T: Send + 'static>(
    engine: &Arc<Engine>,
    ask: impl FnOnce(&Engine) -> Result<T> + Send + 'static,
) -> Result<T> {
    let own = engine.clone();
    let looked = engine.runtimes().file_work(move || ask(&own)).await;
    looked.ok_or_else(|| Error::new("eval: the agent is ending"))?
}

impl Job {
    /// Tells whoever has asked what came of it; without a `ref`, too, as clients of this service have always sent it.
    fn answer(self, ch: &Channel<Event>, outcome: Result<String, String>) {
        let most_bytes = ch.engine().max_message_bytes().saturating_sub(ENVELOPE_BYTES);
        let body = match outcome {
            Ok(text) | Err(text) if text.len() > most_bytes => Body::Error(format!(
                "eval: what came of it has {} bytes, and a message has room for {most_bytes}",
                text.len()
            )),
            Ok(_) if self.main => Body::Ok(Done {}),
            Ok(value) => Body::Result(value),
            Err(text) => Body::Error(printable_lines(&text)),
        };
        if self.ticket.session().is_some() {
            self.ticket.answer(body);
        } else if !matches!(body, Body::Ok(_)) {
            ch.send(self.by, body);
        }
    }
}
