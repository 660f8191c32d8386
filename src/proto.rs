//! The gRPC contracts of `proto/`, as code.

#![allow(clippy::allow_attributes_without_reason, missing_docs, reason = "generated")]

/// openYuanrong's ExecService.
pub mod exec_service {
    tonic::include_proto!("exec_service");
}

/// Modal's TaskCommandRouter, and what it takes from Modal's other contracts.
pub mod modal {
    /// What it takes.
    pub mod client {
        tonic::include_proto!("modal.client");
    }

    /// The router's own.
    pub mod task_command_router {
        tonic::include_proto!("modal.task_command_router");
    }
}

/// Volt's TerminalAPI.
pub mod volt {
    tonic::include_proto!("tdx.volt_api.volt.v1");
}

/// The methods that are not offered here, by their paths: why.
const NOT_OFFERED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/not_offered.rs"));

/// Why a method of these contracts is not offered here; `None` for one that is, or that nobody knows.
pub(crate) fn not_offered(path: &str) -> Option<&'static str> {
    NOT_OFFERED.iter().find(|(method, _)| *method == path).map(|(_, why)| *why)
}

/// All of them, as a `FileDescriptorSet`.
pub(crate) const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/contracts.descriptor"));
