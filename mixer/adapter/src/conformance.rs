//! What every adapter must hold to, as checks that each adapter's tests run.

pub mod backend;

use std::sync::Arc;

use mixer_runtime::{Clock, ManualClock, Random, Tasks};

use crate::{Env, HttpClient, Keep};

/// An environment on the system's time, without a past. Its directory is the working directory.
///
/// # Panics
/// Outside a tokio runtime.
pub fn env(name: &str) -> Env {
    on_clock(name, Clock::system())
}

/// An environment whose time stands still until it is moved.
///
/// # Panics
/// Outside a tokio runtime.
pub fn manual_env(name: &str) -> (Env, ManualClock) {
    let (clock, hand) = Clock::manual();
    (on_clock(name, clock), hand)
}

fn on_clock(name: &str, clock: Clock) -> Env {
    Env {
        name: name.into(),
        http: HttpClient::new(clock.clone()),
        clock,
        random: Arc::new(Random::from_seed(7)),
        tasks: Tasks::new(),
        directory: ".".into(),
        keep: Keep::default(),
    }
}
