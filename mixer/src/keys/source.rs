//! One place where keys come from, and what came from there.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::{HeaderMap, StatusCode};
use mixer_adapter::http::{Bounds, Url};
use mixer_documents::KeySet;
use mixer_runtime::{Backoff, Clock, Instant};
use tokio::sync::{Notify, watch};

use super::Tools;

/// What a fetch may take.
const BOUNDS: Bounds = Bounds {
    deadline: Duration::from_secs(5),
    body: 256 * 1024,
};
/// How soon a fetch that failed is tried again; doubled per failure up to the refresh interval, or a minute if that is less.
const RETRY: Duration = Duration::from_secs(1);
const SLOWEST_RETRY: Duration = Duration::from_secs(60);
/// How often a file is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Between fetches that tokens with unknown keys cause.
const SELDOM: Duration = Duration::from_secs(10);

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// An address.
    #[allow(missing_docs)]
    Url {
        url: String,
        refresh: Duration,
        keep: Duration,
    },
    /// A file.
    File(PathBuf),
}

/// What is known of the keys of a source.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) source: Source,
    set: ArcSwapOption<Set>,
    clock: Clock,
    pub(super) failures: AtomicU64,
    /// Tries that have begun and tries that have ended, added: odd while one is on its way.
    tries: watch::Sender<u64>,
    /// When a token last made it be fetched, in nanoseconds of the clock; 0: none did.
    asked: AtomicU64,
    /// What `tries` is once the try is over that it made.
    awaited: AtomicU64,
    /// Wakes the task for another.
    wanted: Notify,
}

/// A set of keys as it is sent on.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) text: Arc<str>,
    pub(super) digest: Arc<str>,
    pub(super) count: usize,
    at: Instant,
}

/// What can be said of keys now.
pub(super) enum Known {
    Keys(Arc<Set>),
    /// They did not come yet.
    Nothing,
    /// They could not be fetched for longer than `keep`.
    Lost,
}

impl Source {
    /// Whether both are the same place.
    pub(super) fn is_at(&self, other: &Source) -> bool {
        match (self, other) {
            (Self::Url { url, .. }, Self::Url { url: other, .. }) => url == other,
            (Self::File(path), Self::File(other)) => path == other,
            _ => false,
        }
    }
}

impl Held {
    /// Begins to fetch, with what `before` knows. It ends when nobody holds it any more.
    pub(super) fn start(source: Source, before: Option<&Held>, tools: &Tools) -> Arc<Self> {
        let held = Arc::new(Self {
            source: source.clone(),
            set: ArcSwapOption::new(before.and_then(|before| before.set.load_full())),
            clock: tools.clock.clone(),
            failures: AtomicU64::new(0),
            tries: watch::Sender::new(0),
            asked: AtomicU64::new(0),
            awaited: AtomicU64::new(0),
            wanted: Notify::new(),
        });
        let (weak, tools) = (Arc::downgrade(&held), tools.clone());
        let tasks = tools.tasks.clone();
        match source {
            Source::Url { url, refresh, keep } => {
                tasks.spawn_until_stop("issuer keys", async move {
                    fetch_again_and_again(weak, &url, refresh, keep, &tools).await;
                });
            }
            Source::File(path) => {
                tasks.spawn_until_stop("issuer keys file", follow(weak, path, tools));
            }
        }
        held
    }

    /// What is known now.
    pub(super) fn keys(&self) -> Known {
        match (self.set.load_full(), &self.source) {
            (None, _) => Known::Nothing,
            (Some(set), Source::Url { keep, .. }) if self.clock.now().since(set.at) >= *keep => {
                Known::Lost
            }
            (Some(set), _) => Known::Keys(set),
        }
    }

    /// How long ago what is known was fetched; a file is as it is.
    pub(super) fn age(&self, clock: &Clock) -> Option<Duration> {
        match &self.source {
            Source::File(_) => None,
            Source::Url { .. } => {
                let set = self.set.load_full()?;
                Some(clock.now().since(set.at))
            }
        }
    }

    /// Takes a set that came. Whether it differs from what was known.
    pub(super) fn take(&self, keys: Arc<KeySet>) -> bool {
        let digest = keys.digest();
        let was_known = match self.keys() {
            Known::Keys(before) => *before.digest == *digest,
            Known::Nothing | Known::Lost => false,
        };
        self.set.store(Some(Arc::new(Set {
            text: keys.canonical().into(),
            digest: digest.into(),
            count: keys.keys().len(),
            at: self.clock.now(),
        })));
        !was_known
    }

    /// Has it fetched once more, and waits for that; not if a token made it be fetched lately.
    pub(super) async fn refresh(&self, clock: &Clock) {
        let Source::Url { .. } = self.source else {
            return;
        };
        let mut tries = self.tries.subscribe();
        let so_far = *tries.borrow_and_update();
        let (asked, now) = (self.asked.load(Ordering::Acquire), clock.now());
        let lately = asked > 0 && now.since(Instant::from_nanos(asked)) < SELDOM;
        if !lately {
            // A try that is on its way may have begun before the key was there.
            let end = so_far + if so_far % 2 == 1 { 3 } else { 2 };
            self.awaited.store(end, Ordering::Release);
            self.asked.store(now.as_nanos().max(1), Ordering::Release);
            self.wanted.notify_one();
        }
        // Whoever comes while it is being fetched waits for what comes.
        let end = self.awaited.load(Ordering::Acquire);
        let done = tries.wait_for(|tries| *tries >= end);
        // An error is the end of Mixer.
        let _ = clock.within(BOUNDS.deadline, done).await;
    }
}

/// Fetches until nobody wants the keys any more.
async fn fetch_again_and_again(
    held: Weak<Held>,
    url: &str,
    refresh: Duration,
    keep: Duration,
    tools: &Tools,
) {
    // It was parsed before.
    let Ok(address) = Url::parse("url", url) else {
        return;
    };
    let mut backoff = Backoff::new(RETRY.min(refresh), SLOWEST_RETRY.min(refresh));
    let known = held.upgrade().and_then(|held| held.age(&tools.clock));
    let mut next = known.map_or(Duration::ZERO, |age| refresh.saturating_sub(age));
    let mut told_lost = false;
    loop {
        if !wait(&held, next, (keep, &address), &mut told_lost, tools).await {
            return;
        }
        let Some(held) = held.upgrade() else { return };
        held.tries.send_modify(|tries| *tries += 1);
        next = match fetch(&address, tools).await {
            Ok(keys) => {
                for line in keys.unused() {
                    tracing::debug!(
                        from = address.origin(),
                        "a key of an issuer is not used: {line}"
                    );
                }
                backoff.reset();
                if held.take(Arc::new(keys)) {
                    tracing::info!(from = address.origin(), "the keys of an issuer are new");
                    tools.changed.send_modify(|changed| *changed += 1);
                }
                told_lost = false;
                // Not all Mixers at once.
                refresh.mul_f64(0.9 + 0.2 * tools.random.unit())
            }
            Err(reason) => {
                held.failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!("the keys of an issuer were not fetched: {reason}");
                backoff.next(&tools.random)
            }
        };
        held.tries.send_modify(|tries| *tries += 1);
    }
}

/// Waits for the time of the next fetch, or until one is wanted, and says so when the keys may not be used any more meanwhile.
/// Whether somebody still wants them.
async fn wait(
    held: &Weak<Held>,
    span: Duration,
    (keep, address): (Duration, &Url),
    told_lost: &mut bool,
    tools: &Tools,
) -> bool {
    let until = tools.clock.now() + span;
    loop {
        let Some(held) = held.upgrade() else {
            return false;
        };
        let now = tools.clock.now();
        let left = until.since(now);
        if left.is_zero() {
            return true;
        }
        let lost_in = held.age(&tools.clock).map(|age| keep.saturating_sub(age));
        if lost_in.is_some_and(|lost_in| lost_in.is_zero()) && !*told_lost {
            *told_lost = true;
            tracing::error!(
                "{}: keys could not be fetched for {keep:?}: tokens of that issuer cannot be verified until they are",
                address.origin()
            );
            tools.changed.send_modify(|changed| *changed += 1);
        }
        let lost_in = lost_in.filter(|lost_in| !lost_in.is_zero());
        // Looks now and then whether somebody still wants them.
        let nap = lost_in.unwrap_or(left).min(left).min(LOOK * 4);
        if tools
            .clock
            .within(nap, held.wanted.notified())
            .await
            .is_some()
        {
            return true;
        }
    }
}

async fn fetch(address: &Url, tools: &Tools) -> Result<KeySet, String> {
    let answer = tools.http.get(address, HeaderMap::new(), BOUNDS).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let answer = answer.success(address).map_err(|error| error.to_string())?;
    if answer.status != StatusCode::OK {
        let status = answer.status.as_u16();
        return Err(format!(
            "{}: status {status} is no set of keys",
            address.origin()
        ));
    }
    let text = std::str::from_utf8(&answer.body)
        .map_err(|_| format!("{}: it is no UTF-8 text", address.origin()))?;
    KeySet::read(text).map_err(|why| format!("{}: {why}", address.origin()))
}

/// Reads a file again as it changes; what is no set of keys changes nothing.
async fn follow(held: Weak<Held>, path: PathBuf, tools: Tools) {
    let mut complained = None;
    loop {
        tools.clock.sleep(LOOK).await;
        let Some(held) = held.upgrade() else { return };
        let file = path.clone();
        let read = tokio::task::spawn_blocking(move || super::read(&file)).await;
        match read {
            Ok(Ok(keys)) => {
                complained = None;
                if held.take(Arc::new(keys)) {
                    tracing::info!("the keys in {} are new", path.display());
                    tools.changed.send_modify(|changed| *changed += 1);
                }
            }
            Ok(Err(why)) => {
                if complained.as_ref() != Some(&why) {
                    held.failures.fetch_add(1, Ordering::Relaxed);
                    tracing::error!("the keys before stay in use: {why}");
                    complained = Some(why);
                }
            }
            Err(panic) => tracing::error!("reading {} failed: {panic}", path.display()),
        }
    }
}
