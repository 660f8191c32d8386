//! One change of `.replit`'s text as TOML, with comments, order and form of everything else left as they are.
//!
//! A path goes down by keys and numbers of elements. What is missing on it is made: tables, and `[[lists]]` where a number
//! comes next. What is added to something written in one line stays in that line.

use toml::Value as Toml;
use toml_edit::{Array, ArrayOfTables, Decor, InlineTable, Item, Table, TableLike, Value};

use super::list;
use crate::limits;

/// Why a change is not possible, without its path.
pub(super) type Result<T> = std::result::Result<T, String>;

/// The keys of a path.
pub(super) fn keys(path: &str) -> Result<Vec<String>> {
    let keys: Vec<String> = path
        .strip_prefix('/')
        .unwrap_or(path)
        .split('/')
        .take(limits::DOT_REPLIT_DEPTH + 1)
        .map(|key| key.replace("~1", "/").replace("~0", "~"))
        .collect();
    if keys.len() > limits::DOT_REPLIT_DEPTH {
        return Err(format!("a path has at most {} keys", limits::DOT_REPLIT_DEPTH));
    }
    if keys.iter().any(String::is_empty) {
        return Err("a path is keys with single slashes between, such as packager/language".to_owned());
    }
    Ok(keys)
}

/// Puts `value` where `path` leads in `table`.
pub(super) fn add(table: &mut Table, path: &[String], value: &Toml) -> Result<()> {
    let Some((key, rest)) = path.split_first() else { return Err("there is no path".to_owned()) };
    if rest.is_empty() {
        return put(table, key, whole(value));
    }
    let (next, last) = (&rest[0], rest.len() == 1);
    match table.entry(key).or_insert(Item::None) {
        missing @ Item::None => {
            *missing = match position(next, 0) {
                None => Item::Table(Table::new()),
                Some(_) if last && !value.is_table() => Item::Value(Array::new().into()),
                Some(_) => Item::ArrayOfTables(ArrayOfTables::new()),
            };
            add(table, path, value)
        }
        Item::Table(inner) => add(inner, rest, value),
        Item::ArrayOfTables(list) => {
            let at = position(next, list.len()).ok_or_else(|| no_number(next))?;
            if at == list.len() {
                list.push(Table::new());
            }
            let element = list.get_mut(at).ok_or_else(|| no_number(next))?;
            if !last {
                return add(element, &rest[1..], value);
            }
            let Item::Table(made) = whole(value) else {
                return Err("the elements of this list are tables, and the value is none".to_owned());
            };
            let (decor, place) = (element.decor().clone(), element.position());
            *element = made;
            *element.decor_mut() = decor;
            element.set_position(place);
            Ok(())
        }
        Item::Value(whole) => add_inline(whole, rest, value),
    }
}

/// Takes away what `path` leads to in `table`.
pub(super) fn remove(table: &mut dyn TableLike, path: &[String]) -> Result<()> {
    let missing = || "there is no such thing".to_owned();
    let Some((key, rest)) = path.split_first() else { return Err(missing()) };
    let Some(next) = rest.first() else {
        return table.remove(key).map(drop).ok_or_else(missing);
    };
    match table.get_mut(key).ok_or_else(missing)? {
        Item::None => Err(missing()),
        Item::Table(inner) => remove(inner, rest),
        Item::ArrayOfTables(list) => {
            let at = position(next, list.len()).filter(|at| *at < list.len()).ok_or_else(missing)?;
            if rest.len() == 1 {
                list.remove(at);
                return Ok(());
            }
            remove(list.get_mut(at).ok_or_else(missing)?, &rest[1..])
        }
        Item::Value(value) => remove_inline(value, rest),
    }
}

fn remove_inline(value: &mut Value, path: &[String]) -> Result<()> {
    let missing = || "there is no such thing".to_owned();
    match (value, path) {
        (Value::InlineTable(table), _) => remove(table, path),
        (Value::Array(list), [key, rest @ ..]) => {
            let at = position(key, list.len()).filter(|at| *at < list.len()).ok_or_else(missing)?;
            if rest.is_empty() {
                list::remove(list, at);
                return Ok(());
            }
            remove_inline(list.get_mut(at).ok_or_else(missing)?, rest)
        }
        _ => Err(missing()),
    }
}

/// Puts something in place of what is there, if anything. The comment behind a value stays.
fn put(table: &mut Table, key: &str, mut item: Item) -> Result<()> {
    match (table.get_mut(key), &mut item) {
        (Some(Item::Value(old)), Item::Value(new)) => {
            *new.decor_mut() = old.decor().clone();
            *old = new.clone();
        }
        (Some(Item::Table(old)), Item::Table(new)) => {
            *new.decor_mut() = old.decor().clone();
            new.set_position(old.position());
            *old = new.clone();
        }
        // Of another form: what belongs to the old one must not be printed with the new one.
        _ => {
            table.remove(key);
            table.insert(key, item);
        }
    }
    Ok(())
}

fn add_inline(whole: &mut Value, path: &[String], value: &Toml) -> Result<()> {
    let Some((key, rest)) = path.split_first() else { return Err("there is no path".to_owned()) };
    let empty = |next: &str| match position(next, 0) {
        Some(_) => Value::from(Array::new()),
        None => InlineTable::new().into(),
    };
    match whole {
        Value::InlineTable(table) => match rest.first() {
            None => {
                let mut new = inline(value);
                match table.get_mut(key) {
                    Some(old) => {
                        *new.decor_mut() = old.decor().clone();
                        *old = new;
                    }
                    None => insert(table, key, new),
                }
                Ok(())
            }
            Some(next) => {
                if !table.contains_key(key) {
                    insert(table, key, empty(next));
                }
                let inner = table.get_mut(key).ok_or_else(|| "there is no such thing".to_owned())?;
                add_inline(inner, rest, value)
            }
        },
        Value::Array(list) => {
            let at = position(key, list.len()).ok_or_else(|| no_number(key))?;
            match rest.first() {
                None if at == list.len() => list::push(list, inline(value)),
                None => drop(list.replace(at, inline(value))),
                Some(next) => {
                    if at == list.len() {
                        list::push(list, empty(next));
                    }
                    let element = list.get_mut(at).ok_or_else(|| no_number(key))?;
                    add_inline(element, rest, value)?;
                }
            }
            Ok(())
        }
        _ => Err(format!("there is a {} on the way, which has nothing in it", whole.type_name())),
    }
}

/// Adds a field behind the last, whose space before the closing brace it takes over.
fn insert(table: &mut InlineTable, key: &str, mut value: Value) {
    if let Some((_, last)) = table.iter_mut().last()
        && let Some(space) = last.decor().suffix().and_then(|suffix| suffix.as_str()).map(str::to_owned)
        && space.trim().is_empty()
    {
        last.decor_mut().set_suffix("");
        *value.decor_mut() = Decor::new(" ", space);
    }
    table.insert(key, value);
}

/// Which element is meant: one that is there, or, by `-` or a larger number, one behind the last.
fn position(key: &str, length: usize) -> Option<usize> {
    if key == "-" {
        return Some(length);
    }
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(key.parse().unwrap_or(usize::MAX).min(length))
}

fn no_number(key: &str) -> String {
    format!("there is a list, and {key} is no number of an element")
}

/// A value as it is written at the level of tables.
fn whole(value: &Toml) -> Item {
    match value {
        Toml::Table(fields) => Item::Table(table(fields)),
        Toml::Array(elements) if !elements.is_empty() && elements.iter().all(Toml::is_table) => {
            Item::ArrayOfTables(elements.iter().filter_map(Toml::as_table).map(table).collect())
        }
        other => Item::Value(inline(other)),
    }
}

fn table(fields: &toml::Table) -> Table {
    let mut table = Table::new();
    for (key, value) in fields {
        table.insert(key, whole(value));
    }
    table
}

/// A value as it is written in one line.
fn inline(value: &Toml) -> Value {
    match value {
        Toml::String(text) => text.as_str().into(),
        Toml::Integer(number) => (*number).into(),
        Toml::Float(number) => (*number).into(),
        Toml::Boolean(flag) => (*flag).into(),
        Toml::Datetime(time) => (*time).into(),
        Toml::Array(elements) => Value::Array(elements.iter().map(inline).collect()),
        Toml::Table(fields) => {
            let mut table = InlineTable::new();
            for (key, value) in fields {
                table.insert(key, inline(value));
            }
            table.into()
        }
    }
}
