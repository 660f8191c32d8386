//! Ed25519 keys as people write them: hexadecimal, base64, or PEM as `openssl` makes it.

use anyhow::{Context, Result, anyhow, bail};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use ed25519_compact::{KeyPair, Seed};

/// What stands before the key in a PEM file's public key (`SubjectPublicKeyInfo`, RFC 8410).
const PUBLIC_DER: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// What stands before the seed in a PEM file's private key (PKCS #8, RFC 8410).
const SECRET_DER: &[u8] =
    &[0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Checks signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(pub [u8; 32]);

/// Makes signatures.
#[derive(Clone)]
pub struct SecretKey(KeyPair);

impl std::str::FromStr for PublicKey {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let bytes = decode(text).context("a public key is 64 hexadecimal digits, base64, or PEM")?;
        let bare = bytes.strip_prefix(PUBLIC_DER).unwrap_or(&bytes);
        let key = bare.try_into().ok();
        Ok(PublicKey(
            key.with_context(|| format!("an Ed25519 public key has 32 bytes, this has {}", bare.len()))?,
        ))
    }
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl std::str::FromStr for SecretKey {
    type Err = anyhow::Error;

    /// Also takes the seed with the public key behind it, as Replit's tools write it.
    fn from_str(text: &str) -> Result<Self> {
        let bytes = decode(text).context("a private key is hexadecimal, base64, or PEM")?;
        let bare = bytes.strip_prefix(SECRET_DER).unwrap_or(&bytes);
        let (seed, public) = match bare.len() {
            32 => (bare, None),
            64 => (&bare[..32], Some(&bare[32..])),
            other => {
                bail!("an Ed25519 private key has 32 bytes, or 64 with the public one, and this has {other}")
            }
        };
        let pair = KeyPair::from_seed(Seed::from_slice(seed).map_err(|error| anyhow!("{error:?}"))?);
        if public.is_some_and(|public| public != pair.pk.as_slice()) {
            bail!("the two halves of the key do not belong together");
        }
        Ok(SecretKey(pair))
    }
}

impl std::fmt::Debug for SecretKey {
    /// Shows the public half.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretKey of {}", self.public())
    }
}

impl SecretKey {
    /// A new one.
    pub fn generate() -> Result<Self> {
        let mut seed = [0; Seed::BYTES];
        getrandom::fill(&mut seed)
            .map_err(|error| anyhow::anyhow!("no random numbers for a key: {error}"))?;
        Ok(SecretKey(KeyPair::from_seed(Seed::new(seed))))
    }

    /// The half that checks.
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.pk)
    }

    /// As a PEM file, which `openssl pkey` reads.
    pub fn pem(&self) -> String {
        let der = [SECRET_DER, self.0.sk.seed().as_ref()].concat();
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", BASE64.encode(&der))
    }

    pub(super) fn seed_and_public(&self) -> [u8; 64] {
        *self.0.sk
    }
}

/// Whatever of the three forms `text` is in.
fn decode(text: &str) -> Option<Vec<u8>> {
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
    if let Ok(bytes) = HEXLOWER_PERMISSIVE.decode(body.as_bytes()) {
        return Some(bytes);
    }
    let body = body.trim_end_matches('=').replace('+', "-").replace('/', "_");
    BASE64URL_NOPAD.decode(body.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_key_is_the_same_key() -> Result<()> {
        let key = SecretKey::generate()?;
        let both = key.seed_and_public();
        for text in
            [key.pem(), HEXLOWER.encode(&both[..32]), BASE64.encode(&both), BASE64URL_NOPAD.encode(&both)]
        {
            assert_eq!(text.parse::<SecretKey>()?.public(), key.public(), "{text}");
        }
        let public = key.public();
        let der = BASE64.encode(&[PUBLIC_DER, &public.0].concat());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n");
        for text in
            [public.to_string(), public.to_string().to_uppercase(), BASE64.encode(&public.0), der, pem]
        {
            assert_eq!(text.parse::<PublicKey>()?, public, "{text}");
        }
        Ok(())
    }

    #[test]
    fn what_is_no_key_is_refused() -> Result<()> {
        let key = SecretKey::generate()?;
        let mut mixed = key.seed_and_public();
        mixed[40] ^= 1;
        for text in ["", "00", "nonsense!", &"0".repeat(63), &HEXLOWER.encode(&mixed)] {
            assert!(text.parse::<SecretKey>().is_err(), "{text}");
            assert!(text.parse::<PublicKey>().is_err(), "{text}");
        }
        assert!(!format!("{key:?}").contains(&HEXLOWER.encode(&key.seed_and_public()[..32])));
        Ok(())
    }
}
