//! What every adapter must hold to, as checks that each adapter's tests run.
//!
//! ```text
//! #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
//! async fn conforms() {
//!     let example = Example::new(json!({"entries": ["10.0.0.0/8"]})).input("value", Type::Ip, OwnedValue::Ip(address));
//!     conformance::run::<List>(&example).await;
//! }
//! ```
//!
//! A check that fails panics with what must be true. [`run`] checks what holds for every adapter and, for those that count,
//! what [`quota`] says; what an adapter means by its answers is its own tests' business.

pub mod backend;
pub mod quota;
mod usage;

use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use mixer_attributes::{OwnedValue, Type};
use mixer_runtime::{Clock, ManualClock, Random, Tasks};
use serde_json::Value;

use self::usage::use_once;
use crate::{Adapter, Built, Env, Exposition, Format, Handler, HttpClient, Inputs, Keep, Registry};

/// Far more than anything here takes; a check that is not done by then never ends.
const LONG: Duration = Duration::from_secs(60);

/// A configuration that works, and what the adapter is asked with.
#[derive(Clone, Debug)]
pub struct Example {
    config: Value,
    inputs: Inputs,
    values: Vec<OwnedValue>,
    directory: PathBuf,
    secrets: Vec<String>,
    store: bool,
}

impl Example {
    /// An adapter of that configuration, without inputs.
    pub fn new(config: Value) -> Self {
        let directory = ".".into();
        Self {
            config,
            inputs: Inputs::default(),
            values: Vec::new(),
            directory,
            secrets: Vec::new(),
            store: true,
        }
    }

    /// Its users give it this input, with this value when it is asked.
    pub fn input(mut self, name: &str, kind: Type, value: OwnedValue) -> Self {
        self.inputs.declared.push((name.to_owned(), Some(kind)));
        self.values.push(value);
        self
    }

    /// Where its files are; the working directory otherwise.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = directory.into();
        self
    }

    /// It counts in a server that is not there. What [`quota`] checks is then its own tests' business, which have one.
    pub fn without_store(mut self) -> Self {
        self.store = false;
        self
    }

    /// A text in the configuration that must not be shown.
    pub fn secret(mut self, secret: &str) -> Self {
        self.secrets.push(secret.to_owned());
        self
    }
}

/// Checks all that holds for every adapter. To be called on a runtime with several threads.
///
/// # Panics
/// When something does not hold.
pub async fn run<A: Adapter>(example: &Example) {
    let registry = Registry::new().with::<A>();
    let built = registry.by_type(A::NAME).expect("it was just registered");
    run_built(A::NAME, built, example).await;
}

/// [`run`] for an adapter that is known by its type only.
///
/// # Panics
/// When something does not hold.
pub async fn run_built(kind: &str, built: &Built, example: &Example) {
    schema_is_complete(kind, built);
    unknown_fields_are_refused(kind, built, example);
    inputs_are_checked(kind, built, example);
    build_does_no_work(kind, built, example);
    secrets_are_not_shown(kind, built, example);
    unstarted_handlers_answer(kind, built, example).await;
    concurrent_asking_is_safe(kind, built, example).await;
    if example.store && build(built, example, &environment(kind, example)).can_quota() {
        let (kept, hand) = manual_env(kind);
        let env = Env {
            directory: example.directory.clone(),
            ..kept
        };
        let handler = Arc::new(build(built, example, &env));
        quota::run(&handler, &env.tasks, || hand.advance(quota::WINDOW * 2)).await;
        quota::tells_when(&handler, quota::WINDOW, true, async |span| {
            hand.advance(span)
        })
        .await;
    }
}

/// An environment on the system's time, without a past. Its directory is the working directory.
///
/// # Panics
/// Outside a tokio runtime.
pub fn env(name: &str) -> Env {
    on_clock(name, Clock::system())
}

/// An environment whose time stands still until it is moved.
///
/// # Panics
/// Outside a tokio runtime.
pub fn manual_env(name: &str) -> (Env, ManualClock) {
    let (clock, hand) = Clock::manual();
    (on_clock(name, clock), hand)
}

fn on_clock(name: &str, clock: Clock) -> Env {
    Env {
        name: name.into(),
        http: HttpClient::new(clock.clone()),
        clock,
        random: Arc::new(Random::from_seed(7)),
        tasks: Tasks::new(),
        directory: ".".into(),
        keep: Keep::default(),
    }
}

fn build(built: &Built, example: &Example, env: &Env) -> Handler {
    let handler = built.build(example.config.clone(), &example.inputs, env);
    handler.unwrap_or_else(|invalid| {
        panic!(
            "the example's configuration must be valid: {:?}",
            invalid.problems
        )
    })
}

fn environment(kind: &str, example: &Example) -> Env {
    Env {
        directory: example.directory.clone(),
        ..env(kind)
    }
}

fn schema_is_complete(kind: &str, built: &Built) {
    let schema = built.schema();
    assert_eq!(
        schema["type"], "object",
        "{kind}: the configuration's schema must be an object"
    );
    assert_eq!(
        schema["additionalProperties"], false,
        "{kind}: the schema must refuse unknown fields"
    );
    for (field, described) in schema["properties"].as_object().into_iter().flatten() {
        assert!(
            described["description"].is_string(),
            "{kind}: `{field}` must have a description in the schema"
        );
    }
}

fn unknown_fields_are_refused(kind: &str, built: &Built, example: &Example) {
    let mut config = example.config.clone();
    if config.is_null() {
        config = serde_json::json!({});
    }
    config["no_such_field"] = 1.into();
    let invalid = built.build(config, &example.inputs, &environment(kind, example));
    let problems = invalid
        .expect_err("an unknown field of the configuration must be refused")
        .problems;
    let named = problems
        .iter()
        .any(|problem| problem.message.contains("no_such_field"));
    assert!(
        named,
        "{kind}: the refusal of an unknown field must name it: {problems:?}"
    );
    let list = built.build(
        serde_json::json!([1]),
        &example.inputs,
        &environment(kind, example),
    );
    assert!(
        list.is_err(),
        "{kind}: a configuration that is no map must be refused"
    );
}

fn inputs_are_checked(kind: &str, built: &Built, example: &Example) {
    let refused = |inputs: &Inputs, what: &str, field: &str| {
        let result = built.build(example.config.clone(), inputs, &environment(kind, example));
        let problems = result
            .err()
            .unwrap_or_else(|| panic!("{kind}: {what} must be refused"))
            .problems;
        let blamed = problems
            .iter()
            .any(|problem| problem.field.starts_with(field));
        assert!(
            blamed,
            "{kind}: {what} must be blamed on `{field}`: {problems:?}"
        );
    };
    let mut more = example.inputs.clone();
    more.declared
        .push(("no_such_input".to_owned(), Some(Type::String)));
    refused(&more, "an unknown input", "with.no_such_input");
    for at in 0..example.inputs.declared.len() {
        let mut fewer = example.inputs.clone();
        fewer.declared.remove(at);
        refused(&fewer, "a missing input", "with");
        let mut other = example.inputs.clone();
        other.declared[at].1 = Some(Type::Dynamic);
        refused(&other, "an input of another type", "with.");
    }
}

/// Built on a thread without a runtime, where network I/O and timers panic, and no task may have been spawned.
fn build_does_no_work(kind: &str, built: &Built, example: &Example) {
    let env = environment(kind, example);
    std::thread::scope(|scope| {
        let building = scope.spawn(|| drop(build(built, example, &env)));
        assert!(
            building.join().is_ok(),
            "{kind}: build must work without a runtime, so without I/O"
        );
    });
    assert_eq!(
        env.tasks.running(),
        0,
        "{kind}: build must not spawn; on_start does"
    );
}

fn secrets_are_not_shown(kind: &str, built: &Built, example: &Example) {
    let shown = format!("{:?}", build(built, example, &environment(kind, example)));
    for secret in &example.secrets {
        assert!(
            !shown.contains(secret),
            "{kind}: the handler's Debug shows a secret"
        );
    }
}

async fn unstarted_handlers_answer(kind: &str, built: &Built, example: &Example) {
    let env = environment(kind, example);
    let handler = build(built, example, &env);
    in_time(
        kind,
        "an adapter whose tasks are not started must answer",
        use_once(&handler, &example.values),
    )
    .await;
    in_time(
        kind,
        "flush must end when the tasks are not started",
        handler.flush(),
    )
    .await;
    show(kind, &handler);
}

async fn concurrent_asking_is_safe(kind: &str, built: &Built, example: &Example) {
    let env = environment(kind, example);
    let mut handler = build(built, example, &env);
    handler.start(&env);
    let handler = Arc::new(handler);
    let (done, mut all_done) = tokio::sync::mpsc::channel::<()>(1);
    for _ in 0..16 {
        let (handler, example, done) = (handler.clone(), example.clone(), done.clone());
        env.tasks.spawn("conformance", async move {
            for _ in 0..50 {
                dropped_midway(use_once(&handler, &example.values)).await;
                use_once(&handler, &example.values).await;
            }
            drop(done);
        });
    }
    drop(done);
    in_time(kind, "concurrent asking must end", async {
        while all_done.recv().await.is_some() {}
    })
    .await;
    in_time(
        kind,
        "an adapter must answer after others' time was up",
        use_once(&handler, &example.values),
    )
    .await;
    in_time(kind, "flush must end", handler.flush()).await;
    show(kind, &handler);
    let stopped = env.tasks.shutdown(&env.clock, LONG).await;
    assert_eq!(
        stopped,
        Ok(()),
        "{kind}: its tasks must end when they are told to"
    );
    in_time(
        kind,
        "an adapter whose tasks have ended must answer",
        use_once(&handler, &example.values),
    )
    .await;
    in_time(
        kind,
        "flush must end when the tasks have ended",
        handler.flush(),
    )
    .await;
}

/// Polls once, then drops: what dispatch does at a deadline.
async fn dropped_midway(work: impl Future<Output = ()>) {
    let mut work = Box::pin(work);
    std::future::poll_fn(|context| {
        let _ = work.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}

fn show(kind: &str, handler: &Handler) {
    if let Some(exposed) = handler.exposition() {
        for format in [Format::OpenMetrics, Format::Text] {
            let mut page = Exposition::new(format);
            exposed.expose(&mut page);
            let page = page.finish();
            assert!(
                page.contains("# TYPE "),
                "{kind}: what exposes metrics must show some"
            );
        }
    }
}

async fn in_time(kind: &str, what: &str, work: impl Future<Output = ()>) {
    assert!(
        Clock::system().within(LONG, work).await.is_some(),
        "{kind}: {what}"
    );
}
