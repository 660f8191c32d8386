//! Elements of a TOML list that people write by hand: they come and go without taking the comments of others along.
//!
//! A comment behind an element, on its line, is the element's; so are whole lines of comments before it.

use toml_edit::{Array, RawString, Value};

/// Adds an element behind the last: on a line of its own, if that has one.
pub fn push(list: &mut Array, value: impl Into<Value>) {
    let Some(at) = list.len().checked_sub(1) else { return list.push(value) };
    let (before, behind) = around(list, at);
    let indent = match before.rsplit_once('\n') {
        Some((_, indent)) => indent,
        // Behind a comment it must be on another line.
        None if behind.contains('#') => "  ",
        None => return list.push(value),
    };
    let (comment, closing) = behind.rfind('\n').map_or((&*behind, ""), |end| behind.split_at(end));
    let mut value = value.into();
    value.decor_mut().set_prefix(format!("{}\n{indent}", comment.trim_end()));
    value.decor_mut().set_suffix("");
    if let Some(last) = list.get_mut(at) {
        last.decor_mut().set_suffix("");
    }
    list.set_trailing(closing);
    list.push_formatted(value);
}

/// Takes an element away, if it is there.
pub fn remove(list: &mut Array, at: usize) {
    if at >= list.len() {
        return;
    }
    let (before, behind) = around(list, at);
    list.remove(at);
    // The comment of the element above stands on that one's line; from the next line on it is the element's own.
    let (above, has_line) = before.split_once('\n').map_or((&*before, false), |(above, _)| (above, true));
    let following = |text: &str| text.find('\n').map(|end| text[end..].to_owned());
    if let Some(next) = list.get_mut(at) {
        let rest = following(text(next.decor().prefix())).filter(|_| has_line);
        next.decor_mut().set_prefix(rest.map_or_else(|| before.clone(), |rest| [above, &rest].concat()));
        return;
    }
    let rest = following(&behind);
    list.set_trailing(match (above.trim(), rest) {
        // A comment on a line of its own belongs to nobody here.
        ("", rest) if list.is_empty() && !rest.as_deref().is_some_and(|rest| rest.contains('#')) => {
            String::new()
        }
        ("", rest) => rest.unwrap_or(behind),
        (_, rest) => [above, rest.as_deref().unwrap_or("\n")].concat(),
    });
    list.set_trailing_comma(list.trailing_comma() && !list.is_empty());
}

/// What stands before an element, and, behind the last, up to the end of the list.
fn around(list: &Array, at: usize) -> (String, String) {
    let decor = list.get(at).map(Value::decor);
    let part = |raw: Option<&RawString>| text(raw).to_owned();
    let before = part(decor.and_then(|decor| decor.prefix()));
    let suffix = part(decor.and_then(|decor| decor.suffix()));
    let trailing = if at + 1 == list.len() { text(Some(list.trailing())) } else { "" };
    (before, suffix + trailing)
}

fn text(raw: Option<&RawString>) -> &str {
    raw.and_then(RawString::as_str).unwrap_or_default()
}

/// `new`, which was made of `old`, with the line ends of that and its byte order mark: TOML's own writer keeps neither. Text
/// of several lines in it has line ends of its own, which are a part of what it says: then they stay as they are.
pub fn as_before(old: &str, new: String) -> String {
    let mark = if old.starts_with(BOM) { BOM } else { "" };
    let says = |text: &str| text.parse::<toml::Table>().ok();
    let ends = new.replace("\r\n", "\n").replace('\n', "\r\n");
    let same = old.contains("\r\n") && says(&ends) == says(&new);
    [mark, if same { &ends } else { &new }].concat()
}

/// What some editors begin a file with.
const BOM: &str = "\u{feff}";

#[cfg(test)]
mod tests {
    use toml_edit::DocumentMut;

    use super::*;

    fn changed(list: &str, change: impl FnOnce(&mut Array)) -> String {
        let mut document: DocumentMut = format!("x = {list}\n").parse().unwrap();
        change(document["x"].as_array_mut().unwrap());
        let text = document.to_string();
        assert!(text.parse::<DocumentMut>().is_ok(), "{text}");
        text.trim_start_matches("x = ").trim_end().to_owned()
    }

    #[test]
    fn an_element_comes_as_the_others_are() {
        for (list, expected) in [
            ("[]", "[9]"),
            ("[1, 2]", "[1, 2, 9]"),
            ("[\n  1,\n  2,\n]", "[\n  1,\n  2,\n  9,\n]"),
            ("[\n  1, # one\n  2, # two\n]", "[\n  1, # one\n  2, # two\n  9,\n]"),
            ("[\n  1, # one\n  2 # two\n]", "[\n  1, # one\n  2, # two\n  9\n]"),
            ("[\n  1,\n  # end\n]", "[\n  1,\n  # end\n  9,\n]"),
            ("[1,\n  2]", "[1,\n  2,\n  9]"),
            ("[1, # one\n]", "[1, # one\n  9,\n]"),
            ("[1 # one\n]", "[1, # one\n  9\n]"),
        ] {
            assert_eq!(changed(list, |list| push(list, 9)), expected, "{list}");
        }
    }

    #[test]
    fn an_element_goes_with_its_own_comments() {
        let long = "[\n  1, # one\n  # of two\n  2, # two\n  3, # three\n]";
        for (list, at, expected) in [
            (long, 0, "[\n  # of two\n  2, # two\n  3, # three\n]"),
            (long, 1, "[\n  1, # one\n  3, # three\n]"),
            (long, 2, "[\n  1, # one\n  # of two\n  2, # two\n]"),
            (long, 3, long),
            ("[\n  1, # one\n  2 # two\n]", 1, "[\n  1 # one\n]"),
            ("[\n  1, # one\n  2 # two\n]", 0, "[\n  2 # two\n]"),
            ("[1, # one\n  2]", 1, "[1 # one\n]"),
            ("[1, # one\n  2, # two\n]", 0, "[2, # two\n]"),
            ("[ 1, 2, 3 ]", 0, "[ 2, 3 ]"),
            ("[ 1, 2, 3 ]", 2, "[ 1, 2 ]"),
            ("[1, 2]", 0, "[2]"),
            ("[\n  1, # one\n]", 0, "[]"),
            ("[\n  # of one\n  1, # one\n  # of nobody\n]", 0, "[\n  # of nobody\n]"),
            ("[1,]", 0, "[]"),
        ] {
            assert_eq!(changed(list, |list| remove(list, at)), expected, "{list} {at}");
        }
    }
}
