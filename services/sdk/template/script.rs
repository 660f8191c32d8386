//! The service as a script of what members send and get.

use pid1_@path@::@Type@;
use pid1_sdk::testing::conformance;

#[tokio::test]
async fn it_keeps_the_promises_of_every_service() {
    conformance::<@Type@>(&[]).await;
}
