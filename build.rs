//! Turns the gRPC contracts in `proto/` into Rust: messages, the traits of their services, and the descriptors that
//! reflection shows.
//!
//! The proto compiler is protox, so that building needs no `protoc` on the machine.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message;

const CONTRACTS: [&str; 2] = ["exec_service.proto", "tdx/volt_api/volt/v1/terminal_api.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=build.rs");
    let mut descriptors = protox::compile(CONTRACTS, ["proto"])?;
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
        .compile_fds_with_config(descriptors.clone(), messages)?;

    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is set by cargo")?);
    for file in &mut descriptors.file {
        file.source_code_info = None;
    }
    fs::write(out.join("contracts.descriptor"), descriptors.encode_to_vec())?;
    Ok(())
}
