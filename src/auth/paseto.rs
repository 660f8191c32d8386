//! Replit's own tokens: PASETO `v2.public`, whose payload is the base64 text of a protobuf, and whose footer, base64
//! text of one too, names the key. Both published layouts are read: a bare `ReplToken`, and one within a `GovalToken`.

use std::collections::HashMap;
use std::time::SystemTime;

use data_encoding::{BASE64, BASE64_NOPAD};
use pasetors::Public;
use pasetors::keys::{AsymmetricPublicKey, AsymmetricSecretKey};
use pasetors::token::UntrustedToken;
use pasetors::version2::{PublicToken, V2};
use pid1_sdk::{Identity, Role, limits};
use prost::Message;
use prost_types::Timestamp;

use super::keys::{PublicKey, SecretKey};
use super::lifetime::Lifetime;
use super::repl_token::{
    BARE_REPL_TOKEN, GovalToken, Presenced, Repl, ReplToken, ResourceLimits, SigningAuthority,
    TYPE_AWARE_TOKEN,
};
use super::{Admission, Refused};

/// How every such token begins.
pub(super) const HEADER: &str = PublicToken::HEADER;

/// The name and the public half of the key with which the published client's own tests sign. Everybody has the other
/// half, so it opens an agent to the whole machine.
pub const DEV_KEY: (&str, PublicKey) = (
    "dev",
    PublicKey([
        0xa2, 0x7d, 0x05, 0x91, 0x29, 0x84, 0x0b, 0xe7, 0x1e, 0xe3, 0x45, 0x7d, 0x55, 0xce, 0x10, 0x00, 0x15,
        0xd2, 0xc7, 0xa4, 0xd7, 0xa3, 0xe9, 0x61, 0xa7, 0xdf, 0x5b, 0xe8, 0xa6, 0xb4, 0x82, 0xba,
    ]),
);

/// Whose tokens are accepted, and for what.
#[derive(Clone, Debug)]
pub struct Paseto {
    /// Public keys by the `key_id` that names them.
    pub keys: HashMap<String, PublicKey>,
    /// The one container whose tokens are good; `None` accepts those of any, which one signer may have made for many.
    pub repl_id: Option<String>,
    /// What its holders may do.
    pub role: Role,
}

impl Paseto {
    /// Who shows `token`.
    pub(super) fn read(&self, token: &str, now: SystemTime) -> Result<Admission, Refused> {
        let token = UntrustedToken::<Public, V2>::try_from(token).map_err(|_| malformed("it"))?;
        let authority: SigningAuthority = message(token.untrusted_footer(), "its footer")?;
        if !authority.signed_cert.is_empty() {
            return Err(Refused::new(
                "its key is vouched for by a certificate; only configured keys are accepted",
            ));
        }
        let key = self.keys.get(&authority.key_id);
        let key =
            key.ok_or_else(|| Refused::new(format!("its key {:?} is not known", short(&authority.key_id))))?;
        let key = AsymmetricPublicKey::<V2>::from(&key.0).map_err(|_| Refused::new("its key is unusable"))?;
        let signed = PublicToken::verify(&key, &token, None).map_err(|_| {
            Refused::new(format!("its signature is not that of key {:?}", short(&authority.key_id)))
        })?;
        let (token, outer) = match authority.version {
            BARE_REPL_TOKEN => (message::<ReplToken>(signed.payload().as_bytes(), "its payload")?, None),
            TYPE_AWARE_TOKEN => {
                let mut outer: GovalToken = message(signed.payload().as_bytes(), "its payload")?;
                let token = outer.repl_token.take();
                (token.ok_or_else(|| Refused::new("it is no token for a container"))?, Some(outer))
            }
            other => return Err(Refused::new(format!("its layout {other} is not known"))),
        };
        let outer = outer.unwrap_or_default();
        let lifetime = lifetime(outer.iat, outer.exp)?.and(lifetime(token.iat, token.exp)?);
        let expires = lifetime.check(now)?;
        self.check_repl(&token, &outer)?;
        let Presenced { bearer_id, bearer_name } = token.presenced.unwrap_or_default();
        let name =
            pid1_sdk::error::printable(&bearer_name).chars().take(limits::DISPLAY_NAME_CHARS).collect();
        Ok(Admission {
            identity: Identity {
                user_id: bearer_id,
                name,
                role: self.role,
                expires: Some(expires),
                client: 0,
            },
            restrict_network: token.resource_limits.is_some_and(|limits| limits.restrict_network),
        })
    }

    /// Each place that names a container must name this one, and one must.
    fn check_repl(&self, token: &ReplToken, outer: &GovalToken) -> Result<(), Refused> {
        let Some(wanted) = &self.repl_id else { return Ok(()) };
        let inner = [&token.repl, &token.id].into_iter().flatten().map(|repl| repl.id.as_str());
        let mut named = inner.chain(Some(outer.replid.as_str()).filter(|id| !id.is_empty())).peekable();
        if named.peek().is_none() {
            return Err(Refused::new("it names no container, and --repl-id asks for one"));
        }
        match named.find(|id| id != wanted) {
            None => Ok(()),
            Some(other) => Err(Refused::new(format!("it is for {:?}, and this is {wanted:?}", short(other)))),
        }
    }
}

/// What a minted token says.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Names the key to whoever checks.
    pub key_id: String,
    /// Who made it; for people.
    pub issuer: String,
    /// The container it is for.
    pub repl_id: String,
    /// The person's number.
    pub user_id: u32,
    /// The person's name.
    pub user_name: String,
    /// In seconds since 1970.
    pub issued: i64,
    /// In seconds since 1970.
    pub expires: i64,
    /// Good only where programs cannot reach the network.
    pub restrict_network: bool,
    /// Within a `GovalToken`, instead of bare.
    pub type_aware: bool,
}

/// Signs a token.
pub fn mint(key: &SecretKey, grant: Grant) -> anyhow::Result<String> {
    let timestamp = |seconds| Some(Timestamp { seconds, nanos: 0 });
    let named = !grant.user_name.is_empty() || grant.user_id != 0;
    let token = ReplToken {
        iat: timestamp(grant.issued),
        exp: timestamp(grant.expires),
        repl: None,
        id: Some(Repl { id: grant.repl_id.clone() }),
        resource_limits: grant.restrict_network.then_some(ResourceLimits { restrict_network: true }),
        presenced: named.then_some(Presenced { bearer_id: grant.user_id, bearer_name: grant.user_name }),
    };
    let (version, payload) = if grant.type_aware {
        let outer =
            GovalToken { iat: token.iat, exp: token.exp, replid: grant.repl_id, repl_token: Some(token) };
        (TYPE_AWARE_TOKEN, outer.encode_to_vec())
    } else {
        (BARE_REPL_TOKEN, token.encode_to_vec())
    };
    let authority =
        SigningAuthority { key_id: grant.key_id, signed_cert: String::new(), version, issuer: grant.issuer };
    let key = AsymmetricSecretKey::<V2>::from(&key.seed_and_public()).map_err(cannot_sign)?;
    let footer = BASE64.encode(&authority.encode_to_vec());
    PublicToken::sign(&key, BASE64.encode(&payload).as_bytes(), Some(footer.as_bytes())).map_err(cannot_sign)
}

fn cannot_sign(error: pasetors::errors::Error) -> anyhow::Error {
    anyhow::anyhow!("cannot sign: {error:?}")
}

fn lifetime(iat: Option<Timestamp>, exp: Option<Timestamp>) -> Result<Lifetime, Refused> {
    let time = |at: Option<Timestamp>| at.map(|at| Lifetime::time(at.seconds)).transpose();
    Ok(Lifetime::new(time(iat)?, time(exp)?))
}

/// Base64 text, with or without padding, of a protobuf.
fn message<M: Message + Default>(text: &[u8], what: &str) -> Result<M, Refused> {
    let text = text.trim_ascii_end();
    let bare = text.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
    let bytes = BASE64_NOPAD.decode(&text[..bare]).map_err(|_| malformed(what))?;
    M::decode(bytes.as_slice()).map_err(|_| malformed(what))
}

fn malformed(what: &str) -> Refused {
    Refused::new(format!("{what} is malformed"))
}

/// Enough of a stranger's text to recognise it in the log.
fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests;
