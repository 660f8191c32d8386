//! The duties of process 1, as the agent does them and as the init without an agent does. All of it runs in pid
//! namespaces of its own. The init is measured by tini and dumb-init in the same run: what they do, and what the README
//! says beside them.

mod below;
mod children;
mod ending;
mod exits;
pub mod first;
mod full_disk;
mod inherited;
mod inits;
mod jobs;
mod main_command;
mod main_terminal;
mod options;
mod orphans;
mod signals;
mod table;
