//! What must not hurt anybody but whoever does it: broken frames, wrong channels, clients that do not read, clients
//! that vanish, programs that misbehave. Each test drives the real binary over real sockets.

mod between;
mod bursts;
mod endings;
mod flood;
mod frames;
mod gone;
mod large;
mod many;
mod mutants;
mod programs;
mod routing;
mod slow;
mod storms;
mod strangers;
mod terminal;
mod typing;
