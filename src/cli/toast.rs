//! `pid1 toast`: a message to everybody who is connected.

use anyhow::{Result, bail};
use clap::Args;
use pid1_sdk::api::{Toast, command::Body};

use crate::client::{Address, Client};

/// Flags of `pid1 toast`.
#[derive(Args, Debug)]
pub(super) struct ToastArgs {
    /// The agent, with an owner's token: the URL it printed, or ws://HOST:PORT/wsv2/TOKEN
    // Parsed later: an error of clap's would show the token.
    #[arg(env = "PID1_URL", hide_env_values = true)]
    url: String,

    /// The message, at most 1,000 characters
    text: String,
}

pub(super) fn run(args: ToastArgs) -> Result<()> {
    let address: Address = args.url.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut client = Client::connect(&address).await?;
        match client.request(0, Body::Toast(Toast { text: args.text })).await? {
            Body::Ok(_) => Ok(()),
            Body::Error(error) => bail!("{error}"),
            other => bail!("the agent answered {} to toast", other.name()),
        }
    })
}
