//! Where packages of Python are installed: the environment of the workspace.

use std::path::{Path, PathBuf};

use pid1_sdk::{Error, Result};

use crate::tools::Tools;

/// Folders of environments, the first of which is made if there is none.
const ENVIRONMENTS: [&str; 2] = [".venv", "venv"];

/// Where an environment has its interpreter.
pub(super) fn python(folder: &Path) -> PathBuf {
    folder.join("bin/python")
}

/// The environment that `VIRTUAL_ENV` names, if it is there, or in the workspace, where it may be made: one elsewhere is the
/// operator's.
pub(super) fn named_environment(tools: &Tools) -> Option<PathBuf> {
    let root = tools.engine.root();
    let folder = root.join(tools.variable("VIRTUAL_ENV")?);
    (folder.starts_with(root) || python(&folder).exists()).then_some(folder)
}

/// Where the environment may be; made in the first, if there is none.
pub(super) fn environments(tools: &Tools) -> Vec<PathBuf> {
    let own = || ENVIRONMENTS.map(|folder| tools.engine.root().join(folder)).to_vec();
    named_environment(tools).map_or_else(own, |named| vec![named])
}

/// The interpreter of the workspace's environment, which is made if there is none.
pub(super) async fn environment(tools: &Tools) -> Result<String> {
    let root = tools.engine.root();
    let own = environments(tools);
    let folder = own.iter().find(|folder| python(folder).exists()).unwrap_or(&own[0]);
    let path =
        folder.to_str().ok_or_else(|| Error::new("packager: the path of the environment is no text"))?;
    if !python(folder).exists() {
        let new = !folder.exists();
        let words: &[&str] =
            if tools.has("uv") { &["uv", "venv", "--", path] } else { &["python3", "-m", "venv", path] };
        let made = tools.run(words).await;
        if let (Err(_), true, Ok(inner)) = (&made, new, folder.strip_prefix(root)) {
            // Half of one would be taken for one.
            let inner = inner.to_owned();
            let _ = tools.look(move |workspace| Ok(workspace.remove(&inner)?)).await;
        }
        made?;
    }
    python(folder)
        .into_os_string()
        .into_string()
        .map_err(|_| Error::new("packager: the path of Python is no text"))
}
