//! Questions to registries: a search, and what is known of one package.

use pid1_sdk::api::Package;
use pid1_sdk::{Error, Result};

use crate::SEARCH_RESULTS;
use crate::change::Turns;
use crate::request::{checked, shown};
use crate::tools::Tools;

/// What the registry's search finds. Where it has none or that fails, the package of this very name, or of the name as
/// registries write it; then with a hint that says so.
pub(crate) async fn search(tools: &Tools, query: &str) -> Result<(Vec<Package>, Option<String>)> {
    if query.is_empty() {
        return Ok((Vec::new(), None));
    }
    let turns = tools.engine.shared::<Turns>();
    let _turn = tools.turn(&turns.lookups).await?;
    let why = match tools.ecosystem.search(tools, query).await {
        Ok(mut found) => {
            found.truncate(SEARCH_RESULTS);
            return Ok((found, None));
        }
        Err(error) if tools.closed.is_cancelled() => return Err(error),
        Err(error) => error,
    };
    let mut names = vec![query.to_owned(), tools.ecosystem.plain_name(query)];
    names.dedup();
    for name in names {
        let package = Package { name: name.clone(), ..Package::default() };
        if checked(tools.ecosystem, vec![package]).is_ok()
            && let Some(found) = tools.ecosystem.info(tools, &name).await?
        {
            let hint = format!(
                "The registry's search was not used ({why}): this is the package named {}.",
                found.name
            );
            return Ok((vec![found], Some(hint)));
        }
    }
    let hint =
        format!("The registry's search was not used ({why}), and there is no package of this very name.");
    Ok((Vec::new(), Some(hint)))
}

/// What the registry knows of this package.
pub(crate) async fn info(tools: &Tools, package: Package) -> Result<Package> {
    let package = checked(tools.ecosystem, vec![package])?.remove(0);
    let turns = tools.engine.shared::<Turns>();
    let _turn = tools.turn(&turns.lookups).await?;
    let found = tools.ecosystem.info(tools, &package.name).await?;
    found.ok_or_else(|| {
        Error::new(format!("packager: there is no package {}: look at how it is spelt", shown(&package)))
    })
}
