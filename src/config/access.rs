//! Who is let in: flags about tokens, checked and turned into an [`Auth`].

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::builder::BoolishValueParser;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use pid1_sdk::Role;

use crate::auth::jwt::{Jwt, SECRET_MIN_BYTES};
use crate::auth::keys::PublicKey;
use crate::auth::paseto::{DEV_KEY, Paseto};
use crate::auth::volt::Volt;
use crate::auth::{Auth, Secret, TOKEN_MIN_CHARS, random_token};

/// Flags about access. A value that is a secret belongs into the environment or a file: command lines are public.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Access")]
pub struct AccessArgs {
    /// The secret that clients show, at least 16 characters; anybody who has it owns this container [default: a
    /// random one, printed in the URL, if only this machine can connect]
    #[arg(long, env = "PID1_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<Secret>,

    /// A file that holds the token, as container platforms mount secrets
    #[arg(long, env = "PID1_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// A public key whose PASETO tokens are accepted, and the key_id that names it; the key is hexadecimal, base64 or
    /// @FILE; may be repeated
    #[arg(long = "paseto-key", env = "PID1_PASETO_KEY", value_name = "ID=KEY", value_delimiter = ',')]
    paseto_keys: Vec<String>,

    /// What the holder of a PASETO token may do: owner, editor or viewer
    #[arg(long, env = "PID1_PASETO_ROLE", value_name = "ROLE", default_value = "editor")]
    paseto_role: Role,

    /// The repl id of this container; PASETO tokens for another are refused
    #[arg(long, env = "PID1_REPL_ID", value_name = "ID")]
    repl_id: Option<String>,

    /// Accept PASETO tokens for any container
    #[arg(long, env = "PID1_ANY_REPL", value_parser = BoolishValueParser::new())]
    any_repl: bool,

    /// Accept PASETO tokens signed with the published development key, which everybody has; only on a loopback address
    #[arg(long, env = "PID1_DEV_KEY", value_parser = BoolishValueParser::new())]
    dev_key: bool,

    /// A public Ed25519 key whose JWTs (EdDSA) are accepted: hexadecimal, base64 or @FILE (also PEM); may be repeated
    #[arg(long = "jwt-key", env = "PID1_JWT_KEY", value_name = "KEY", value_delimiter = ',')]
    jwt_keys: Vec<String>,

    /// A shared key whose JWTs (HS256) are accepted, at least 32 bytes
    #[arg(long, env = "PID1_JWT_SECRET", value_name = "SECRET", hide_env_values = true)]
    jwt_secret: Option<Secret>,

    /// A file that holds the shared key of JWTs
    #[arg(long, env = "PID1_JWT_SECRET_FILE", value_name = "FILE")]
    jwt_secret_file: Option<PathBuf>,

    /// The name of this agent that a JWT's `aud` must hold
    #[arg(long, env = "PID1_JWT_AUDIENCE", value_name = "NAME")]
    jwt_audience: Option<String>,

    /// A session of Volt whose clients may call, and its public Ed25519 key: hexadecimal, base64 or @FILE (also PEM); may
    /// be repeated
    #[arg(long = "volt-key", env = "PID1_VOLT_KEY", value_name = "SESSION=KEY", value_delimiter = ',')]
    volt_keys: Vec<String>,

    /// The id by which Volt's clients know this agent
    #[arg(long, env = "PID1_VOLT_ID", value_name = "ID")]
    volt_id: Option<String>,

    /// What Volt's clients may do: owner, editor or viewer
    #[arg(long, env = "PID1_VOLT_ROLE", value_name = "ROLE", default_value = "editor")]
    volt_role: Role,

    /// On the socket in the state folder, whoever is the same user as the agent owns this container without a token
    #[arg(long, env = "PID1_TRUST_LOCAL", value_parser = BoolishValueParser::new())]
    pub(super) trust_local: bool,
}

/// Settings that exclude each other.
const EXCLUDING: [(&str, &str); 3] =
    [("token", "token_file"), ("jwt_secret", "jwt_secret_file"), ("repl_id", "any_repl")];

impl AccessArgs {
    /// Of two settings that exclude each other, the nearer counts; `seen` says what came from the command line and what
    /// from the environment, the rest is the file's. A variable that is set to nothing is not set.
    pub(crate) fn settle(&mut self, seen: &ArgMatches) -> Result<()> {
        let rank = |id: &str| match seen.value_source(id) {
            Some(ValueSource::CommandLine) => 2,
            Some(ValueSource::EnvVariable) => 1,
            _ => 0,
        };
        let empty = |text: &Option<Secret>| text.as_ref().is_some_and(|text| text.0.is_empty());
        for (id, is_empty) in [
            ("token", empty(&self.token)),
            ("jwt_secret", empty(&self.jwt_secret)),
            ("repl_id", self.repl_id.as_deref() == Some("")),
        ] {
            if is_empty && rank(id) == 1 {
                self.unset(id);
            }
        }
        for (one, other) in EXCLUDING {
            match rank(one).cmp(&rank(other)) {
                _ if !self.has(one) || !self.has(other) => {}
                Ordering::Less => self.unset(one),
                Ordering::Greater => self.unset(other),
                Ordering::Equal => {
                    let flags = [one, other].map(|id| id.replace('_', "-"));
                    bail!("--{} and --{} exclude each other: give one of them", flags[0], flags[1]);
                }
            }
        }
        Ok(())
    }

    /// The values that nobody else may see, by their flags.
    pub(crate) fn secrets(&self) -> [(&str, Option<&str>); 2] {
        let text = |secret| Option::map(secret, |secret: &Secret| secret.0.as_str());
        [("token", text(self.token.as_ref())), ("jwt-secret", text(self.jwt_secret.as_ref()))]
    }

    fn has(&self, id: &str) -> bool {
        match id {
            "token" => self.token.is_some(),
            "token_file" => self.token_file.is_some(),
            "jwt_secret" => self.jwt_secret.is_some(),
            "jwt_secret_file" => self.jwt_secret_file.is_some(),
            "repl_id" => self.repl_id.is_some(),
            _ => self.any_repl,
        }
    }

    fn unset(&mut self, id: &str) {
        match id {
            "token" => self.token = None,
            "token_file" => self.token_file = None,
            "jwt_secret" => self.jwt_secret = None,
            "jwt_secret_file" => self.jwt_secret_file = None,
            "repl_id" => self.repl_id = None,
            _ => self.any_repl = false,
        }
    }

    /// What is accepted by an agent that listens on `listen`; and the secret, if it was made here and must be shown.
    pub(super) fn auth(self, listen: SocketAddr) -> Result<(Auth, Option<Secret>)> {
        let ip = listen.ip();
        let chosen = secret("--token-file", self.token, self.token_file.as_deref())?;
        if let Some(short) =
            chosen.as_ref().map(|token| token.0.chars().count()).filter(|chars| *chars < TOKEN_MIN_CHARS)
        {
            bail!(
                "the token has {short} characters and needs at least {TOKEN_MIN_CHARS}: shorter ones can be guessed"
            );
        }
        let jwt_secret = secret("--jwt-secret-file", self.jwt_secret, self.jwt_secret_file.as_deref())?;
        let jwt = jwt(&self.jwt_keys, jwt_secret, self.jwt_audience)?;
        let volt = volt(&self.volt_keys, self.volt_id, self.volt_role)?;
        let mut keys = named_keys("--paseto-key", "ID", &self.paseto_keys)?;
        if self.repl_id.as_deref() == Some("") {
            bail!("--repl-id is empty: give the repl id of this container");
        }
        if !keys.is_empty() && self.repl_id.is_none() && !self.any_repl {
            bail!(
                "one signer serves many containers, so with --paseto-key say which this is: give --repl-id ID, or \
                 --any-repl if every token of that signer may be used here"
            );
        }
        if self.dev_key {
            if !ip.is_loopback() {
                bail!(
                    "--dev-key lets everybody in, so it needs a loopback address: listen on 127.0.0.1, or use \
                     --paseto-key with a key of your own"
                );
            }
            if keys.insert(DEV_KEY.0.to_owned(), DEV_KEY.1).is_some() {
                bail!("with --dev-key the name {} is taken: give --paseto-key another", DEV_KEY.0);
            }
        }
        let paseto =
            (!keys.is_empty()).then_some(Paseto { keys, repl_id: self.repl_id, role: self.paseto_role });
        let generated = match (&chosen, ip.is_loopback()) {
            (None, true) => Some(Secret(random_token()?)),
            (None, false) if paseto.is_none() && jwt.is_none() && volt.is_none() => bail!(
                "--listen {listen} is reachable from other machines, so a token of your own is needed: give --token-file FILE, set \
                 PID1_TOKEN, or configure keys of signed tokens; without one, listen on 127.0.0.1"
            ),
            _ => None,
        };
        let secret = chosen.or_else(|| generated.clone());
        Ok((Auth { secret, paseto, jwt, volt, ..Auth::default() }, generated))
    }
}

fn jwt(keys: &[String], shared: Option<Secret>, audience: Option<String>) -> Result<Option<Jwt>> {
    // Never the key itself: it may be a private one, put there by mistake.
    let public: Vec<_> =
        keys.iter().map(|key| public_key(key).context("cannot use --jwt-key")).collect::<Result<_>>()?;
    if let Some(short) = shared.as_ref().map(|key| key.0.len()).filter(|bytes| *bytes < SECRET_MIN_BYTES) {
        bail!(
            "the shared key of JWTs has {short} bytes and needs at least {SECRET_MIN_BYTES}: `pid1 token secret` makes \
             one"
        );
    }
    match audience {
        _ if public.is_empty() && shared.is_none() => Ok(None),
        Some(audience) if !audience.is_empty() => {
            Ok(Some(Jwt::new(&public, shared.as_ref().map(|key| key.0.as_bytes()), audience)))
        }
        _ => bail!(
            "a JWT must say that it is for this agent: give --jwt-audience NAME, the name that its `aud` must hold"
        ),
    }
}

fn volt(keys: &[String], id: Option<String>, role: Role) -> Result<Option<Volt>> {
    let keys = named_keys("--volt-key", "SESSION", keys)?;
    match id {
        _ if keys.is_empty() => Ok(None),
        Some(id) if !id.is_empty() => Ok(Some(Volt::new(keys, id, role))),
        _ => bail!(
            "a token of Volt must say that it is for this agent: give --volt-id ID, as its clients know it"
        ),
    }
}

/// The public keys of a flag that gives each a name.
fn named_keys(flag: &str, what: &str, entries: &[String]) -> Result<HashMap<String, PublicKey>> {
    let mut keys = HashMap::new();
    for entry in entries {
        let (id, key) = entry
            .split_once('=')
            .with_context(|| format!("cannot use {flag}: write it as {what}=KEY, with a public key"))?;
        if id.is_empty() {
            bail!("cannot use {flag}: the key needs the name that tokens give it, as {what}=KEY");
        }
        let key = public_key(key).with_context(|| format!("cannot use {flag} {id}=…"))?;
        if keys.insert(id.to_owned(), key).is_some() {
            bail!("{flag} names two keys {id}");
        }
    }
    Ok(keys)
}

/// The text itself, or the file's without the end of its line.
fn secret(flag: &str, text: Option<Secret>, file: Option<&Path>) -> Result<Option<Secret>> {
    match (text, file) {
        (None, Some(file)) => {
            let text =
                fs::read_to_string(file).with_context(|| format!("cannot read {flag} {}", file.display()))?;
            Ok(Some(Secret(text.trim_end_matches(['\r', '\n']).to_owned())))
        }
        (text, _) => Ok(text),
    }
}

/// The key itself, or `@FILE` that holds it.
fn public_key(text: &str) -> Result<PublicKey> {
    match text.strip_prefix('@') {
        Some(file) => fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?.parse(),
        None => text.parse(),
    }
}
