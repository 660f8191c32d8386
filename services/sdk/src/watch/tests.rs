//! The watcher against a real disk, and clients that believe what they are told.

mod client;
mod random;
mod scenes;
