//! Posting batches, again where that may help.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use mixer_adapter::buffer::Sink;
use mixer_adapter::http::{Bounds, Url};
use mixer_adapter::{Env, HttpClient, Unavailable};
use mixer_runtime::{Backoff, Clock, Random};

use crate::Counts;

/// What a post may take.
const BOUNDS: Bounds = Bounds {
    deadline: Duration::from_secs(5),
    body: 64 << 10,
};

/// Bytes of a body, beyond which a batch becomes several.
const BODY: usize = 1 << 20;

/// How often a batch is posted before it is dropped.
const TRIES: u32 = 3;

/// The wait between tries: up to the first, then doubled up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));

/// Posts batches of spans.
pub(crate) struct Poster {
    url: Url,
    http: HttpClient,
    clock: Clock,
    random: Arc<Random>,
    counts: Arc<Counts>,
    adapter: Arc<str>,
    /// Told to stop: what is left is tried once.
    is_ending: Box<dyn Fn() -> bool + Send + Sync>,
    /// The last batch was dropped. That is logged once, not for each batch.
    is_failing: bool,
}

impl Poster {
    pub(crate) fn new(url: Url, env: &Env, counts: Arc<Counts>) -> Self {
        let stop = env.tasks.stop();
        Self {
            url,
            http: env.http.clone(),
            clock: env.clock.clone(),
            random: env.random.clone(),
            counts,
            adapter: env.name.clone(),
            is_ending: Box::new(move || stop.is_cancelled()),
            is_failing: false,
        }
    }

    async fn post(&mut self, body: Bytes, spans: u64) {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        let mut tries = 1;
        let failed = loop {
            match self.try_once(body.clone()).await {
                Ok(()) => break None,
                Err(error) if !error.retry || tries == TRIES || (self.is_ending)() => {
                    break Some(error);
                }
                Err(_) => self.clock.sleep(backoff.next(&self.random)).await,
            }
            tries += 1;
        };
        match failed {
            None => {
                self.counts.sent.fetch_add(spans, Ordering::Relaxed);
                self.is_failing = false;
            }
            Some(error) => {
                self.counts.refused.fetch_add(spans, Ordering::Relaxed);
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(adapter = &*self.adapter, "spans are dropped: {error}");
                }
            }
        }
    }

    async fn try_once(&self, body: Bytes) -> Result<(), Unavailable> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answer = self.http.post(&self.url, headers, body, BOUNDS).await?;
        answer.success(&self.url).map(drop)
    }
}

impl Sink<Vec<u8>> for Poster {
    async fn send(&mut self, batch: Vec<Vec<u8>>) {
        let mut spans = batch.into_iter().peekable();
        while spans.peek().is_some() {
            let (mut body, mut count) = (vec![b'['], 0);
            while let Some(span) =
                spans.next_if(|span| count == 0 || body.len() + span.len() < BODY)
            {
                if count > 0 {
                    body.push(b',');
                }
                body.extend_from_slice(&span);
                count += 1;
            }
            body.push(b']');
            self.post(body.into(), count).await;
        }
    }
}

impl fmt::Debug for Poster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poster")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}
