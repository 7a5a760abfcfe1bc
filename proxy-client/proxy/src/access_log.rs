//! The access log: a line for every request, and for every connection that is not HTTP, when it is over.
//!
//! A worker writes the line into a buffer of its own, which costs a copy; full buffers, and what is left after a moment, go to a
//! thread that does nothing but write files. So a slow disk holds up nobody: so many buffers wait, and the lines of one more are
//! counted and lost. Where there is no log a request pays for one comparison.
//!
//! No secrets: a path is logged without its query, which is where tokens stand, and of the headers only those that Envoy's own
//! format has. Whatever callers choose is escaped, so that none of them writes a line of his own.

mod entry;
mod line;

use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use mixer_runtime::Clock;

use crate::config::{AccessLog, LogFormat, LogTo};
use crate::worker::spawn;

pub(crate) use entry::Entry;
pub(crate) use line::Line;
use line::Seconds;

/// Bytes of lines that are handed over together.
const BATCH: usize = 16 << 10;
/// How long lines wait for others.
const FLUSH: Duration = Duration::from_millis(200);
/// Batches that wait to be written.
const WAITING: usize = 64;

/// What the writer and those who ask about it share.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    written: AtomicU64,
    dropped: AtomicU64,
    reopen: AtomicBool,
}

/// What the writer is given.
#[derive(Debug)]
enum Job {
    Write {
        text: Vec<u8>,
        lines: u64,
    },
    /// To look whether the file is to be opened anew.
    Look,
}

/// A running log. Its thread ends when this and all [`Lines`] are dropped.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) tally: Arc<Tally>,
    format: LogFormat,
    jobs: SyncSender<Job>,
}

/// One worker's end of the log.
#[derive(Debug)]
pub(crate) struct Lines {
    format: LogFormat,
    tally: Arc<Tally>,
    jobs: SyncSender<Job>,
    clock: Clock,
    buffer: RefCell<Buffer>,
    /// Somebody will hand the buffer over in a moment.
    awaited: Cell<bool>,
}

#[derive(Debug, Default)]
struct Buffer {
    text: Vec<u8>,
    lines: u64,
    seconds: Seconds,
}

impl Tally {
    /// Lines that were written.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Lines that were lost: too many waited, or the file could not be written.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Log {
    /// Opens the file and starts the thread that writes it.
    pub(crate) fn start(config: &AccessLog) -> std::io::Result<(Self, JoinHandle<()>)> {
        let mut out = Out::open(&config.to)?;
        let (jobs, given) = sync_channel(WAITING);
        let tally = Arc::<Tally>::default();
        let (to, told) = (config.to.clone(), tally.clone());
        let thread = std::thread::Builder::new()
            .name("proxy-access-log".to_owned())
            .spawn(move || write(&given, &mut out, &to, &told))?;
        let log = Self {
            tally,
            format: config.format,
            jobs,
        };
        Ok((log, thread))
    }

    /// A worker's end of it.
    pub(crate) fn lines(&self, clock: &Clock) -> Lines {
        Lines {
            format: self.format,
            tally: self.tally.clone(),
            jobs: self.jobs.clone(),
            clock: clock.clone(),
            buffer: RefCell::default(),
            awaited: Cell::new(false),
        }
    }

    /// Opens the file anew: the old one was moved away.
    pub(crate) fn reopen(&self) {
        self.tally.reopen.store(true, Ordering::Relaxed);
        // Where too much waits already, the writer looks soon.
        let _ = self.jobs.try_send(Job::Look);
    }
}

impl Lines {
    /// Adds a line. `ending`: the worker's runtime is gone, and what is left goes when this is dropped.
    pub(crate) fn add(self: &Rc<Self>, line: &Line<'_>, ending: bool) {
        let mut buffer = self.buffer.borrow_mut();
        let Buffer {
            text,
            lines,
            seconds,
        } = &mut *buffer;
        line.write(self.format, seconds, text);
        *lines += 1;
        if text.len() >= BATCH {
            self.hand_over(&mut buffer);
        } else if !ending && !self.awaited.replace(true) {
            let lines = self.clone();
            spawn(async move {
                lines.clock.sleep(FLUSH).await;
                lines.awaited.set(false);
                lines.hand_over(&mut lines.buffer.borrow_mut());
            });
        }
    }

    fn hand_over(&self, buffer: &mut Buffer) {
        if buffer.lines == 0 {
            return;
        }
        let room = Vec::with_capacity(BATCH + BATCH / 4);
        let text = std::mem::replace(&mut buffer.text, room);
        let lines = std::mem::take(&mut buffer.lines);
        if self.jobs.try_send(Job::Write { text, lines }).is_err() {
            self.tally.dropped.fetch_add(lines, Ordering::Relaxed);
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let mut buffer = self.buffer.take();
        self.hand_over(&mut buffer);
    }
}

/// Where lines go.
enum Out {
    File(File),
    Stdout,
}

impl Out {
    fn open(to: &LogTo) -> std::io::Result<Self> {
        match to {
            LogTo::Stdout => Ok(Self::Stdout),
            LogTo::File(path) => open(path).map(Self::File),
        }
    }

    fn write(&mut self, text: &[u8]) -> std::io::Result<()> {
        match self {
            Self::File(file) => file.write_all(text),
            Self::Stdout => {
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(text)?;
                stdout.flush()
            }
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// The writer: until nobody is left who could give it anything.
fn write(given: &Receiver<Job>, out: &mut Out, to: &LogTo, tally: &Tally) {
    let mut failing = false;
    while let Ok(job) = given.recv() {
        if tally.reopen.swap(false, Ordering::Relaxed) {
            match Out::open(to) {
                Ok(opened) => *out = opened,
                Err(error) => tracing::error!("the access log goes on in the old file: {error}"),
            }
        }
        let Job::Write { text, lines } = job else {
            continue;
        };
        match out.write(&text) {
            Ok(()) => {
                failing = false;
                tally.written.fetch_add(lines, Ordering::Relaxed);
            }
            Err(error) => {
                tally.dropped.fetch_add(lines, Ordering::Relaxed);
                // Once, not for every batch of a full disk.
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!("the access log cannot be written, lines are lost: {error}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
