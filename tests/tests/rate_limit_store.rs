//! The store of quotas dies under those who ask the rate limit services, and comes back: what each quota's `on_error` says.
//!
//! `on_error: { local: .. }` is not among them: no proxy of ours could count alone there, so it is refused when it is loaded.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::rate_limit_quota::v3::rate_limit_quota_response::bucket_action::BucketAction;
use envoy_types::pb::envoy::service::rate_limit_quota::v3::rate_limit_quota_service_client::RateLimitQuotaServiceClient;
use envoy_types::pb::envoy::service::rate_limit_quota::v3::rate_limit_quota_usage_reports::BucketQuotaUsage;
use envoy_types::pb::envoy::service::rate_limit_quota::v3::{
    BucketId, RateLimitQuotaResponse, RateLimitQuotaUsageReports,
};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::envoy::r#type::v3::rate_limit_strategy::{BlanketRule, Strategy};
use envoy_types::pb::google::protobuf::value::Kind;
use mixer_tests::mesh::{Documents, Mixer, counter};
use mixer_tests::servers::Redis;
use mixer_tests::wait;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

fn documents(redis: &Redis) -> Documents {
    let quota = |on_error: &str| {
        format!(
            "  - quota: {on_error}\n    id: {on_error}\n    key: []\n    when: 'rate_limit.keys == [\"{on_error}\"]'\n    \
             limit: 1000000 per day\n    store: shared\n    on_error: {on_error}\n"
        )
    };
    let few = "  - quota: few\n    key: []\n    when: 'rate_limit.keys == [\"few\"]'\n    limit: 30 per day\n    store: shared\n";
    let policy = [
        "policy: edge\nfor: rate_limit.domain == \"edge\"\nquotas:\n".to_owned(),
        quota("allow"),
        quota("deny"),
        few.to_owned(),
    ]
    .concat();
    let adapter = format!(
        "adapter: shared\ntype: redis-quota\nconfig: {{ url: \"{}\" }}\n",
        redis.url()
    );
    Documents::new([("policy.yaml", policy), ("shared.yaml", adapter)])
}

#[derive(Clone)]
struct Limiter(RateLimitServiceClient<Channel>);

impl Limiter {
    async fn new(mixer: &Mixer) -> Self {
        let address = format!("http://{}", mixer.grpc);
        Self(RateLimitServiceClient::connect(address).await.unwrap())
    }

    /// An error of the call would be a pass to Envoy: there is none.
    async fn ask(&mut self, key: &str) -> RateLimitResponse {
        let entry = Entry {
            key: key.to_owned(),
            value: "x".to_owned(),
        };
        let request = RateLimitRequest {
            domain: "edge".to_owned(),
            descriptors: vec![RateLimitDescriptor {
                entries: vec![entry],
                ..RateLimitDescriptor::default()
            }],
            hits_addend: 1,
        };
        let answer = self.0.should_rate_limit(request).await;
        answer.unwrap().into_inner()
    }

    async fn code(&mut self, key: &str) -> Code {
        self.ask(key).await.overall_code()
    }

    /// Counted, and not passed for want of a store.
    async fn counts(&mut self, key: &str) -> bool {
        let answer = self.ask(key).await;
        answer.overall_code() == Code::Ok && answer.statuses[0].current_limit.is_some()
    }
}

/// What callers saw.
type Seen = Arc<Mutex<BTreeSet<i32>>>;

/// Asks again and again until told to stop, and writes down what it saw.
fn load(
    tasks: &mut JoinSet<()>,
    limiter: &Limiter,
    key: &'static str,
    stop: &Arc<AtomicBool>,
) -> Seen {
    let seen = Seen::default();
    for _ in 0..2 {
        let (seen, stop, mut limiter) = (seen.clone(), stop.clone(), limiter.clone());
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let code = limiter.code(key).await;
                seen.lock().unwrap().insert(code.into());
            }
        });
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis"]
async fn while_redis_is_away_descriptors_are_answered_as_on_error_says() {
    let mut redis = Redis::start().await;
    let documents = documents(&redis);
    let mixer = Mixer::serve(&documents).await;
    let mut limiter = Limiter::new(&mixer).await;
    let counted = async |limiter: &mut Limiter| {
        for key in ["allow", "deny"] {
            wait::until("the store counts", async || {
                limiter.counts(key).await.then_some(())
            })
            .await;
        }
    };
    counted(&mut limiter).await;

    let (stop, mut tasks) = (Arc::default(), JoinSet::new());
    let allow = load(&mut tasks, &limiter, "allow", &stop);
    let deny = load(&mut tasks, &limiter, "deny", &stop);
    redis.kill();
    wait::until("callers of what denies are told so", async || {
        (limiter.code("deny").await == Code::OverLimit).then_some(())
    })
    .await;
    for _ in 0..5 {
        let refused = limiter.ask("deny").await;
        assert_eq!(refused.overall_code(), Code::OverLimit);
        let metadata = refused.dynamic_metadata.unwrap().fields;
        let because = Some(Kind::StringValue("unavailable".to_owned()));
        assert_eq!(metadata["because"].kind, because);
        // It passes, and nobody claims to know what is left.
        let passed = limiter.ask("allow").await;
        assert_eq!(passed.overall_code(), Code::Ok);
        assert_eq!(passed.statuses[0].current_limit, None);
    }
    let page = mixer.admin("/metrics").await.text();
    let name = "mixer_rate_limit_descriptors_total";
    assert!(counter(&page, name, &[("outcome", "unavailable")]) >= 5.0);

    redis.restart().await;
    counted(&mut limiter).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let (ok, over) = (Code::Ok.into(), Code::OverLimit.into());
    assert_eq!(*allow.lock().unwrap(), BTreeSet::from([ok]));
    assert_eq!(*deny.lock().unwrap(), BTreeSet::from([ok, over]));
}

/// A stream of usage of two buckets.
struct Envoy {
    reports: mpsc::Sender<RateLimitQuotaUsageReports>,
    answers: Streaming<RateLimitQuotaResponse>,
}

impl Envoy {
    async fn new(mixer: &Mixer) -> Self {
        let address = format!("http://{}", mixer.grpc);
        let mut client = RateLimitQuotaServiceClient::connect(address).await.unwrap();
        let (reports, sent) = mpsc::channel(1);
        let answers = client.stream_rate_limit_quotas(ReceiverStream::new(sent));
        let answers = answers.await.unwrap().into_inner();
        Self { reports, answers }
    }

    /// Reports one request of the bucket; the last that it is told.
    async fn report(&mut self, key: &str) -> Strategy {
        self.report_all(key, 1, 0).await
    }

    async fn report_all(&mut self, key: &str, allowed: u64, denied: u64) -> Strategy {
        let usage = BucketQuotaUsage {
            bucket_id: Some(BucketId {
                bucket: [(key.to_owned(), "x".to_owned())].into(),
            }),
            num_requests_allowed: allowed,
            num_requests_denied: denied,
            ..BucketQuotaUsage::default()
        };
        let message = RateLimitQuotaUsageReports {
            domain: "edge".to_owned(),
            bucket_quota_usages: vec![usage],
        };
        self.reports.send(message).await.unwrap();
        let answer = wait::ends("an answer", self.answers.message()).await;
        let mut actions = answer.unwrap().unwrap().bucket_action;
        match actions.pop().unwrap().bucket_action.unwrap() {
            BucketAction::QuotaAssignmentAction(assignment) => {
                assignment.rate_limit_strategy.unwrap().strategy.unwrap()
            }
            BucketAction::AbandonAction(_) => panic!("it is used"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis"]
async fn while_redis_is_away_buckets_are_assigned_what_on_error_says() {
    let mut redis = Redis::start().await;
    let documents = documents(&redis);
    let mixer = Mixer::serve(&documents).await;
    let mut envoy = Envoy::new(&mixer).await;
    let assigned = async |envoy: &mut Envoy| {
        for key in ["allow", "deny"] {
            wait::until("the store counts", async || {
                let strategy = envoy.report(key).await;
                matches!(strategy, Strategy::TokenBucket(_)).then_some(())
            })
            .await;
        }
    };
    assigned(&mut envoy).await;
    redis.kill();
    for (key, rule) in [
        ("allow", BlanketRule::AllowAll),
        ("deny", BlanketRule::DenyAll),
    ] {
        wait::until("on_error decides", async || {
            (envoy.report(key).await == Strategy::BlanketRule(rule.into())).then_some(())
        })
        .await;
    }
    redis.restart().await;
    assigned(&mut envoy).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis"]
async fn two_mixers_over_one_redis_assign_no_more_than_the_limit() {
    let redis = Redis::start().await;
    let documents = documents(&redis);
    let mut envoys = Vec::new();
    for mixer in [
        Mixer::serve(&documents).await,
        Mixer::serve(&documents).await,
    ] {
        let mut envoy = Envoy::new(&mixer).await;
        wait::until("the store counts", async || {
            // Nothing of it is wanted, so nothing is charged.
            let strategy = envoy.report_all("few", 0, 1).await;
            matches!(strategy, Strategy::TokenBucket(_)).then_some(())
        })
        .await;
        envoys.push((mixer, envoy, 0));
    }
    let (mut spent, mut denied) = (0, 0);
    while denied < envoys.len() {
        denied = 0;
        for (_, envoy, held) in &mut envoys {
            let strategy = envoy.report_all("few", *held, 20).await;
            // What it is assigned it spends before it reports again.
            *held = match strategy {
                Strategy::TokenBucket(bucket) => bucket.max_tokens.into(),
                _ => {
                    denied += 1;
                    0
                }
            };
            spent += *held;
        }
    }
    assert_eq!(spent, 30);
}
