//! Who may only look on.

use pid1_sdk::api::{
    EnsurePackages, PackageCacheSave, PackageInfo, PackageInstall, PackageRemove, PackageSearch,
    command::Body,
};

use super::{add, list, package};
use crate::access::keys::Keys;

#[tokio::test]
async fn a_viewer_reads_the_specfile_and_starts_nothing() {
    let (agent, keys) = Keys::agent(&[]).await;
    let manifest = "{\"dependencies\": {\"left-pad\": \"1\"}}";
    std::fs::write(agent.root().join("package.json"), manifest).unwrap();
    let mut viewer = agent.client_as(&keys.jwt_of("viewer")).await;
    for service in ["packager3", "packager2"] {
        let channel = viewer.open(service, "").await;
        assert_eq!(list(&mut viewer, channel).await, ["left-pad"]);
        for body in [
            add("six"),
            Body::PackageRemove(PackageRemove { pkgs: vec![package("left-pad")] }),
            Body::PackageInstall(PackageInstall::default()),
            Body::PackageSearch(PackageSearch { query: "six".into() }),
            Body::PackageInfo(PackageInfo { pkg: Some(package("six")) }),
            Body::PackageCacheSave(PackageCacheSave {}),
            Body::EnsurePackages(EnsurePackages { install: true, file: None }),
        ] {
            let what = body.name();
            let said = viewer.refused(channel, body).await;
            assert_eq!(said, format!("{what} needs the role editor, and this session has the role viewer"));
        }
    }
    assert_eq!(agent.programs(), [0; 0]);
    assert_eq!(super::names(&agent.root()), ["package.json"]);
    assert_eq!(super::text(agent.root().join("package.json")).as_deref(), Some(manifest));
}
