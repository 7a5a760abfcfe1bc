//! The files documents come from, and places in them.

use std::path::PathBuf;

use crate::Diagnostics;

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
    /// the `..data` indirection of a ConfigMap is read once. No documents at all is an error.
    pub fn read(paths: &[PathBuf]) -> Result<Self, Diagnostics> {
        let _ = paths;
        unimplemented!()
    }

    /// From texts, each under a name.
    pub fn from_texts<N: Into<String>, T: Into<String>>(texts: impl IntoIterator<Item = (N, T)>) -> Self {
        let _ = texts.into_iter().map(|(name, text)| (name.into(), text.into())).count();
        unimplemented!()
    }

    /// `path:line:column` of a span's start; lines and columns count from 1, columns in characters.
    pub fn place(&self, span: Span) -> String {
        let _ = span;
        unimplemented!()
    }
}
