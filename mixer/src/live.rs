//! The documents in force, and how they change: whole or not at all.
//!
//! Every request takes the snapshot that is in force when it comes and is decided by that one to its end. New documents are
//! built beside it and swapped in; the adapters of the old ones end when the last request that uses them has. Documents with
//! an error change nothing: the set before stays in force, and log, metrics and readiness say why.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use mixer_adapter::Registry;
use mixer_documents::{Code, Diagnostic, Diagnostics, Sources, Watcher};
use mixer_runtime::Tasks;
use tokio::sync::{oneshot, watch};

use crate::dispatch::Dispatcher;
use crate::keys::Keys;
use crate::server::metrics::Metrics;
use crate::server::watch::Announcement;
use crate::snapshot::{Snapshot, Surroundings};

/// How long requests that began with old documents may go on using them.
const IN_FLIGHT: Duration = Duration::from_secs(10);
/// How long an adapter may take to send what it buffered when its documents are replaced.
const STOP: Duration = Duration::from_secs(5);

/// What is in force.
#[derive(Debug)]
pub struct Live {
    current: ArcSwap<Current>,
    /// Why the newest documents are not in force; none: they are.
    refused: ArcSwapOption<Diagnostics>,
    news: watch::Sender<Option<Arc<Announcement>>>,
    registry: Registry,
    surroundings: Surroundings,
    /// Of those who issue tokens.
    pub(crate) keys: Keys,
    metrics: Arc<Metrics>,
    tasks: Tasks,
}

/// One set of documents while it is in force or in use.
#[derive(Debug)]
pub struct Current {
    /// Decides by them.
    pub dispatcher: Dispatcher,
    /// Names the whole set: changes whenever the revision of some known destination does.
    pub revision: Arc<str>,
    /// When it came into force.
    pub since: SystemTime,
    /// Tasks that watch its adapters' data.
    tasks: Tasks,
    /// Dropped with the last use.
    _in_use: oneshot::Sender<()>,
    unused: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Live {
    /// Puts `snapshot` into force. Changes are watched for once [`Live::follow`] is called.
    pub fn start(
        mut snapshot: Snapshot,
        registry: Registry,
        surroundings: Surroundings,
        metrics: Arc<Metrics>,
        tasks: Tasks,
    ) -> Arc<Self> {
        snapshot.start();
        let current = Arc::new(Current::new(snapshot, &surroundings));
        metrics.in_force(&current.revision, current.since);
        let (http, random) = (surroundings.http.clone(), surroundings.random.clone());
        let keys = Keys::new(http, surroundings.clock.clone(), random, tasks.clone());
        keys.adopt(&current.snapshot().keys);
        let announcement = Announcement::of(&current, &keys, None);
        let (news, _) = watch::channel(Some(Arc::new(announcement)));
        let live = Arc::new(Self {
            current: ArcSwap::new(current.clone()),
            refused: ArcSwapOption::empty(),
            news,
            registry,
            surroundings,
            keys,
            metrics,
            tasks,
        });
        live.follow_versions(&current);
        live.follow_keys();
        live
    }

    /// What is in force now.
    #[inline]
    pub fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// Why the newest documents are not in force.
    pub fn refused(&self) -> Option<Arc<Diagnostics>> {
        self.refused.load_full()
    }

    /// What proxies must know, now and whenever it changes; `None` is the end.
    pub(crate) fn news(&self) -> watch::Receiver<Option<Arc<Announcement>>> {
        self.news.subscribe()
    }

    /// Puts changed documents of `paths` into force as they come. `sources` are those in force.
    pub fn follow(self: &Arc<Self>, paths: Vec<PathBuf>, sources: Sources) {
        let watcher = Watcher::start(paths, sources, self.surroundings.clock.clone(), &self.tasks);
        let (live, mut changes) = (self.clone(), watcher.changes);
        self.tasks.spawn_until_stop("reload", async move {
            while changes.changed().await.is_ok() {
                let changed = changes.borrow_and_update().clone();
                match changed {
                    Some(Ok(sources)) => live.reload(sources).await,
                    Some(Err(unreadable)) => live.refuse(unreadable),
                    None => {}
                }
            }
        });
    }

    /// Builds `sources` and puts them into force, or says why not.
    pub async fn reload(self: &Arc<Self>, sources: Sources) {
        let (registry, surroundings) = (self.registry.clone(), self.surroundings.clone());
        let build = move || Snapshot::build(sources, &registry, &surroundings);
        // Compiling many documents takes a while: requests go on meanwhile.
        match tokio::task::spawn_blocking(build).await {
            Ok(Ok(snapshot)) => self.replace(snapshot),
            Ok(Err(problems)) => self.refuse(problems),
            Err(panic) => self.refuse(Diagnostics {
                list: vec![Diagnostic::directory(
                    Code::Internal,
                    format!("internal error while the documents were built: {panic}"),
                )],
                ..Diagnostics::default()
            }),
        }
    }

    fn replace(self: &Arc<Self>, mut snapshot: Snapshot) {
        for line in snapshot.set.warnings.lines() {
            tracing::warn!("{line}");
        }
        snapshot.start();
        let current = Arc::new(Current::new(snapshot, &self.surroundings));
        let old = self.current.swap(current.clone());
        self.refused.store(None);
        self.metrics.reloaded(true);
        self.metrics.in_force(&current.revision, current.since);
        tracing::info!(revision = %current.revision, "changed documents are in force");
        self.keys.adopt(&current.snapshot().keys);
        self.announce();
        self.follow_versions(&current);
        self.retire(old);
    }

    fn refuse(&self, problems: Diagnostics) {
        tracing::error!(
            "{} problem(s) in the changed documents: the set before stays in force",
            problems.errors()
        );
        for line in explained(&problems) {
            tracing::error!("{line}");
        }
        self.metrics.reloaded(false);
        self.refused.store(Some(Arc::new(problems)));
    }

    /// Has the keys of the jwt document `name` fetched again, unless they were lately; the name of the set known then.
    pub(crate) async fn refresh_keys(&self, name: &str) -> Option<Arc<str>> {
        let current = self.current();
        let snapshot = current.snapshot();
        let at = snapshot
            .set
            .jwts
            .iter()
            .position(|jwt| &*jwt.name == name)?;
        let checked = snapshot.keys[at].clone();
        // Documents may be replaced meanwhile.
        drop(current);
        self.keys.refresh(&checked).await
    }

    /// Tells proxies what they must know now.
    fn announce(&self) {
        self.news.send_if_modified(|news| {
            let Some(before) = news else { return false };
            *news = Some(Arc::new(Announcement::of(
                &self.current(),
                &self.keys,
                Some(before),
            )));
            true
        });
    }

    /// Announces anew whenever data of an adapter changed, since revisions depend on it.
    fn follow_versions(self: &Arc<Self>, current: &Current) {
        for adapter in &current.snapshot().adapters {
            let Some(mut version) = adapter.handler().version_changes() else {
                continue;
            };
            let live = Arc::downgrade(self);
            current.tasks.spawn_until_stop("adapter data", async move {
                while version.changed().await.is_ok() {
                    match live.upgrade() {
                        Some(live) => live.announce(),
                        None => return,
                    }
                }
            });
        }
    }

    /// Announces anew whenever the keys of some issuer changed, or may not be used any more.
    fn follow_keys(self: &Arc<Self>) {
        let (live, mut changes) = (Arc::downgrade(self), self.keys.changes());
        self.tasks.spawn_until_stop("announce keys", async move {
            while changes.changed().await.is_ok() {
                match live.upgrade() {
                    Some(live) => live.announce(),
                    None => return,
                }
            }
        });
    }

    /// Ends the adapters of what is no longer in force, once nobody uses them.
    fn retire(&self, old: Arc<Current>) {
        let unused = old
            .unused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let (snapshot, tasks, clock) = (
            old.snapshot().clone(),
            old.tasks.clone(),
            self.surroundings.clock.clone(),
        );
        drop(old);
        self.tasks.spawn("retire", async move {
            if let Some(unused) = unused {
                // An error is what a dropped sender gives: the last use has ended.
                let _ = clock.within(IN_FLIGHT, unused).await;
            }
            let _ = tasks.shutdown(&clock, STOP).await;
            snapshot.stop(STOP).await;
        });
    }

    /// Tells proxies that there will be no more news.
    pub(crate) fn end_news(&self) {
        self.news.send_replace(None);
    }

    /// Ends what runs in the background, and lets adapters send what they buffered, each within `deadline`.
    pub async fn finish(&self, deadline: Duration) {
        let current = self.current();
        let clock = &self.surroundings.clock;
        let _ = current.tasks.shutdown(clock, deadline).await;
        current.snapshot().stop(deadline).await;
    }
}

impl Current {
    /// The documents and their adapters.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        self.dispatcher.snapshot()
    }

    fn new(snapshot: Snapshot, surroundings: &Surroundings) -> Self {
        let (in_use, unused) = oneshot::channel();
        Self {
            revision: crate::server::watch::whole_revision(&snapshot),
            dispatcher: Dispatcher::new(Arc::new(snapshot), surroundings),
            since: surroundings.clock.wall(),
            tasks: Tasks::on(surroundings.handle.clone()),
            _in_use: in_use,
            unused: Mutex::new(Some(unused)),
        }
    }
}

/// One line per problem: where, what, and what to do about it.
pub fn explained(problems: &Diagnostics) -> Vec<String> {
    let pairs = problems.lines().into_iter().zip(&problems.list);
    pairs
        .map(|(line, problem)| match problem.help.as_slice() {
            [] => line,
            help => format!("{line} ({})", help.join("; ")),
        })
        .collect()
}
