//! The client: scope, cache, leases, then Mixer.

use std::sync::Arc;
use std::time::Duration;

use mixer_attributes::AttributeBag;
use mixer_runtime::{Clock, Random, Tasks};
use tokio::sync::watch;

use crate::{Answer, At, Config, Reporter, State, Stats};

/// Asks Mixer; one per proxy, shared by its threads.
#[derive(Clone, Debug)]
pub struct Client {}

impl Client {
    /// Starts watching and reporting in the background. Mixer need not be there yet.
    pub fn start(config: Config, clock: Clock, random: Arc<Random>, tasks: &Tasks) -> Self {
        let _ = (config, clock, random, tasks);
        unimplemented!()
    }

    /// The newest state, and news of it; `None` until the first came.
    pub fn state(&self) -> watch::Receiver<Option<Arc<State>>> {
        unimplemented!()
    }

    /// May this request pass? `destination` is the service it goes to (`None`: none of the mesh). Takes what it charges.
    /// Never waits longer than the configured time and never fails: what cannot be asked is answered by the failure mode.
    pub async fn check(&self, at: At, destination: Option<&str>, bag: &AttributeBag<'_>) -> Answer {
        let _ = (at, destination, bag);
        unimplemented!()
    }

    /// Where what happened is told.
    pub fn reporter(&self) -> &Reporter {
        unimplemented!()
    }

    /// Whether a first state came.
    pub fn ready(&self) -> bool {
        unimplemented!()
    }

    /// Counts since the start.
    pub fn stats(&self) -> Stats {
        unimplemented!()
    }

    /// Gives leases back and sends what is left to report, within `deadline`.
    pub async fn finish(&self, deadline: Duration) {
        let _ = deadline;
        unimplemented!()
    }
}
