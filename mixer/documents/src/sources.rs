//! The files documents come from, and places in them.
//!
//! Files are read whole and kept: a problem is shown in the text it was found in, not in what the file has become since.

use std::path::{Path, PathBuf};

use crate::{Code, Diagnostic, Diagnostics};

/// The largest file that is read, in bytes.
const LARGEST_FILE: u64 = 1 << 20;
/// The most that is read, in bytes.
const LARGEST_TOTAL: u64 = 64 << 20;
/// The most files that are read.
const MOST_FILES: usize = 10_000;
/// How deep directories may nest.
const DEEPEST: usize = 16;

/// Number of a file within its [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub(crate) u32);

/// Bytes `start..end` of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// The files of one or more directories, in decision order: by path relative to its directory, bytewise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Path as shown, path relative to its directory, text.
    pub(crate) files: Vec<(PathBuf, String, String)>,
}

impl Sources {
    /// Reads every `*.yaml` and `*.yml` below the directories (a path may also be a file). Hidden entries are skipped, so that
    /// the `..data` indirection of a ConfigMap is read once. No documents at all is an error. At most 1 MiB a file, 64 MiB and
    /// 10,000 files in all.
    pub fn read(paths: &[PathBuf]) -> Result<Self, Diagnostics> {
        let mut reading = Reading::default();
        for path in paths {
            let before = reading.found.len();
            let failed = reading.failed.len();
            match std::fs::metadata(path) {
                Err(error) => reading.fail(
                    Code::Unreadable,
                    format!("cannot read {}: {error}", path.display()),
                ),
                Ok(what) if what.is_dir() => {
                    reading.directory(path, "", &mut Vec::new());
                    if reading.found.len() == before && reading.failed.len() == failed {
                        reading.fail(
                            Code::NoDocuments,
                            format!("no documents in {}", path.display()),
                        );
                    }
                }
                Ok(_) => {
                    let name = path
                        .file_name()
                        .unwrap_or_default()
                        .to_string_lossy()
                        .into_owned();
                    reading.found.push((path.clone(), name));
                }
            }
        }
        if paths.is_empty() {
            reading.fail(
                Code::NoDocuments,
                "no directory of documents was given".to_owned(),
            );
        }
        reading.found.sort_by(|(_, a), (_, b)| a.cmp(b));
        if reading.found.len() > MOST_FILES {
            reading.fail(
                Code::TooMuch,
                format!(
                    "{} files of documents; at most {MOST_FILES} are read",
                    reading.found.len()
                ),
            );
            reading.found.clear();
        }
        reading.texts()
    }

    /// From texts, each under a name.
    pub fn from_texts<N: Into<String>, T: Into<String>>(
        texts: impl IntoIterator<Item = (N, T)>,
    ) -> Self {
        let files = texts.into_iter().map(|(name, text)| {
            let name = name.into();
            (PathBuf::from(&name), name, text.into())
        });
        Self {
            files: files.collect(),
        }
    }

    /// `path:line:column` of a span's start; lines and columns count from 1, columns in characters.
    pub fn place(&self, span: Span) -> String {
        let (line, column) = self.line_and_column(span);
        format!("{}:{line}:{column}", self.path(span.file).display())
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = FileId> + use<> {
        (0..self.files.len() as u32).map(FileId)
    }

    pub(crate) fn path(&self, file: FileId) -> &Path {
        &self.files[file.0 as usize].0
    }

    pub(crate) fn text(&self, file: FileId) -> &str {
        &self.files[file.0 as usize].2
    }

    /// The text of a span.
    pub(crate) fn slice(&self, span: Span) -> &str {
        self.text(span.file)
            .get(span.start as usize..span.end as usize)
            .unwrap_or_default()
    }

    /// What stands behind a span.
    pub(crate) fn after(&self, span: Span) -> &str {
        self.text(span.file)
            .get(span.end as usize..)
            .unwrap_or_default()
    }

    pub(crate) fn line_and_column(&self, span: Span) -> (usize, usize) {
        let text = self.text(span.file);
        let before = &text[..text.floor_char_boundary(span.start as usize)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (
            before.matches('\n').count() + 1,
            before[line_start..]
                .trim_start_matches('\u{feff}')
                .chars()
                .count()
                + 1,
        )
    }
}

#[derive(Default)]
struct Reading {
    found: Vec<(PathBuf, String)>,
    failed: Vec<Diagnostic>,
}

impl Reading {
    fn fail(&mut self, code: Code, message: String) {
        self.failed.push(Diagnostic::directory(code, message));
    }

    /// Adds the files of `directory`, whose path below the one that was named is `below`. `above` are the directories around
    /// it, so that a symlink to one of them does not go round for ever.
    fn directory(&mut self, directory: &Path, below: &str, above: &mut Vec<PathBuf>) {
        let real = match directory.canonicalize() {
            Ok(real) => real,
            Err(error) => {
                return self.fail(
                    Code::Unreadable,
                    format!("cannot read {}: {error}", directory.display()),
                );
            }
        };
        if above.contains(&real) {
            return;
        }
        if above.len() >= DEEPEST {
            return self.fail(
                Code::TooMuch,
                format!(
                    "{} is nested too deep (at most {DEEPEST} directories)",
                    directory.display()
                ),
            );
        }
        above.push(real);
        match std::fs::read_dir(directory) {
            Err(error) => self.fail(
                Code::Unreadable,
                format!("cannot read {}: {error}", directory.display()),
            ),
            Ok(entries) => {
                for entry in entries {
                    match entry {
                        Ok(entry) => self.entry(&entry, below, above),
                        Err(error) => self.fail(
                            Code::Unreadable,
                            format!("cannot read {}: {error}", directory.display()),
                        ),
                    }
                }
            }
        }
        above.pop();
    }

    fn entry(&mut self, entry: &std::fs::DirEntry, below: &str, above: &mut Vec<PathBuf>) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            return;
        }
        let (path, relative) = (entry.path(), format!("{below}{name}"));
        let documents = name.ends_with(".yaml") || name.ends_with(".yml");
        match std::fs::metadata(&path) {
            Ok(what) if what.is_dir() => self.directory(&path, &format!("{relative}/"), above),
            Ok(_) if documents => self.found.push((path, relative)),
            Ok(_) => {}
            Err(error) if documents => self.fail(
                Code::Unreadable,
                format!("cannot read {}: {error}", path.display()),
            ),
            Err(_) => {}
        }
    }

    fn texts(mut self) -> Result<Sources, Diagnostics> {
        let mut files = Vec::with_capacity(self.found.len());
        let mut total = 0;
        for (path, relative) in std::mem::take(&mut self.found) {
            match text(&path) {
                Ok(text) => {
                    total += text.len() as u64;
                    if total > LARGEST_TOTAL {
                        self.fail(
                            Code::TooMuch,
                            format!("more than {} MiB of documents", LARGEST_TOTAL >> 20),
                        );
                        break;
                    }
                    files.push((path, relative, text));
                }
                Err((code, why)) => {
                    self.fail(code, format!("cannot read {}: {why}", path.display()))
                }
            }
        }
        if self.failed.is_empty() {
            Ok(Sources { files })
        } else {
            Err(Diagnostics {
                sources: Sources::default(),
                list: self.failed,
            })
        }
    }
}

fn text(path: &Path) -> Result<String, (Code, String)> {
    use std::io::Read as _;
    let unreadable = |error: std::io::Error| (Code::Unreadable, error.to_string());
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST_FILE {
        let why = format!("it is larger than {} MiB", LARGEST_FILE >> 20);
        return Err((Code::TooMuch, why));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        (Code::Unreadable, format!("byte {at} is not UTF-8"))
    })
}

#[cfg(test)]
mod tests;
