//! Everything a service of pid1 may use, and nothing else: the compiler keeps services away from the agent.
#![warn(missing_docs)]

pub mod api;
