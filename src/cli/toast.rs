//! `pid1 toast`: a message to everybody who is connected.

use anyhow::{Context, Result, bail};
use clap::Args;
use pid1_sdk::api::{Toast, command::Body};

use super::agents::AgentArgs;
use crate::client::Client;

/// Flags of `pid1 toast`.
#[derive(Args)]
pub(super) struct ToastArgs {
    /// The agent, with an owner's token (the URL it printed, wss://HOST:PORT/wsv2/TOKEN, or unix:PATH; PID1_URL if left
    /// out), and the message, at most 1,000 characters
    #[arg(num_args = 1..=2, required = true, value_names = ["URL", "TEXT"])]
    words: Vec<String>,

    #[command(flatten)]
    agent: AgentArgs,
}

pub(super) fn run(args: ToastArgs) -> Result<()> {
    let mut words = args.words.into_iter();
    let (url, text) = match (words.next(), words.next()) {
        (Some(url), Some(text)) => (url, text),
        (text, _) => {
            let url = std::env::var("PID1_URL")
                .context("which agent? give its URL before the text, or set PID1_URL")?;
            (url, text.unwrap_or_default())
        }
    };
    let address = args.agent.at(&url)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut client = Client::connect(&address).await?;
        match client.request(0, Body::Toast(Toast { text })).await? {
            Body::Ok(_) => Ok(()),
            Body::Error(error) => bail!("{error}"),
            other => bail!("the agent answered {} to toast", other.name()),
        }
    })
}
