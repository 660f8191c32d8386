//! The gRPC doors: who may call, what calls may cost, and what becomes of their programs. That the published clients can do
//! their work is shown with them, in `clients/`.

mod bounds;
mod life;
mod rights;
