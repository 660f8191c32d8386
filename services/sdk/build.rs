//! Turns `api.proto` into Rust: the messages themselves, and a small table that gives each body its name and
//! number. And `src/project/languages/` into the table of languages.
//!
//! The proto compiler is protox, so that building needs no `protoc` on the machine.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, error::Error, fs};

use heck::ToUpperCamelCase;
use prost::Message;
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

#[path = "build/languages.rs"]
mod languages;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new("../..");
    let proto = root.join("api.proto");
    println!("cargo::rerun-if-changed={}", proto.display());
    println!("cargo::rerun-if-changed=build.rs");

    let mut descriptors = protox::compile([&proto], [root])?;
    keep_only_own_comments(&mut descriptors);

    // `Bytes` instead of `Vec<u8>`: a payload is then shared by everybody it goes to instead of copied for
    // each.
    let mut config = prost_build::Config::new();
    // Ten times as large as the largest of the others: every command, and every task that holds one, would have room for it.
    config.bytes(["."]).boxed(".api.DotReplitGetResponse.dotReplit");
    config.compile_fds(descriptors.clone())?;

    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is set by cargo")?);
    fs::write(out.join("bodies.rs"), body_table(&descriptors)?)?;
    fs::write(out.join("languages.rs"), languages::table(Path::new("src/project/languages"))?)?;
    for file in &mut descriptors.file {
        file.source_code_info = None;
    }
    fs::write(out.join("api.descriptor"), descriptors.encode_to_vec())?;
    Ok(())
}

/// Section headings stand apart from what follows them; without this they end up in the docs of the next
/// item.
fn keep_only_own_comments(descriptors: &mut FileDescriptorSet) {
    for file in &mut descriptors.file {
        for location in file.source_code_info.iter_mut().flat_map(|info| &mut info.location) {
            location.leading_detached_comments.clear();
        }
    }
}

/// `Body::name`, `Body::number` and `FIELDS`, from the one place that knows them.
fn body_table(descriptors: &FileDescriptorSet) -> Result<String, Box<dyn Error>> {
    let fields = body_fields(descriptors).ok_or("api.proto has no message Command with a oneof body")?;
    let arms = |value: &dyn Fn(&FieldDescriptorProto) -> String| {
        let mut text = String::new();
        for field in &fields {
            // The same case rule as prost-build's, or this does not compile.
            let variant = field.name().to_upper_camel_case();
            let _ = writeln!(text, "            Self::{variant}(..) => {},", value(field));
        }
        text
    };
    let names = arms(&|field| format!("{:?}", field.name()));
    let numbers = arms(&|field| field.number().to_string());
    let rows: String =
        fields.iter().map(|field| format!("    ({:?}, {}),\n", field.name(), field.number())).collect();

    Ok(format!(
        "/// Every body a command can carry, as in `api.proto`: name and number, in ascending order of number.\n\
         pub const FIELDS: &[(&str, u32)] = &[\n{rows}];\n\n\
         impl command::Body {{\n\
         \x20   /// The name in `api.proto`, e.g. `openChan`.\n\
         \x20   pub fn name(&self) -> &'static str {{\n        match self {{\n{names}        }}\n    }}\n\n\
         \x20   /// The field number in `api.proto`.\n\
         \x20   pub fn number(&self) -> u32 {{\n        match self {{\n{numbers}        }}\n    }}\n}}\n"
    ))
}

fn body_fields(descriptors: &FileDescriptorSet) -> Option<Vec<FieldDescriptorProto>> {
    let command: &DescriptorProto = descriptors
        .file
        .iter()
        .filter(|file| file.package() == "api")
        .flat_map(|file| &file.message_type)
        .find(|message| message.name() == "Command")?;
    let body = command.oneof_decl.iter().position(|oneof| oneof.name() == "body")? as i32;
    let mut fields: Vec<_> =
        command.field.iter().filter(|field| field.oneof_index == Some(body)).cloned().collect();
    fields.sort_by_key(FieldDescriptorProto::number);
    Some(fields)
}
