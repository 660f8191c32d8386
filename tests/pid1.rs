//! The duties of process 1, as the init without an agent does them. Everything runs in pid namespaces of its own and
//! through tini and dumb-init in the same run: what they do is the measure, and what the README says beside them.

mod exits;
mod inherited;
mod inits;
mod jobs;
mod options;
mod orphans;
mod signals;
mod table;
