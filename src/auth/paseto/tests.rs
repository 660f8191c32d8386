//! Tokens that are read, and every way in which one is not.

use std::time::Duration;

use super::*;

const NOW: i64 = 1_700_000_000;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW as u64)
}

fn grant() -> Grant {
    Grant {
        key_id: "k1".into(),
        issuer: "tests".into(),
        repl_id: "box".into(),
        user_id: 7,
        user_name: "ada".into(),
        issued: NOW - 10,
        expires: NOW + 100,
        restrict_network: false,
        type_aware: false,
    }
}

fn reader(key: &SecretKey) -> Paseto {
    let keys = HashMap::from([("k1".to_owned(), key.public())]);
    Paseto { keys, repl_id: Some("box".into()), role: Role::Editor }
}

/// A payload and a footer of one's own, signed well.
fn signed(key: &SecretKey, payload: &impl Message, authority: &SigningAuthority) -> String {
    let key = AsymmetricSecretKey::<V2>::from(&key.seed_and_public()).expect("a key of ours");
    let footer = BASE64.encode(&authority.encode_to_vec());
    PublicToken::sign(&key, BASE64.encode(&payload.encode_to_vec()).as_bytes(), Some(footer.as_bytes()))
        .expect("it can be signed")
}

fn authority(version: i32) -> SigningAuthority {
    SigningAuthority { key_id: "k1".into(), version, ..SigningAuthority::default() }
}

fn token() -> ReplToken {
    ReplToken {
        exp: Some(Timestamp { seconds: NOW + 100, nanos: 0 }),
        repl: Some(Repl { id: "box".into() }),
        ..ReplToken::default()
    }
}

#[test]
fn both_layouts_are_read() -> anyhow::Result<()> {
    let key = SecretKey::generate()?;
    for type_aware in [false, true] {
        let minted = mint(&key, Grant { type_aware, restrict_network: type_aware, ..grant() })?;
        let expires = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW as u64 + 100));
        let identity = Identity { user_id: 7, name: "ada".into(), role: Role::Editor, expires, client: 0 };
        let expected = Admission { identity, restrict_network: type_aware };
        assert_eq!(reader(&key).read(&minted, now()), Ok(expected));
    }
    Ok(())
}

#[test]
fn the_role_is_the_operators_and_any_container_may_be_meant() -> anyhow::Result<()> {
    let key = SecretKey::generate()?;
    let minted = mint(&key, Grant { repl_id: "another".into(), ..grant() })?;
    let any = Paseto { repl_id: None, role: Role::Owner, ..reader(&key) };
    assert_eq!(any.read(&minted, now()).map(|admission| admission.identity.role), Ok(Role::Owner));
    let refused = reader(&key).read(&minted, now()).expect_err("it is for another");
    assert!(refused.why.contains("\"another\"") && refused.why.contains("\"box\""), "{}", refused.why);
    Ok(())
}

#[test]
fn what_is_signed_well_and_says_the_wrong_thing_is_refused() -> anyhow::Result<()> {
    let key = SecretKey::generate()?;
    let refused = |token: String| reader(&key).read(&token, now()).map_err(|refused| refused.why);
    assert!(refused(signed(&key, &token(), &authority(0))).is_ok(), "the token that the others differ from");
    let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
    let wrong_repl = || Some(Repl { id: "another".into() });
    let outer = |inner: Option<ReplToken>| GovalToken { repl_token: inner, ..GovalToken::default() };
    let certified = SigningAuthority { signed_cert: "x".into(), ..authority(0) };
    let unknown = SigningAuthority { key_id: "k\u{1b}2".into(), ..authority(0) };
    for (token, why) in [
        (signed(&key, &ReplToken { exp: at(NOW), ..token() }, &authority(0)), "expired 0 s ago"),
        (signed(&key, &ReplToken { exp: None, iat: at(NOW - 3600), ..token() }, &authority(0)), "expired"),
        (signed(&key, &ReplToken { exp: None, ..token() }, &authority(0)), "neither"),
        (signed(&key, &ReplToken { iat: at(NOW + 61), ..token() }, &authority(0)), "good only in"),
        (signed(&key, &ReplToken { exp: at(i64::MIN), ..token() }, &authority(0)), "impossible time"),
        (signed(&key, &ReplToken { exp: at(-5), ..token() }, &authority(0)), "impossible time"),
        (signed(&key, &ReplToken { repl: wrong_repl(), ..token() }, &authority(0)), "for \"another\""),
        (signed(&key, &ReplToken { id: wrong_repl(), ..token() }, &authority(0)), "for \"another\""),
        (signed(&key, &ReplToken { repl: None, ..token() }, &authority(0)), "names no container"),
        (
            signed(&key, &GovalToken { replid: "no".into(), ..outer(Some(token())) }, &authority(1)),
            "for \"no\"",
        ),
        (signed(&key, &GovalToken { exp: at(NOW - 1), ..outer(Some(token())) }, &authority(1)), "expired"),
        (
            signed(&key, &GovalToken { exp: at(NOW + 9), ..outer(None) }, &authority(1)),
            "no token for a container",
        ),
        (
            // A new token around an old one gives it no new life.
            signed(
                &key,
                &GovalToken {
                    iat: at(NOW),
                    exp: at(NOW + 99),
                    ..outer(Some(ReplToken { exp: None, iat: at(NOW - 9999), ..token() }))
                },
                &authority(1),
            ),
            "expired",
        ),
        (signed(&key, &token(), &authority(2)), "layout 2"),
        (signed(&key, &token(), &certified), "certificate"),
        (signed(&key, &token(), &unknown), "not known"),
        (signed(&SecretKey::generate()?, &token(), &authority(0)), "not that of key"),
    ] {
        let said = refused(token).expect_err(why);
        assert!(said.contains(why), "{said}");
        assert!(!said.contains('\u{1b}'), "{said:?}");
    }
    Ok(())
}

#[test]
fn a_changed_or_cut_token_is_refused() -> anyhow::Result<()> {
    let key = SecretKey::generate()?;
    let good = mint(&key, grant())?;
    for end in 0..good.len() {
        assert!(reader(&key).read(&good[..end], now()).is_err(), "cut at {end}");
    }
    for at in (HEADER.len()..good.len()).filter(|&at| good.as_bytes()[at] != b'.') {
        let mut changed = good.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed)?;
        // The last digit of a part may differ in bits that are not used: then it is not canonical, and refused too.
        assert!(reader(&key).read(&changed, now()).is_err(), "changed at {at}");
    }
    for odd in [
        "v2.public.",
        "v2.public..",
        "v2.public.e30",
        "v2.public.=.=",
        "v2.local.x.y",
        &"v2.public.".repeat(99),
    ] {
        assert!(reader(&key).read(odd, now()).is_err(), "{odd}");
    }
    Ok(())
}

/// A token of its private half opens an agent in the tests with the published client.
#[test]
fn the_development_key_is_the_published_one() {
    assert_eq!(
        DEV_KEY.1.to_string(),
        "a27d059129840be71ee3457d55ce100015d2c7a4d7a3e961a7df5be8a6b482ba",
        "the public key that clients' tests sign for"
    );
}
