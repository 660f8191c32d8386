//! An agent that runs as an ordinary user, or sees other files than the tests.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::bare::copy;
use super::{Agent, FIRST, Launch, binary};

/// An ordinary user.
const NOBODY: u32 = 65534;

/// Another, who has no process but an agent's.
const SOMEBODY: u32 = 65500;

impl Launch {
    /// What runs the binary as process 1 and as `nobody`.
    pub(super) fn confinement(&self) -> Command {
        let mut command = Command::new(FIRST[0]);
        command.args(&FIRST[1..]).arg("setpriv");
        self.as_user(&mut command, NOBODY).arg("--").arg(self.copy());
        command
    }

    /// What runs it as somebody who may have only so many processes.
    pub(super) fn limited_user(&self) -> Command {
        let limit = format!("--nproc={}", self.processes.unwrap());
        let mut command = Command::new("setpriv");
        self.as_user(&mut command, SOMEBODY).args(["--", "prlimit", &limit, "--"]).arg(self.copy());
        command
    }

    /// Hands the folders over to `user`, whom `setpriv` is to become.
    fn as_user<'a>(&self, setpriv: &'a mut Command, user: u32) -> &'a mut Command {
        fs::set_permissions(self.home(), fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["root", "home", "state"] {
            fs::create_dir_all(self.home().join(folder)).unwrap();
            chown(self.home().join(folder), Some(user), Some(user)).unwrap();
        }
        let user = user.to_string();
        setpriv.args(["--reuid", &user, "--regid", &user, "--clear-groups"])
    }

    /// Of the binary, for users who may not reach the original.
    fn copy(&self) -> PathBuf {
        let to = self.home().join("pid1");
        // One that still runs cannot be written to.
        let _ = fs::remove_file(&to);
        copy(&binary(), &to);
        to
    }
}

impl Agent {
    /// A path of the workspace as the agent sees it, in a mount namespace of its own, too.
    pub fn inside(&self, path: &str) -> PathBuf {
        let root = self.root();
        let namespace = Path::new("/proc").join(self.pid().to_string()).join("root");
        namespace.join(root.strip_prefix("/").unwrap()).join(path)
    }
}
