//! The list of services: one line each. Adding one is a folder in `services/`, a dependency and a line here.

use pid1_sdk::ServiceDef;

const FILES: &str = "the workspace's files: read, written whole, listed, moved and removed";
const INTERPRETER: &str = "the run of the project's program in its language's interpreter, which then stays";
const PACKAGES: &str = "the project's packages: found, added, removed, installed by its language's own tools";
const NULL: &str = "opens and does nothing: not built yet, or nothing to do";

/// Every name that clients may open.
pub const SERVICES: &[ServiceDef] = &[
    ServiceDef::new::<pid1_shell::Shell>("shell", "one terminal, shared by all members of the channel"),
    ServiceDef::new::<pid1_exec::Exec>("exec", "programs without a terminal, one after the other"),
    ServiceDef::new::<pid1_process::Programs>(
        "process",
        "a program byte for byte, resumable, with its exact end",
    ),
    ServiceDef::new::<pid1_run::Run>("run", "the run of the project's program, or the main command"),
    ServiceDef::new::<pid1_run::Run>("run2", "the run of the project's program"),
    ServiceDef::new::<pid1_run::Run>("console", "the run of the project's program"),
    ServiceDef::new::<pid1_run::ShellRun>(
        "shellrun2",
        "the run of the project's program, and a shell between runs",
    ),
    ServiceDef::new::<pid1_run::Interpreter>("interp", INTERPRETER),
    ServiceDef::new::<pid1_run::Interpreter>("interp2", INTERPRETER),
    ServiceDef::new::<pid1_run::Output>("output", "what the run prints, and where that begins and ends"),
    ServiceDef::new::<pid1_files::Files>("gcsfiles", FILES),
    ServiceDef::new::<pid1_files::Files>("files", FILES),
    ServiceDef::new::<pid1_fsevents::FsEvents>(
        "fsevents",
        "what comes, goes, moves and changes in the workspace, as it happens",
    ),
    ServiceDef::new::<pid1_snapshot::Snapshot>(
        "snapshot",
        "everything on disk, and named locks that hold that off",
    ),
    ServiceDef::new::<pid1_ot::Ot>("ot", "one file edited by many people and programs at once"),
    ServiceDef::new::<pid1_presence::Presence>(
        "presence",
        "who is here, what each has open, who follows whom",
    ),
    ServiceDef::new::<pid1_chat::Chat>("chat", "messages to all others, the last of which are kept"),
    ServiceDef::new::<pid1_meta::Meta>("meta", "bytes under keys, which outlive the agent"),
    ServiceDef::new::<pid1_dotreplit::DotReplit>(
        "dotreplit",
        "what .replit says, how Run runs the program, changes of that file",
    ),
    ServiceDef::new::<pid1_dotreplit::Toolchain>(
        "toolchain",
        "ways to run the program, told when they change",
    ),
    ServiceDef::new::<pid1_eval::Eval>(
        "eval",
        "one interpreter, whose state stays from one evaluation to the next",
    ),
    ServiceDef::new::<pid1_packager::Packager>("packager3", PACKAGES),
    ServiceDef::new::<pid1_packager::Packager>("packager2", PACKAGES),
    ServiceDef::new::<pid1_null::Null>("null", NULL),
    ServiceDef::new::<pid1_null::Null>("open", NULL),
    ServiceDef::new::<pid1_null::Null>("git", NULL),
    ServiceDef::new::<pid1_null::Null>("nix", NULL),
    ServiceDef::new::<pid1_null::Null>("nixmodule", NULL),
    ServiceDef::new::<pid1_null::Null>("streamreader", NULL),
    ServiceDef::new::<pid1_null::Null>("vnc", NULL),
];

/// The service that clients call `name`.
pub fn find(name: &str) -> Option<&'static ServiceDef> {
    SERVICES.iter().find(|service| service.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_given_twice() {
        let mut names: Vec<_> = SERVICES.iter().map(|service| service.name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
