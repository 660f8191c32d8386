//! Whether programs here can reach the network, for tokens that are good only where they cannot.
//!
//! The agent does not cut programs off itself: its platform does, for the whole container. So a token with
//! `restrictNetwork` is refused wherever the container runs unrestricted.

use std::sync::OnceLock;

use clap::ValueEnum;

/// What the operator says about the container's network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum NetworkMode {
    /// Programs reach the network: restricted tokens are refused.
    Open,
    /// The platform cuts this container off: everybody is let in.
    Restricted,
    /// As the first client's token says, for as long as the agent runs: the published rule.
    #[default]
    First,
}

/// The mode, and what it has come to.
#[derive(Debug)]
pub(crate) struct Network {
    mode: NetworkMode,
    restricted: OnceLock<bool>,
}

impl Network {
    pub(crate) fn new(mode: NetworkMode) -> Self {
        Network { mode, restricted: OnceLock::new() }
    }

    /// Whether a token that is good only without network, or any other, is let in.
    pub(crate) fn admits(&self, restricted_token: bool) -> bool {
        let restricted = match self.mode {
            NetworkMode::Open => false,
            NetworkMode::Restricted => true,
            NetworkMode::First => *self.restricted.get_or_init(|| restricted_token),
        };
        restricted || !restricted_token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_let_in() {
        for (mode, tokens, admitted) in [
            (NetworkMode::Open, [true, false, true], [false, true, false]),
            (NetworkMode::Restricted, [true, false, true], [true; 3]),
            (NetworkMode::First, [true, false, true], [true; 3]),
            (NetworkMode::First, [false, true, false], [true, false, true]),
        ] {
            let network = Network::new(mode);
            assert_eq!(tokens.map(|token| network.admits(token)), admitted, "{mode:?} {tokens:?}");
        }
    }
}
