//! What clients read at `.config/goval/info` to learn whom they talk to. It is no file; one that is there goes first.

use std::path::Path;

use pid1_sdk::engine::Engine;

/// Whether `path` is where clients look for it.
pub(crate) fn is_asked_for(path: &Path) -> bool {
    path == Path::new(".config/goval/info")
}

/// The answer, as JSON. Nothing in it needs escaping.
pub(crate) fn of(engine: &Engine) -> String {
    let services: Vec<_> = engine.services().iter().map(|name| format!("\"{name}\"")).collect();
    format!(
        "{{\"server\":\"pid1\",\"version\":\"{}\",\"license\":\"{}\",\"authors\":[],\"repository\":\"\",\
         \"description\":\"the process that runs as PID 1 in a container\",\"uptime\":{},\"services\":[{}]}}",
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_LICENSE"),
        engine.uptime().as_secs(),
        services.join(",")
    )
}
