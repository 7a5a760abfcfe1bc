//! Who holds the other end of a Unix socket: what the kernel says, compared with what workloads are recognised by.
//!
//! User and group are those of the moment the socket was connected (SO_PEERCRED) and cannot be forged. The executable is looked at
//! when the connection is accepted, and it is the file that is compared, by device and inode, not its name: a process can make
//! itself a view of the file system in which any name is anything. It tells honest programs of one user apart; against a
//! program of the same user that means harm it is no boundary, since the two can hand sockets to each other.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mixer_identity::SpiffeId;
use tokio::net::UnixStream;

use crate::Attested;

/// A process at the other end of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its number, if it has one here.
    pub pid: Option<u32>,
    /// Its user.
    pub uid: u32,
    /// Its group; supplementary groups are not known.
    pub gid: u32,
    /// What it executes.
    executable: Option<File>,
}

/// A file, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct File {
    device: u64,
    inode: u64,
}

/// A workload: what it gets, and how it is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: SpiffeId,
    /// What must hold of a process.
    pub selectors: Selectors,
}

/// What must hold of a process, all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selectors {
    /// Its user.
    pub uid: Option<u32>,
    /// Its group.
    pub gid: Option<u32>,
    /// The file it executes.
    pub path: Option<PathBuf>,
}

impl Caller {
    /// Who connected.
    pub fn of(stream: &UnixStream) -> std::io::Result<Self> {
        let credentials = stream.peer_cred()?;
        let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok());
        Ok(Self {
            pid,
            uid: credentials.uid(),
            gid: credentials.gid(),
            executable: pid.and_then(|pid| File::at(&PathBuf::from(format!("/proc/{pid}/exe")))),
        })
    }

    /// The ids of this process, in the order of the entries, each once.
    pub(crate) fn ids(&self, entries: &[Entry]) -> Vec<SpiffeId> {
        let mut ids: Vec<SpiffeId> = Vec::new();
        for entry in entries {
            if entry.selectors.hold_of(self) && !ids.contains(&entry.id) {
                ids.push(entry.id.clone());
            }
        }
        ids
    }

    pub(crate) fn attested(&self) -> Attested {
        Attested::Process {
            pid: self.pid,
            uid: self.uid,
            gid: self.gid,
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.attested().fmt(f)
    }
}

impl File {
    fn at(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}

impl Selectors {
    fn hold_of(&self, caller: &Caller) -> bool {
        // Nothing said is nobody recognised, not everybody.
        if *self == Self::default() {
            return false;
        }
        let executes = |path: &PathBuf| {
            let file = File::at(path);
            file.is_some() && file == caller.executable
        };
        self.uid.is_none_or(|uid| uid == caller.uid)
            && self.gid.is_none_or(|gid| gid == caller.gid)
            && self.path.as_ref().is_none_or(executes)
    }
}

/// What workloads there are, shared by those who recognise them.
pub(crate) type Entries = Arc<Vec<Entry>>;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, selectors: Selectors) -> Entry {
        let id = SpiffeId::parse(&format!("spiffe://cluster.local/{path}")).unwrap();
        Entry { id, selectors }
    }

    fn caller(uid: u32, gid: u32, executable: Option<&Path>) -> Caller {
        Caller {
            pid: None,
            uid,
            gid,
            executable: executable.and_then(File::at),
        }
    }

    fn recognised(caller: &Caller, entries: &[Entry]) -> Vec<String> {
        let ids = caller.ids(entries);
        ids.iter().map(|id| id.path().to_owned()).collect()
    }

    #[test]
    fn all_that_is_said_must_hold() {
        let none = Selectors::default();
        let entries = [
            entry(
                "user",
                Selectors {
                    uid: Some(1),
                    ..none.clone()
                },
            ),
            entry(
                "group",
                Selectors {
                    gid: Some(2),
                    ..none.clone()
                },
            ),
            entry(
                "both",
                Selectors {
                    uid: Some(1),
                    gid: Some(2),
                    ..none.clone()
                },
            ),
            entry("nobody", none),
        ];
        assert_eq!(
            recognised(&caller(1, 2, None), &entries),
            ["/user", "/group", "/both"]
        );
        assert_eq!(recognised(&caller(1, 3, None), &entries), ["/user"]);
        assert_eq!(recognised(&caller(0, 2, None), &entries), ["/group"]);
        assert_eq!(recognised(&caller(0, 0, None), &entries), [""; 0]);
    }

    #[test]
    fn an_executable_is_a_file_and_not_a_name() {
        let place = tempfile::tempdir().unwrap();
        let (file, linked, copied) = (
            place.path().join("file"),
            place.path().join("linked"),
            place.path().join("copied"),
        );
        std::fs::write(&file, "x").unwrap();
        std::fs::hard_link(&file, &linked).unwrap();
        std::fs::copy(&file, &copied).unwrap();
        let entries = [entry(
            "a",
            Selectors {
                path: Some(file.clone()),
                ..Selectors::default()
            },
        )];
        assert_eq!(recognised(&caller(0, 0, Some(&linked)), &entries), ["/a"]);
        assert_eq!(recognised(&caller(0, 0, Some(&copied)), &entries), [""; 0]);
        // Neither side is a file: nobody knows what it executes, and that is no match.
        std::fs::remove_file(&file).unwrap();
        assert_eq!(recognised(&caller(0, 0, None), &entries), [""; 0]);
    }

    #[test]
    fn two_entries_for_one_id_yield_one() {
        let uid = |uid| Selectors {
            uid: Some(uid),
            ..Selectors::default()
        };
        let entries = [
            entry("a", uid(1)),
            entry("b", uid(1)),
            entry(
                "a",
                Selectors {
                    gid: Some(1),
                    ..uid(1)
                },
            ),
        ];
        assert_eq!(recognised(&caller(1, 1, None), &entries), ["/a", "/b"]);
    }

    #[tokio::test]
    async fn the_kernel_says_who_is_at_the_other_end() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let caller = Caller::of(&ours).unwrap();
        assert_eq!(caller.pid, Some(std::process::id()));
        let executable = std::env::current_exe().unwrap();
        assert_eq!(caller.executable, File::at(&executable));
    }
}
