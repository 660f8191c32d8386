//! Variables as `.replit` has them: in order, and each may be made of those before it.
//!
//! `$NAME` and `${NAME}` stand for a variable that comes earlier in the file, or that programs have anyway; for nothing if
//! there is none. A `PATH` that does not say `$PATH` is searched before the one there is, not in place of it: published
//! files write `PATH = "${VIRTUAL_ENV}/bin"` and go on using the system's programs.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::command::without_nul;
use crate::error::{Error, Result};
use crate::limits;

/// Names and values, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Variables(pub Vec<(String, String)>);

impl<'de> Deserialize<'de> for Variables {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Variables;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("variables: NAME = \"value\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Variables, A::Error> {
        let mut all = Vec::new();
        while let Some(name) = table.next_key::<String>()? {
            if name.is_empty() || name.contains(['=', '\0']) {
                let wrong = "no name of a variable is empty or has a = or NUL in it";
                return Err(de::Error::custom(wrong));
            }
            all.push((name, table.next_value::<Value>()?.0));
        }
        Ok(Variables(all))
    }
}

/// Text, or what can only be meant as text.
struct Value(String);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the value of a variable: \"text\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
                Ok(Value(without_nul(text)?.to_owned()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
                Ok(Value(number.to_string()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
                Ok(Value(number.to_string()))
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
                Ok(Value(flag.to_string()))
            }
        }
        from.deserialize_any(Reader)
    }
}

/// What `variables` are where programs have `environment` anyway.
///
/// # Errors
/// If that is more than a program can be given: each may name the one before it twice.
pub(super) fn expand(
    variables: &[(String, String)],
    environment: &[(OsString, OsString)],
) -> Result<Vec<(OsString, OsString)>> {
    let mut done: Vec<(OsString, OsString)> = Vec::with_capacity(variables.len());
    let mut room = limits::PROJECT_ENV_BYTES;
    for (name, value) in variables {
        let known = |wanted: &[u8]| {
            let all = environment.iter().chain(&done);
            all.rev().find(|(name, _)| name.as_bytes() == wanted).map(|(_, value)| value.as_bytes())
        };
        let too_much =
            || Error::new(format!(".replit: env is too much with {name}: write shorter variables"));
        let (mut text, says_itself) = one(value.as_bytes(), name, room, known).ok_or_else(too_much)?;
        if name == "PATH"
            && !says_itself
            && let Some(before) = known(b"PATH").filter(|path| !path.is_empty())
        {
            text.push(b':');
            text.extend(before);
        }
        room = room.checked_sub(name.len() + text.len()).ok_or_else(too_much)?;
        done.push((name.into(), OsString::from_vec(text)));
    }
    Ok(done)
}

/// A value with what it refers to, at most `room` long, and whether it refers to `own`.
fn one<'a>(
    mut rest: &[u8],
    own: &str,
    room: usize,
    known: impl Fn(&[u8]) -> Option<&'a [u8]>,
) -> Option<(Vec<u8>, bool)> {
    let (mut text, mut says_itself) = (Vec::new(), false);
    while let Some((first, after)) = rest.split_first() {
        match reference(rest) {
            Some((name, behind)) => {
                says_itself |= name == own.as_bytes();
                text.extend(known(name).unwrap_or_default());
                rest = behind;
            }
            None => {
                text.push(*first);
                rest = after;
            }
        }
        if text.len() > room {
            return None;
        }
    }
    Some((text, says_itself))
}

/// The name that is referred to at the beginning of `text`, and what follows.
fn reference(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(b"$")?;
    let (text, braces) = text.strip_prefix(b"{").map_or((text, false), |inside| (inside, true));
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let length = text.iter().take_while(|byte| letter(byte)).count();
    let (name, behind) = text.split_at(length);
    if name.first().is_none_or(u8::is_ascii_digit) {
        return None;
    }
    if braces { behind.strip_prefix(b"}").map(|behind| (name, behind)) } else { Some((name, behind)) }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn value<'a>(env: &'a [(OsString, OsString)], name: &str) -> Option<&'a OsStr> {
        env.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_os_str())
    }

    fn expanded(variables: &[(&str, &str)]) -> Result<Vec<(OsString, OsString)>> {
        let variables: Vec<_> = variables.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        let has = [("PATH", "/bin"), ("HOME", "/home/u"), ("HOME", "/h")];
        expand(&variables, &has.map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn each_is_made_of_those_before_it() {
        let env = expanded(&[
            ("VENV", "${HOME}/venv"),
            ("PATH", "$VENV/bin"),
            ("BOTH", "$PATH|${LATER}|$$|${|${VENV|$9|a$"),
            ("LATER", "x"),
        ]);
        let env = env.unwrap();
        assert_eq!(value(&env, "PATH").unwrap(), "/h/venv/bin:/bin");
        assert_eq!(value(&env, "BOTH").unwrap(), "/h/venv/bin:/bin||$$|${|${VENV|$9|a$");
        let env = expanded(&[("PATH", "/first:$PATH:/last")]).unwrap();
        assert_eq!(value(&env, "PATH").unwrap(), "/first:/bin:/last");
    }

    #[test]
    fn a_variable_that_doubles_the_one_before_it_ends_in_an_error() {
        let mut all = vec![("V0".to_owned(), "x".repeat(1 << 10))];
        all.extend((1..64).map(|n| (format!("V{n}"), format!("$V{0}${{V{0}}}", n - 1))));
        let error = expand(&all, &[]).unwrap_err().to_string();
        assert!(error.starts_with(".replit: env is too much with V"), "{error}");
    }
}
