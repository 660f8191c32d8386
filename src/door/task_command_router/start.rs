//! From a start request to what runs.

use std::collections::HashSet;
use std::ffi::OsString;
use std::time::Duration;

use pid1_sdk::engine::Engine;
use pid1_sdk::process::{Discard, Io, Keep, StartError, WindowSize};
use tonic::Status;

use super::{told_short, unknown_value};
use crate::execs::Order;
use crate::proto::modal::client::pty_info::PtyType;
use crate::proto::modal::client::secret_source::Source;
use crate::proto::modal::client::{PtyInfo, SecretSource};
use crate::proto::modal::task_command_router::{
    TaskExecStartRequest, TaskExecStderrConfig, TaskExecStdoutConfig,
};
use crate::secrets::{SecretError, Secrets};

/// Variables as they are given to a program.
type Variables = Vec<(OsString, OsString)>;

/// What is asked for.
pub(super) fn order(
    engine: &Engine,
    secrets: &Secrets,
    request: TaskExecStartRequest,
) -> Result<Order, Status> {
    if !request.container_id.is_empty() {
        let text =
            format!("there is no container {:?}: this agent serves the one it is in", request.container_id);
        return Err(Status::not_found(told_short(&text)));
    }
    let stdout = TaskExecStdoutConfig::try_from(request.stdout_config);
    let stdout = stdout.map_err(|unknown| unknown_value("stdout_config", &unknown))?;
    let stderr = TaskExecStderrConfig::try_from(request.stderr_config);
    let stderr = stderr.map_err(|unknown| unknown_value("stderr_config", &unknown))?;
    let terminal = request.pty_info.filter(|pty| pty.enabled || pty.pty_type() != PtyType::Unspecified);
    let io = match &terminal {
        Some(pty) => Io::Terminal(size(pty)),
        None => Io::Pipes { split_stderr: stderr != TaskExecStderrConfig::Stdout },
    };
    let mut env = terminal.map(of_terminal).unwrap_or_default();
    let sources = request.secret_ids.into_iter().map(Source::SecretId).collect::<Vec<_>>();
    env.extend(variables(secrets, sources)?);
    env.extend(pairs(request.env));
    let sources = request.secret_sources.into_iter().filter_map(|SecretSource { source }| source);
    env.extend(variables(secrets, sources.collect())?);

    let args = request.command_args.into_iter().map(OsString::from).collect();
    let mut spec = engine.spec(args, env, io, Keep::Replay);
    spec.discard = Discard {
        stdout: stdout == TaskExecStdoutConfig::Devnull,
        stderr: stderr == TaskExecStderrConfig::Devnull,
    };
    if let Some(folder) = request.workdir.filter(|folder| !folder.is_empty()) {
        spec.cwd = engine.root().join(folder);
    }
    spec.label = Some(request.exec_id);
    let timeout = request.timeout_secs.filter(|seconds| *seconds > 0);
    Ok(Order { spec, timeout: timeout.map(|seconds| Duration::from_secs(seconds.into())) })
}

fn size(pty: &PtyInfo) -> WindowSize {
    match (pty.winsz_rows, pty.winsz_cols) {
        (0, _) | (_, 0) => WindowSize::default(),
        (rows, cols) => WindowSize::clamped(rows, cols),
    }
}

/// What programs are told of their terminal.
fn of_terminal(pty: PtyInfo) -> Variables {
    let told =
        [("TERM", pty.env_term), ("COLORTERM", pty.env_colorterm), ("TERM_PROGRAM", pty.env_term_program)];
    let told = told.into_iter().filter(|(_, value)| !value.is_empty());
    told.map(|(name, value)| (name.into(), value.into())).collect()
}

/// All of several sources, in their order. Of one that is named more than once, the last counts: however often that is, its
/// variables are there once.
fn variables(secrets: &Secrets, sources: Vec<Source>) -> Result<Variables, Status> {
    let mut seen = HashSet::new();
    let is_last = |source: &Source| match source {
        Source::SecretId(id) => seen.insert(id.clone()),
        Source::Env(_) => true,
    };
    let mut sources: Vec<Source> = sources.into_iter().rev().filter(is_last).collect();
    sources.reverse();
    let ids = sources.iter().filter_map(|source| match source {
        Source::SecretId(id) => Some(id.as_str()),
        Source::Env(_) => None,
    });
    let mut found = secrets.find(ids)?.into_iter();
    let all = sources.into_iter().flat_map(|source| match source {
        Source::SecretId(_) => pairs(found.next().unwrap_or_default()),
        Source::Env(env) => pairs(env.contents),
    });
    Ok(all.collect())
}

fn pairs(env: impl IntoIterator<Item = (String, String)>) -> Variables {
    env.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

impl From<SecretError> for Status {
    fn from(error: SecretError) -> Status {
        // Tried again, it would be the same.
        Status::failed_precondition(told_short(&error))
    }
}

/// What a client is told of a start that failed: nothing of it is tried again but what may pass with another agent.
pub(super) fn not_started(error: &StartError) -> Status {
    let text = told_short(error);
    match error {
        StartError::NoCommand
        | StartError::Nul { .. }
        | StartError::VariableName { .. }
        | StartError::NotInPath { .. }
        | StartError::Program { .. }
        | StartError::Interpreter { .. }
        | StartError::Cwd { .. } => Status::invalid_argument(text),
        StartError::NoProcesses { .. }
        | StartError::TooMany { .. }
        | StartError::Terminal { .. }
        | StartError::System { .. } => Status::resource_exhausted(text),
        StartError::ShuttingDown => Status::unavailable(text),
        _ => Status::failed_precondition(text),
    }
}
