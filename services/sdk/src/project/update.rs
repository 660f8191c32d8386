//! Changing `.replit`: read, edited, and written if it is still what was read.

use std::path::Path;

use toml_edit::DocumentMut;

use super::dot_replit::{DotReplit, shown, wrong_at};
use super::{FILE, Project, edit, list, utf8};
use crate::api::DotReplitUpdateOp;
use crate::error::{Error, Result, printable};
use crate::limits;

impl Project<'_> {
    /// Does all of `ops` to `.replit`, in their order, or none of them. What they do not mean stays as it is written, with
    /// its comments. If somebody else writes the file meanwhile, what he wrote is what they are done to.
    ///
    /// # Errors
    /// If one is wrong, or makes the file wrong; if the file is no TOML, or cannot be written.
    pub fn update(&self, ops: &[DotReplitUpdateOp]) -> Result<()> {
        if ops.len() > limits::DOT_REPLIT_OPS {
            let most = limits::DOT_REPLIT_OPS;
            return Err(Error::new(format!("{FILE}: {} changes at once, and {most} are allowed", ops.len())));
        }
        self.workspace.edit(Path::new(FILE), limits::DOT_REPLIT_BYTES, |old| {
            let old = old.map(|content| utf8(content.to_vec())).transpose()?;
            Ok(edited(&old.unwrap_or_default(), ops)?.into_bytes())
        })
    }
}

/// `text` with all of `ops` done to it.
fn edited(text: &str, ops: &[DotReplitUpdateOp]) -> Result<String> {
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| wrong_at(text, error.span(), error.message()))?;
    for op in ops {
        one(&mut document, op).map_err(|why| {
            let op_shown = if op.op.is_empty() { "change".to_owned() } else { shown(&op.op, 16) };
            let path = shown(&op.path, 80);
            Error::new(format!("{FILE}: cannot {op_shown} {path}: {}", printable(&why)))
        })?;
    }
    let text = list::as_before(text, document.to_string());
    if text.len() > limits::DOT_REPLIT_BYTES {
        let most = limits::DOT_REPLIT_BYTES;
        return Err(Error::new(format!("{FILE} would have {} bytes, and {most} are allowed", text.len())));
    }
    // What nobody could read again is not written.
    DotReplit::parse(&text)?;
    Ok(text)
}

fn one(document: &mut DocumentMut, op: &DotReplitUpdateOp) -> edit::Result<()> {
    let path = edit::keys(&op.path)?;
    match op.op.as_str() {
        "add" | "replace" => {
            let value = serde_json::from_str::<toml::Value>(&op.value);
            let value = value.map_err(|error| format!("its value is not such JSON as \"text\": {error}"))?;
            edit::add(document.as_table_mut(), &path, &value)
        }
        "remove" => edit::remove(document.as_table_mut(), &path),
        _ => Err("an op is add, replace or remove".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(op: &str, path: &str, value: &str) -> DotReplitUpdateOp {
        DotReplitUpdateOp { op: op.into(), path: path.into(), value: value.into() }
    }

    const FULL: &str = "# how\nrun = \"a\" # what\nhidden = [\"x\", \"y\"] # some\n\n# about packages\n[packager]\n  language = \"python3\"\n\n[packager.features]\nguessImports = true\n\n# first\n[[ports]]\nlocalPort = 1\n\n[[ports]]\nlocalPort = 2 # second\n";

    #[test]
    fn what_is_not_meant_stays_as_it_is_written() {
        for (path, value, from, to) in [
            ("run", "\"b\"", "run = \"a\" #", "run = \"b\" #"),
            ("run", "[\"b\", \"c d\"]", "run = \"a\" #", "run = [\"b\", \"c d\"] #"),
            ("hidden/2", "\"z\"", "\"y\"]", "\"y\", \"z\"]"),
            ("hidden/-", "\"z\"", "\"y\"]", "\"y\", \"z\"]"),
            ("hidden/0", "\"z\"", "[\"x\"", "[\"z\""),
            ("packager/language", "\"nodejs\"", "\"python3\"", "\"nodejs\""),
            (
                "packager/ignoredPackages",
                "[\"a\"]",
                "\"python3\"\n",
                "\"python3\"\nignoredPackages = [\"a\"]\n",
            ),
            ("ports/1/localPort", "3", "2 # s", "3 # s"),
            ("ports/0", "{\"localPort\": 7}", "localPort = 1", "localPort = 7"),
            ("/ports/9", "{\"localPort\": 7}", "", "\n[[ports]]\nlocalPort = 7\n"),
            ("language", "\"go\"", "# some\n", "# some\nlanguage = \"go\"\n"),
            ("env/A~1B~0", "\"x\"", "", "\n[env]\n\"A/B~\" = \"x\"\n"),
            (
                "hints/0",
                "{\"regex\": \"r\", \"message\": \"m\"}",
                "",
                "\n[[hints]]\nregex = \"r\"\nmessage = \"m\"\n",
            ),
        ] {
            let text = edited(FULL, &[op("add", path, value)]).unwrap();
            let expected = if from.is_empty() { format!("{FULL}{to}") } else { FULL.replacen(from, to, 1) };
            assert_eq!(text, expected, "{path}");
        }
        for (path, gone) in [
            ("hidden/0", "\"x\", "),
            ("packager/features", "\n[packager.features]\nguessImports = true\n"),
            ("ports/1", "\n[[ports]]\nlocalPort = 2 # second\n"),
            ("run", "# how\nrun = \"a\" # what\n"),
        ] {
            let text = edited(FULL, &[op("remove", path, "")]).unwrap();
            assert_eq!(text.trim(), FULL.replacen(gone, "", 1).trim(), "{path}");
        }
    }

    #[test]
    fn values_of_another_form_take_the_place_of_what_is_there() {
        for (path, value) in [
            ("run", "{\"args\": [\"a\"], \"env\": {\"A\": \"b\"}}"),
            ("packager", "{}"),
            ("ports", "[]"),
            ("ports", "[{\"localPort\": 80}, {}]"),
            ("hidden", "[]"),
            ("unknown", "{\"a\": [{\"b\": [[1.5, true], {\"c\": {}}]}]}"),
        ] {
            let text = edited(FULL, &[op("add", path, value)]).unwrap();
            assert!(text.contains("# "), "{path}: {text}");
            let again = edited(&text, &[op("add", path, value)]).unwrap();
            assert_eq!(text.parse::<toml::Table>().unwrap(), again.parse::<toml::Table>().unwrap(), "{path}");
        }
        let text =
            edited(FULL, &[op("add", "unknown/0/x/1/y", "1"), op("add", "unknown/0/x/-/y", "2")]).unwrap();
        assert!(text.ends_with("\n[[unknown]]\n\n[[unknown.x]]\ny = 1\n\n[[unknown.x]]\ny = 2\n"), "{text}");
        let text = edited("", &[op("add", "env", "{\"Z\": \"1\", \"A\": \"2\"}")]).unwrap();
        assert_eq!(text, "[env]\nZ = \"1\"\nA = \"2\"\n", "their order counts");
        let text = edited("a = { b = [1, { c = 2 }] }\n", &[op("add", "a/b/1/d/e", "[3]")]).unwrap();
        assert_eq!(text, "a = { b = [1, { c = 2, d = { e = [3] } }] }\n");
        let dos = "\u{feff}run = \"a\"\r\nhidden = [\r\n  \"b\", # c\r\n  \"d\", # e\r\n]\r\n";
        let text = edited(dos, &[op("remove", "hidden/0", "")]).unwrap();
        assert_eq!(text, dos.replace("  \"b\", # c\r\n", ""));
        let text = edited(dos, &[op("add", "run", "\"x\\ny\"")]).unwrap();
        assert_eq!(text.parse::<toml::Table>().unwrap()["run"].as_str(), Some("x\ny"));
        let text = edited("", &[op("add", "run", "\"x\""), op("remove", "run", "")]).unwrap();
        assert_eq!(text, "");
    }

    #[test]
    fn what_is_wrong_is_refused_with_the_reason() {
        let deep = "a/".repeat(limits::DOT_REPLIT_DEPTH) + "a";
        let nested = "[".repeat(100) + &"]".repeat(100);
        for (kind, path, value, expected) in [
            ("add", "", "1", "a path is keys"),
            ("add", "a//b", "1", "a path is keys"),
            ("add", &deep, "1", "a path has at most 32 keys"),
            ("add", "a", "x", "its value is not such JSON"),
            ("add", "a", "null", "invalid type: null"),
            ("add", "a", "18446744073709551615", "u64 value was too large"),
            ("add", "run/a", "1", "there is a string on the way"),
            ("add", "hidden/x", "\"a\"", "x is no number of an element"),
            ("add", "ports/0", "1", "the value is none"),
            ("add", "run", "5", ".replit, line 2 (run = 5 # what): invalid type"),
            ("add", "a", &nested, "recursion"),
            ("remove", "hidden/2", "", "no such thing"),
            ("remove", "a\u{1b}[0m", "", "cannot remove a [0m: there is no such thing"),
            ("test", "run", "\"a\"", "cannot test run: an op is add, replace or remove"),
            ("", "run", "\"a\"", "cannot change run: an op is add, replace or remove"),
        ] {
            let error = edited(FULL, &[op(kind, path, value)]).unwrap_err().to_string();
            assert!(error.starts_with(".replit") && error.contains(expected), "{kind} {path}: {error}");
        }
        let error = edited("run = ", &[]).unwrap_err().to_string();
        assert!(error.starts_with(".replit, line 1 (run =):"), "{error}");
        let large = format!("\"{}\"", "x".repeat(limits::DOT_REPLIT_BYTES));
        let error = edited("", &[op("add", "a", &large)]).unwrap_err().to_string();
        assert!(error.contains("and 1048576 are allowed"), "{error}");
    }
}
