//! The `dotreplit` service: what `.replit` says, how Run runs the program, and changes of the file. And, in
//! [`toolchain`], the `toolchain` service.
//!
//! In: `dotReplitGetRequest`, `runConfigGetRequest`, `dotReplitUpdateRequest`. Out: the answer to each. What is asked for
//! on one channel is done in that order: whoever changes the file and asks again sees the change.
//!
//! How the file is read and what a plan is made of is said in [`pid1_sdk::project`]. Nothing is started here.
//!
//! Source: the published messages. That a path has slashes between its keys, that the value is JSON, and what becomes of
//! what is missing, is as the published editor of that file, replit/toml-editor, has it.
#![warn(missing_docs)]

mod configs;
pub mod toolchain;

use std::path::Path;
use std::sync::Arc;

use pid1_sdk::api::{
    DotReplitGetResponse, DotReplitInterp, DotReplitUpdateResponse, Exec, RunConfigGetResponse,
    command::Body,
    run_config_get_response::{Config, Run},
};
use pid1_sdk::engine::Engine;
use pid1_sdk::project::{Project, RunPlan, Step};
use pid1_sdk::workspace::to_wire;
use pid1_sdk::{Channel, Error, Member, Reply, Result, Right, Service, unsupported};
pub use toolchain::Toolchain;

/// What stands in answers for the folder of what is compiled: where that is, is the business of whoever runs it.
const BUILD: &str = "$build";

/// The service has no state: all of it is in the file.
#[derive(Debug)]
pub struct DotReplit;

impl Service for DotReplit {
    type Event = ();

    /// Nothing is started: whoever may only look on may read.
    const OPEN_NEEDS: Right = Right::Read;

    async fn open(_ch: &mut Channel<()>) -> Result<Self> {
        Ok(DotReplit)
    }

    fn needs(body: &Body) -> Right {
        match body {
            Body::DotReplitGetRequest(_) | Body::RunConfigGetRequest(_) => Right::Read,
            _ => Right::Write,
        }
    }

    async fn command(&mut self, ch: &mut Channel<()>, _from: &Member, body: Body) -> Result<Reply> {
        let answer = match body {
            Body::DotReplitGetRequest(_) => {
                let file = look(ch.engine(), |project| Ok(project.dot_replit()?.to_message())).await?;
                Body::DotReplitGetResponse(DotReplitGetResponse { dot_replit: Some(file.into()) })
            }
            Body::RunConfigGetRequest(_) => {
                let config = look(ch.engine(), |project| run_config(&project)).await?;
                Body::RunConfigGetResponse(RunConfigGetResponse { config: Some(config) })
            }
            Body::DotReplitUpdateRequest(request) => {
                look(ch.engine(), move |project| project.update(&request.ops)).await?;
                Body::DotReplitUpdateResponse(DotReplitUpdateResponse {})
            }
            other => return unsupported(&other),
        };
        Ok(Reply::now(answer))
    }

    fn idle(&self) -> bool {
        true
    }
}

/// What `ask` finds out, on a thread for files.
async fn look<T: Send + 'static>(
    engine: &Arc<Engine>,
    ask: impl FnOnce(Project<'_>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let own = engine.clone();
    let looked = engine.runtimes().file_work(move || ask(own.project()));
    looked.await.unwrap_or_else(|| Err(Error::new("the agent is stopping")))
}

/// An interpreter if `.replit` has one, else a program.
fn run_config(project: &Project<'_>) -> Result<Config> {
    let file = project.dot_replit()?;
    if let Some(command) = &file.interpreter.command {
        let prompt = file.interpreter.prompt.clone().into();
        return Ok(Config::Interp(DotReplitInterp { command: Some(command.to_exec()), prompt }));
    }
    let RunPlan { compile, run, .. } = project.run_plan(None, None, Path::new(BUILD))?;
    Ok(Config::Run(Run { compile: compile.as_ref().map(exec), run: Some(exec(&run)) }))
}

/// A step as clients get it.
fn exec(step: &Step) -> Exec {
    let text = |text: &std::ffi::OsString| to_wire(text).into_owned();
    Exec {
        args: step.args.iter().map(text).collect(),
        env: step.env.iter().map(|(name, value)| (text(name), text(value))).collect(),
        ..Exec::default()
    }
}
