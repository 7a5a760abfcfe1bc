//! Notices that documents changed.
//!
//! The operating system's notifications make it quick; reading again every two seconds makes it certain: a watch does not
//! follow symlinks out of its directory, ends with a directory that is removed, and is not to be had at all on some volumes.
//! What counts is always what the files say, never what an event says.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mixer_runtime::{Clock, Tasks};
use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{Notify, watch};

use crate::{Code, Diagnostic, Diagnostics, Sources};

/// How long nothing may happen before documents are read: an editor or a deployment writes several files.
const QUIET: Duration = Duration::from_millis(100);
/// How often quiet is waited for in vain before documents are read all the same.
const IMPATIENCE: u32 = 5;
/// Between two reads that must be equal.
const BETWEEN_READS: Duration = Duration::from_millis(20);
/// How often documents are read though nothing was noticed.
const POLL: Duration = Duration::from_secs(2);

/// What was read, or why it could not be.
type Reading = Result<Sources, Diagnostics>;

/// Reads the directories again after they changed: once they were quiet for 100 ms and two reads were equal.
#[derive(Debug)]
pub struct Watcher {
    /// The newest sources that differ from those before; or why they could not be read.
    pub changes: watch::Receiver<Option<Result<Sources, crate::Diagnostics>>>,
}

impl Watcher {
    /// Watches `paths`, whose present state is `now`. A ConfigMap's symlink swap is a change like any other.
    pub fn start(paths: Vec<PathBuf>, now: Sources, clock: Clock, tasks: &Tasks) -> Self {
        let (changed, changes) = watch::channel(None);
        let noticed = Arc::new(Notify::new());
        let system = notifications(&paths, noticed.clone());
        tasks.spawn_until_stop("documents-watch", async move {
            // Dropped with the task, which ends the notifications.
            let _system = system;
            run(paths, now, clock, noticed, changed).await;
        });
        Self { changes }
    }
}

async fn run(
    paths: Vec<PathBuf>,
    now: Sources,
    clock: Clock,
    noticed: Arc<Notify>,
    changed: watch::Sender<Option<Reading>>,
) {
    let paths: Arc<[PathBuf]> = paths.into();
    let mut last: Reading = Ok(now);
    loop {
        // What happened before the notifications began is found by the first of these reads.
        if read(&paths).await != last {
            let settled = settle(&paths, &clock, &noticed).await;
            if settled != last {
                last = settled.clone();
                changed.send_replace(Some(settled));
            }
        }
        clock.within(POLL, noticed.notified()).await;
    }
}

/// What the documents are once they stopped changing.
async fn settle(paths: &Arc<[PathBuf]>, clock: &Clock, noticed: &Notify) -> Reading {
    loop {
        for _ in 0..IMPATIENCE {
            if clock.within(QUIET, noticed.notified()).await.is_none() {
                break;
            }
        }
        let first = read(paths).await;
        clock.sleep(BETWEEN_READS).await;
        if read(paths).await == first {
            return first;
        }
    }
}

async fn read(paths: &Arc<[PathBuf]>) -> Reading {
    let paths = paths.clone();
    let reading = tokio::task::spawn_blocking(move || Sources::read(&paths)).await;
    reading.unwrap_or_else(|error| {
        let list = vec![Diagnostic::directory(
            Code::Unreadable,
            format!("reading the documents failed: {error}"),
        )];
        Err(Diagnostics {
            sources: Sources::default(),
            list,
        })
    })
}

/// The system's notifications, as far as it gives any.
fn notifications(paths: &[PathBuf], noticed: Arc<Notify>) -> Option<RecommendedWatcher> {
    let event = move |event: notify::Result<notify::Event>| {
        // Reading makes events too; they would never end.
        let reads = |kind: EventKind| matches!(kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write));
        if event.is_err() || event.is_ok_and(|event| !reads(event.kind)) {
            noticed.notify_one();
        }
    };
    let mut watcher = match notify::recommended_watcher(event) {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!("changed documents are noticed within {POLL:?}, not at once: {error}");
            return None;
        }
    };
    for path in paths {
        let (watched, mode) = if path.is_dir() {
            (path.as_path(), RecursiveMode::Recursive)
        } else {
            let parent = path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            (
                parent.unwrap_or(Path::new(".")),
                RecursiveMode::NonRecursive,
            )
        };
        if let Err(error) = watcher.watch(watched, mode) {
            tracing::warn!(
                "changes in {} are noticed within {POLL:?}, not at once: {error}",
                watched.display()
            );
        }
    }
    Some(watcher)
}

#[cfg(test)]
mod tests;
