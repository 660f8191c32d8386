//! Variables that clients name instead of sending them: a file of the operator's, a table for each name.
//!
//! It is read when a program needs it, so that a name put there is known at once, and no value is kept here.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use pid1_sdk::error::printable;
use toml::{Table, Value};

/// Largest file.
const FILE_BYTES: u64 = 1 << 20;

/// The file, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    file: Option<PathBuf>,
}

/// Why a secret cannot be had. Without any value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// There is no file.
    #[error("there is no secret {0:?}: this agent was given none (--secrets FILE)")]
    None(String),
    /// It is not in the file.
    #[error("there is no secret {id:?} in {}", printable(&file.to_string_lossy()))]
    Unknown {
        /// The name.
        id: String,
        /// The file.
        file: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read the secrets in {}: {source}", printable(&file.to_string_lossy()))]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what it should be.
    #[error(
        "cannot read the secrets in {}: {what}; write a table for each, such as [st-1], with lines like NAME = \"value\"",
        printable(&file.to_string_lossy())
    )]
    Form {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl Secrets {
    /// Those in `file`.
    ///
    /// # Errors
    /// If it cannot be read now.
    pub fn of(file: Option<PathBuf>) -> Result<Secrets, SecretError> {
        if let Some(file) = &file {
            read(file)?;
        }
        Ok(Secrets { file })
    }

    /// The file as it is now, for any number of looks; nothing is read for none.
    ///
    /// # Errors
    /// If one of `ids` is not there, or the file cannot be read.
    pub fn find<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<Vec<(String, String)>>, SecretError> {
        let mut ids = ids.into_iter().peekable();
        let Some(first) = ids.peek() else { return Ok(Vec::new()) };
        let Some(file) = &self.file else { return Err(SecretError::None((*first).to_owned())) };
        let secrets = read(file)?;
        ids.map(|id| match secrets.get(id) {
            Some(Value::Table(variables)) => Ok(variables.iter().filter_map(text).collect()),
            _ => Err(SecretError::Unknown { id: id.to_owned(), file: file.clone() }),
        })
        .collect()
    }
}

fn text((name, value): (&String, &Value)) -> Option<(String, String)> {
    Some((name.clone(), value.as_str()?.to_owned()))
}

/// A table of tables of texts.
fn read(file: &Path) -> Result<Table, SecretError> {
    let failed = |source| SecretError::Read { file: file.to_owned(), source };
    let wrong = |what| SecretError::Form { file: file.to_owned(), what };
    let mut content = String::new();
    // Opening a pipe would wait for somebody who writes.
    if !fs::metadata(file).map_err(failed)?.is_file() {
        return Err(wrong("it is not a file".to_owned()));
    }
    let opened = File::open(file).map_err(failed)?;
    opened.take(FILE_BYTES + 1).read_to_string(&mut content).map_err(failed)?;
    if content.len() as u64 > FILE_BYTES {
        return Err(wrong(format!("it is larger than {} MiB", FILE_BYTES >> 20)));
    }
    // Not the parser's own words: they show what stands there.
    let secrets: Table = content.parse().map_err(|error: toml::de::Error| {
        let before = content.get(..error.span().map_or(0, |span| span.start)).unwrap_or_default();
        wrong(format!("line {} is not TOML", before.matches('\n').count() + 1))
    })?;
    for (id, variables) in &secrets {
        let Value::Table(variables) = variables else {
            return Err(wrong(format!("{id:?} is not a table")));
        };
        if let Some((name, _)) = variables.iter().find(|(_, value)| !value.is_str()) {
            return Err(wrong(format!("{name:?} of {id:?} is not a text")));
        }
    }
    Ok(secrets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_as_the_file_is_now_and_values_are_never_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secrets.toml");
        fs::write(&file, "[st-1]\nA = \"one\"\nB = \"two\"\n").expect("written");
        let secrets = Secrets::of(Some(file.clone())).expect("it can be read");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(secrets.find(["st-1"]).expect("found"), [vec![pair("A", "one"), pair("B", "two")]]);
        let unknown = secrets.find(["st-1", "st-2"]).expect_err("one is not there").to_string();
        assert!(unknown.contains("st-2"), "{unknown}");
        fs::write(&file, "[st-2]\nC = \"three\"\n").expect("written");
        assert_eq!(secrets.find(["st-2", "st-2"]).expect("found").len(), 2);
        for (content, what) in [
            ("[st-1]\nA = hidden-value\n", "line 2"),
            ("[st-1]\nA = 99999999999999999999 # hidden-value\n", "line 2"),
            ("hidden-value", "line 1"),
            ("st-1 = \"hidden-value\"\n", "not a table"),
            ("[st-1]\nA = 1\n", "not a text"),
            ("[st-1]\nA = [\"hidden-value\"]\n", "not a text"),
        ] {
            fs::write(&file, content).expect("written");
            let said = secrets.find(["st-1"]).expect_err("it is wrong").to_string();
            assert!(
                said.contains(what) && !said.contains("hidden-value") && !said.contains("9999"),
                "{said}"
            );
        }
        assert!(Secrets::of(Some(folder.path().to_owned())).is_err());
        fs::write(&file, vec![b' '; FILE_BYTES as usize + 1]).expect("written");
        assert!(Secrets::of(Some(file)).is_err());
        assert!(Secrets::default().find([]).expect("nothing is asked for").is_empty());
        let none = Secrets::default().find(["st-1"]).expect_err("there is no file").to_string();
        assert!(none.contains("--secrets"), "{none}");
    }
}
