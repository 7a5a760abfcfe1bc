//! What the sources of the workspace must look like, as checks that list what is wrong.
//!
//! Each check takes plain data (edges, names, files) and returns one line per problem, so that its own tests can hand it bad
//! input; [`Tree`] reads the real workspace, and `tests/tidy.rs` puts the two together.

pub mod arrows;
pub mod layout;
pub mod text;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// A text file of the workspace.
#[derive(Clone, Debug)]
pub struct Source {
    /// From the workspace's root, with `/`.
    pub path: String,
    /// All of it.
    pub text: String,
}

/// The workspace on disk.
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    /// The workspace this crate is built in.
    pub fn workspace() -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self {
            root: here
                .parent()
                .expect("the crate is a folder of the workspace")
                .to_owned(),
        }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The names at the top level, without dotfiles and what is built.
    pub fn top_level(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') && name != "target" {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Every text file, but what is built, what git keeps, and what others wrote (`Cargo.lock`, `LICENSE`).
    pub fn sources(&self) -> io::Result<Vec<Source>> {
        let mut sources = Vec::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let name = entry.file_name();
                let kind = entry.file_type()?;
                if kind.is_dir() && name != "target" && name != ".git" {
                    folders.push(entry.path());
                } else if kind.is_file()
                    && !["Cargo.lock", "LICENSE", ".git"]
                        .iter()
                        .any(|skipped| name == *skipped)
                    && let Ok(text) = fs::read_to_string(entry.path())
                {
                    let path = entry.path();
                    let path = path.strip_prefix(&self.root).expect("read below the root");
                    sources.push(Source {
                        path: path.to_string_lossy().replace('\\', "/"),
                        text,
                    });
                }
            }
        }
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(sources)
    }

    /// `cargo metadata` of the members alone.
    pub fn metadata(&self) -> io::Result<serde_json::Value> {
        let text = self.cargo(&["metadata", "--no-deps", "--format-version", "1"])?;
        serde_json::from_str(&text).map_err(io::Error::other)
    }

    /// `cargo tree`: every package that is built, one a line, as `name vVERSION`.
    pub fn packages(&self) -> io::Result<Vec<String>> {
        let text = self.cargo(&[
            "tree",
            "--workspace",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])?;
        let mut packages: Vec<String> = text
            .lines()
            .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
            .collect();
        packages.sort();
        packages.dedup();
        Ok(packages)
    }

    fn cargo(&self, arguments: &[&str]) -> io::Result<String> {
        let output = Command::new(env!("CARGO"))
            .args(arguments)
            .current_dir(&self.root)
            .output()?;
        if !output.status.success() {
            return Err(io::Error::other(
                String::from_utf8_lossy(&output.stderr).into_owned(),
            ));
        }
        String::from_utf8(output.stdout).map_err(io::Error::other)
    }
}
