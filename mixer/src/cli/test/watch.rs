//! Running tests again whenever their documents change.

use std::process::ExitCode;

use mixer_documents::{Sources, Watcher};
use mixer_runtime::{Clock, Tasks};
use tokio::signal::unix::{SignalKind, signal};

use super::{Args, once};
use crate::cli::INVALID;
use crate::cli::loaded;

/// Until a signal; exits as the last run did.
pub(super) fn run(args: &Args) -> ExitCode {
    // Not the runtime of the tests: each run has its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let _inside = runtime.enter();
    let (mut interrupt, mut terminate) = match (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) {
        (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("cannot listen to signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    let first = Sources::read(&args.paths);
    let now = first.clone().unwrap_or_default();
    let tasks = Tasks::new();
    let mut changes = Watcher::start(args.paths.clone(), now, Clock::system(), &tasks).changes;
    let mut reading = first;
    loop {
        let code = match reading {
            Ok(sources) => once(args, sources),
            Err(unreadable) => {
                loaded::show(&unreadable);
                ExitCode::from(INVALID)
            }
        };
        eprintln!("watching; Ctrl-C ends");
        let changed = runtime.block_on(async {
            tokio::select! {
                changed = changes.changed() => changed.is_ok(),
                _ = interrupt.recv() => false,
                _ = terminate.recv() => false,
            }
        });
        let newest = changes.borrow_and_update().clone();
        match newest {
            Some(newest) if changed => reading = newest,
            _ => return code,
        }
    }
}
