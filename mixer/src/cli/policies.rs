//! `--policies`: where documents are, for verbs whose own words are about a request.

use std::path::PathBuf;

/// Names directories like `PATH` does; read where there is no `--policies`.
const VARIABLE: &str = "MIXER_POLICIES";
/// Where they are when nobody says.
const HERE: &str = "policies";

/// Where documents are.
#[derive(Debug, clap::Args)]
pub(super) struct Policies {
    /// Directories of documents (or files); else those of MIXER_POLICIES, else `policies`.
    #[arg(long = "policies", value_name = "DIR")]
    paths: Vec<PathBuf>,
}

impl Policies {
    /// Those of the command line, else of the environment, else the usual one.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.named().unwrap_or_else(|| vec![HERE.into()])
    }

    /// Those that somebody named.
    pub(super) fn named(&self) -> Option<Vec<PathBuf>> {
        if !self.paths.is_empty() {
            return Some(self.paths.clone());
        }
        let listed = std::env::var_os(VARIABLE)?;
        let paths: Vec<PathBuf> = std::env::split_paths(&listed)
            .filter(|path| !path.as_os_str().is_empty())
            .collect();
        (!paths.is_empty()).then_some(paths)
    }

    /// What to do when they are not there.
    pub(super) fn hint(&self) -> Option<&'static str> {
        let missing = self.named().is_none() && !std::path::Path::new(HERE).exists();
        missing.then_some("say where the policies are: --policies DIR, or MIXER_POLICIES")
    }
}
