//! Real servers of others, started for one test: what `tests/servers/install` brought, on free ports, ended with the test.

mod envoy;
mod nginx;
mod prometheus;
mod redis;
mod zipkin;

pub use envoy::{Duties, Envoy, HTTP2, address, spiffe_tls};
pub use nginx::Nginx;
pub use prometheus::{Prometheus, promtool_faults};
pub use redis::{Redis, RedisCluster, RedisWatched};
pub use zipkin::Zipkin;

use std::path::PathBuf;

use crate::tidy::Tree;

/// Where `tests/servers/install` put a program: below `MIXER_TEST_SERVERS` (as `tests/run` sets it), else in the target folder.
///
/// # Panics
/// When it is not there.
pub fn installed(name: &str) -> PathBuf {
    let root = Tree::workspace().root().to_owned();
    let folder = std::env::var_os("MIXER_TEST_SERVERS").map_or_else(
        || match std::env::var_os("CARGO_TARGET_DIR") {
            Some(target) => root.join(target).join("servers/bin"),
            None => root.join("target/servers/bin"),
        },
        PathBuf::from,
    );
    let path = folder.join(name);
    assert!(
        path.exists(),
        "there is no {}: run tests/servers/install",
        path.display()
    );
    path
}
