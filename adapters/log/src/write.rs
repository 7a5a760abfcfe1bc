//! Writing lines out, on a thread where that may block: a pipe that nobody reads must not stop the runtime.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mixer_adapter::Env;
use mixer_adapter::buffer::Sink;

use crate::Counts;
use crate::config::To;

/// Writes batches of lines.
#[derive(Debug)]
pub(crate) struct Writer {
    target: Target,
    counts: Arc<Counts>,
    adapter: Arc<str>,
    /// The last batch was not written. That is logged once, not for each batch.
    is_failing: bool,
}

#[derive(Debug)]
enum Target {
    Stdout,
    Stderr,
    /// Opened for the first line, and again after a failure.
    File {
        path: PathBuf,
        open: Option<File>,
    },
}

impl Writer {
    pub(crate) fn new(to: &To, env: &Env, counts: Arc<Counts>) -> Self {
        let target = match to {
            To::Stdout => Target::Stdout,
            To::Stderr => Target::Stderr,
            To::File(path) => Target::File {
                path: env.directory.join(path),
                open: None,
            },
        };
        Self {
            target,
            counts,
            adapter: env.name.clone(),
            is_failing: false,
        }
    }

    async fn write(&mut self, lines: Vec<u8>) -> io::Result<()> {
        match &mut self.target {
            Target::Stdout => blocking(move || write(&mut io::stdout().lock(), &lines)).await,
            Target::Stderr => blocking(move || write(&mut io::stderr().lock(), &lines)).await,
            Target::File { path, open } => {
                // Taken out, so that a file that fails is opened anew.
                let (path, was_open) = (path.clone(), open.take());
                let written = blocking(move || {
                    let mut file = match was_open {
                        Some(file) => file,
                        None => OpenOptions::new().create(true).append(true).open(path)?,
                    };
                    write(&mut file, &lines)?;
                    Ok(file)
                });
                *open = Some(written.await?);
                Ok(())
            }
        }
    }
}

fn write(to: &mut impl Write, lines: &[u8]) -> io::Result<()> {
    to.write_all(lines)?;
    to.flush()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

impl Sink<Vec<u8>> for Writer {
    async fn send(&mut self, batch: Vec<Vec<u8>>) {
        let lines = batch.len() as u64;
        match self.write(batch.concat()).await {
            Ok(()) => {
                self.counts.written.fetch_add(lines, Ordering::Relaxed);
                self.is_failing = false;
            }
            Err(error) => {
                self.counts.failed.fetch_add(lines, Ordering::Relaxed);
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(adapter = &*self.adapter, "log lines are dropped: {error}");
                }
            }
        }
    }
}
