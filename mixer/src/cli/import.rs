//! `mixer import`: limits of other rate limit services as policies.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mixer_documents::Sources;
use mixer_documents::import::{Imported, Windows, limitador, ratelimit};

use super::loaded::{readable, show};
use super::output::say;
use super::{INVALID, UNREADABLE};

/// Writes limits of another rate limit service as policies; what they cannot express is an error, and nothing is written.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Whose limits they are.
    from: From,
    /// Their files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Count fixed windows, as the service does that the limits are from; otherwise any window is counted.
    #[arg(long)]
    fixed_windows: bool,
    /// Write a file for each domain into this directory, and not to standard output; a file that is there already is an error.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum From {
    /// Limitador: a list of limits with `namespace`.
    Limitador,
    /// envoyproxy/ratelimit: files with `domain` and `descriptors`.
    Ratelimit,
}

/// Imports.
pub(crate) fn run(args: Args) -> ExitCode {
    if let Err(code) = readable(&args.files) {
        return code;
    }
    let sources = Sources::read(&args.files);
    let windows = if args.fixed_windows {
        Windows::Fixed
    } else {
        Windows::Sliding
    };
    let imported = sources.and_then(|sources| match args.from {
        From::Limitador => limitador(sources, windows),
        From::Ratelimit => ratelimit(sources, windows),
    });
    let Imported { files, warnings } = match imported {
        Ok(imported) => imported,
        Err(problems) => {
            show(&problems);
            return ExitCode::from(INVALID);
        }
    };
    show(&warnings);
    let Some(out) = args.out else {
        let texts: Vec<String> = files.into_iter().map(|(_, text)| text).collect();
        say(texts.join("---\n"));
        return ExitCode::SUCCESS;
    };
    match written(&files, &out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(UNREADABLE)
        }
    }
}

fn written(files: &[(String, String)], out: &Path) -> Result<(), String> {
    let failed = |path: &Path, error| format!("cannot write {}: {error}", path.display());
    fs::create_dir_all(out).map_err(|error| failed(out, error))?;
    for (name, text) in files {
        let path = out.join(file_name(name));
        let file = fs::File::create_new(&path);
        let done = file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
        done.map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

/// A domain as the name of a file: what no file system minds stays, anything else is a dash.
fn file_name(domain: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let name = domain.chars().map(|c| if plain(c) { c } else { '-' });
    let name: String = name.collect();
    format!("{}.yaml", name.trim_start_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_name_files_below_the_directory() {
        assert_eq!(file_name("shop.example"), "shop.example.yaml");
        assert_eq!(file_name("../etc/x y"), "-etc-x-y.yaml");
    }
}
