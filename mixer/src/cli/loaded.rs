//! Documents for verbs that load them once and end.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use mixer_adapter::Registry;
use mixer_documents::{Diagnostics, Sources};
use mixer_runtime::{Clock, Random};
use tokio::runtime::Runtime;

use super::{INVALID, UNREADABLE, USAGE, answer};
use crate::answers;
use crate::dispatch::Dispatcher;
use crate::snapshot::{Snapshot, Surroundings};

/// A snapshot that never comes into force, and what it stands in.
pub(super) struct Loaded {
    pub(super) snapshot: Snapshot,
    pub(super) registry: Registry,
    pub(super) surroundings: Surroundings,
    pub(super) runtime: Runtime,
}

impl Loaded {
    /// Reads and builds; every problem goes to standard error, warnings too.
    pub(super) fn from(paths: &[PathBuf], clock: Clock) -> Result<Self, ExitCode> {
        readable(paths)?;
        let sources = Sources::read(paths).map_err(invalid)?;
        Self::of(sources, clock)
    }

    /// Builds what was read.
    pub(super) fn of(sources: Sources, clock: Clock) -> Result<Self, ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| {
            eprintln!("cannot start: {error}");
            ExitCode::FAILURE
        })?;
        let surroundings =
            Surroundings::new(clock, Random::from_system(), runtime.handle().clone());
        let registry = mixer_adapters::builtin();
        let snapshot = Snapshot::build(sources, &registry, &surroundings).map_err(invalid)?;
        show(&snapshot.set.warnings);
        Ok(Self {
            snapshot,
            registry,
            surroundings,
            runtime,
        })
    }
}

impl Loaded {
    /// Puts the documents into force for one question: their adapters begin their work, but for those that `answers` speak for.
    pub(super) fn asking(
        self,
        answers: &[answer::Given],
    ) -> Result<(Dispatcher, Runtime), ExitCode> {
        let answers = answer::known(answers, &self.snapshot).map_err(|problem| {
            eprintln!("{problem}");
            ExitCode::from(USAGE)
        })?;
        let adapters = answers::instead(&self.snapshot, &self.surroundings, &answers);
        let mut snapshot = self.snapshot.with_adapters(adapters);
        drop(self.snapshot);
        {
            let _inside = self.runtime.enter();
            snapshot.start();
        }
        let dispatcher = Dispatcher::new(Arc::new(snapshot), &self.surroundings);
        Ok((dispatcher, self.runtime))
    }
}

/// Whether all of `paths` are there.
pub(super) fn readable(paths: &[PathBuf]) -> Result<(), ExitCode> {
    for path in paths {
        if let Err(error) = std::fs::metadata(path) {
            eprintln!("cannot read {}: {error}", path.display());
            return Err(ExitCode::from(UNREADABLE));
        }
    }
    Ok(())
}

fn invalid(diagnostics: Diagnostics) -> ExitCode {
    show(&diagnostics);
    ExitCode::from(INVALID)
}

/// Says what is wrong with documents, in colour where that is wanted.
pub(crate) fn show(diagnostics: &Diagnostics) {
    if !diagnostics.list.is_empty() {
        eprint!("{}", diagnostics.render(in_color(&std::io::stderr())));
    }
}

/// <https://no-color.org>: any value but the empty one.
pub(crate) fn in_color(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
