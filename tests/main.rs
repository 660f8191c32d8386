//! The product tests: one binary, real sockets, the real agent.
//!
//! `support` starts the binary (`PID1_BIN`, else the one cargo built) for each test. Sizes are small by default and
//! large with `PID1_LONG=1`. What is beneath the sockets is tested where it stands.
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests start programs as they like, and end by panicking"
)]

mod access;
mod alone;
mod attach;
mod bare;
mod cli;
mod contract;
mod corpus;
mod end;
mod exec;
mod execs;
mod fields;
mod files;
mod grpc;
mod hostile;
mod http;
mod image;
mod launch;
mod oom;
mod ot;
mod packages;
mod people;
mod pid1;
mod services;
mod settings;
mod support;
mod tidy;
mod tls;
mod transfer;
mod watch;
