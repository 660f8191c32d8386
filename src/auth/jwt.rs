//! JWTs: EdDSA with Ed25519 keys, HS256 with a shared key. Each key is bound to its one algorithm, whatever a token's
//! header says, and `aud` must name this agent.
//!
//! Claims: `aud`, `exp`, `iat`, `nbf` as registered; `role` (`owner`, `editor` or `viewer`; without it a viewer);
//! `name` and `user_id` of the person.

use std::time::SystemTime;

use anyhow::{Result, anyhow};
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use pid1_sdk::{Identity, Role, limits};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::keys::{PublicKey, SecretKey};
use super::lifetime::Lifetime;
use super::{Admission, Refused};

/// Fewest bytes of a shared key: as many as the hash has (RFC 7518, 3.2).
pub const SECRET_MIN_BYTES: usize = 32;

/// The keys whose tokens are accepted.
pub struct Jwt {
    keys: Vec<(Algorithm, DecodingKey)>,
    audience: String,
}

/// What a token says.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Claims {
    /// Whom it is for.
    pub aud: Audience,
    /// When it ends, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<Seconds>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<Seconds>,
    /// Not good before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<Seconds>,
    /// What its holder may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The person's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The person's number.
    #[serde(default)]
    pub user_id: u32,
}

/// One name or several.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Audience {
    /// The usual form.
    One(String),
    /// The other form.
    Several(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Audience::Several(Vec::new())
    }
}

/// A time as issuers write it: a number, with or without a fraction.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Seconds {
    /// Whole seconds.
    Whole(i64),
    /// With a fraction, which is dropped.
    Fraction(f64),
}

/// What a token is signed with.
pub enum SigningKey {
    /// EdDSA.
    Ed25519(SecretKey),
    /// HS256.
    Shared(Vec<u8>),
}

impl Jwt {
    /// Accepts tokens for `audience` by any of these keys.
    pub fn new(public: &[PublicKey], shared: Option<&[u8]>, audience: String) -> Self {
        provide();
        let public = public.iter().map(|key| (Algorithm::EdDSA, DecodingKey::from_ed_der(&key.0)));
        let shared = shared.map(|key| (Algorithm::HS256, DecodingKey::from_secret(key)));
        Jwt { keys: public.chain(shared).collect(), audience }
    }

    /// Who shows `token`.
    pub(super) fn read(&self, token: &str, now: SystemTime) -> Result<Admission, Refused> {
        let unknown = "its JWT header is malformed, or names an algorithm that nobody may use";
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refused::new(unknown))?;
        if header.crit.is_some() {
            return Err(Refused::new("its header asks for an extension (crit), and none is known"));
        }
        let mut why = Refused::new(format!("no key for algorithm {:?} is configured", header.alg));
        for (algorithm, key) in self.keys.iter().filter(|(algorithm, _)| *algorithm == header.alg) {
            let mut rules = Validation::new(*algorithm);
            rules.set_audience(&[&self.audience]);
            rules.set_required_spec_claims(&["aud"]);
            // Both kinds of signed tokens have the same rules about time.
            rules.validate_exp = false;
            match jsonwebtoken::decode::<Claims>(token, key, &rules) {
                Ok(token) => return admit(token.claims, now),
                // Perhaps another key's.
                Err(error) if *error.kind() == ErrorKind::InvalidSignature => {
                    why = Refused::new("its signature is not that of a configured key");
                }
                Err(error) if *error.kind() == ErrorKind::InvalidAudience => {
                    return Err(Refused::new(format!("its aud does not hold {:?}", self.audience)));
                }
                Err(error) => return Err(Refused::new(format!("it is malformed: {error}"))),
            }
        }
        Err(why)
    }
}

fn admit(claims: Claims, now: SystemTime) -> Result<Admission, Refused> {
    let time = |at: Option<Seconds>| at.map(|at| Lifetime::time(at.whole())).transpose();
    let lifetime = Lifetime::new(time(claims.iat)?, time(claims.exp)?);
    let expires = lifetime.and(Lifetime::not_before(time(claims.nbf)?)).check(now)?;
    let role = match claims.role.as_deref() {
        None => Role::Viewer,
        Some(role) => role.parse().map_err(|error| Refused::new(format!("{error}")))?,
    };
    let name = pid1_sdk::error::printable(&claims.name).chars().take(limits::DISPLAY_NAME_CHARS).collect();
    let identity = Identity { user_id: claims.user_id, name, role, expires: Some(expires), client: 0 };
    Ok(Admission { identity, restrict_network: false })
}

/// Signs a token.
pub fn mint(key: &SigningKey, claims: &Claims) -> Result<String> {
    provide();
    let (algorithm, key) = match key {
        SigningKey::Ed25519(key) => (Algorithm::EdDSA, EncodingKey::from_ed_der(&key.seed_and_public())),
        SigningKey::Shared(key) => (Algorithm::HS256, EncodingKey::from_secret(key)),
    };
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key)
        .map_err(|error| anyhow!("cannot sign: {error}"))
}

impl Seconds {
    /// Without the fraction.
    pub(super) fn whole(self) -> i64 {
        match self {
            Seconds::Whole(seconds) => seconds,
            // Out of range saturates, and is then no possible time.
            Seconds::Fraction(seconds) => seconds as i64,
        }
    }
}

impl std::fmt::Debug for Jwt {
    /// Never prints a key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jwt").field("audience", &self.audience).finish_non_exhaustive()
    }
}

/// The library's own cryptography brings RSA and three more curves that nobody here may use; these are the two.
static PROVIDER: CryptoProvider =
    CryptoProvider { signer_factory, verifier_factory, key_utils: KeyUtils::new_unimplemented() };

pub(super) fn provide() {
    // The second time it is there already.
    let _ = PROVIDER.install_default();
}

fn signer_factory(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Ok(match algorithm {
        Algorithm::EdDSA => {
            Box::new(Ed25519(ed25519_compact::SecretKey::from_slice(key.as_bytes()).map_err(bad)?))
        }
        Algorithm::HS256 => Box::new(Shared(Hmac::new_from_slice(key.as_bytes()).map_err(bad)?)),
        _ => return Err(ErrorKind::InvalidAlgorithm.into()),
    })
}

fn verifier_factory(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let key = key.try_get_as_bytes()?;
    Ok(match algorithm {
        Algorithm::EdDSA => Box::new(Ed25519(ed25519_compact::PublicKey::from_slice(key).map_err(bad)?)),
        Algorithm::HS256 => Box::new(Shared(Hmac::new_from_slice(key).map_err(bad)?)),
        _ => return Err(ErrorKind::InvalidAlgorithm.into()),
    })
}

fn bad<E>(_unusable: E) -> Error {
    ErrorKind::InvalidKeyFormat.into()
}

struct Ed25519<K>(K);

impl Signer<Vec<u8>> for Ed25519<ed25519_compact::SecretKey> {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.0.sign(message, None).to_vec())
    }
}

impl Verifier<Vec<u8>> for Ed25519<ed25519_compact::PublicKey> {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let signature =
            ed25519_compact::Signature::from_slice(signature).map_err(|_| signature::Error::new())?;
        self.0.verify(message, &signature).map_err(|_| signature::Error::new())
    }
}

impl JwtSigner for Ed25519<ed25519_compact::SecretKey> {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

impl JwtVerifier for Ed25519<ed25519_compact::PublicKey> {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct Shared(Hmac<Sha256>);

impl Signer<Vec<u8>> for Shared {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.0.clone().chain_update(message).finalize().into_bytes().to_vec())
    }
}

impl Verifier<Vec<u8>> for Shared {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let computed = self.0.clone().chain_update(message);
        computed.verify_slice(signature).map_err(|_| signature::Error::new())
    }
}

impl JwtSigner for Shared {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Shared {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests;
