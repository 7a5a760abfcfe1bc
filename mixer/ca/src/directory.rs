//! What the authority keeps on disk, and the care taken of it.
//!
//! Every file is readable by its owner alone and is written whole or not at all: beside its place, synced, renamed over it, and
//! the directory synced too, so that a token that was used stays used whatever happens next. A key that others could have read
//! is refused rather than used. Several processes share a directory (`serve` runs while `token` or `rotate` is called): what
//! reads and then writes does so under a lock of the file system.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Bytes of a file that is read: nothing the authority writes comes near.
const MOST_BYTES: u64 = 1 << 20;
const OWNER_ONLY: u32 = 0o600;
const FOLDERS: [&str; 3] = ["roots", "tokens", "members"];

/// The directory of one authority.
#[derive(Clone, Debug)]
pub struct Directory(PathBuf);

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The operating system says no.
    #[error("{}: {error}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// Others than the owner may read it, or may have.
    #[error(
        "{} can be read by others than its owner (mode {mode:03o}): `chmod {wanted:o} {}`, and if somebody may have read it, make a new authority",
        path.display(), path.display()
    )]
    Exposed {
        /// What.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// What its mode should be.
        wanted: u32,
    },
    /// `init` where something is.
    #[error("{} is there already; an authority is made in a directory that is not, or is empty", .0.display())]
    Taken(PathBuf),
    /// No authority is here.
    #[error("{} holds no certificate authority: `mixer ca init` makes one", .0.display())]
    Missing(PathBuf),
    /// What is there is not what was written.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// In what way.
        reason: String,
    },
}

/// While it lives, no other process changes the directory.
#[derive(Debug)]
pub(crate) struct Lock {
    /// Unlocks when it is closed.
    _file: File,
}

impl Directory {
    /// An empty one, made with the folders below it, for its owner only.
    pub(crate) fn create(path: &Path) -> Result<Self, DirectoryError> {
        let empty = match std::fs::read_dir(path) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(failed(path)(error)),
        };
        if !empty {
            return Err(DirectoryError::Taken(path.to_owned()));
        }
        let mut builder = DirBuilder::new();
        builder.mode(0o700).recursive(true);
        builder.create(path).map_err(failed(path))?;
        // It may have been there with another mode.
        std::fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed(path))?;
        for folder in FOLDERS {
            let path = path.join(folder);
            builder.create(&path).map_err(failed(&path))?;
        }
        Ok(Self(path.to_owned()))
    }

    /// One that is there. Nobody else may read or enter it.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let directory = Self(path.to_owned());
        if !directory.path("state.json").exists() {
            return Err(DirectoryError::Missing(path.to_owned()));
        }
        let mode = mode(&std::fs::metadata(path).map_err(failed(path))?);
        if mode & 0o077 != 0 {
            return Err(DirectoryError::Exposed {
                path: path.to_owned(),
                mode,
                wanted: 0o700,
            });
        }
        Ok(directory)
    }

    /// Where a file of this name is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Waits for other processes to be done with the directory.
    pub(crate) fn lock(&self) -> Result<Lock, DirectoryError> {
        let path = self.path("lock");
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create(true)
            .truncate(false)
            .mode(OWNER_ONLY);
        let file = options.open(&path).map_err(failed(&path))?;
        file.lock().map_err(failed(&path))?;
        Ok(Lock { _file: file })
    }

    /// The text of a file; `None` where there is none. One that others may read is refused.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>, DirectoryError> {
        let path = self.path(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&path)(error)),
        };
        let metadata = file.metadata().map_err(failed(&path))?;
        if mode(&metadata) & 0o077 != 0 {
            return Err(DirectoryError::Exposed {
                path,
                mode: mode(&metadata),
                wanted: OWNER_ONLY,
            });
        }
        if metadata.len() > MOST_BYTES {
            return Err(self.damaged(name, format!("it has {} bytes", metadata.len())));
        }
        io::read_to_string(file).map(Some).map_err(failed(&path))
    }

    /// Writes a file whole or not at all.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), DirectoryError> {
        let path = self.path(name);
        let new = path.with_extension(format!("new-{}", std::process::id()));
        let written = (|| {
            let mut options = OpenOptions::new();
            options
                .write(true)
                .create(true)
                .truncate(true)
                .mode(OWNER_ONLY);
            let mut file = options.open(&new)?;
            file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&new, &path)
        })();
        if let Err(error) = written {
            let _ = std::fs::remove_file(&new);
            return Err(failed(&path)(error));
        }
        self.sync(&path)
    }

    /// Gives a file another name; `false` when it is there no more. Of several who try, one finds it.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<bool, DirectoryError> {
        let (from, to) = (self.path(from), self.path(to));
        match std::fs::rename(&from, &to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(&from)(error)),
        }
        self.sync(&from)?;
        self.sync(&to)?;
        Ok(true)
    }

    /// Removes a file; `false` when there was none.
    pub(crate) fn remove(&self, name: &str) -> Result<bool, DirectoryError> {
        let path = self.path(name);
        match std::fs::remove_file(&path) {
            Ok(()) => self.sync(&path).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed(&path)(error)),
        }
    }

    /// The names of the files of a folder, in order.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<String>, DirectoryError> {
        let path = self.path(folder);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(failed(&path))? {
            let name = entry.map_err(failed(&path))?.file_name();
            names.extend(name.into_string().ok());
        }
        names.sort();
        Ok(names)
    }

    /// That a file is not what was written.
    pub(crate) fn damaged(&self, name: &str, reason: impl ToString) -> DirectoryError {
        DirectoryError::Damaged {
            path: self.path(name),
            reason: reason.to_string(),
        }
    }

    /// Makes what happened to the name of a file outlive a crash.
    fn sync(&self, file: &Path) -> Result<(), DirectoryError> {
        let folder = file.parent().unwrap_or(&self.0);
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(failed(folder))
    }
}

fn mode(metadata: &std::fs::Metadata) -> u32 {
    metadata.mode() & 0o777
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> DirectoryError {
    let path = path.to_owned();
    move |error| DirectoryError::Io { path, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_for_its_owner_only() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::create(&place.path().join("ca")).unwrap();
        directory.write("state.json", "{}").unwrap();
        directory.write("tokens/a", "x").unwrap();
        drop(directory.lock().unwrap());
        let mode = |name: &str| mode(&std::fs::metadata(directory.path(name)).unwrap());
        assert_eq!(mode(""), 0o700);
        assert_eq!([mode("roots"), mode("tokens"), mode("members")], [0o700; 3]);
        assert_eq!(
            [mode("state.json"), mode("tokens/a"), mode("lock")],
            [0o600; 3]
        );
    }

    #[test]
    fn what_others_could_read_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("ca");
        let directory = Directory::create(&path).unwrap();
        directory.write("state.json", "{}").unwrap();
        let open = |name: &str, mode| {
            std::fs::set_permissions(directory.path(name), Permissions::from_mode(mode)).unwrap();
        };
        open("state.json", 0o640);
        let error = directory.read("state.json").unwrap_err();
        assert!(
            error.to_string().contains("mode 640): `chmod 600"),
            "{error}"
        );
        open("state.json", 0o600);
        open("", 0o755);
        let error = Directory::open(&path).unwrap_err();
        assert!(error.to_string().contains("`chmod 700"), "{error}");
        open("", 0o700);
        assert!(Directory::open(&path).is_ok());
    }

    #[test]
    fn an_authority_is_made_where_nothing_is() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("f"), "").unwrap();
        assert!(matches!(
            Directory::create(place.path()),
            Err(DirectoryError::Taken(_))
        ));
        assert!(matches!(
            Directory::open(place.path()),
            Err(DirectoryError::Missing(_))
        ));
    }

    #[test]
    fn of_several_who_take_a_file_one_gets_it() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::create(&place.path().join("ca")).unwrap();
        directory.write("tokens/a", "x").unwrap();
        let taken = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| directory.rename("tokens/a", "members/a").unwrap()))
                .collect();
            takers
                .into_iter()
                .map(|taker| taker.join().unwrap())
                .filter(|taken| *taken)
                .count()
        });
        assert_eq!(taken, 1);
    }
}
