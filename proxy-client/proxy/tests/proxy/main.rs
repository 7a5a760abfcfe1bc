//! A real proxy between real sockets, asking a Mixer that each test scripts.

#![allow(clippy::unwrap_used)] // A helper of a test fails it like the test itself.

mod abuse;
mod access_log;
mod admin;
mod app;
mod balance;
mod bulk;
mod calls;
mod check;
mod cli;
mod drain;
mod frames;
mod grpc;
mod hostile;
mod in_flight;
mod ingress;
mod intercept;
mod issuer;
mod matrix;
mod mixer;
mod mtls;
mod opaque;
mod outbound;
mod paths;
mod probes;
mod process;
mod raw;
mod report;
mod routes;
mod slow;
mod stream;
mod tokens;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use mixer_proxy::{Config, Control, Proxy, Running};
use mixer_runtime::{Clock, Random};

use crate::app::App;
use crate::mixer::TestMixer;

/// Fails a test that hangs.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), work)
        .await
        .expect("nothing may hang")
}

/// A configuration for the service `products.shop` before `app`, all ports free ones.
pub(crate) fn config(mixer: &TestMixer, app: std::net::SocketAddr) -> Config {
    let any = Some("127.0.0.1:0".parse().unwrap());
    let mut config = Config::new(Control::Mixer(mixer.address.to_string()));
    config.service = Some("products.shop".to_owned());
    config.app = Some(app);
    (config.inbound, config.outbound, config.admin) = (any, any, any);
    config.workers = 1;
    // A busy machine is no failure of Mixer.
    config.limits.check = Duration::from_secs(20);
    config
}

/// Starts a proxy and waits until it knows what applies.
pub(crate) async fn start(config: Config) -> Running {
    let running = start_cold(config);
    soon(running.until_ready()).await;
    running
}

/// Starts a proxy.
pub(crate) fn start_cold(config: Config) -> Running {
    Proxy::start(config, Clock::system(), Arc::new(Random::from_system())).expect("free ports")
}

/// A Mixer, an application and a proxy between them.
pub(crate) async fn shop(mixer: TestMixer) -> (TestMixer, App, Running) {
    let app = App::start().await;
    let running = start(config(&mixer, app.address)).await;
    (mixer, app, running)
}
