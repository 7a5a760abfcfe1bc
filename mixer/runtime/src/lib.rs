//! What every long-running part stands on: time as a parameter, tasks that are owned, retries that back off, queues that are
//! bounded, an end that loses nothing, and who may ask for all that.

mod backoff;
mod clock;
mod drain;
mod guard;
pub mod queue;
mod random;
mod tasks;

pub use backoff::Backoff;
pub use clock::{Clock, Instant, ManualClock};
pub use drain::{Drain, DrainGuard};
pub use guard::{Guard, Refusal};
pub use random::Random;
pub use tasks::{Tasks, Unfinished};
