//! The gRPC contracts of `proto/`, as code.

#![allow(clippy::allow_attributes_without_reason, missing_docs, reason = "generated")]

/// openYuanrong's ExecService.
pub mod exec_service {
    tonic::include_proto!("exec_service");
}

/// Volt's TerminalAPI.
pub mod volt {
    tonic::include_proto!("tdx.volt_api.volt.v1");
}

/// All of them, as a `FileDescriptorSet`.
pub(crate) const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/contracts.descriptor"));
