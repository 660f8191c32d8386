//! A requirement as Python has it, `name[extras] spec; marker`, and the files that list them: requirements.txt line by
//! line, pyproject.toml as arrays of text. What is not meant stays as it is written.

use pid1_sdk::api::Package;
use pid1_sdk::{Error, Result};
use toml_edit::{Array, DocumentMut, Item, Value};

use crate::ecosystem::package;

/// The specfile of a project without a pyproject.toml.
pub(super) const REQUIREMENTS: &str = "requirements.txt";
/// The other.
pub(super) const PYPROJECT: &str = "pyproject.toml";

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
    let parts: Vec<_> = name.split(['-', '_', '.']).filter(|part| !part.is_empty()).collect();
    parts.join("-")
}

fn name_of(requirement: &str) -> Option<String> {
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
    let words = line[..end].replace(['\\', '\n', '\r'], " ");
    words.split(" --").next().unwrap_or_default().trim().to_owned()
}

/// From the `#` on that begins a comment: in the beginning, or behind a blank.
fn comment_of(line: &str) -> Option<&str> {
    let at = line.match_indices('#').map(|(at, _)| at);
    let begins = |at: &usize| *at == 0 || line[..*at].ends_with([' ', '\t']);
    at.into_iter().find(begins).map(|at| &line[at..])
}

/// A section of a pyproject.toml that has dependencies, and how uv is told which.
#[derive(Clone)]
pub(super) struct Section {
    path: Vec<String>,
    pub(super) flags: Vec<String>,
}

/// The packages of a pyproject.toml, in order, with the section of each.
pub(super) fn of_pyproject(text: &str) -> Result<Vec<(Package, Section)>> {
    let document = parsed(text)?;
    let mut sections =
        vec![Section { path: vec!["project".into(), "dependencies".into()], flags: Vec::new() }];
    for (path, flag) in
        [(&["project", "optional-dependencies"][..], "--optional"), (&["dependency-groups"], "--group")]
    {
        let found = path.iter().try_fold(document.as_item(), |item, key| item.get(*key));
        for (name, _) in found.and_then(Item::as_table_like).into_iter().flat_map(|table| table.iter()) {
            let path = path.iter().copied().chain([name]).map(str::to_owned).collect();
            sections.push(Section { path, flags: vec![flag.to_owned(), name.to_owned()] });
        }
    }
    let mut all = Vec::new();
    for Section { path, flags } in sections {
        let found = path.iter().try_fold(document.as_item(), |item, key| item.get(key));
        for requirement in found.and_then(Item::as_array).into_iter().flatten() {
            if let Some(package) = requirement.as_str().and_then(split) {
                all.push((package, Section { path: path.clone(), flags: flags.clone() }));
            }
        }
    }
    Ok(all)
}

/// Whether a pyproject.toml is that of a project, not only the settings of tools.
pub(super) fn is_project(text: &str) -> Result<bool> {
    Ok(parsed(text)?.get("project").is_some())
}

/// `text` with these in `project.dependencies`, in the place of what there is of that name, else at the end.
pub(super) fn with_dependencies(text: &str, requirements: &[String]) -> Result<String> {
    let mut document = parsed(text)?;
    let project = document.entry("project").or_insert(toml_edit::table());
    let project = project
        .as_table_like_mut()
        .ok_or_else(|| Error::new(format!("{PYPROJECT}: project is no table: write [project]")))?;
    let dynamic = project.get("dynamic").and_then(Item::as_array).into_iter().flatten();
    if dynamic.into_iter().any(|what| what.as_str() == Some("dependencies")) {
        return Err(Error::new(format!(
            "{PYPROJECT}: its dependencies are dynamic, so another program tells them: change them there"
        )));
    }
    let array = project.entry("dependencies").or_insert(toml_edit::value(Array::new())).as_array_mut();
    let array = array.ok_or_else(|| Error::new(format!("{PYPROJECT}: project.dependencies is no list")))?;
    for requirement in requirements {
        let name = name_of(requirement);
        let same = |value: &Value| value.as_str().and_then(name_of) == name;
        let at = array.iter().position(same);
        match at {
            Some(at) => {
                drop(array.replace(at, requirement));
                let mut here = 0..;
                array.retain(|value| here.next() <= Some(at) || !same(value));
            }
            None => array.push(requirement),
        }
    }
    Ok(document.to_string())
}

/// `text` without the packages of these names, wherever they stand.
pub(super) fn without_dependencies(text: &str, names: &[String]) -> Result<String> {
    let mut document = parsed(text)?;
    for (_, Section { path, .. }) in of_pyproject(text)? {
        let found = path.iter().try_fold(document.as_item_mut(), |item, key| item.get_mut(key));
        if let Some(array) = found.and_then(Item::as_array_mut) {
            array.retain(|value| {
                let package = value.as_str().and_then(split);
                package.is_none_or(|package| !names.contains(&plain_name(&package.name)))
            });
        }
    }
    Ok(document.to_string())
}

fn parsed(text: &str) -> Result<DocumentMut> {
    text.parse()
        .map_err(|error: toml_edit::TomlError| Error::new(format!("{PYPROJECT}: {}", error.message())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# the web\nFlask >= 2.0  # why\n-r other.txt\nuvicorn[standard, x]==0.1 ; python_version < '4'\n\
        git+https://a/b#egg=c\nzope.interface \\\n  --no-binary :all:\n./local\n\nlast";

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
        assert_eq!(gone, TEXT.replace("zope.interface \\\n  --no-binary :all:\n", "").replace("last", ""));
        assert_eq!(with("", &["a".into()]).unwrap(), "a\n");
        let both = "a==1; sys_platform == 'x'\r\nb\r\nA==2; sys_platform != 'x'\r\n";
        assert_eq!(with(both, &["a==3".into(), "c".into()]).unwrap(), "a==3\r\nb\r\nc\r\n");
        assert!(with("a==1 \\\n  --hash=sha256:x\n", &["b".into()]).is_err());
    }

    #[test]
    fn a_pyproject_is_changed_where_its_dependencies_are() {
        let text = "[project]\nname = \"x\" # its name\ndependencies = [\n    \"Flask>=2\", # web\n    \"a\",\n]\n\n[dependency-groups]\ndev = [\"pytest\", { include-group = \"y\" }]\n";
        let all = of_pyproject(text).unwrap();
        let all: Vec<_> =
            all.iter().map(|(one, section)| format!("{}{}", one.name, section.flags.join(" "))).collect();
        assert_eq!(all, ["Flask", "a", "pytest--group dev"]);
        let changed = with_dependencies(text, &["flask==3".into(), "b==1".into()]).unwrap();
        assert!(
            changed.contains("\"flask==3\", # web")
                && changed.contains("\"b==1\"")
                && changed.contains("# its name")
        );
        let gone = without_dependencies(text, &["a".into(), "pytest".into()]).unwrap();
        let all: Vec<_> = of_pyproject(&gone).unwrap().into_iter().map(|(one, _)| one.name).collect();
        assert_eq!(all, ["Flask"]);
        assert!(gone.contains("include-group"));
        for wrong in ["project = 1\n", "[[project]]\nname='x'\n", "[project]\ndynamic = ['dependencies']\n"] {
            assert!(with_dependencies(wrong, &["a".into()]).is_err(), "{wrong}");
        }
        let twice = "[project]\ndependencies = [\"a; x\", \"b\", \"A; y\"]\n";
        let once = with_dependencies(twice, &["a==1".into()]).unwrap();
        assert_eq!(once, "[project]\ndependencies = [\"a==1\", \"b\"]\n");
        let made = with_dependencies("", &["a".into()]).unwrap();
        assert_eq!(made, "[project]\ndependencies = [\"a\"]\n");
        assert!(
            of_pyproject("[project").is_err()
                && with_dependencies("[project]\ndependencies = 1\n", &["a".into()]).is_err()
        );
    }
}
