//! Watching through the real agent: a client that believes what it is told has what is on the disk, whatever is done to
//! it, however much at once, and whatever the kernel will not give.

mod limits;
mod random;
mod storms;
mod tools;
pub mod tree;
