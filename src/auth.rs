//! From a token to an [`Admission`]: who it is, what they may do, until when. Nobody has a session without one.
//!
//! Three kinds are known: the one shared secret, the signed tokens of Replit's own format ([`paseto`]), and JWTs
//! ([`jwt`]). Volt's clients show one of their own ([`volt`]), in a place of its own. The log says why a token
//! was refused; whoever showed it learns just that it was.

pub mod jwt;
pub mod keys;
mod lifetime;
pub mod paseto;
mod repl_token;
pub mod volt;

use std::hash::{BuildHasher, RandomState};
use std::time::SystemTime;

use pid1_sdk::{Identity, Role};
use subtle::ConstantTimeEq;

use jwt::Jwt;
use paseto::Paseto;
use volt::Volt;

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

impl Admission {
    /// Everything, for ever.
    pub fn owner() -> Admission {
        Admission { identity: Identity::anonymous(Role::Owner), restrict_network: false }
    }
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
    /// Keys of Volt's sessions.
    pub volt: Option<Volt>,
    /// Makes [`Identity::client`], with a key that nobody knows.
    pub clients: RandomState,
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
        let mut admission = self.identify_at(token, SystemTime::now())?;
        admission.identity.client = self.client(&admission.identity, token);
        Ok(admission)
    }

    /// Who shows `token` as Volt's clients do.
    pub fn identify_volt(&self, token: &str) -> Result<Admission, Refused> {
        let keys =
            self.volt.as_ref().ok_or_else(|| Refused::new("no key for Volt's tokens is configured"))?;
        let mut admission = keys.read(token, SystemTime::now())?;
        admission.identity.client = self.client(&admission.identity, token);
        Ok(admission)
    }

    fn identify_at(&self, token: &str, now: SystemTime) -> Result<Admission, Refused> {
        let is_secret = |secret: &Secret| bool::from(token.as_bytes().ct_eq(secret.0.as_bytes()));
        if self.secret.as_ref().is_some_and(is_secret) {
            return Ok(Admission::owner());
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

    /// Not by the role, and by the name only where there is no number: whoever has several of these is still one.
    fn client(&self, identity: &Identity, token: &str) -> u64 {
        match (identity.user_id, identity.name.as_str()) {
            (0, "") => self.clients.hash_one(("token", token)),
            (0, name) => self.clients.hash_one(("name", name)),
            (number, _) => self.clients.hash_one(("number", number)),
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
    fn tokens_of_one_person_are_one_client() {
        let auth = Auth::default();
        let of = |user_id, name: &str, role, token: &str| {
            auth.client(&Identity { user_id, name: name.into(), ..Identity::anonymous(role) }, token)
        };
        let all = [
            of(7, "ada", Role::Viewer, "a"),
            of(0, "ada", Role::Viewer, "a"),
            of(0, "", Role::Viewer, "ada"),
            of(0, "", Role::Viewer, "b"),
            of(8, "ada", Role::Viewer, "a"),
        ];
        assert_eq!(std::collections::HashSet::from(all).len(), all.len());
        assert_eq!(all[0], of(7, "Ada", Role::Editor, "b"));
        assert_eq!(all[1], of(0, "ada", Role::Editor, "b"));
        assert_eq!(all[2], of(0, "", Role::Owner, "ada"));
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
