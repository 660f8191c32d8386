//! Volt's tokens: a JWT of two minutes for each call, signed with the Ed25519 key of the caller's session.
//!
//! `aud` is the Volt's id, `sub` the session's, which names the key: the header does not. It says who calls, and nothing
//! about how long the call may go on. What this deliberately does not do: relayed calls, whose content is encrypted.

use std::collections::HashMap;
use std::fmt;
use std::time::SystemTime;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use pid1_sdk::{Identity, Role};
use serde::Deserialize;

use super::jwt::{Seconds, provide};
use super::keys::PublicKey;
use super::lifetime::Lifetime;
use super::{Admission, Refused};

/// The sessions that are known.
pub struct Volt {
    sessions: HashMap<String, DecodingKey>,
    id: String,
    role: Role,
}

#[derive(Deserialize)]
struct Claims {
    exp: Seconds,
    iat: Option<Seconds>,
}

impl Volt {
    /// The sessions by their ids; `id` is the Volt's own, `role` what all of them may do.
    pub fn new(sessions: impl IntoIterator<Item = (String, PublicKey)>, id: String, role: Role) -> Volt {
        provide();
        let keys = sessions.into_iter().map(|(session, key)| (session, DecodingKey::from_ed_der(&key.0)));
        Volt { sessions: keys.collect(), id, role }
    }

    /// Who shows `token`.
    pub(super) fn read(&self, token: &str, now: SystemTime) -> Result<Admission, Refused> {
        let mut why = Refused::new("its signature is not that of a configured session");
        for (session, key) in &self.sessions {
            let mut rules = Validation::new(Algorithm::EdDSA);
            rules.set_audience(&[&self.id]);
            rules.sub = Some(session.clone());
            rules.set_required_spec_claims(&["aud", "sub", "exp"]);
            rules.validate_exp = false;
            match jsonwebtoken::decode::<Claims>(token, key, &rules) {
                Ok(token) => return self.admit(session, &token.claims, now),
                Err(error) if *error.kind() == ErrorKind::InvalidSignature => {}
                Err(error) => {
                    why = Refused::new(format!("as a token of Volt's session {session:?}: {error}"))
                }
            }
        }
        Err(why)
    }

    fn admit(&self, session: &str, claims: &Claims, now: SystemTime) -> Result<Admission, Refused> {
        let issued = claims.iat.map(|at| Lifetime::time(at.whole())).transpose()?;
        Lifetime::new(issued, Some(Lifetime::time(claims.exp.whole())?)).check(now)?;
        let identity = Identity { name: session.to_owned(), ..Identity::anonymous(self.role) };
        Ok(Admission { identity, restrict_network: false })
    }
}

impl fmt::Debug for Volt {
    /// Never prints a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Volt").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::auth::keys::SecretKey;

    #[test]
    fn only_a_session_that_is_known_calls_and_only_for_two_minutes() -> anyhow::Result<()> {
        let (ours, foreign) = (SecretKey::generate()?, SecretKey::generate()?);
        let volt = Volt::new([("s1".to_owned(), ours.public())], "volt".into(), Role::Editor);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000);
        let token = |key: &SecretKey, claims: &str| {
            let key = jsonwebtoken::EncodingKey::from_ed_der(&key.seed_and_public());
            let claims: serde_json::Value = serde_json::from_str(claims).expect("claims");
            let header = jsonwebtoken::Header::new(Algorithm::EdDSA);
            jsonwebtoken::encode(&header, &claims, &key).expect("a token")
        };
        let good = r#"{"aud":"volt","sub":"s1","iat":9940,"exp":10060}"#;
        let admitted = volt.read(&token(&ours, good), now).map(|admission| admission.identity);
        let known = admitted.map(|who| (who.name, who.role, who.expires));
        assert_eq!(known, Ok(("s1".to_owned(), Role::Editor, None)));
        for (key, claims) in [
            (&foreign, good),
            (&ours, r#"{"aud":"volt","sub":"s2","iat":9940,"exp":10060}"#),
            (&ours, r#"{"aud":"other","sub":"s1","iat":9940,"exp":10060}"#),
            (&ours, r#"{"aud":"volt","sub":"s1","iat":9800,"exp":9999}"#),
            (&ours, r#"{"aud":"volt","sub":"s1","iat":11000,"exp":12000}"#),
            (&ours, r#"{"aud":"volt","sub":"s1","iat":9940}"#),
            (&ours, r#"{"aud":"volt","iat":9940,"exp":10060}"#),
        ] {
            assert!(volt.read(&token(key, claims), now).is_err(), "{claims}");
        }
        assert!(volt.read("", now).is_err() && volt.read("a.b.c", now).is_err());
        Ok(())
    }
}
