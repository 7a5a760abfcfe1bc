//! Workloads: who gets which certificate on the host where the certificate authority listens. Nothing that is decided about
//! requests depends on them, so they are part of no revision.

use std::path::PathBuf;
use std::sync::Arc;

use crate::Span;

/// A checked `workload`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its name.
    pub name: Arc<str>,
    /// Its SPIFFE id, within the trust domain of the mesh.
    pub id: String,
    /// How a process is recognised as it.
    pub attest: Attest,
    /// Its name in the file.
    pub span: Span,
}

/// What must hold of a process, all of it; at least one is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attest {
    /// The user it runs as.
    pub uid: Option<u32>,
    /// The group it runs as; supplementary groups do not count.
    pub gid: Option<u32>,
    /// The file it executes: absolute.
    pub path: Option<PathBuf>,
}
