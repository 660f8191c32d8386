//! Programs by TaskCommandRouter: whose they are, what is kept of them, and what they may cost. That the published clients
//! can do their work is shown with them, in `clients/`.

mod access;
mod bounds;
mod kept;
