//! The rate limit quota service as an Envoy streams to it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use envoy_types::pb::envoy::service::rate_limit_quota::v3::rate_limit_quota_response::bucket_action::BucketAction as Action;
use envoy_types::pb::envoy::service::rate_limit_quota::v3::rate_limit_quota_service_client::RateLimitQuotaServiceClient;
use envoy_types::pb::envoy::service::rate_limit_quota::v3::rate_limit_quota_usage_reports::BucketQuotaUsage;
use envoy_types::pb::envoy::service::rate_limit_quota::v3::{
    BucketId, RateLimitQuotaResponse, RateLimitQuotaUsageReports,
};
use envoy_types::pb::envoy::r#type::v3::rate_limit_strategy::{BlanketRule, Strategy};
use envoy_types::pb::google::protobuf::Duration;
use mixer::serve::Limits;
use mixer_runtime::Clock;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::mesh::{Mesh, PATIENCE};

const EDGE: &str = r#"
policy: edge
for: rate_limit.domain == "edge"
quotas:
  - quota: per user
    id: per-user
    when: '"user" in rate_limit.descriptor'
    key: ['rate_limit.descriptor["user"]']
    limit: 20 per day
  - quota: fast
    when: 'rate_limit.keys == ["fast"]'
    key: []
    limit: 10 per second
  - quota: on trial
    id: on-trial
    mode: shadow
    when: '"trial" in rate_limit.descriptor'
    key: []
    limit: 3 per day
  - quota: unknown plan
    when: '"plan" in rate_limit.descriptor'
    key: ['rate_limit.descriptor["customer"]']
    absent: deny
    limit: 5 per day
"#;

/// One stream.
struct Envoy {
    reports: mpsc::Sender<RateLimitQuotaUsageReports>,
    answers: Streaming<RateLimitQuotaResponse>,
}

/// What buckets were told, as `a=1,b=2` and a word or two.
type Told = BTreeMap<String, String>;

impl Envoy {
    async fn try_new(mesh: &Mesh) -> Result<Self, Status> {
        let address = format!("http://{}", mesh.mixer.grpc());
        let mut client = RateLimitQuotaServiceClient::connect(address).await.unwrap();
        let (reports, sent) = mpsc::channel(8);
        let answers = client
            .stream_rate_limit_quotas(ReceiverStream::new(sent))
            .await?
            .into_inner();
        Ok(Self { reports, answers })
    }

    async fn new(mesh: &Mesh) -> Self {
        Self::try_new(mesh).await.unwrap()
    }

    async fn send(&self, message: RateLimitQuotaUsageReports) {
        self.reports.send(message).await.unwrap();
    }

    async fn told(&mut self) -> Result<Option<Told>, Status> {
        let answer = self.answers.message();
        let answer = Clock::system().within(PATIENCE, answer).await;
        Ok(answer.expect("there is an answer")?.map(told))
    }

    /// What the buckets of one report are told.
    async fn report(&mut self, usages: &[(&str, u64, u64)]) -> Told {
        self.send(reports("edge", usages)).await;
        self.told().await.unwrap().unwrap()
    }

    /// The status that a message ends the stream with.
    async fn refused(mut self, message: RateLimitQuotaUsageReports) -> Status {
        self.send(message).await;
        self.told().await.unwrap_err()
    }
}

fn reports(domain: &str, usages: &[(&str, u64, u64)]) -> RateLimitQuotaUsageReports {
    let usage = |(id, allowed, denied): &(&str, u64, u64)| BucketQuotaUsage {
        bucket_id: Some(bucket(id)),
        time_elapsed: Some(Duration {
            seconds: 5,
            nanos: 0,
        }),
        num_requests_allowed: *allowed,
        num_requests_denied: *denied,
    };
    RateLimitQuotaUsageReports {
        domain: domain.to_owned(),
        bucket_quota_usages: usages.iter().map(usage).collect(),
    }
}

fn bucket(id: &str) -> BucketId {
    let entry = |entry: &str| {
        let (key, value) = entry.split_once('=').unwrap();
        (key.to_owned(), value.to_owned())
    };
    BucketId {
        bucket: id
            .split(',')
            .filter(|id| !id.is_empty())
            .map(entry)
            .collect(),
    }
}

fn told(answer: RateLimitQuotaResponse) -> Told {
    let action = |action: envoy_types::pb::envoy::service::rate_limit_quota::v3::rate_limit_quota_response::BucketAction| {
        let id: BTreeMap<_, _> = action.bucket_id.unwrap().bucket.into_iter().collect();
        let mut name = String::new();
        for (key, value) in id {
            let comma = if name.is_empty() { "" } else { "," };
            write!(name, "{comma}{key}={value}").unwrap();
        }
        let told = match action.bucket_action.unwrap() {
            Action::AbandonAction(_) => "abandon".to_owned(),
            Action::QuotaAssignmentAction(assignment) => {
                assert!(assignment.assignment_time_to_live.unwrap().seconds >= 1);
                match assignment.rate_limit_strategy.unwrap().strategy.unwrap() {
                    Strategy::BlanketRule(rule) if rule == BlanketRule::AllowAll as i32 => "allow".to_owned(),
                    Strategy::BlanketRule(_) => "deny".to_owned(),
                    Strategy::TokenBucket(bucket) if bucket.fill_interval.as_ref().unwrap().seconds == 86_400 => {
                        format!("{} in all", bucket.max_tokens)
                    }
                    Strategy::TokenBucket(bucket) => format!(
                        "{} at once, {} per {} s",
                        bucket.max_tokens,
                        bucket.tokens_per_fill.unwrap().value,
                        bucket.fill_interval.unwrap().seconds
                    ),
                    other => panic!("{other:?}"),
                }
            }
        };
        (name, told)
    };
    answer.bucket_action.into_iter().map(action).collect()
}

fn expected(told: &[(&str, &str)]) -> Told {
    let own = |(id, told): &(&str, &str)| ((*id).to_owned(), (*told).to_owned());
    told.iter().map(own).collect()
}

#[tokio::test]
async fn every_bucket_is_assigned_what_its_quotas_say() {
    let mesh = Mesh::new(&[("edge.yaml", EDGE)]).await;
    let mut envoy = Envoy::new(&mesh).await;
    let told = envoy
        .report(&[
            ("user=ann", 1, 0),
            ("b=2,user=bob,a=1", 1, 0),
            ("fast=yes", 1, 0),
            ("trial=1", 5, 0),
            ("nobody=knows", 1, 0),
            ("plan=gold", 1, 0),
        ])
        .await;
    // A long limit is assigned in slices: a tenth.
    let all = [
        ("user=ann", "2 in all"),
        ("a=1,b=2,user=bob", "2 in all"),
        ("fast=yes", "5 at once, 5 per 1 s"),
        ("trial=1", "allow"),
        ("nobody=knows", "allow"),
        ("plan=gold", "deny"),
    ];
    assert_eq!(told, expected(&all));
    // It showed that it needs more, until there is no more.
    assert_eq!(
        envoy.report(&[("user=ann", 2, 50)]).await,
        expected(&[("user=ann", "17 in all")])
    );
    assert_eq!(
        envoy.report(&[("user=ann", 17, 50)]).await,
        expected(&[("user=ann", "deny")])
    );

    let metric = async |sample: &str| mesh.metric(sample).await.unwrap();
    assert_eq!(metric("mixer_rate_limit_quota_streams").await, 1.0);
    assert_eq!(metric("mixer_rate_limit_quota_buckets").await, 6.0);
    for (sample, count) in [
        (r#"assignments_total{strategy="tokens"}"#, 3.0),
        (r#"assignments_total{strategy="rate"}"#, 1.0),
        (r#"assignments_total{strategy="allow"}"#, 2.0),
        (r#"assignments_total{strategy="deny"}"#, 2.0),
        (r#"denials_total{because="quota"}"#, 1.0),
        (r#"denials_total{because="undetermined"}"#, 1.0),
        (r#"requests_total{outcome="allowed"}"#, 29.0),
        (r#"requests_total{outcome="denied"}"#, 100.0),
    ] {
        let sample = format!("mixer_rate_limit_quota_{sample}");
        assert_eq!(metric(&sample).await, count, "{sample}");
    }
    for (outcome, count) in [("same", 3.0), ("would_deny", 2.0)] {
        let sample = format!(
            r#"mixer_shadow_decisions_total{{destination_service="edge",policy="edge",rule="on-trial",outcome="{outcome}"}}"#
        );
        assert_eq!(metric(&sample).await, count, "{outcome}");
    }
}

#[tokio::test]
async fn envoys_share_a_bucket_and_never_hold_more_than_the_limit() {
    let mesh = Mesh::new(&[("edge.yaml", EDGE)]).await;
    let (mut a, mut b) = (Envoy::new(&mesh).await, Envoy::new(&mesh).await);
    let held = |told: Told| -> u64 { told["user=ann"].split(' ').next().unwrap().parse().unwrap() };
    assert_eq!(held(a.report(&[("user=ann", 0, 9)]).await), 18);
    assert_eq!(held(b.report(&[("user=ann", 0, 9)]).await), 2);
    // The first gives up what is the other's part by now, and that gets it when it reports.
    let of_a = held(a.report(&[("user=ann", 0, 9)]).await);
    let of_b = held(b.report(&[("user=ann", 0, 9)]).await);
    assert!(of_a < 18 && of_b > 2, "{of_a} and {of_b}");
    assert!(of_a + of_b <= 20, "{of_a} and {of_b}");
    // An Envoy that is gone may still spend what it held.
    drop(a);
    mesh.until_page_says("/metrics", "mixer_rate_limit_quota_streams 1")
        .await;
    let mut spent = of_b;
    loop {
        let told = b.report(&[("user=ann", spent, 50)]).await;
        if told == expected(&[("user=ann", "deny")]) {
            break;
        }
        spent = held(told);
        assert!(spent + of_a + of_b <= 20, "{spent} more");
    }
}

#[tokio::test]
async fn the_rate_limit_service_counts_in_the_same_counters() {
    use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
    use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
    use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
    use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
    let mesh = Mesh::new(&[("edge.yaml", EDGE)]).await;
    let mut envoy = Envoy::new(&mesh).await;
    envoy.report(&[("user=ann", 3, 0)]).await;
    let address = format!("http://{}", mesh.mixer.grpc());
    let mut limiter = RateLimitServiceClient::connect(address).await.unwrap();
    let request = RateLimitRequest {
        domain: "edge".to_owned(),
        descriptors: vec![RateLimitDescriptor {
            entries: vec![Entry {
                key: "user".to_owned(),
                value: "ann".to_owned(),
            }],
            ..RateLimitDescriptor::default()
        }],
        hits_addend: 1,
    };
    let answer = limiter.should_rate_limit(request).await.unwrap();
    // Three were spent, six are held for the Envoy, one is this.
    assert_eq!(answer.into_inner().statuses[0].limit_remaining, 10);
}

#[tokio::test]
async fn changed_limits_are_told_at_once() {
    let mesh = Mesh::new(&[("edge.yaml", EDGE)]).await;
    let mut envoy = Envoy::new(&mesh).await;
    envoy
        .report(&[("user=ann", 1, 0), ("fast=yes", 1, 0)])
        .await;
    mesh.write("edge.yaml", &EDGE.replace("20 per day", "2000 per day"));
    let told = envoy.told().await.unwrap().unwrap();
    let all = [
        ("user=ann", "200 in all"),
        ("fast=yes", "5 at once, 5 per 1 s"),
    ];
    assert_eq!(told, expected(&all));
    mesh.write("edge.yaml", "mesh: {}");
    let told = envoy.told().await.unwrap().unwrap();
    assert_eq!(
        told,
        expected(&[("user=ann", "allow"), ("fast=yes", "allow")])
    );
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_stream_with_a_status() {
    let mesh = Mesh::new(&[("edge.yaml", EDGE)]).await;
    let elapsed = |seconds| {
        let mut message = reports("edge", &[("user=ann", 1, 0)]);
        message.bucket_quota_usages[0].time_elapsed = Some(Duration { seconds, nanos: 0 });
        message
    };
    let many = vec![("user=ann", 1, 0); 8_193];
    let messages = [
        (
            reports("", &[("user=ann", 1, 0)]),
            "domain: is empty in the first message",
        ),
        (
            reports("edge", &[("", 1, 0)]),
            "bucket_quota_usages[0].bucket_id: is empty",
        ),
        (
            reports("edge", &many),
            "bucket_quota_usages: are 8193, at most 8192",
        ),
        (elapsed(-5), "bucket_quota_usages[0].time_elapsed: -5 s"),
    ];
    for (message, expected) in messages {
        let status = Envoy::new(&mesh).await.refused(message).await;
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with(expected), "{status:?}");
    }
    // The same domain again is how Envoy speaks; another is not.
    let mut envoy = Envoy::new(&mesh).await;
    envoy.report(&[("user=ann", 1, 0)]).await;
    envoy.report(&[("user=ann", u64::MAX, u64::MAX)]).await;
    envoy.send(reports("", &[("user=bob", 1, 0)])).await;
    assert!(envoy.told().await.unwrap().is_some());
    let status = envoy.refused(reports("other", &[("user=ann", 1, 0)])).await;
    assert_eq!(
        status.message(),
        "domain: was `edge` and is `other`: open another stream"
    );
    let counted = r#"mixer_request_failures_total{method="rate_limit_quota",reason="malformed"}"#;
    assert_eq!(mesh.metric(counted).await, Some(5.0));
    mesh.until_page_says("/metrics", "mixer_rate_limit_quota_buckets 0")
        .await;
}

#[tokio::test]
async fn there_are_only_so_many_streams_and_buckets() {
    let limits = Limits {
        quota_streams: 1,
        quota_buckets: 2,
        ..Limits::default()
    };
    let mesh = Mesh::with_limits(&[("edge.yaml", EDGE)], limits).await;
    let mut envoy = Envoy::new(&mesh).await;
    let refused = Envoy::try_new(&mesh).await.err().unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let users = [("user=ann", 1, 0), ("user=bob", 1, 0), ("user=cat", 1, 0)];
    let all = [
        ("user=ann", "2 in all"),
        ("user=bob", "2 in all"),
        ("user=cat", "abandon"),
    ];
    let mut told = envoy.report(&users).await;
    if told.len() < 3 {
        told.extend(envoy.told().await.unwrap().unwrap());
    }
    assert_eq!(told, expected(&all));
    for what in ["streams", "buckets"] {
        let sample = format!(r#"mixer_rate_limit_quota_refused_total{{what="{what}"}}"#);
        assert_eq!(mesh.metric(&sample).await, Some(1.0), "{what}");
    }
}

#[tokio::test]
async fn streams_end_when_mixer_does() {
    let mesh = Mesh::new(&[("edge.yaml", EDGE)]).await;
    let mut envoy = Envoy::new(&mesh).await;
    envoy.report(&[("user=ann", 1, 0)]).await;
    let (_, ended) = tokio::join!(mesh.mixer.shutdown(PATIENCE), envoy.told());
    assert_eq!(ended.unwrap(), None);
}
