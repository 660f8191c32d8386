//! A contract as rows that can be compared: read from a fixture, or from a compiled descriptor.
//!
//! Comments, order and options are no part of it: none of them changes a byte on the wire.

use std::collections::BTreeSet;

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// One fact. The fixtures hold one a line, as `message NAME`, `field MESSAGE NUMBER NAME TYPE LABEL`, `value
/// ENUM NUMBER NAME` or `reserved MESSAGE NUMBER`.
///
/// The label is `single`, `repeated`, `optional` (a number or string that can be told from its default),
/// `map` or `oneof:` with the oneof's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    Message { name: String },
    Field { message: String, number: i32, name: String, ty: String, label: String },
    Value { owner: String, number: i32, name: String },
    Reserved { message: String, number: i32 },
}

impl Row {
    /// What two contracts must agree on if both have it: the meaning of a number.
    pub fn key(&self) -> Option<(String, i32)> {
        match self {
            Self::Field { message: owner, number, .. } | Self::Value { owner, number, .. } => {
                Some((owner.clone(), *number))
            }
            Self::Message { .. } | Self::Reserved { .. } => None,
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        Some(match <[String; 6]>::try_from(words) {
            Ok([kind, message, number, name, ty, label]) if kind == "field" => {
                Self::Field { message, number: number.parse().ok()?, name, ty, label }
            }
            Ok(_) => return None,
            Err(words) => match words.as_slice() {
                [kind, name] if kind == "message" => Self::Message { name: name.clone() },
                [kind, owner, number, name] if kind == "value" => {
                    Self::Value { owner: owner.clone(), number: number.parse().ok()?, name: name.clone() }
                }
                [kind, message, number] if kind == "reserved" => {
                    Self::Reserved { message: message.clone(), number: number.parse().ok()? }
                }
                _ => return None,
            },
        })
    }
}

/// Where rows come from.
pub struct Rows;

impl Rows {
    /// Reads a fixture.
    pub fn parse(text: &str) -> BTreeSet<Row> {
        text.lines().map(|line| Row::parse(line).unwrap_or_else(|| panic!("not a row: {line:?}"))).collect()
    }

    /// Lists what `api.proto` itself defines, without what it imports.
    pub fn of_descriptor(encoded: &[u8]) -> BTreeSet<Row> {
        let set = FileDescriptorSet::decode(encoded).expect("the build wrote a valid descriptor");
        let mut rows = BTreeSet::new();
        for file in set.file.iter().filter(|file| file.package() == "api") {
            file.message_type.iter().for_each(|message| add_message(&mut rows, "", message));
            file.enum_type.iter().for_each(|owner| add_enum(&mut rows, "", owner));
        }
        rows
    }
}

fn add_message(rows: &mut BTreeSet<Row>, scope: &str, message: &DescriptorProto) {
    let name = format!("{scope}{}", message.name());
    for field in &message.field {
        let (ty, label) = type_and_label(message, field);
        rows.insert(Row::Field {
            message: name.clone(),
            number: field.number(),
            name: field.name().to_owned(),
            ty,
            label,
        });
    }
    for range in &message.reserved_range {
        let numbers = range.start()..range.end();
        rows.extend(numbers.map(|number| Row::Reserved { message: name.clone(), number }));
    }
    let scope = format!("{name}.");
    message.enum_type.iter().for_each(|owner| add_enum(rows, &scope, owner));
    message
        .nested_type
        .iter()
        .filter(|nested| !is_map(nested))
        .for_each(|nested| add_message(rows, &scope, nested));
    rows.insert(Row::Message { name });
}

fn add_enum(rows: &mut BTreeSet<Row>, scope: &str, owner: &EnumDescriptorProto) {
    rows.extend(owner.value.iter().map(|value| Row::Value {
        owner: format!("{scope}{}", owner.name()),
        number: value.number(),
        name: value.name().to_owned(),
    }));
}

fn type_and_label(message: &DescriptorProto, field: &FieldDescriptorProto) -> (String, String) {
    let ty = type_name(field);
    // A map is a repeated message that the compiler made up and nested in its owner.
    if let Some(entry) =
        message.nested_type.iter().find(|nested| is_map(nested) && ends_in(&ty, nested.name()))
        && let [key, value] = entry.field.as_slice()
    {
        return (format!("map<{},{}>", type_name(key), type_name(value)), "map".into());
    }
    let label = match field.oneof_index {
        // An optional field is a oneof of one to the compiler.
        _ if field.proto3_optional() => "optional".into(),
        Some(index) => format!("oneof:{}", message.oneof_decl[index as usize].name()),
        None if field.label() == Label::Repeated => "repeated".into(),
        None => "single".into(),
    };
    (ty, label)
}

fn is_map(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(|options| options.map_entry())
}

fn ends_in(path: &str, name: &str) -> bool {
    path.rsplit('.').next() == Some(name)
}

fn type_name(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum => {
            let path = field.type_name();
            path.strip_prefix(".api.").or(path.strip_prefix('.')).unwrap_or(path).to_owned()
        }
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    }
}
