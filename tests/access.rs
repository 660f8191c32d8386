//! Who gets in, and how far: tokens of every kind, roles, networks, expiry, and secrets that stay secret.

pub mod keys;
mod notices;
mod onlookers;
mod rights;
mod secrets;
mod tokens;
