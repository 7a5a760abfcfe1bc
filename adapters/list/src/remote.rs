//! A list that is fetched from an address, in the background.
//!
//! What was fetched is used for `keep` after the last fetch that succeeded; then the list is unavailable, which is its own
//! answer and not an empty list. A fetch succeeds when it brings a list of enough entries or says that nothing changed.
//! Content is stored before its version is announced: an answer must never be remembered under a version newer than the
//! content it was made from.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, StatusCode};
use mixer_adapter::http::{Bounds, Response};
use mixer_adapter::{Env, Exposition, Invalid, Unavailable};
use mixer_runtime::{Backoff, Clock, Instant};
use tokio::sync::watch;

use crate::config::Address;
use crate::entries::{Entries, Reading};

/// What a fetch may take.
const BOUNDS: Bounds = Bounds {
    deadline: Duration::from_secs(30),
    body: 64 << 20,
};

/// How soon a failed first fetch is tried again; doubled per failure up to the refresh interval.
const RETRY: Duration = Duration::from_secs(1);

/// A list that is fetched.
#[derive(Debug)]
pub(crate) struct Remote {
    address: Address,
    reading: Reading,
    clock: Clock,
    seed: Option<Arc<Entries>>,
    fetched: ArcSwapOption<Fetched>,
    version: watch::Sender<u64>,
    failures: Arc<AtomicU64>,
}

/// What was fetched last, and what to ask the server whether it changed.
#[derive(Clone, Debug)]
struct Fetched {
    entries: Arc<Entries>,
    at: Instant,
    validators: Vec<(http::HeaderName, HeaderValue)>,
}

/// What survives a reload: the list in force.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    in_force: Mutex<Option<Arc<Remote>>>,
    failures: Arc<AtomicU64>,
}

impl Remote {
    /// The list of `address`, beginning with what was fetched from there before the reload.
    pub(crate) fn after(
        kept: &Kept,
        address: Address,
        reading: Reading,
        env: &Env,
    ) -> Result<Self, Invalid> {
        let seed = match &address.seed {
            None => None,
            Some(path) => {
                let text = env.read("seed", path)?;
                let entries = Entries::read(&text, reading, true)
                    .map_err(|wrong| Invalid::one("seed", wrong))?;
                Some(Arc::new(entries))
            }
        };
        let in_force = kept.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        let same = in_force
            .as_ref()
            .filter(|before| before.address.url == address.url && before.reading == reading);
        let fetched = same.and_then(|before| before.fetched.load_full());
        let remote = Self {
            address,
            reading,
            clock: env.clock.clone(),
            seed,
            fetched: ArcSwapOption::new(fetched),
            version: watch::Sender::new(0),
            failures: kept.failures.clone(),
        };
        remote.announce();
        Ok(remote)
    }

    pub(crate) fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// The list, as long as it may be used.
    pub(crate) fn entries(&self) -> Result<Arc<Entries>, Unavailable> {
        let unavailable = |reason: &'static str| Unavailable {
            reason: reason.into(),
            retry: true,
        };
        match (&*self.fetched.load(), &self.seed) {
            (Some(fetched), _) if self.clock.now().since(fetched.at) < self.address.keep => {
                Ok(fetched.entries.clone())
            }
            (Some(_), _) => Err(unavailable(
                "the list could not be fetched for longer than `keep`",
            )),
            (None, Some(seed)) => Ok(seed.clone()),
            (None, None) => Err(unavailable("the list has not been fetched yet")),
        }
    }

    pub(crate) fn expose(&self, page: &mut Exposition, labels: &[(&str, &str)]) {
        let help = "Fetches of the list that failed.";
        page.counter(
            "mixer_list_fetch_failures",
            help,
            labels,
            self.failures.load(Ordering::Relaxed) as f64,
        );
        if let Some(fetched) = &*self.fetched.load() {
            let age = self.clock.now().since(fetched.at).as_secs_f64();
            page.gauge(
                "mixer_list_age_seconds",
                "Time since the list was last fetched or found unchanged.",
                labels,
                age,
            );
        }
    }

    /// Fetches again and again until the tasks are told to stop.
    pub(crate) fn start(self: Arc<Self>, kept: &Kept, env: &Env) {
        *kept.in_force.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.clone());
        let (tasks, env) = (
            env.tasks.clone(),
            Env {
                tasks: env.tasks.clone(),
                ..env.clone()
            },
        );
        tasks.spawn_until_stop("list fetch", async move { self.refresh(&env).await });
    }

    async fn refresh(&self, env: &Env) {
        let every = self.address.refresh;
        let mut backoff = Backoff::new(RETRY.min(every), every);
        if let Some(fetched) = self.fetched.load_full() {
            self.wait(every.saturating_sub(self.clock.now().since(fetched.at)))
                .await;
        }
        loop {
            let next = match self.fetch(env).await {
                Ok(()) => {
                    backoff.reset();
                    // Not all Mixers at once.
                    every.mul_f64(0.9 + 0.2 * env.random.unit())
                }
                Err(reason) => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(adapter = &*env.name, "the list was not fetched: {reason}");
                    backoff.next(&env.random)
                }
            };
            self.wait(next).await;
        }
    }

    /// Sleeps, and says so when the list becomes unavailable meanwhile: answers made from it must not be used any more.
    async fn wait(&self, span: Duration) {
        let now = self.clock.now();
        let until_stale = self
            .fetched
            .load()
            .as_ref()
            .map(|fetched| (fetched.at + self.address.keep).since(now));
        match until_stale {
            Some(until_stale) if until_stale < span => {
                self.clock.sleep(until_stale).await;
                self.announce();
                self.clock.sleep(span - until_stale).await;
            }
            _ => self.clock.sleep(span).await,
        }
    }

    async fn fetch(&self, env: &Env) -> Result<(), String> {
        let before = self.fetched.load_full();
        let mut headers = self.headers(env).await?;
        if let Some(before) = &before {
            headers.extend(
                before
                    .validators
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone())),
            );
        }
        let url = &self.address.url;
        let answer = env
            .http
            .get(url, headers, BOUNDS)
            .await
            .map_err(|error| error.to_string())?;
        let at = self.clock.now();
        let fetched = match (answer.status, before) {
            (StatusCode::NOT_MODIFIED, Some(before)) => Fetched {
                at,
                ..Fetched::clone(&before)
            },
            (StatusCode::OK, _) => Fetched {
                entries: self.read(&answer)?,
                at,
                validators: validators(&answer),
            },
            (status, _) => {
                answer.success(url).map_err(|error| error.to_string())?;
                return Err(format!(
                    "{}: status {} is no list",
                    url.origin(),
                    status.as_u16()
                ));
            }
        };
        self.fetched.store(Some(Arc::new(fetched)));
        self.announce();
        Ok(())
    }

    fn read(&self, answer: &Response) -> Result<Arc<Entries>, String> {
        let text = std::str::from_utf8(&answer.body)
            .map_err(|_| "the list is no UTF-8 text".to_owned())?;
        let entries = Entries::read(text, self.reading, false)?;
        let least = self.address.min_entries;
        if entries.count() < least {
            return Err(format!(
                "it has {} entries, fewer than min_entries ({least})",
                entries.count()
            ));
        }
        Ok(Arc::new(entries))
    }

    async fn headers(&self, env: &Env) -> Result<HeaderMap, String> {
        let (secrets, directory) = (self.address.headers.clone(), env.directory.clone());
        // A secret may be in a file.
        let revealing = tokio::task::spawn_blocking(move || {
            let mut headers = HeaderMap::new();
            for (name, secret) in secrets {
                let value = secret
                    .reveal(&directory)
                    .map_err(|error| error.to_string())?;
                let mut value = HeaderValue::try_from(value)
                    .map_err(|_| format!("the secret of `{name}` is no header value"))?;
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            Ok(headers)
        });
        revealing.await.map_err(|error| error.to_string())?
    }

    /// Tells the version of what is used now; 0 when nothing is.
    fn announce(&self) {
        let version = self.entries().map_or(0, |entries| entries.digest());
        self.version
            .send_if_modified(|announced| std::mem::replace(announced, version) != version);
    }
}

/// What to send with the next request so that it is answered with 304 when nothing changed.
fn validators(answer: &Response) -> Vec<(http::HeaderName, HeaderValue)> {
    let kept = [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)];
    let given = kept
        .into_iter()
        .filter_map(|(from, to)| Some((to, answer.headers.get(from)?.clone())));
    given.collect()
}
