//! A requirement as Python has it, `name[extras] spec; marker`, and requirements.txt, line by line. What is not meant stays
//! as it is written.

use pid1_sdk::api::Package;
use pid1_sdk::{Error, Result};

use crate::ecosystem::package;

/// The specfile of a project without a pyproject.toml.
pub(super) const REQUIREMENTS: &str = "requirements.txt";

/// Name and extras, and the rest, which may be empty. `None` if it is no such thing: an option, a path, a URL.
pub(super) fn split(requirement: &str) -> Option<Package> {
    let requirement = requirement.trim();
    let letter = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let name_end = requirement.find(|c| !letter(c)).unwrap_or(requirement.len());
    let (name, rest) = requirement.split_at(name_end);
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let extras = rest.trim_start().strip_prefix('[').and_then(|inside| inside.split_once(']'));
    let (extras, spec) = extras.map_or((None, rest), |(extras, spec)| (Some(extras), spec));
    let spec = spec.trim();
    if !spec.is_empty() && !spec.starts_with(['=', '<', '>', '!', '~', ';', '@', '(']) {
        return None;
    }
    let name =
        extras.map_or_else(|| name.to_owned(), |extras| format!("{name}[{}]", extras.replace(' ', "")));
    Some(package(name, spec))
}

/// A name without extras, as names are compared.
pub(super) fn plain_name(name: &str) -> String {
    let name = name.split('[').next().unwrap_or_default().trim().to_lowercase();
    let parts: Vec<_> = name.split(['-', '_', '.', ' ']).filter(|part| !part.is_empty()).collect();
    parts.join("-")
}

pub(super) fn name_of(requirement: &str) -> Option<String> {
    split(requirement).map(|package| plain_name(&package.name))
}

/// The packages of a requirements.txt, in order.
pub(super) fn listed(text: &str) -> Vec<Package> {
    lines(text).filter_map(|line| split(&requirement_of(line))).collect()
}

/// `text` with each of these in the place of what there is of that name, else at the end.
pub(super) fn with(text: &str, requirements: &[String]) -> Result<String> {
    if text.contains("--hash=") {
        return Err(Error::new(format!(
            "{REQUIREMENTS} has hashes, so another program writes it: change what it is made from"
        )));
    }
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let names: Vec<_> = requirements.iter().map(|requirement| name_of(requirement)).collect();
    let mut written = vec![false; requirements.len()];
    let mut changed = String::with_capacity(text.len());
    for line in lines(text) {
        let name = name_of(&requirement_of(line));
        match names.iter().position(|wanted| name.is_some() && *wanted == name) {
            None => changed += line,
            // What else was said of it, for other systems, would contradict.
            Some(found) if written[found] => {}
            Some(found) => {
                written[found] = true;
                changed += &requirements[found];
                // Why it is there stays true.
                if let Some(comment) = comment_of(line) {
                    changed += "  ";
                    changed += comment.trim_end();
                }
                changed += end;
            }
        }
    }
    if !changed.is_empty() && !changed.ends_with('\n') {
        changed += end;
    }
    for (requirement, _) in requirements.iter().zip(written).filter(|(_, written)| !written) {
        changed += requirement;
        changed += end;
    }
    Ok(changed)
}

/// `text` without the packages of these names.
pub(super) fn without(text: &str, names: &[String]) -> String {
    let goes = |line: &str| {
        split(&requirement_of(line)).is_some_and(|package| names.contains(&plain_name(&package.name)))
    };
    lines(text).filter(|line| !goes(line)).collect()
}

/// Whether there is more in it than comments.
pub(super) fn says_anything(text: &str) -> bool {
    lines(text).any(|line| !requirement_of(line).is_empty())
}

/// Lines with their ends; what a backslash continues is one.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut len = 0;
        for line in rest.split_inclusive('\n') {
            len += line.len();
            if !line.trim_end().ends_with('\\') {
                break;
            }
        }
        let (line, behind) = rest.split_at(len);
        rest = behind;
        Some(line)
    })
}

fn requirement_of(line: &str) -> String {
    let end = comment_of(line).map_or(line.len(), |comment| line.len() - comment.len());
    // Options of one requirement stand behind it.
    let line = line[..end].replace('\\', " ");
    let words: Vec<_> = line.split_whitespace().collect();
    words.join(" ").split(" --").next().unwrap_or_default().to_owned()
}

/// From the `#` on that begins a comment: in the beginning, or behind a blank.
fn comment_of(line: &str) -> Option<&str> {
    let at = line.match_indices('#').map(|(at, _)| at);
    let begins = |at: &usize| *at == 0 || line[..*at].ends_with([' ', '\t']);
    at.into_iter().find(begins).map(|at| &line[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# the web\nFlask >= 2.0  # why\n-r other.txt\nuvicorn[standard, x]==0.1 ; python_version < '4'\n\
        git+https://a/b#egg=c\nzope.interface \\\n\t--no-binary :all:\n./local\n\nlast";

    #[test]
    fn requirements_are_found_among_what_else_stands_there() {
        let all: Vec<_> = listed(TEXT).into_iter().map(|one| (one.name, one.spec)).collect();
        let expected = [
            ("Flask", ">= 2.0"),
            ("uvicorn[standard,x]", "==0.1 ; python_version < '4'"),
            ("zope.interface", ""),
            ("last", ""),
        ];
        assert_eq!(all, expected.map(|(name, spec)| (name.to_owned(), spec.to_owned())));
        assert_eq!(plain_name("Zope_.Interface[x]"), "zope-interface");
        assert!(!says_anything("# a\n \n") && says_anything("# a\n-i https://x") && says_anything("a"));
        for none in ["", "-e .", "./x", "a b", "https://a/b", "é"] {
            assert!(split(none).is_none(), "{none}");
        }
    }

    #[test]
    fn what_is_not_meant_stays_as_it_is_written() {
        let changed = with(TEXT, &["flask==3.1".into(), "six==1.16.0".into()]).unwrap();
        let expected = TEXT.replace("Flask >= 2.0  # why", "flask==3.1  # why") + "\nsix==1.16.0\n";
        assert_eq!(changed, expected);
        let gone = without(TEXT, &["zope-interface".into(), "last".into(), "c".into()]);
        assert_eq!(gone, TEXT.replace("zope.interface \\\n\t--no-binary :all:\n", "").replace("last", ""));
        assert_eq!(with("", &["a".into()]).unwrap(), "a\n");
        let both = "a==1; sys_platform == 'x'\r\nb\r\nA==2; sys_platform != 'x'\r\n";
        assert_eq!(with(both, &["a==3".into(), "c".into()]).unwrap(), "a==3\r\nb\r\nc\r\n");
        assert!(with("a==1 \\\n  --hash=sha256:x\n", &["b".into()]).is_err());
    }
}
