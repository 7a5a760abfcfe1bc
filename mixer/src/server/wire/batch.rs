//! A batch of Report that was checked as a whole, so that counting it cannot stop half way.

use mixer_attributes::Vocabulary;
use mixer_attributes::standard::{BYTES_BUCKETS, DURATION_MS_BUCKETS, LABELS};
use mixer_proto::v1;

use super::records::{RecordArena, Strings, trace};
use super::{Malformed, Problem};
use crate::dispatch::report::{Aggregate, Enforced, Happened, Observed, Trace, reporter};

/// Every index is in range, every label set is whole, every number is one that can be added.
#[derive(Debug)]
pub(crate) struct Batch(v1::ReportRequest);

impl Batch {
    /// Checks everything; the first thing that is wrong is said.
    pub(crate) fn new(
        request: v1::ReportRequest,
        vocabulary: &Vocabulary,
    ) -> Result<Self, Malformed> {
        if request.client.is_empty() {
            return Err(Malformed::new(
                "client",
                "must name the client: batches are counted once per client and sequence",
            ));
        }
        let strings = Strings(&request.strings);
        for (at, aggregate) in request.aggregates.iter().enumerate() {
            check_aggregate(aggregate, strings).map_err(|(field, problem)| {
                Malformed::new(format!("aggregates[{at}].{field}"), problem)
            })?;
        }
        for (at, decision) in request.decisions.iter().enumerate() {
            check_decision(decision, strings).map_err(|(field, problem)| {
                Malformed::new(format!("decisions[{at}].{field}"), problem)
            })?;
        }
        for (at, record) in request.records.iter().enumerate() {
            let field = format!("records[{at}]");
            RecordArena::new(&field, strings, record)?.bag(&field, vocabulary)?;
            if let Some(span) = &record.trace {
                trace(&format!("{field}.trace"), span)?;
            }
        }
        Ok(Self(request))
    }

    pub(crate) fn client(&self) -> &str {
        &self.0.client
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.0.sequence
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.0.dropped
    }

    /// Increments of the standard metrics.
    pub(crate) fn aggregates(&self) -> Vec<Aggregate<'_>> {
        let strings = self.strings();
        let series = self.0.aggregates.iter();
        series
            .map(|aggregate| Aggregate {
                labels: std::array::from_fn(|at| strings.held(aggregate.labels[at])),
                requests: aggregate.requests,
                duration_ms: observed(aggregate.duration_ms.as_ref()),
                request_bytes: observed(aggregate.request_bytes.as_ref()),
                response_bytes: observed(aggregate.response_bytes.as_ref()),
            })
            .collect()
    }

    /// Counts of decisions.
    pub(crate) fn decisions(&self) -> Vec<Enforced<'_>> {
        let strings = self.strings();
        let counts = self.0.decisions.iter();
        counts
            .map(|count| Enforced {
                destination: strings.held(count.destination),
                policy: strings.held(count.policy),
                rule: strings.held(count.rule),
                verdict: verdict(count.verdict()),
                because: because(count.because()),
                cached: count.cached,
                shadow: count.shadow,
                count: count.count,
                failure: strings.held(count.failure),
            })
            .collect()
    }

    pub(crate) fn records(&self) -> &[v1::Record] {
        &self.0.records
    }

    /// What the bags of `records` refer to.
    pub(crate) fn arenas<'m>(&'m self, records: &'m [v1::Record]) -> Vec<RecordArena<'m>> {
        let arenas = records
            .iter()
            .map(|record| RecordArena::new("", self.strings(), record));
        arenas
            .map(|arena| arena.expect("the batch was checked"))
            .collect()
    }

    /// The requests that `records` are about, without those that do not say which side reports them.
    pub(crate) fn happened<'a>(
        &self,
        records: &[v1::Record],
        arenas: &'a [RecordArena<'_>],
        vocabulary: &Vocabulary,
    ) -> Vec<Happened<'a>> {
        let pairs = records.iter().zip(arenas);
        pairs
            .filter_map(|(record, arena)| {
                let bag = arena
                    .bag("", vocabulary)
                    .expect("the batch was checked with the same vocabulary");
                let span = record.trace.as_ref().map(|span| {
                    let (trace_id, span_id, parent_id) =
                        trace("", span).expect("the batch was checked");
                    Trace {
                        trace_id,
                        span_id,
                        parent_id,
                        shared: span.shared,
                    }
                });
                Some(Happened {
                    at: reporter(&bag)?,
                    bag,
                    trace: span,
                })
            })
            .collect()
    }

    fn strings(&self) -> Strings<'_> {
        Strings(&self.0.strings)
    }
}

fn check_aggregate(
    aggregate: &v1::Aggregate,
    strings: Strings<'_>,
) -> Result<(), (&'static str, Problem)> {
    if aggregate.labels.len() != LABELS.len() {
        let problem = format!(
            "{} values, must be one for each of the {} labels",
            aggregate.labels.len(),
            LABELS.len()
        );
        return Err(("labels", problem.into()));
    }
    for index in &aggregate.labels {
        strings
            .text(*index)
            .map_err(|problem| ("labels", problem))?;
    }
    let histograms = [
        (
            "duration_ms",
            &aggregate.duration_ms,
            DURATION_MS_BUCKETS.len(),
        ),
        (
            "request_bytes",
            &aggregate.request_bytes,
            BYTES_BUCKETS.len(),
        ),
        (
            "response_bytes",
            &aggregate.response_bytes,
            BYTES_BUCKETS.len(),
        ),
    ];
    for (field, histogram, bounds) in histograms {
        let Some(v1::Histogram { buckets, sum }) = histogram else {
            continue;
        };
        if buckets.len() > bounds + 1 {
            return Err((
                field,
                format!("{} buckets, there are {}", buckets.len(), bounds + 1).into(),
            ));
        }
        if !sum.is_finite() || *sum < 0.0 {
            return Err((field, format!("a sum of {sum} cannot be added").into()));
        }
        if buckets
            .iter()
            .try_fold(0u64, |sum, count| sum.checked_add(*count))
            .is_none()
        {
            return Err((field, "more observations than can be counted".into()));
        }
    }
    Ok(())
}

fn check_decision(
    count: &v1::DecisionCount,
    strings: Strings<'_>,
) -> Result<(), (&'static str, Problem)> {
    let indices = [
        ("destination", count.destination),
        ("policy", count.policy),
        ("rule", count.rule),
        ("failure", count.failure),
    ];
    for (field, index) in indices {
        strings.text(index).map_err(|problem| (field, problem))?;
    }
    if count.verdict() == v1::Verdict::Unspecified {
        return Err(("verdict", "must be allow or deny".into()));
    }
    Ok(())
}

fn observed(histogram: Option<&v1::Histogram>) -> Observed<'_> {
    histogram.map_or(Observed::default(), |histogram| Observed {
        buckets: &histogram.buckets,
        sum: histogram.sum,
    })
}

fn verdict(verdict: v1::Verdict) -> &'static str {
    match verdict {
        v1::Verdict::Allow => "allow",
        v1::Verdict::Deny | v1::Verdict::Unspecified => "deny",
    }
}

fn because(because: v1::Because) -> &'static str {
    match because {
        v1::Because::Matched => "matched",
        v1::Because::Undetermined => "undetermined",
        v1::Because::Otherwise => "otherwise",
        v1::Because::Default => "default",
        v1::Because::Quota => "quota",
        v1::Because::Unavailable => "unavailable",
        v1::Because::Unspecified => mixer_attributes::standard::UNKNOWN,
    }
}
