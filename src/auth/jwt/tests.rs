//! Tokens that are read, and every way in which one is not.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;

use super::*;

const NOW: i64 = 1_700_000_000;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW as u64)
}

fn claims() -> Claims {
    Claims {
        aud: Audience::One("box".into()),
        exp: Some(Seconds::Whole(NOW + 100)),
        role: Some("editor".into()),
        name: "ada".into(),
        user_id: 7,
        ..Claims::default()
    }
}

fn shared() -> SigningKey {
    SigningKey::Shared(vec![b'k'; SECRET_MIN_BYTES])
}

/// A token with a header of one's own, signed with HMAC by `key`.
fn forged(header: &str, claims: &Claims, key: &[u8]) -> anyhow::Result<String> {
    let part = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    let signed = format!("{}.{}", part(header.as_bytes()), part(serde_json::to_string(claims)?.as_bytes()));
    let mac = Hmac::<Sha256>::new_from_slice(key)?.chain_update(signed.as_bytes()).finalize().into_bytes();
    Ok(format!("{signed}.{}", part(&mac)))
}

#[test]
fn both_algorithms_are_read() -> anyhow::Result<()> {
    let key = SecretKey::generate()?;
    let reader = Jwt::new(&[key.public()], Some(&[b'k'; SECRET_MIN_BYTES]), "box".into());
    for key in [SigningKey::Ed25519(key), shared()] {
        let admission =
            reader.read(&mint(&key, &claims())?, now()).map_err(|refused| anyhow!(refused.why))?;
        let expires = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW as u64 + 100));
        let expected = Identity { user_id: 7, name: "ada".into(), role: Role::Editor, expires, client: 0 };
        assert_eq!(admission.identity, expected);
    }
    Ok(())
}

#[test]
fn the_other_forms_of_claims() -> anyhow::Result<()> {
    let reader = Jwt::new(&[], Some(&[b'k'; SECRET_MIN_BYTES]), "box".into());
    let read = |claims: Claims| reader.read(&mint(&shared(), &claims).unwrap_or_default(), now());
    let several = Audience::Several(vec!["other".into(), "box".into()]);
    let role = |claims| read(claims).map(|admission| admission.identity.role);
    assert_eq!(role(Claims { aud: several, role: None, ..claims() }), Ok(Role::Viewer));
    assert_eq!(role(Claims { role: Some("owner".into()), ..claims() }), Ok(Role::Owner));
    assert!(read(Claims { exp: Some(Seconds::Fraction(NOW as f64 + 0.5 + 1.0)), ..claims() }).is_ok());
    assert!(read(Claims { exp: None, iat: Some(Seconds::Whole(NOW - 10)), ..claims() }).is_ok());
    Ok(())
}

#[test]
fn what_says_the_wrong_thing_is_refused() {
    let reader = Jwt::new(&[], Some(&[b'k'; SECRET_MIN_BYTES]), "box".into());
    let at = |seconds| Some(Seconds::Whole(seconds));
    for (wrong, why) in [
        (Claims { aud: Audience::One("other".into()), ..claims() }, "not hold \"box\""),
        (Claims { aud: Audience::default(), ..claims() }, "not hold \"box\""),
        (Claims { exp: at(NOW), ..claims() }, "expired"),
        (Claims { exp: None, ..claims() }, "neither"),
        (Claims { exp: None, iat: at(NOW - 3601), ..claims() }, "expired"),
        (Claims { nbf: at(NOW + 61), ..claims() }, "good only in"),
        (Claims { exp: None, iat: at(NOW - 9999), nbf: at(NOW - 10), ..claims() }, "expired"),
        (Claims { exp: None, nbf: at(NOW - 10), ..claims() }, "neither"),
        (Claims { exp: at(-1), ..claims() }, "impossible"),
        (Claims { exp: Some(Seconds::Fraction(f64::MIN)), ..claims() }, "impossible"),
        (Claims { role: Some("root".into()), ..claims() }, "no role"),
        (Claims { role: Some(String::new()), ..claims() }, "no role"),
    ] {
        let token = mint(&shared(), &wrong).unwrap_or_default();
        let said = reader.read(&token, now()).expect_err(why).why;
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn a_key_serves_its_own_algorithm_only() -> anyhow::Result<()> {
    let key = SecretKey::generate()?;
    let public = key.public();
    let reader = Jwt::new(&[public], None, "box".into());
    let hs256 = r#"{"alg":"HS256","typ":"JWT"}"#;
    for token in [
        // The public key is public: with it as the shared key anybody could sign.
        forged(hs256, &claims(), &public.0)?,
        forged(hs256, &claims(), public.to_string().as_bytes())?,
        forged(r#"{"alg":"EdDSA"}"#, &claims(), &public.0)?,
        forged(r#"{"alg":"none"}"#, &claims(), b"")?,
        forged(r#"{"alg":"NONE"}"#, &claims(), b"")?,
        forged(r#"{"alg":"ES256"}"#, &claims(), b"")?,
        forged(r#"{}"#, &claims(), b"")?,
        mint(&SigningKey::Ed25519(SecretKey::generate()?), &claims())?,
        mint(&shared(), &claims())?,
    ] {
        assert!(reader.read(&token, now()).is_err(), "{token}");
        let (signed, _) = token.rsplit_once('.').ok_or_else(|| anyhow!("three parts"))?;
        assert!(reader.read(&format!("{signed}."), now()).is_err(), "{signed} without signature");
    }
    Ok(())
}

#[test]
fn an_extension_that_must_be_understood_is_refused() -> anyhow::Result<()> {
    let reader = Jwt::new(&[], Some(&[b'k'; SECRET_MIN_BYTES]), "box".into());
    let token = |header: &str| forged(header, &claims(), &[b'k'; SECRET_MIN_BYTES]);
    assert!(reader.read(&token(r#"{"alg":"HS256"}"#)?, now()).is_ok());
    let refused = reader.read(&token(r#"{"alg":"HS256","crit":["exp"]}"#)?, now());
    assert!(refused.is_err_and(|refused| refused.why.contains("crit")));
    Ok(())
}

#[test]
fn a_changed_or_cut_token_is_refused() -> anyhow::Result<()> {
    let key = SecretKey::generate()?;
    let reader = Jwt::new(&[key.public()], None, "box".into());
    let good = mint(&SigningKey::Ed25519(key), &claims())?;
    assert!(reader.read(&good, now()).is_ok());
    for end in 0..good.len() {
        assert!(reader.read(&good[..end], now()).is_err(), "cut at {end}");
    }
    for at in (0..good.len()).filter(|&at| good.as_bytes()[at] != b'.') {
        let mut changed = good.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert!(reader.read(&String::from_utf8(changed)?, now()).is_err(), "changed at {at}");
    }
    Ok(())
}
