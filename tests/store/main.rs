//! The store that replicas share, on a real Redis: what it promises while that is there, killed, stopped, restarted from
//! a snapshot, or somebody else's.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story that cannot go on fails here and now")]

#[allow(dead_code, unused_imports, reason = "the suite's; not all of it is needed here")]
#[path = "../suite/common/mod.rs"]
mod common;

mod link;
mod proxy;
mod server;
mod tickets;

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Waits until `condition` yields something, for ten seconds at most.
async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
