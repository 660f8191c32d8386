//! Any text as a token: let in is exactly who shows one that was minted here for this agent, to the letter.

use std::collections::HashMap;

use arbitrary::{Result, Unstructured};
use data_encoding::BASE64URL_NOPAD;
use pid1::auth::jwt::{self, Audience, Claims, Jwt, Seconds, SigningKey};
use pid1::auth::keys::SecretKey;
use pid1::auth::paseto::{self, Grant, Paseto};
use pid1::auth::{Auth, Secret};
use pid1_sdk::Role;

/// 2001, and 2100: the real clock is between them.
const PAST: i64 = 1_000_000_000;
const FUTURE: i64 = 4_102_444_800;

const SECRET: &str = "an-operators-own-secret";

/// The oracle, and the tokens from which others are made.
pub struct Tokens {
    auth: Auth,
    good: Vec<(String, Role)>,
    /// Well-formed, and for others, of others or of other times.
    bad: Vec<String>,
}

fn key(digit: char) -> SecretKey {
    digit.to_string().repeat(64).parse().expect("64 digits are a key")
}

fn grant() -> Grant {
    Grant {
        key_id: "k".into(),
        issuer: "i".into(),
        repl_id: "box".into(),
        user_id: 7,
        user_name: "ada".into(),
        issued: PAST,
        expires: FUTURE,
        restrict_network: false,
        type_aware: false,
    }
}

fn claims() -> Claims {
    Claims {
        aud: Audience::One("box".into()),
        exp: Some(Seconds::Whole(FUTURE)),
        role: Some("owner".into()),
        ..Claims::default()
    }
}

impl Tokens {
    /// Makes the keys and the tokens.
    pub fn new() -> Self {
        let (ours, theirs, jwts) = (key('1'), key('2'), key('3'));
        let shared = b"a shared key of 32 bytes or more".to_vec();
        let public = [jwts.public()];
        let auth = Auth {
            secret: Some(Secret(SECRET.into())),
            paseto: Some(Paseto {
                keys: HashMap::from([("k".to_owned(), ours.public()), ("l".to_owned(), jwts.public())]),
                repl_id: Some("box".into()),
                role: Role::Editor,
            }),
            jwt: Some(Jwt::new(&public, Some(&shared), "box".into())),
            ..Auth::default()
        };
        let repl = |key: &SecretKey, grant| paseto::mint(key, grant).expect("it can be signed");
        let jwt = |key: SigningKey, claims: Claims| jwt::mint(&key, &claims).expect("it can be signed");
        let ed25519 = || SigningKey::Ed25519(jwts.clone());
        let viewer = Claims { role: None, name: "bob".into(), ..claims() };
        let good = vec![
            (SECRET.to_owned(), Role::Owner),
            (repl(&ours, grant()), Role::Editor),
            (repl(&ours, Grant { type_aware: true, restrict_network: true, ..grant() }), Role::Editor),
            (jwt(ed25519(), claims()), Role::Owner),
            (jwt(SigningKey::Shared(shared.clone()), viewer), Role::Viewer),
        ];
        let bad = vec![
            repl(&theirs, grant()),
            repl(&ours, Grant { key_id: "l".into(), ..grant() }),
            repl(&ours, Grant { repl_id: "other".into(), ..grant() }),
            repl(&ours, Grant { type_aware: true, expires: PAST + 1, ..grant() }),
            repl(&ours, Grant { issued: FUTURE - 1, ..grant() }),
            jwt(SigningKey::Ed25519(theirs), claims()),
            jwt(SigningKey::Shared(public[0].0.to_vec()), claims()),
            jwt(ed25519(), Claims { aud: Audience::One("other".into()), ..claims() }),
            jwt(ed25519(), Claims { exp: None, ..claims() }),
            jwt(ed25519(), Claims { nbf: Some(Seconds::Whole(FUTURE - 1)), ..claims() }),
            jwt(SigningKey::Shared(shared), Claims { role: Some("root".into()), ..claims() }),
        ];
        Tokens { auth, good, bad }
    }

    /// The first byte chooses a token to start from, the others what is done to it; or they are the token.
    pub fn check(&self, data: &[u8]) {
        let token = self.made_up(&mut Unstructured::new(data)).unwrap_or_default();
        let wanted = self.good.iter().find(|(good, _)| *good == token).map(|(_, role)| *role);
        let admitted = self.auth.identify(&token).map(|admission| admission.identity.role);
        assert_eq!(admitted.ok(), wanted, "{token}");
    }

    fn tokens(&self) -> impl Iterator<Item = &str> {
        self.good.iter().map(|(token, _)| token.as_str()).chain(self.bad.iter().map(String::as_str))
    }

    fn any<'a>(&'a self, input: &mut Unstructured) -> Result<&'a str> {
        let all = self.good.len() + self.bad.len();
        Ok(self.tokens().nth(input.int_in_range(0..=all - 1)?).unwrap_or_default())
    }

    fn made_up(&self, input: &mut Unstructured) -> Result<String> {
        if input.ratio(1, 4u8)? {
            return Ok(String::from_utf8_lossy(input.bytes(input.len())?).into_owned());
        }
        let mut parts: Vec<String> = self.any(input)?.split('.').map(str::to_owned).collect();
        while !input.is_empty() {
            let at = input.int_in_range(0..=parts.len() - 1)?;
            match input.int_in_range(0..=6u8)? {
                // The same part, or another, of another token.
                0 => {
                    let other: Vec<&str> = self.any(input)?.split('.').collect();
                    parts[at] = (*input.choose(&other)?).to_owned();
                }
                1 => {
                    let other = input.int_in_range(0..=parts.len() - 1)?;
                    parts.swap(at, other);
                }
                2 => drop(parts.remove(at)),
                3 => {
                    let text = some(input)?;
                    parts.insert(at, String::from_utf8_lossy(text).into_owned());
                }
                // A part of one's own, encoded as it should be.
                4 => parts[at] = BASE64URL_NOPAD.encode(some(input)?),
                5 => {
                    let bytes = BASE64URL_NOPAD.decode(parts[at].as_bytes()).unwrap_or_default();
                    parts[at] = BASE64URL_NOPAD.encode(&changed(input, bytes)?);
                }
                _ => {
                    let text = changed(input, std::mem::take(&mut parts[at]).into_bytes())?;
                    parts[at] = String::from_utf8_lossy(&text).into_owned();
                }
            }
            if parts.is_empty() {
                break;
            }
        }
        Ok(parts.join("."))
    }
}

fn some<'a>(input: &mut Unstructured<'a>) -> Result<&'a [u8]> {
    let length = input.arbitrary::<u8>()?;
    input.bytes(input.len().min(length.into()))
}

/// One byte is changed, left out, put in, or is the last.
fn changed(input: &mut Unstructured, mut bytes: Vec<u8>) -> Result<Vec<u8>> {
    let last = bytes.len().saturating_sub(1);
    // Most happens at the ends.
    let at = input.int_in_range(0..=u8::MAX)?;
    let at = if input.ratio(1, 2u8)? { usize::from(at).min(last) } else { last.saturating_sub(at.into()) };
    let byte = input.arbitrary()?;
    match input.int_in_range(0..=3u8)? {
        _ if bytes.is_empty() => bytes.push(byte),
        0 => bytes[at] = byte,
        1 => bytes[at] ^= byte,
        2 => bytes.insert(at, byte),
        _ => bytes.truncate(at),
    }
    Ok(bytes)
}
