//! From a token to an [`Admission`]: who it is, what they may do, until when. Nobody has a session without one.
//!
//! Three kinds are known: the one shared secret, the signed tokens of Replit's own format ([`paseto`]), and JWTs
//! ([`jwt`]). The log says why a token was refused; whoever showed it learns just that it was.

pub mod jwt;
pub mod keys;
mod lifetime;
pub mod paseto;
mod repl_token;

use std::time::SystemTime;

use pid1_sdk::{Identity, Role};
use subtle::ConstantTimeEq;

use jwt::Jwt;
use paseto::Paseto;

/// Fewest characters of a token that an operator chooses: shorter ones can be guessed.
pub const TOKEN_MIN_CHARS: usize = 16;

/// What a token grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Who it is, what they may do, and until when.
    pub identity: Identity,
    /// Good only where programs cannot reach the network.
    pub restrict_network: bool,
}

/// The tokens that are accepted.
#[derive(Debug, Default)]
pub struct Auth {
    /// Whoever holds it is an owner.
    pub secret: Option<Secret>,
    /// Keys of Replit's format.
    pub paseto: Option<Paseto>,
    /// Keys of JWTs.
    pub jwt: Option<Jwt>,
}

/// The token is not accepted. The client is told just that.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token is not accepted")]
pub struct Refused {
    /// The reason, for the log: without secrets, and without control characters.
    pub why: String,
}

impl Refused {
    fn new(why: impl Into<String>) -> Self {
        Refused { why: pid1_sdk::error::printable(&why.into()) }
    }
}

/// A text that is never printed by accident.
#[derive(Clone)]
pub struct Secret(pub String);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret(text)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Auth {
    /// Who shows `token`. Takes equally long for every wrong secret of one length.
    pub fn identify(&self, token: &str) -> Result<Admission, Refused> {
        self.identify_at(token, SystemTime::now())
    }

    fn identify_at(&self, token: &str, now: SystemTime) -> Result<Admission, Refused> {
        let is_secret = |secret: &Secret| bool::from(token.as_bytes().ct_eq(secret.0.as_bytes()));
        if self.secret.as_ref().is_some_and(is_secret) {
            let identity = Identity::anonymous(Role::Owner);
            return Ok(Admission { identity, restrict_network: false });
        }
        if token.starts_with(paseto::HEADER) {
            let keys = self.paseto.as_ref();
            return keys
                .ok_or_else(|| Refused::new("no key for PASETO tokens is configured"))?
                .read(token, now);
        }
        match &self.jwt {
            Some(keys) if token.split('.').count() == 3 => keys.read(token, now),
            // How each JSON object begins in base64.
            None if token.starts_with("ey") => Err(Refused::new("no key for JWTs is configured")),
            _ if token.is_empty() => Err(Refused::new("no token was shown")),
            _ => Err(Refused::new("it is neither the shared secret nor a signed token of a known kind")),
        }
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
    fn only_the_whole_secret_is_accepted() {
        let auth = Auth { secret: Some(Secret("0123456789abcdef".into())), ..Auth::default() };
        let admitted = auth.identify("0123456789abcdef");
        assert_eq!(admitted.map(|admission| admission.identity.role), Ok(Role::Owner));
        for wrong in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeF", "\0", "a.b.c"] {
            assert!(auth.identify(wrong).is_err(), "{wrong:?}");
        }
        assert!(!format!("{auth:?}").contains("0123"));
    }

    #[test]
    fn without_any_key_nobody_is_let_in() {
        for token in ["", "v2.public.e30.e30", "a.b.c", "0123456789abcdef"] {
            let refused = Auth::default().identify(token).expect_err("nothing is accepted");
            assert_eq!(refused.to_string(), "the token is not accepted");
            assert!(!refused.why.is_empty());
        }
    }

    #[test]
    fn random_tokens_are_long_and_differ() -> anyhow::Result<()> {
        let (one, other) = (random_token()?, random_token()?);
        assert!(one.len() == 32 && one != other);
        Ok(())
    }
}
