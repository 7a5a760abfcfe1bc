//! Documents for verbs that load them once and end.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use mixer_adapter::Registry;
use mixer_documents::{Diagnostics, Sources};
use mixer_runtime::{Clock, Random};
use tokio::runtime::Runtime;

use super::{INVALID, UNREADABLE};
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
        for path in paths {
            if let Err(error) = std::fs::metadata(path) {
                eprintln!("cannot read {}: {error}", path.display());
                return Err(ExitCode::from(UNREADABLE));
            }
        }
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
        let invalid = |diagnostics: Diagnostics| {
            show(&diagnostics);
            ExitCode::from(INVALID)
        };
        let sources = Sources::read(paths).map_err(invalid)?;
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
