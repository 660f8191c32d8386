//! Turns the gRPC contracts in `proto/` into Rust: messages, the traits of their services, and the descriptors that
//! reflection shows.
//!
//! A method whose comment begins with the mark below is part of a contract, but no code is made for it: whoever calls it is
//! told what stands behind the mark. The proto compiler is protox, so that building needs no `protoc` on the machine.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message;
use prost_types::FileDescriptorProto;

const CONTRACTS: [&str; 3] = [
    "exec_service.proto",
    "modal_proto/task_command_router.proto",
    "tdx/volt_api/volt/v1/terminal_api.proto",
];

const NOT_OFFERED: &str = "Not offered: ";

/// Fields of the descriptor's messages, by which comments are found: a service in a file, a method in a service.
const SERVICE: i32 = 6;
const METHOD: i32 = 2;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=build.rs");
    let mut descriptors = protox::compile(CONTRACTS, ["proto"])?;
    let mut offered = descriptors.clone();
    let absent: Vec<(String, String)> = offered.file.iter_mut().flat_map(take_absent).collect();
    let mut messages = tonic_prost_build::Config::new();
    // Payloads are shared with whoever they go to instead of copied.
    messages.bytes(["."]);
    // By which a message's description is found.
    messages.enable_type_names();
    tonic_prost_build::configure()
        // Connections are our own.
        .build_transport(false)
        // Ours looks at a message before it is decoded.
        .codec_path("crate::door::grpc::Codec")
        .compile_fds_with_config(offered, messages)?;

    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is set by cargo")?);
    fs::write(out.join("not_offered.rs"), format!("&{absent:?}"))?;
    for file in &mut descriptors.file {
        file.source_code_info = None;
    }
    fs::write(out.join("contracts.descriptor"), descriptors.encode_to_vec())?;
    Ok(())
}

/// Takes methods that are not offered out of a contract: the path of each, and what is said of it.
fn take_absent(file: &mut FileDescriptorProto) -> Vec<(String, String)> {
    let mut absent = Vec::new();
    let comments = file.source_code_info.take().unwrap_or_default().location;
    for (s, service) in file.service.iter_mut().enumerate() {
        let service_name = format!("{}.{}", file.package.as_deref().unwrap_or_default(), service.name());
        let mut number = -1;
        service.method.retain(|method| {
            number += 1;
            let place = [SERVICE, s as i32, METHOD, number];
            let comment = comments.iter().find(|comment| comment.path == place);
            let comment = comment.map_or("", |comment| comment.leading_comments().trim());
            let Some(why) = comment.strip_prefix(NOT_OFFERED) else { return true };
            absent.push((format!("/{service_name}/{}", method.name()), why.replace('\n', " ")));
            false
        });
    }
    absent
}
