//! Sources to a set: everything or nothing.

mod adapter;
mod attributes;
mod constant;
mod document;
mod given;
mod jwt;
mod mesh;
mod policy;
mod quota;
mod rate_limit;
mod reply;
mod request;
mod route;
mod rule;
mod service;
mod telemetry;
mod testcase;
mod tls;
mod workload;

use std::collections::HashMap;
use std::sync::Arc;

use mixer_attributes::vocabulary;

use crate::applicability::Applicability;
use crate::context::Context;
use crate::diagnostics::Problems;
use crate::digest::Digests;
use crate::fields::Shape;
use crate::index::Index;
use crate::scalar::Unique;
use crate::{AdapterDocument, Code, Diagnostic, Diagnostics, PolicySet, Sources, yaml};
use document::{Document, DocumentKind};

#[cfg(test)]
pub(crate) use adapter::plain;
pub use request::request;

/// Parses, checks and compiles. `Err` holds every problem found; warnings alone load and stay in [`PolicySet::warnings`].
pub fn load(sources: Sources) -> Result<PolicySet, Diagnostics> {
    load_checking(sources, |_| Vec::new())
}

/// [`load`], where `check` says what is wrong with the `config` of adapters. It is asked only when there are errors anyway (what
/// loads is built, and says so then); what is already said of the same place is not said again.
pub fn load_checking(
    sources: Sources,
    check: impl FnOnce(&[AdapterDocument]) -> Vec<Diagnostic>,
) -> Result<PolicySet, Diagnostics> {
    let mut problems = Problems::default();
    let trees: Vec<yaml::Node> = sources
        .ids()
        .flat_map(|file| yaml::documents(file, sources.text(file), &mut problems))
        .collect();
    let incomplete = !problems.list.is_empty();
    if trees.is_empty() && !incomplete && !sources.is_empty() {
        let files: Vec<String> = sources
            .ids()
            .map(|file| sources.path(file).display().to_string())
            .collect();
        problems.list.push(Diagnostic::directory(
            Code::NoDocuments,
            format!("no documents in {}", files.join(", ")),
        ));
    }
    let documents: Vec<Document<'_>> = trees
        .iter()
        .filter_map(|tree| document::read(tree, &mut problems))
        .collect();
    unique_names(&documents, &sources, &mut problems);
    let of = |kind: DocumentKind| {
        documents
            .iter()
            .filter(move |document| document.kind == kind)
    };

    let attributes::Declared {
        vocabulary,
        compiler,
        defined,
    } = attributes::read(of(DocumentKind::Attributes), &sources, &mut problems);
    let adapters = adapter::read(of(DocumentKind::Adapter), &sources, &mut problems);
    let mesh = mesh::read(of(DocumentKind::Mesh), &sources, &mut problems);
    let workloads = workload::read(of(DocumentKind::Workload), &mesh, &mut problems);

    let adapter_names: HashMap<Arc<str>, usize> = adapters
        .iter()
        .enumerate()
        .map(|(at, adapter)| (adapter.name.clone(), at))
        .collect();
    let quota_ids = Unique::default();
    let mut context = Context {
        sources: &sources,
        problems,
        compiler,
        adapters,
        adapter_names,
        quota_ids,
        incomplete,
    };
    let services = service::read(of(DocumentKind::Service), &mut context);
    tls::need_identities(&services, &mesh, &mut context.problems);
    let (mut routes, route_tests) = route::read(of(DocumentKind::Route), &services, &mut context);
    let route_tests = route::read_tests(&route_tests, &routes, &vocabulary, &defined, &mut context);
    for (route, tests) in routes.iter_mut().zip(route_tests) {
        route.tests = tests;
    }
    let mut policies = Vec::new();
    let mut tests = Vec::new();
    for document in of(DocumentKind::Policy) {
        let (policy, cases) = policy::read(document, &mut context);
        policies.push(policy);
        tests.push(cases);
    }
    for (policy, tests) in
        policies
            .iter_mut()
            .zip(testcase::read(&tests, &vocabulary, &defined, &mut context))
    {
        policy.tests = tests;
    }
    let jwts = jwt::read(of(DocumentKind::Jwt), &mut context);
    let telemetry = telemetry::read(of(DocumentKind::Telemetry), &mut context);
    service::warn_unasked(&services, &policies, &mut context.problems);

    let Context {
        problems,
        mut compiler,
        adapters,
        ..
    } = context;
    drop(documents);
    let mut warnings = Diagnostics::new(sources, problems.list);
    if warnings.errors() > 0 {
        let said = |problem: &Diagnostic| {
            let mut known = warnings.list.iter();
            known.any(|known| known.span.is_some() && known.span == problem.span)
        };
        let mut more = check(&adapters);
        more.retain(|problem| !said(problem));
        more.append(&mut warnings.list);
        return Err(Diagnostics::new(warnings.sources, more));
    }
    let digests = Digests::new(&mesh, &policies, &telemetry, &adapters, &defined);
    let applicability = Applicability::new(digests, &policies, &telemetry, &services);
    let consulted = applicability.consulted(&mut compiler);
    // Who is told why a request was denied may depend on it.
    compiler.reference(vocabulary::SOURCE_PRINCIPAL, None);
    let references = compiler.finish();
    let facts: Vec<_> = routes.iter().map(|route| route.selector.facts()).collect();
    let names = services.iter().enumerate();
    let by_name = names.map(|(at, service)| (service.name.clone(), at));
    Ok(PolicySet {
        by_name: by_name.collect(),
        mesh,
        policies,
        adapters,
        services,
        jwts,
        routes: routes.into_iter().map(Arc::new).collect(),
        route_index: Index::new(&facts),
        telemetry,
        workloads,
        vocabulary,
        references,
        consulted,
        warnings,
        applicability,
    })
}

/// The maps that documents are made of, with the keys that are known, for those who describe documents. What is here is what is
/// read: a key that is added there is there.
pub(crate) const SHAPES: [(&str, Shape); 46] = [
    ("policy", policy::SHAPE),
    ("rule", rule::SHAPE),
    ("otherwise", policy::OTHERWISE_KEYS),
    ("quota", quota::SHAPE),
    ("limits", quota::TABLE),
    ("quota_on_error", quota::ON_ERROR),
    ("test", testcase::SHAPE),
    ("adapter", adapter::SHAPE),
    ("mesh", mesh::SHAPE),
    ("client_ip", mesh::CLIENT_IP),
    ("denials", mesh::DENIALS),
    ("fail", mesh::FAIL),
    ("clients", tls::CLIENTS),
    ("service", service::SHAPE),
    ("subset", service::SUBSET),
    ("paths", service::PATHS),
    ("balance", service::BALANCE),
    ("circuit", service::CIRCUIT),
    ("outlier", service::OUTLIER),
    ("health", service::HEALTH),
    ("probes", service::PROBES),
    ("originate", tls::ORIGINATE),
    ("roots", tls::ROOTS),
    ("route", route::SHAPE),
    ("route_rule", route::RULE),
    ("retry", route::RETRY),
    ("budget", route::BUDGET),
    ("fault", route::FAULT),
    ("mirror", route::MIRROR),
    ("headers", route::HEADERS),
    ("response_headers", route::RESPONSE_HEADERS),
    ("rewrite", route::REWRITE),
    ("redirect", route::REDIRECT),
    ("route_test", route::TEST),
    ("jwt", jwt::SHAPE),
    ("jwks", jwt::JWKS),
    ("token_place", jwt::FROM),
    ("telemetry", telemetry::SHAPE),
    ("metric", telemetry::METRIC),
    ("logs", telemetry::LOGS),
    ("traces", telemetry::TRACES),
    ("attribute", attributes::SHAPE),
    ("workload", workload::SHAPE),
    ("attest", workload::ATTEST),
    ("kubernetes", document::KUBERNETES),
    ("metadata", document::METADATA),
];

/// Names are unique per kind.
fn unique_names(documents: &[Document<'_>], sources: &Sources, problems: &mut Problems) {
    let mut seen: HashMap<DocumentKind, Unique> = HashMap::new();
    for document in documents {
        if document.name.is_empty() {
            continue;
        }
        if let Err(first) = seen
            .entry(document.kind)
            .or_default()
            .add(document.name, document.span)
        {
            problems
                .error(
                    Code::NameTaken,
                    document.span,
                    format!(
                        "the {} `{}` is there already",
                        document.kind.key(),
                        document.name
                    ),
                )
                .help(format!("the first is at {}", sources.place(first)));
        }
    }
}

#[cfg(test)]
mod tests;
