//! Every service of the registry keeps the promises of all services, with and without something running.
//!
//! A new service is checked here without a line more; one that runs programs or sends by itself should be given a line
//! in [`busy`], because a service at rest keeps most promises.

use pid1_sdk::api::{Exec, ProcessStart, command::Body};
use pid1_sdk::testing::conformance;

/// Commands after which a service goes on sending for as long as somebody takes it.
fn busy(service: &str) -> Vec<Body> {
    let args = vec!["yes".to_owned()];
    match service {
        "shell" => vec![Body::Input("yes\n".into())],
        "exec" => vec![Body::Exec(Exec { args, ..Exec::default() })],
        "eval" => vec![Body::Eval("while True: print('y')".into())],
        "process" => vec![Body::ProcessStart(ProcessStart { args, ..ProcessStart::default() })],
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn every_service_keeps_the_promises_of_all() {
    for service in pid1::registry::SERVICES {
        conformance::check(service, &busy(service.name)).await;
    }
}
