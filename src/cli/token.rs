//! `pid1 token`: makes every kind of token that an agent accepts, and the keys for them.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use clap::builder::BoolishValueParser;
use clap::{Args, Subcommand};
use pid1_sdk::Role;

use crate::auth::keys::SecretKey;
use crate::auth::{jwt, paseto, random_token};

/// Flags of `pid1 token`.
#[derive(Args, Debug)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// A random secret, for --token, --token-file or --jwt-secret-file
    Secret,
    /// A new Ed25519 key pair: the private half into a file, the public half, for --paseto-key and --jwt-key, on stdout
    Key(KeyArgs),
    /// A token of Replit's format (PASETO v2.public)
    Paseto(PasetoArgs),
    /// A JWT: EdDSA with --key, HS256 with --secret-file
    Jwt(JwtArgs),
}

#[derive(Args, Debug)]
struct KeyArgs {
    /// Where to write the private key; readable by nobody else
    #[arg(long, value_name = "FILE", env = "PID1_KEY_OUT")]
    out: PathBuf,
}

#[derive(Args, Debug)]
struct PasetoArgs {
    /// The private key: a file as `pid1 token key` or `openssl genpkey -algorithm ed25519` writes it
    #[arg(long, value_name = "FILE", env = "PID1_SIGNING_KEY")]
    key: PathBuf,

    /// The name under which the agent knows the key
    #[arg(long, value_name = "ID", env = "PID1_KEY_ID")]
    key_id: String,

    /// The container that the token is for
    #[arg(long, value_name = "ID", env = "PID1_REPL_ID")]
    repl_id: String,

    /// Good only where programs cannot reach the network
    #[arg(long, env = "PID1_RESTRICT_NETWORK", value_parser = BoolishValueParser::new())]
    restrict_network: bool,

    /// The layout that says its own type, instead of the bare one
    #[arg(long, env = "PID1_TYPE_AWARE", value_parser = BoolishValueParser::new())]
    type_aware: bool,

    #[command(flatten)]
    person: Person,
}

#[derive(Args, Debug)]
struct JwtArgs {
    /// The private key of an EdDSA token
    #[arg(long, value_name = "FILE", env = "PID1_SIGNING_KEY", required_unless_present = "secret_file")]
    key: Option<PathBuf>,

    /// The shared key of an HS256 token
    #[arg(long, value_name = "FILE", env = "PID1_SIGNING_SECRET_FILE", conflicts_with = "key")]
    secret_file: Option<PathBuf>,

    /// The agent that the token is for: its --jwt-audience
    #[arg(long, value_name = "NAME", env = "PID1_JWT_AUDIENCE")]
    audience: String,

    /// What its holder may do: owner, editor or viewer
    #[arg(long, value_name = "ROLE", env = "PID1_ROLE", default_value = "viewer")]
    role: Role,

    #[command(flatten)]
    person: Person,
}

#[derive(Args, Debug)]
struct Person {
    /// The person's name, shown to others
    #[arg(long, value_name = "NAME", env = "PID1_USER", default_value = "")]
    user: String,

    /// The person's number
    #[arg(long, value_name = "N", env = "PID1_USER_ID", default_value_t = 0)]
    user_id: u32,

    /// How long the token is good: seconds, or a number with s, m, h or d
    #[arg(long, value_name = "TIME", env = "PID1_TTL", default_value = "1h", value_parser = ttl)]
    ttl: Duration,
}

pub(super) fn run(args: TokenArgs) -> Result<()> {
    match args.kind {
        Kind::Secret => print(&random_token()?),
        Kind::Key(args) => key_pair(&args.out),
        Kind::Paseto(args) => {
            let (issued, expires) = args.person.times()?;
            print(&paseto::mint(
                &private_key(&args.key)?,
                paseto::Grant {
                    key_id: args.key_id,
                    issuer: "pid1".to_owned(),
                    repl_id: args.repl_id,
                    user_id: args.person.user_id,
                    user_name: args.person.user,
                    issued,
                    expires,
                    restrict_network: args.restrict_network,
                    type_aware: args.type_aware,
                },
            )?)
        }
        Kind::Jwt(args) => {
            let key = match (&args.key, &args.secret_file) {
                (Some(file), _) => jwt::SigningKey::Ed25519(private_key(file)?),
                (None, Some(file)) => jwt::SigningKey::Shared(shared_key(file)?),
                (None, None) => bail!("give --key FILE or --secret-file FILE"),
            };
            let (issued, expires) = args.person.times()?;
            print(&jwt::mint(
                &key,
                &jwt::Claims {
                    aud: jwt::Audience::One(args.audience),
                    exp: Some(jwt::Seconds::Whole(expires)),
                    iat: Some(jwt::Seconds::Whole(issued)),
                    nbf: None,
                    role: Some(args.role.to_string()),
                    name: args.person.user,
                    user_id: args.person.user_id,
                },
            )?)
        }
    }
}

impl Person {
    /// Now and the end, in seconds since 1970.
    fn times(&self) -> Result<(i64, i64)> {
        let now =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("the clock is before 1970")?;
        let seconds = |time: Duration| i64::try_from(time.as_secs()).ok();
        let end = now.checked_add(self.ttl).and_then(seconds).context("--ttl is too long")?;
        Ok((seconds(now).unwrap_or_default(), end))
    }
}

fn ttl(text: &str) -> Result<Duration, String> {
    let wrong = || "write it as 90, 90s, 15m, 12h or 30d".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    // A century is for ever, and everything stays within what clocks can count.
    let seconds = number.checked_mul(unit).filter(|seconds| (1..=100 * 366 * 86400).contains(seconds));
    Ok(Duration::from_secs(seconds.ok_or("it must be between a second and a century")?))
}

fn key_pair(out: &Path) -> Result<()> {
    let key = SecretKey::generate()?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out)
        .with_context(|| format!("cannot make {}", out.display()))?;
    file.write_all(key.pem().as_bytes()).with_context(|| format!("cannot write {}", out.display()))?;
    print(&key.public().to_string())
}

fn private_key(file: &Path) -> Result<SecretKey> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    text.parse().with_context(|| format!("cannot use {}", file.display()))
}

fn shared_key(file: &Path) -> Result<Vec<u8>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let key = text.trim_end_matches(['\r', '\n']).as_bytes();
    if key.len() < jwt::SECRET_MIN_BYTES {
        bail!("{} has {} bytes and needs at least {}", file.display(), key.len(), jwt::SECRET_MIN_BYTES);
    }
    Ok(key.to_vec())
}

fn print(line: &str) -> Result<()> {
    writeln!(io::stdout(), "{line}").context("cannot write to stdout")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("15m", 900), ("12h", 43200), ("30d", 2_592_000)] {
            assert_eq!(ttl(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "0", "h", "1w", "1.5h", "-1", "é", "40000d", "99999999999999999999"] {
            assert!(ttl(wrong).is_err(), "{wrong}");
        }
    }
}
