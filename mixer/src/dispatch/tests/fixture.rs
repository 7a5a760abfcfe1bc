//! Documents in, decisions out; adapters that do what the document says.

use std::sync::Arc;
use std::time::Duration;

use mixer_adapter::{
    Adapter, Answer, Ask, Check, Env, Grant, Handler, HeaderOperation, Inputs, Instance, Invalid,
    Outcome, Quota, Registry, Unavailable, ValidFor,
};
use mixer_attributes::{OwnedBag, OwnedValue};
use mixer_documents::Sources;
use mixer_runtime::{Clock, ManualClock, Random};
use tokio::sync::watch;

use crate::dispatch::{Because, Decision, Dispatcher, Verdict};
use crate::snapshot::{Snapshot, Surroundings};

/// The time a proxy leaves; none passes on the clock.
pub(in crate::dispatch) const LEFT: Duration = Duration::from_millis(60);

/// A Mixer with these documents whose time stands still.
pub(in crate::dispatch) struct Fixture {
    pub(in crate::dispatch) dispatcher: Dispatcher,
    pub(in crate::dispatch) surroundings: Surroundings,
    pub(in crate::dispatch) time: ManualClock,
}

impl Fixture {
    /// Builds, and panics with the problems if there are any.
    pub(in crate::dispatch) fn new(documents: &str) -> Self {
        let (clock, time) = Clock::manual();
        let handle = tokio::runtime::Handle::current();
        let surroundings = Surroundings::new(clock, Random::from_seed(7), handle);
        let dispatcher = Dispatcher::new(Arc::new(build(documents, &surroundings)), &surroundings);
        Self {
            dispatcher,
            surroundings,
            time,
        }
    }

    /// The same Mixer after a reload with other documents.
    pub(in crate::dispatch) fn reload(&mut self, documents: &str) {
        let snapshot = Arc::new(build(documents, &self.surroundings));
        self.dispatcher = Dispatcher::new(snapshot, &self.surroundings);
    }

    /// The same documents with adapters that were never asked.
    pub(in crate::dispatch) fn anew(&self) -> Dispatcher {
        let set = self.dispatcher.snapshot().set.clone();
        let snapshot = Snapshot::of(set, &registry(), &self.surroundings).unwrap();
        Dispatcher::new(Arc::new(snapshot), &self.surroundings)
    }

    /// The request that a YAML text gives.
    pub(in crate::dispatch) fn given(&self, text: &str) -> OwnedBag {
        let vocabulary = &self.dispatcher.snapshot().set.vocabulary;
        mixer_documents::request("given", text, vocabulary)
            .unwrap_or_else(|problems| panic!("{}", problems.render(false)))
    }

    /// Decides.
    pub(in crate::dispatch) async fn check(&self, text: &str) -> Decision {
        self.dispatcher.check(&self.given(text).bag(), LEFT).await
    }

    /// How often an adapter was asked and answered.
    pub(in crate::dispatch) fn answered(&self, adapter: &str) -> u64 {
        self.dispatcher
            .snapshot()
            .adapter(adapter)
            .unwrap()
            .counts()
            .answered
    }
}

fn build(documents: &str, surroundings: &Surroundings) -> Snapshot {
    let sources = Sources::from_texts([("test.yaml", documents)]);
    let built = Snapshot::build(sources, &registry(), surroundings);
    built.unwrap_or_else(|problems| panic!("{}\n{documents}", problems.render(false)))
}

pub(in crate::dispatch) fn registry() -> Registry {
    mixer_adapters::builtin()
        .with::<Scripted>()
        .with::<Broken>()
}

/// A decision in a line: `deny matched products/"nobody from the sandbox" 403`.
pub(in crate::dispatch) fn line(decision: &Decision) -> String {
    let because = match decision.because {
        Because::Matched => "matched",
        Because::Undetermined => "undetermined",
        Because::Otherwise => "otherwise",
        Because::Default => "default",
        Because::Quota => "quota",
        Because::Unavailable => "unavailable",
    };
    let by = match decision.policy.is_empty() {
        true => String::new(),
        false => format!(" {}/{}", decision.policy, decision.rule),
    };
    match decision.verdict {
        Verdict::Allow => format!("allow {because}{by}"),
        Verdict::Deny => format!("deny {because}{by} {}", decision.http_status),
    }
}

/// `type: scripted`: answers what its configuration says.
#[derive(Clone)]
pub(in crate::dispatch) struct Scripted(Config);

#[derive(Clone, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::dispatch) struct Config {
    /// match, no match, unavailable, refused, panic, hang, or equal to the input `value`.
    answer: String,
    status: Option<u16>,
    message: Option<String>,
    header: Option<String>,
    /// once (the default), version, or seconds.
    valid_for: Option<String>,
    version: Option<u64>,
}

impl Adapter for Scripted {
    const NAME: &'static str = "scripted";
    type Config = Config;

    fn build(config: Config, _: &Inputs, _: &Env) -> Result<Handler, Invalid> {
        let version = config.version;
        let handler = Handler::new().with_check(Arc::new(Self(config)));
        Ok(match version {
            Some(version) => handler.with_version(watch::channel(version).1),
            None => handler,
        })
    }
}

impl Check for Scripted {
    async fn check(&self, instance: &Instance<'_>) -> Result<Answer, Unavailable> {
        let Self(Config {
            answer,
            status,
            message,
            header,
            valid_for,
            ..
        }) = self;
        let matched = match answer.as_str() {
            "match" => true,
            "no match" => false,
            "unavailable" => {
                return Err(Unavailable {
                    reason: "out of order".into(),
                    retry: true,
                });
            }
            "refused" => {
                return Err(Unavailable {
                    reason: "no such input".into(),
                    retry: false,
                });
            }
            "panic" => panic!("expected by the test"),
            "hang" => std::future::pending().await,
            wanted => instance
                .values
                .iter()
                .any(|value| *value == OwnedValue::String(wanted.to_owned())),
        };
        Ok(Answer {
            matched,
            status: *status,
            message: message.clone(),
            headers: header
                .iter()
                .map(|name| HeaderOperation {
                    name: name.clone(),
                    value: None,
                })
                .collect(),
            valid_for: match valid_for.as_deref() {
                None | Some("once") => ValidFor::Once,
                Some("version") => ValidFor::Version,
                Some(seconds) => ValidFor::Span(Duration::from_secs(seconds.parse().unwrap())),
            },
        })
    }
}

/// `type: broken-quota`: a store that cannot be asked, or answers nonsense.
pub(in crate::dispatch) struct Broken(bool);

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::dispatch) struct BrokenConfig {
    #[serde(default)]
    nonsense: bool,
}

impl Adapter for Broken {
    const NAME: &'static str = "broken-quota";
    type Config = BrokenConfig;

    fn build(config: BrokenConfig, _: &Inputs, _: &Env) -> Result<Handler, Invalid> {
        Ok(Handler::new().with_quota(Arc::new(Self(config.nonsense))))
    }
}

impl Quota for Broken {
    async fn allocate(&self, _: &[Ask<'_>], _: &str) -> Result<Vec<Grant>, Unavailable> {
        let Self(nonsense) = self;
        if *nonsense {
            let grant = |_| Grant {
                outcome: Outcome::Granted,
                extra: 0,
                remaining: 0,
                retry_after: None,
            };
            return Ok((0..7).map(grant).collect());
        }
        Err(Unavailable {
            reason: "out of order".into(),
            retry: true,
        })
    }
}
