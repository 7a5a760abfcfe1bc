//! Writes a line of JSON for each log entry, to stdout, stderr or a file.
//!
//! Reporting never waits for a disk or a pipe: lines are made, queued, and written by one task; what does not fit, or cannot
//! be written, is dropped and counted.

mod config;
mod line;
mod time;
mod write;

pub use config::{Config, To};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mixer_adapter::buffer::{Batching, Buffer};
use mixer_adapter::{
    Adapter, Batch, Env, Expose, Exposition, Handler, Inputs, Invalid, MetricDefinition, Report,
    Unavailable,
};

use crate::write::Writer;

/// The adapter `log`.
#[derive(Clone, Copy, Debug)]
pub struct Log;

/// How long a flush waits.
const FLUSH: Duration = Duration::from_secs(5);

/// Lines are written together, a tenth of a second late at most.
const BATCHING: Batching = Batching {
    most: 1000,
    wait: Duration::from_millis(100),
};

impl Adapter for Log {
    const NAME: &'static str = "log";
    type Config = Config;

    fn build(config: Config, inputs: &Inputs, env: &Env) -> Result<Handler, Invalid> {
        inputs.allow_only(&[])?;
        config.check()?;
        let (buffer, outlet) = Buffer::new(env.clock.clone(), config.queue);
        let counts = env.keep(Counts::default);
        let lines = Arc::new(Lines {
            buffer,
            counts: counts.clone(),
            name: env.name.clone(),
        });
        Ok(Handler::new()
            .with_report(lines.clone())
            .with_expose(lines)
            .on_start(move |env| {
                outlet.run(env, "log", BATCHING, Writer::new(&config.to, env, counts));
            }))
    }
}

#[derive(Debug)]
struct Lines {
    buffer: Buffer<Vec<u8>>,
    counts: Arc<Counts>,
    name: Arc<str>,
}

/// What became of lines; survives a reload.
#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    /// Did not fit the queue.
    overflowed: AtomicU64,
    /// Could not be written.
    failed: AtomicU64,
}

impl Report for Lines {
    fn declare(&self, _: &[MetricDefinition]) -> Result<(), Invalid> {
        Err(Invalid::one("", "log takes log entries, not metrics"))
    }

    async fn report(&self, batch: Batch<'_>) -> Result<(), Unavailable> {
        let Batch::Logs(entries) = batch else {
            return Err(Unavailable {
                reason: "log takes log entries only".into(),
                retry: false,
            });
        };
        for entry in entries {
            if !self.buffer.offer(line::of(entry)) {
                self.counts.overflowed.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    async fn flush(&self) {
        self.buffer.flush(FLUSH).await;
    }
}

impl Expose for Lines {
    fn expose(&self, page: &mut Exposition) {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        let adapter = ("adapter", &*self.name);
        page.counter(
            "mixer_log_lines_written",
            "Log lines that were written.",
            &[adapter],
            count(&self.counts.written),
        );
        for (reason, dropped) in [
            ("queue", &self.counts.overflowed),
            ("write", &self.counts.failed),
        ] {
            let help =
                "Log lines that were dropped: the queue was full, or they could not be written.";
            page.counter(
                "mixer_log_lines_dropped",
                help,
                &[adapter, ("reason", reason)],
                count(dropped),
            );
        }
    }
}

#[cfg(test)]
mod tests;
