//! The file that counters survive a restart in: written now and then and at the end, read once at the start.
//!
//! A new file is written beside the old one, made durable and put in its place, so that there is a whole one at any moment. One that
//! cannot be used is put aside, said so in the log and in a metric, and counting begins with nothing spent: at most the limits
//! once more, never without a limit.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use mixer_adapter::{Env, Exposition};
use mixer_runtime::Clock;

use crate::saved::{LARGEST, Refused};
use crate::store::Store;

/// What is configured.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) file: PathBuf,
    pub(crate) every: Duration,
}

/// What became of snapshots; survives a reload.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    /// The old set's last snapshot and the new set's first must not be written at once.
    writing: Mutex<()>,
    written_at: AtomicU64,
    bytes: AtomicU64,
    failures: AtomicU64,
    restored: AtomicU64,
    refused: [AtomicU64; REASONS.len()],
}

const REASONS: [&str; 6] = [
    "foreign",
    "version",
    "torn",
    "too_old",
    "too_large",
    "unreadable",
];

/// Why a file was not restored.
#[derive(Debug, thiserror::Error)]
enum Unused {
    #[error("{0}")]
    Refused(#[from] Refused),
    #[error("it is larger than {} GiB", LARGEST >> 30)]
    TooLarge,
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

impl Unused {
    /// Position in [`REASONS`].
    fn reason(&self) -> usize {
        match self {
            Unused::Refused(Refused::Foreign) => 0,
            Unused::Refused(Refused::Version(_)) => 1,
            Unused::Refused(Refused::Torn) => 2,
            Unused::Refused(Refused::TooOld) => 3,
            Unused::TooLarge => 4,
            Unused::Unreadable(_) => 5,
        }
    }
}

impl Place {
    /// Restores the store from the file, if there is one.
    pub(crate) fn restore(&self, store: &Store, most: usize, outcomes: &Outcomes, env: &Env) {
        let (adapter, file) = (&*env.name, self.file.display());
        let restored = match read(&self.file) {
            Ok(None) => {
                tracing::info!(adapter, %file, "there is no snapshot of counters yet");
                return;
            }
            Ok(Some(bytes)) => store
                .restore(&bytes, most, &env.clock)
                .map_err(Unused::from),
            Err(unused) => Err(unused),
        };
        match restored {
            Ok(restored) => {
                let keys = restored.keys;
                outcomes.restored.store(keys as u64, Ordering::Relaxed);
                tracing::info!(adapter, %file, keys, passed = ?restored.passed, "counters were restored");
                if restored.left_out > 0 {
                    let left_out = restored.left_out;
                    tracing::warn!(adapter, left_out, "max_keys had no room for all counters");
                }
            }
            Err(unused) => {
                outcomes.refused[unused.reason()].fetch_add(1, Ordering::Relaxed);
                tracing::error!(
                    adapter, %file,
                    "the snapshot of counters is not used, all begin with nothing spent: {unused}"
                );
                // Not to be overwritten before somebody has looked at it; where it cannot be moved, it will be.
                let _ = std::fs::rename(&self.file, beside(&self.file, "refused"));
            }
        }
    }

    /// Writes snapshots until the handler's tasks are told to stop, and one then.
    pub(crate) fn keep(self, store: Arc<Store>, outcomes: Arc<Outcomes>, env: &Env) {
        let (clock, name, stop) = (env.clock.clone(), env.name.clone(), env.tasks.stop());
        env.tasks.spawn("memory-quota snapshot", async move {
            loop {
                let ends = tokio::select! {
                    () = stop.cancelled() => true,
                    () = clock.sleep(self.every) => false,
                };
                let (place, store, outcomes) = (self.clone(), store.clone(), outcomes.clone());
                let (clock, name) = (clock.clone(), name.clone());
                let written = tokio::task::spawn_blocking(move || {
                    place.write(&store, &outcomes, &clock, &name)
                });
                // An error is a panic: the hook has told the log, and the file before is whole.
                let _ = written.await;
                if ends {
                    return;
                }
            }
        });
    }

    fn write(&self, store: &Store, outcomes: &Outcomes, clock: &Clock, adapter: &str) {
        let writing = outcomes.writing.lock();
        let _writing = writing.unwrap_or_else(PoisonError::into_inner);
        let file = self.file.display();
        match write(&self.file, store, clock) {
            Ok(bytes) => {
                let since = clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
                outcomes
                    .written_at
                    .store(since.as_secs(), Ordering::Relaxed);
                outcomes.bytes.store(bytes, Ordering::Relaxed);
                tracing::debug!(adapter, %file, bytes, "counters were written");
            }
            Err(error) => {
                outcomes.failures.fetch_add(1, Ordering::Relaxed);
                tracing::error!(adapter, %file, "counters could not be written: {error}");
            }
        }
    }
}

impl Outcomes {
    pub(crate) fn expose(&self, page: &mut Exposition, adapter: &str) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        let labels = [("adapter", adapter)];
        page.gauge(
            "mixer_memory_quota_snapshot_timestamp_seconds",
            "When counters were last written to disk; 0: never.",
            &labels,
            read(&self.written_at),
        );
        page.gauge(
            "mixer_memory_quota_snapshot_bytes",
            "Size of the last snapshot.",
            &labels,
            read(&self.bytes),
        );
        page.counter(
            "mixer_memory_quota_snapshot_failures",
            "Snapshots that could not be written.",
            &labels,
            read(&self.failures),
        );
        page.gauge(
            "mixer_memory_quota_restored_keys",
            "Counters that were restored when this Mixer started.",
            &labels,
            read(&self.restored),
        );
        for (reason, count) in REASONS.iter().zip(&self.refused) {
            page.counter(
                "mixer_memory_quota_snapshot_refused",
                "Snapshots that were not restored.",
                &[("adapter", adapter), ("reason", reason)],
                read(count),
            );
        }
    }
}

/// `None`: there is no file.
fn read(file: &Path) -> Result<Option<Vec<u8>>, Unused> {
    let file = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    // One more than there may be, whatever the file system says of its size.
    let most = LARGEST + 1024;
    if file.take(most).read_to_end(&mut bytes)? as u64 == most {
        return Err(Unused::TooLarge);
    }
    Ok(Some(bytes))
}

/// Puts a new file in the place of the old one; its size.
fn write(file: &Path, store: &Store, clock: &Clock) -> io::Result<u64> {
    let beside = beside(file, "new");
    // What a Mixer that was killed left.
    let _ = std::fs::remove_file(&beside);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    // Keys tell who callers are.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&beside)?;
    let finished = store
        .save(clock, BufWriter::new(&written))
        .and_then(|()| written.sync_all())
        .and_then(|()| std::fs::rename(&beside, file));
    if let Err(error) = finished {
        let _ = std::fs::remove_file(&beside);
        return Err(error);
    }
    // The name, too, must be there after the power was lost.
    let directory = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(written.metadata()?.len())
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests;
