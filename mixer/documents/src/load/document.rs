//! Which kind of document a tree is, and where its name and body are.
//!
//! `policy: products` beside its body, or the same body as the `spec` of a Kubernetes object.

use crate::diagnostics::Problems;
use crate::fields::{Fields, Shape};
use crate::scalar::name;
use crate::suggest::nearest;
use crate::yaml::{Entry, Node, Value};
use crate::{Code, Span};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum DocumentKind {
    Policy,
    Adapter,
    Mesh,
    Service,
    Route,
    Telemetry,
    Attributes,
    Workload,
    Jwt,
}

const KINDS: [DocumentKind; 9] = [
    DocumentKind::Policy,
    DocumentKind::Adapter,
    DocumentKind::Mesh,
    DocumentKind::Service,
    DocumentKind::Route,
    DocumentKind::Telemetry,
    DocumentKind::Attributes,
    DocumentKind::Workload,
    DocumentKind::Jwt,
];
const API_VERSION: &str = "mixer.dev/v1";

/// A document whose kind is known.
#[derive(Debug)]
pub(super) struct Document<'n> {
    pub(super) kind: DocumentKind,
    /// Its name; empty for kinds without one, and when it is wrong.
    pub(super) name: &'n str,
    /// Its name's place.
    pub(super) span: Span,
    body: Body<'n>,
}

#[derive(Debug)]
enum Body<'n> {
    /// Keys of a map.
    Entries(Vec<&'n Entry>),
    /// One node.
    Node(&'n Node),
}

impl DocumentKind {
    /// The key that makes a document one of this kind.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Adapter => "adapter",
            Self::Mesh => "mesh",
            Self::Service => "service",
            Self::Route => "route",
            Self::Telemetry => "telemetry",
            Self::Attributes => "attributes",
            Self::Workload => "workload",
            Self::Jwt => "jwt",
        }
    }

    /// Whether the kind key's value is the body, there being no name.
    fn is_body(self) -> bool {
        matches!(self, Self::Mesh | Self::Attributes)
    }
}

impl<'n> Document<'n> {
    /// The keys of the body.
    pub(super) fn fields(&self, shape: Shape, problems: &mut Problems) -> Option<Fields<'n>> {
        match &self.body {
            Body::Entries(entries) => Some(Fields::from_entries(
                entries.iter().copied(),
                self.span,
                shape,
                problems,
            )),
            Body::Node(node) => Fields::of(node, shape, problems),
        }
    }

    /// The body of a kind whose body is one node.
    pub(super) fn node(&self) -> Option<&'n Node> {
        match &self.body {
            Body::Entries(_) => None,
            Body::Node(node) => Some(node),
        }
    }
}

/// A document as a Kubernetes object.
pub(crate) const KUBERNETES: Shape = Shape {
    what: "a Kubernetes object",
    keys: &["apiVersion", "kind", "metadata", "spec"],
    later: &[],
};

/// Its metadata.
pub(crate) const METADATA: Shape = Shape {
    what: "metadata",
    keys: &["name", "namespace", "labels", "annotations"],
    later: &[],
};

/// The document that `tree` is; `None` when that cannot be told, which is said.
pub(super) fn read<'n>(tree: &'n Node, problems: &mut Problems) -> Option<Document<'n>> {
    let entries = match &tree.value {
        Value::Map(entries) => entries,
        Value::Wrong => return None,
        _ => {
            problems.error(
                Code::WrongShape,
                tree.span,
                format!(
                    "a document is a map such as `policy: products`, this is {}",
                    tree.what()
                ),
            );
            return None;
        }
    };
    if entries
        .iter()
        .any(|entry| entry.key == "apiVersion" || entry.key == "kind")
    {
        return kubernetes(tree, problems);
    }
    let mut found = KINDS.iter().filter_map(|kind| {
        entries
            .iter()
            .find(|entry| entry.key == kind.key())
            .map(|entry| (*kind, entry))
    });
    let Some((kind, key)) = found.next() else {
        let known = KINDS.iter().map(|kind| kind.key());
        let near = entries
            .iter()
            .find_map(|entry| nearest(&entry.key, known.clone()).map(|near| (entry, near)));
        match (near, entries.first()) {
            (Some((entry, near)), _) => problems
                .error(
                    Code::UnknownKind,
                    entry.span,
                    format!("unknown kind of document `{}`", entry.key),
                )
                .help(format!("did you mean `{near}`?")),
            (None, first) => problems
                .error(
                    Code::UnknownKind,
                    first.map_or(tree.span, |entry| entry.span),
                    "this document has no kind",
                )
                .help(format!(
                    "one of its keys must be one of {}",
                    known.collect::<Vec<_>>().join(", ")
                )),
        };
        return None;
    };
    if let Some((_, second)) = found.next() {
        problems
            .error(
                Code::TwoKinds,
                second.span,
                format!(
                    "a document is either `{}` or `{}`, not both",
                    key.key, second.key
                ),
            )
            .help("put `---` between documents");
        return None;
    }
    let beside = entries.iter().filter(|entry| entry.key != kind.key());
    if kind.is_body() {
        let shape = Shape {
            what: "this document",
            keys: &[],
            later: &[],
        };
        Fields::from_entries(beside, tree.span, shape, problems);
        return Some(Document {
            kind,
            name: "",
            span: key.span,
            body: Body::Node(&key.value),
        });
    }
    let name = name(&key.value, "the name", problems).unwrap_or_default();
    Some(Document {
        kind,
        name,
        span: key.value.span,
        body: Body::Entries(beside.collect()),
    })
}

fn kubernetes<'n>(tree: &'n Node, problems: &mut Problems) -> Option<Document<'n>> {
    let shape = KUBERNETES;
    let fields = Fields::of(tree, shape, problems)?;
    let word = |key: &str, problems: &mut Problems| match fields.entry(key) {
        Some(entry) => name(&entry.value, key, problems).map(|word| (word, entry.value.span)),
        None => {
            problems.error(Code::MissingKey, fields.span, format!("`{key}` is missing"));
            None
        }
    };
    if let Some((version, span)) = word("apiVersion", problems)
        && version != API_VERSION
    {
        problems.error(
            Code::ApiVersion,
            span,
            format!("the version is `{API_VERSION}`, not `{version}`"),
        );
    }
    let (word, span) = word("kind", problems)?;
    let Some(kind) = KINDS
        .into_iter()
        .find(|kind| kind.key().eq_ignore_ascii_case(word))
    else {
        let error = problems.error(
            Code::UnknownKind,
            span,
            format!("unknown kind of document `{word}`"),
        );
        if let Some(near) = nearest(word, KINDS.iter().map(|kind| kind.key())) {
            error.help(format!("did you mean `{near}`?"));
        }
        return None;
    };
    let metadata = METADATA;
    let named = fields
        .get("metadata")
        .and_then(|node| Fields::of(node, metadata, problems));
    let (called, place) = match named.as_ref().and_then(|metadata| metadata.get("name")) {
        Some(node) => (
            name(node, "the name", problems).unwrap_or_default(),
            node.span,
        ),
        None => {
            problems.error(Code::MissingKey, span, "`metadata.name` is missing");
            ("", span)
        }
    };
    let Some(spec) = fields.get("spec") else {
        problems.error(Code::MissingKey, span, "`spec` is missing");
        return None;
    };
    let body = match (&spec.value, kind) {
        (_, DocumentKind::Mesh) => Body::Node(spec),
        (_, DocumentKind::Attributes) => {
            let shape = Shape {
                what: "spec",
                keys: &["attributes"],
                later: &[],
            };
            Body::Node(
                Fields::of(spec, shape, problems)?
                    .get("attributes")
                    .unwrap_or(spec),
            )
        }
        (Value::Map(entries), _) => Body::Entries(entries.iter().collect()),
        _ => {
            problems.error(
                Code::WrongShape,
                spec.span,
                format!("`spec` must be a map, this is {}", spec.what()),
            );
            return None;
        }
    };
    let name = if kind.is_body() { "" } else { called };
    Some(Document {
        kind,
        name,
        span: place,
        body,
    })
}
