//! Sends spans to Zipkin (or whoever speaks its v2 API: Jaeger, Tempo, the OpenTelemetry collector).
//!
//! The encoder is our own: one reporter speaks for every service of the mesh, each span with the endpoint that saw it, which
//! exporters built for one process cannot say. Reporting never waits: spans are encoded, queued, and sent in batches by one
//! task; what does not fit, or what nobody takes after a few tries, is dropped and counted.

mod config;
mod encode;
mod post;

pub use config::Config;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mixer_adapter::buffer::{Batching, Buffer};
use mixer_adapter::{
    Adapter, Batch, Env, Expose, Exposition, Handler, Inputs, Invalid, MetricDefinition, Report,
    Unavailable,
};

use crate::post::Poster;

/// The adapter `zipkin`.
#[derive(Clone, Copy, Debug)]
pub struct Zipkin;

/// How long a flush waits.
const FLUSH: Duration = Duration::from_secs(5);

impl Adapter for Zipkin {
    const NAME: &'static str = "zipkin";
    type Config = Config;

    fn build(config: Config, inputs: &Inputs, env: &Env) -> Result<Handler, Invalid> {
        inputs.allow_only(&[])?;
        let url = config.check()?;
        let (buffer, outlet) = Buffer::new(env.clock.clone(), config.queue);
        let counts = env.keep(Counts::default);
        let spans = Arc::new(Spans {
            buffer,
            counts: counts.clone(),
            name: env.name.clone(),
        });
        let batching = Batching {
            most: config.batch,
            wait: config.flush.0,
        };
        Ok(Handler::new()
            .with_report(spans.clone())
            .with_expose(spans)
            .on_start(move |env| {
                outlet.run(env, "zipkin", batching, Poster::new(url, env, counts));
            }))
    }
}

#[derive(Debug)]
struct Spans {
    buffer: Buffer<Vec<u8>>,
    counts: Arc<Counts>,
    name: Arc<str>,
}

/// What became of spans; survives a reload.
#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    /// Did not fit the queue.
    overflowed: AtomicU64,
    /// Were not taken by the backend.
    refused: AtomicU64,
}

impl Report for Spans {
    fn declare(&self, _: &[MetricDefinition]) -> Result<(), Invalid> {
        Err(Invalid::one("", "zipkin takes spans, not metrics"))
    }

    async fn report(&self, batch: Batch<'_>) -> Result<(), Unavailable> {
        let Batch::Spans(spans) = batch else {
            return Err(Unavailable {
                reason: "zipkin takes spans only".into(),
                retry: false,
            });
        };
        for span in spans {
            if !self.buffer.offer(encode::span(span)) {
                self.counts.overflowed.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    async fn flush(&self) {
        self.buffer.flush(FLUSH).await;
    }
}

impl Expose for Spans {
    fn expose(&self, page: &mut Exposition) {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        let adapter = ("adapter", &*self.name);
        page.counter(
            "mixer_zipkin_spans_sent",
            "Spans the backend took.",
            &[adapter],
            count(&self.counts.sent),
        );
        for (reason, dropped) in [
            ("queue", &self.counts.overflowed),
            ("backend", &self.counts.refused),
        ] {
            let help =
                "Spans that were dropped: the queue was full, or the backend did not take them.";
            page.counter(
                "mixer_zipkin_spans_dropped",
                help,
                &[adapter, ("reason", reason)],
                count(dropped),
            );
        }
        let waiting = self.buffer.waiting() as f64;
        page.gauge(
            "mixer_zipkin_spans_waiting",
            "Spans queued or being sent.",
            &[adapter],
            waiting,
        );
    }
}

#[cfg(test)]
mod tests;
