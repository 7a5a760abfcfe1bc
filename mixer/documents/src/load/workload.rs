//! `workload` documents.
//!
//! Several may be recognised by the same: one process then has several ids.

use std::path::{Component, Path, PathBuf};

use super::document::Document;
use super::tls;
use crate::diagnostics::Problems;
use crate::fields::{Fields, Shape};
use crate::scalar::{integer, scalar};
use crate::yaml::Node;
use crate::{Attest, Code, Mesh, Workload};

pub(crate) const SHAPE: Shape = Shape {
    what: "a workload",
    keys: &["id", "attest"],
    later: &[],
};

/// `attest`.
pub(crate) const ATTEST: Shape = Shape {
    what: "`attest`",
    keys: &["uid", "gid", "path"],
    later: &[],
};

/// The most that a user or group has as its number; the next one means nobody.
const MOST: u64 = u32::MAX as u64 - 1;

pub(super) fn read<'d, 'n: 'd>(
    documents: impl Iterator<Item = &'d Document<'n>>,
    mesh: &Mesh,
    problems: &mut Problems,
) -> Vec<Workload> {
    documents
        .filter_map(|document| workload(document, mesh, problems))
        .collect()
}

fn workload(document: &Document<'_>, mesh: &Mesh, problems: &mut Problems) -> Option<Workload> {
    let fields = document.fields(SHAPE, problems)?;
    let id = fields
        .need(
            "id",
            "a workload needs the `id` it gets",
            "such as `id: spiffe://cluster.local/ns/shop/sa/products`",
            problems,
        )
        .and_then(|node| own_id(node, mesh, problems));
    let attest = fields
        .need(
            "attest",
            "a workload needs `attest`: how it is recognised",
            "such as `attest: { uid: 1001 }`",
            problems,
        )
        .and_then(|node| attest(node, problems));
    Some(Workload {
        name: document.name.into(),
        id: id?,
        attest: attest?,
        span: document.span,
    })
}

/// An id of the mesh's own trust domain.
fn own_id(node: &Node, mesh: &Mesh, problems: &mut Problems) -> Option<String> {
    let id = tls::id(node, problems)?;
    // What `tls::id` takes has a trust domain and a path.
    let domain = id.split('/').nth(2).unwrap_or_default();
    if domain != mesh.trust_domain {
        problems
            .error(
                Code::ForeignId,
                node.span,
                format!(
                    "the trust domain of this mesh is `{}`, not `{domain}`",
                    mesh.trust_domain
                ),
            )
            .help("`mesh: { trust_domain: .. }` says which it is");
        return None;
    }
    Some(id)
}

fn attest(node: &Node, problems: &mut Problems) -> Option<Attest> {
    let fields = Fields::of(node, ATTEST, problems)?;
    if ATTEST.keys.iter().all(|key| fields.lacks(key)) {
        problems
            .error(
                Code::MissingKey,
                node.span,
                "`attest` needs at least one of `uid`, `gid`, `path`",
            )
            .help("without any, every process of the host would be this workload");
        return None;
    }
    let number = |key: &str, problems: &mut Problems| {
        let node = fields.get(key)?;
        integer(node, &format!("`{key}`"), 0..=MOST, problems).map(|number| number as u32)
    };
    let (uid, gid) = (number("uid", problems), number("gid", problems));
    let path = fields
        .get("path")
        .and_then(|node| executable(node, problems));
    // What is wrong must not be left out: the workload would be recognised by less.
    let said = |key: &str, is_known: bool| fields.entry(key).is_none() || is_known;
    let whole =
        said("uid", uid.is_some()) && said("gid", gid.is_some()) && said("path", path.is_some());
    whole.then_some(Attest { uid, gid, path })
}

fn executable(node: &Node, problems: &mut Problems) -> Option<PathBuf> {
    let text = &scalar(node, "`path`", problems)?.text;
    let path = Path::new(text);
    let mut parts = path.components();
    let plain = parts.next() == Some(Component::RootDir)
        && parts.clone().count() > 0
        && parts.all(|part| matches!(part, Component::Normal(_)))
        && !text.contains('\0');
    if !plain {
        problems.error(
            Code::ExecutablePath,
            node.span,
            format!("`path` is the absolute path of an executable, not `{text}`"),
        );
        return None;
    }
    Some(path.to_owned())
}
