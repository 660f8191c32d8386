//! pyproject.toml: dependencies as lists of text. What is not meant stays as it is written.

use pid1_sdk::api::Package;
use pid1_sdk::project::list;
use pid1_sdk::{Error, Result};
use toml_edit::{Array, DocumentMut, Item, Value};

use super::requirement::{name_of, split};

/// The specfile of a project that has one.
pub(super) const PYPROJECT: &str = "pyproject.toml";

/// A section of a pyproject.toml that has dependencies, and how uv is told which.
#[derive(Clone)]
pub(super) struct Section {
    path: Vec<String>,
    pub(super) flags: Vec<String>,
}

/// The packages of a pyproject.toml, in order, with the section of each.
pub(super) fn dependencies(text: &str) -> Result<Vec<(Package, Section)>> {
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
    sections.push(Section {
        path: ["tool", "uv", "dev-dependencies"].map(str::to_owned).to_vec(),
        flags: vec!["--dev".to_owned()],
    });
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

/// The dependencies of the project itself, as pip takes them.
pub(super) fn main(text: &str) -> Result<Vec<String>> {
    let own = dependencies(text)?.into_iter().filter(|(_, section)| section.flags.is_empty());
    Ok(own.map(|(package, _)| format!("{}{}", package.name, package.spec)).collect())
}

/// Whose a pyproject.toml is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A project's, as everybody understands it.
    Project,
    /// A project's, as only poetry understands it.
    Poetry,
    /// It has settings of tools, and no more.
    Settings,
}

/// Whose it is.
pub(super) fn kind(text: &str) -> Result<Kind> {
    let document = parsed(text)?;
    let poetry = || document.get("tool")?.get("poetry")?.get("dependencies");
    Ok(match (document.get("project"), poetry()) {
        (Some(_), _) => Kind::Project,
        (None, Some(_)) => Kind::Poetry,
        (None, None) => Kind::Settings,
    })
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
        let Some(first) = array.iter().position(same) else {
            list::push(array, requirement);
            continue;
        };
        drop(array.replace(first, requirement));
        for at in (first + 1..array.len()).rev() {
            if array.get(at).is_some_and(same) {
                list::remove(array, at);
            }
        }
    }
    Ok(list::as_before(text, document.to_string()))
}

/// `text` without the packages of these names, wherever they stand.
pub(super) fn without_dependencies(text: &str, names: &[String]) -> Result<String> {
    let mut document = parsed(text)?;
    for (_, Section { path, .. }) in dependencies(text)? {
        let found = path.iter().try_fold(document.as_item_mut(), |item, key| item.get_mut(key));
        if let Some(array) = found.and_then(Item::as_array_mut) {
            for at in (0..array.len()).rev() {
                let name = array.get(at).and_then(Value::as_str).and_then(name_of);
                if name.is_some_and(|name| names.contains(&name)) {
                    list::remove(array, at);
                }
            }
        }
    }
    Ok(list::as_before(text, document.to_string()))
}

fn parsed(text: &str) -> Result<DocumentMut> {
    text.parse()
        .map_err(|error: toml_edit::TomlError| Error::new(format!("{PYPROJECT}: {}", error.message())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pyproject_is_changed_where_its_dependencies_are() {
        let text = "[project]\nname = \"x\" # its name\ndependencies = [\n    \"Flask>=2\", # web\n    \"a\",\n]\n\n[dependency-groups]\ndev = [\"pytest\", { include-group = \"y\" }]\n";
        let all = dependencies(text).unwrap();
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
        let all: Vec<_> = dependencies(&gone).unwrap().into_iter().map(|(one, _)| one.name).collect();
        assert_eq!(all, ["Flask"]);
        assert!(gone.contains("include-group"));
        for wrong in ["project = 1\n", "[[project]]\nname='x'\n", "[project]\ndynamic = ['dependencies']\n"] {
            assert!(with_dependencies(wrong, &["a".into()]).is_err(), "{wrong}");
        }
        let dos = "[project]\r\ndependencies = [\r\n  \"a\", # one\r\n  \"b\", # two\r\n]\r\n";
        let more = with_dependencies(dos, &["c".into()]).unwrap();
        assert_eq!(more, dos.replace("# two\r\n", "# two\r\n  \"c\",\r\n"));
        let less = without_dependencies(dos, &["a".into()]).unwrap();
        assert_eq!(less, dos.replace("  \"a\", # one\r\n", ""));
        for (text, expected) in [
            ("[project]\n[tool.poetry.dependencies]\n", Kind::Project),
            ("[tool.poetry.dependencies]\n", Kind::Poetry),
            ("[tool.poetry]\nx = 1\n", Kind::Settings),
        ] {
            assert_eq!(kind(text).unwrap(), expected, "{text}");
        }
        let twice = "[project]\ndependencies = [\"a; x\", \"b\", \"A; y\"]\n";
        let once = with_dependencies(twice, &["a==1".into()]).unwrap();
        assert_eq!(once, "[project]\ndependencies = [\"a==1\", \"b\"]\n");
        let made = with_dependencies("", &["a".into()]).unwrap();
        assert_eq!(made, "[project]\ndependencies = [\"a\"]\n");
        assert!(
            dependencies("[project").is_err()
                && with_dependencies("[project]\ndependencies = 1\n", &["a".into()]).is_err()
        );
    }
}
