//! From a token to an [`Identity`]. Nobody has a session without one.

use pid1_sdk::{Identity, Role};
use subtle::ConstantTimeEq;

/// Fewest characters of a token that an operator chooses: shorter ones can be guessed.
pub const TOKEN_MIN_CHARS: usize = 16;

/// The tokens that are accepted.
pub struct Auth {
    token: String,
}

/// The token is not accepted. The client is told just that.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token is not accepted")]
pub struct Refused;

impl Auth {
    /// Accepts the one shared secret `token`, whose holder is an owner.
    pub fn new(token: String) -> Self {
        Auth { token }
    }

    /// Who shows `token`. Takes equally long for every wrong token of one length.
    pub fn identify(&self, token: &str) -> Result<Identity, Refused> {
        if bool::from(token.as_bytes().ct_eq(self.token.as_bytes())) {
            Ok(Identity::anonymous(Role::Owner))
        } else {
            Err(Refused)
        }
    }
}

impl std::fmt::Debug for Auth {
    /// Never prints the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}

/// A token nobody can guess: 32 characters, 160 bits.
pub fn random_token() -> anyhow::Result<String> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random numbers for a token: {error}"))?;
    Ok(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_accepted() {
        let auth = Auth::new("0123456789abcdef".into());
        assert_eq!(auth.identify("0123456789abcdef").map(|identity| identity.role), Ok(Role::Owner));
        for wrong in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeF", "\0"] {
            assert_eq!(auth.identify(wrong), Err(Refused), "{wrong:?}");
        }
        assert!(!format!("{auth:?}").contains("0123"));
    }

    #[test]
    fn random_tokens_are_long_and_differ() -> anyhow::Result<()> {
        let (one, other) = (random_token()?, random_token()?);
        assert!(one.len() == 32 && one != other);
        Ok(())
    }
}
