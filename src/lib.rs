//! pid1: the process that runs as PID 1 in a container and lets many clients drive it at once.
//!
//! This crate is the *agent*: doors, router, auth and the duties of process 1. The *engine* and the services stand in
//! `services/`; they know nothing of what is here. `ARCHITECTURE.md` has the map.

#[cfg(not(target_os = "linux"))]
compile_error!("pid1 is made of Linux: pidfds, /proc, epoll, controlling terminals");

pub mod agent;
pub mod auth;
pub mod cli;
pub mod client;
pub mod config;
mod control;
pub mod door;
mod execs;
mod init;
mod metrics;
pub mod proto;
pub mod registry;
pub mod router;
mod secrets;
pub mod session;
pub mod sessions;
mod terminal;
