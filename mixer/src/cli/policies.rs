//! `--policies`: where documents are, for verbs whose own words are about a request.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::UNREADABLE;

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
    fn paths(&self) -> Vec<PathBuf> {
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

    /// Loads them, and says what to do where the usual place has none or several sets of documents.
    pub(super) fn load<T>(
        &self,
        load: impl FnOnce(&[PathBuf]) -> Result<T, ExitCode>,
    ) -> Result<T, ExitCode> {
        let is_usual = self.named().is_none();
        if is_usual && !Path::new(HERE).exists() {
            eprintln!("say where the policies are: --policies DIR, or MIXER_POLICIES");
            return Err(ExitCode::from(UNREADABLE));
        }
        let loaded = load(&self.paths());
        if loaded.is_err() && is_usual {
            let folders = folders();
            if let [first, _, ..] = &folders[..] {
                eprintln!(
                    "{HERE} has the folders {}: say which is meant, such as --policies {HERE}/{first}",
                    folders.join(", ")
                );
            }
        }
        loaded
    }
}

/// What may be sets of documents of their own, sorted.
fn folders() -> Vec<String> {
    let entries = std::fs::read_dir(HERE).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
