//! Sends batches, one at a time, each until it is acknowledged.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use mixer_proto::v1;
use mixer_runtime::{Backoff, Random};
use tonic::Code;

use super::Collected;
use super::series::{DecisionIncrement, StandardIncrement};
use crate::call::Calls;
use crate::stats::Counters;
use crate::wire::report_request;

/// What is being sent. One step at a time, so that whoever ends the client can take over from the background.
#[derive(Debug)]
pub(crate) struct Pump {
    collected: Arc<Collected>,
    calls: Arc<Calls>,
    random: Arc<Random>,
    client: String,
    /// Of the last batch made.
    sequence: u64,
    /// Increments that are in no batch yet.
    aggregates: Vec<StandardIncrement>,
    decisions: Vec<DecisionIncrement>,
    /// The batch that waits for its acknowledgement.
    unacknowledged: Option<Batch>,
    /// Drops that an earlier batch told.
    told_dropped: u64,
    backoff: Backoff,
}

#[derive(Debug)]
struct Batch {
    message: Bytes,
    /// Records and increments in it.
    holds: u64,
    /// More was collected than fits in it.
    more: bool,
}

/// How one step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing is left to send.
    Done,
    /// A batch was acknowledged, and whether more was collected than it held.
    Sent { more: bool },
    /// Mixer did not take the batch; try it again after this.
    Wait(Duration),
}

/// One try of Report.
const TRY: Duration = Duration::from_secs(5);
/// Series in one batch: about 200 bytes each.
const ROWS: usize = 4_096;

impl Pump {
    pub(crate) fn new(
        collected: Arc<Collected>,
        calls: Arc<Calls>,
        random: Arc<Random>,
        client: String,
    ) -> Self {
        let backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        let (aggregates, decisions, unacknowledged) = (Vec::new(), Vec::new(), None);
        let (sequence, told_dropped) = (0, 0);
        Self {
            collected,
            calls,
            random,
            client,
            sequence,
            aggregates,
            decisions,
            unacknowledged,
            told_dropped,
            backoff,
        }
    }

    /// Sends the batch that waits, or the next one.
    pub(crate) async fn step(&mut self) -> Step {
        let again = self.unacknowledged.is_some();
        if !again {
            self.unacknowledged = self.next_batch();
        }
        let Some(Batch {
            message,
            holds,
            more,
        }) = &self.unacknowledged
        else {
            return Step::Done;
        };
        let (holds, more) = (*holds, *more);
        let counters = &self.collected.counters;
        Counters::count(if again {
            &counters.report_retries
        } else {
            &counters.report_batches
        });
        match self
            .calls
            .report::<v1::ReportResponse>(message.clone(), TRY)
            .await
        {
            Ok(response) if response.sequence == self.sequence => {
                self.unacknowledged = None;
                self.backoff.reset();
                Step::Sent { more }
            }
            // It would be refused again, and hold up all that follow.
            Err(status) if matches!(status.code(), Code::InvalidArgument | Code::OutOfRange) => {
                tracing::warn!(
                    lost = holds,
                    "Mixer refuses a report as malformed: {}",
                    status.message()
                );
                counters.report_dropped.fetch_add(holds, Ordering::Relaxed);
                self.unacknowledged = None;
                Step::Sent { more }
            }
            Ok(_) | Err(_) => Step::Wait(self.backoff.next(&self.random)),
        }
    }

    fn next_batch(&mut self) -> Option<Batch> {
        if self.aggregates.is_empty() && self.decisions.is_empty() {
            self.aggregates = self.collected.standard.take();
            self.decisions = self.collected.decisions.take();
        }
        let aggregates = self
            .aggregates
            .split_off(self.aggregates.len().saturating_sub(ROWS));
        let decisions = self
            .decisions
            .split_off(self.decisions.len().saturating_sub(ROWS));
        let (records, more_records) = self.collected.take_records();
        let dropped = self.collected.dropped_so_far();
        let holds = records.len() + aggregates.len() + decisions.len();
        if holds == 0 && dropped == self.told_dropped {
            return None;
        }
        self.sequence += 1;
        let message = report_request(
            &self.client,
            self.sequence,
            dropped - self.told_dropped,
            records,
            aggregates.iter().map(StandardIncrement::row),
            decisions.iter().map(DecisionIncrement::row),
        );
        self.told_dropped = dropped;
        let more = more_records || !self.aggregates.is_empty() || !self.decisions.is_empty();
        Some(Batch {
            message,
            holds: holds as u64,
            more,
        })
    }
}
