//! Building the adapters a set names, and finding everything that is wrong with them at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use mixer_adapter::{Env, Inputs, Invalid, MetricDefinition, MetricKind, Problem, Registry};
use mixer_attributes::Type;
use mixer_cel::Kind;
use mixer_documents::{
    AdapterDocument, At, Code, Diagnostic, Diagnostics, MetricSpec, Policy, PolicySet, Span,
    Telemetry,
};
use mixer_runtime::Tasks;

use super::{Index, Snapshot, Surroundings};
use crate::dispatch::{Installed, report};

pub(super) fn build(
    set: Arc<PolicySet>,
    registry: &Registry,
    surroundings: &Surroundings,
) -> Result<Snapshot, Diagnostics> {
    let mut problems = Vec::new();
    let asked: HashSet<usize> = set.policies.iter().flat_map(asks).collect();
    let mut adapters: Vec<Option<Installed>> = Vec::with_capacity(set.adapters.len());
    for (at, document) in set.adapters.iter().enumerate() {
        let unasked = !asked.contains(&at);
        adapters.push(install(
            document,
            unasked,
            registry,
            surroundings,
            &mut problems,
        ));
    }
    check_capabilities(&set, &adapters, &mut problems);
    declare_standard(&set, &adapters, &mut problems);
    let metrics = declare_metrics(&set, &adapters, &mut problems);
    let mut keys = Vec::with_capacity(set.jwts.len());
    for jwt in &set.jwts {
        match crate::keys::check(jwt) {
            Ok(checked) => keys.push(checked),
            Err(problem) => problems.push(*problem),
        }
    }
    if !problems.is_empty() {
        problems.extend(set.warnings.list.iter().cloned());
        problems.sort_by_key(|problem| problem.span);
        return Err(Diagnostics {
            sources: set.warnings.sources.clone(),
            list: problems,
        });
    }
    let quotas = set.policies.iter().enumerate().flat_map(|(at, policy)| {
        policy
            .quotas
            .iter()
            .enumerate()
            .map(move |(within, quota)| (quota.id.clone(), (at, within)))
    });
    let outbound = set
        .policies
        .iter()
        .filter(|policy| policy.at == At::Outbound);
    let mut asked_outbound: Vec<usize> = outbound.flat_map(asks).collect();
    asked_outbound.sort_unstable();
    asked_outbound.dedup();
    let tallies = set.policies.iter().map(|policy| {
        let quotas = policy.quotas.iter();
        quotas
            .map(|quota| surroundings.tallies.of(&quota.id))
            .collect()
    });
    let index = Index {
        tallies: tallies.collect(),
        quotas: quotas.collect::<HashMap<_, _>>(),
        asked_outbound,
    };
    let adapters = adapters.into_iter().flatten().map(Arc::new).collect();
    Ok(Snapshot {
        adapters,
        metrics,
        index: Arc::new(index),
        keys,
        set,
    })
}

/// Adapters that a policy's rules ask.
fn asks(policy: &Policy) -> impl Iterator<Item = usize> {
    let asks = policy.rules.iter().filter_map(|rule| rule.ask.as_ref());
    asks.map(|ask| ask.adapter)
}

/// What is wrong with the configurations of adapters in documents that do not load. What rules give them is not known then.
pub(super) fn configs(
    documents: &[AdapterDocument],
    registry: &Registry,
    surroundings: &Surroundings,
) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for document in documents
        .iter()
        .filter(|document| !document.kind.is_empty())
    {
        let mut unasked = document.clone();
        unasked.inputs.clear();
        install(&unasked, true, registry, surroundings, &mut problems);
    }
    problems.retain(|problem| problem.code != Code::AdapterInput);
    problems
}

fn install(
    document: &AdapterDocument,
    unasked: bool,
    registry: &Registry,
    surroundings: &Surroundings,
    problems: &mut Vec<Diagnostic>,
) -> Option<Installed> {
    let Some(built) = registry.by_type(&document.kind) else {
        problems.push(unknown_type(document, registry));
        return None;
    };
    let env = env(document, surroundings);
    let inputs = Inputs {
        declared: document
            .inputs
            .iter()
            .map(|input| (input.name.to_string(), input_type(&input.kind)))
            .collect(),
        unasked,
    };
    match built.build(document.config.clone(), &inputs, &env) {
        Ok(handler) => Some(Installed::new(handler, env)),
        Err(invalid) => {
            problems.extend(
                invalid
                    .problems
                    .into_iter()
                    .map(|problem| placed(document, problem)),
            );
            None
        }
    }
}

/// What surrounds the handler of `document`.
pub(crate) fn env(document: &AdapterDocument, surroundings: &Surroundings) -> Env {
    Env {
        name: document.name.clone(),
        clock: surroundings.clock.clone(),
        random: surroundings.random.clone(),
        tasks: Tasks::on(surroundings.handle.clone()),
        directory: document.directory.clone(),
        http: surroundings.http.clone(),
        keep: surroundings.keep.clone(),
    }
}

/// The attribute type of an input; `None` for what is only known when it is evaluated, and for kinds no attribute has.
fn input_type(kind: &Kind) -> Option<Type> {
    match kind {
        Kind::Bool => Some(Type::Bool),
        Kind::Int => Some(Type::Int),
        Kind::Double => Some(Type::Double),
        Kind::String => Some(Type::String),
        Kind::Bytes => Some(Type::Bytes),
        Kind::Timestamp => Some(Type::Timestamp),
        Kind::Duration => Some(Type::Duration),
        Kind::Ip => Some(Type::Ip),
        Kind::List(item) if **item == Kind::String => Some(Type::List),
        Kind::Map(key, value) if **key == Kind::String && **value == Kind::String => {
            Some(Type::Map)
        }
        Kind::Map(key, _) if **key == Kind::String => Some(Type::Dynamic),
        _ => None,
    }
}

fn unknown_type(document: &AdapterDocument, registry: &Registry) -> Diagnostic {
    let known: Vec<&str> = registry.types().collect();
    let near = mixer_documents::nearest(&document.kind, known.iter().copied());
    let help = match near {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known types: {}", known.join(", ")),
    };
    let mut problem = Diagnostic {
        span: document.place("type").or(document.span),
        ..Diagnostic::directory(
            Code::UnknownAdapterType,
            format!("no adapter has the type `{}`", document.kind),
        )
    };
    problem.label("unknown type").help(help);
    problem
}

/// Where an adapter's own problem stands in the documents.
fn placed(document: &AdapterDocument, problem: Problem) -> Diagnostic {
    let input = problem.field.strip_prefix("with.");
    let of_input = input
        .and_then(|name| document.inputs.iter().find(|input| &*input.name == name))
        .map(|input| input.span);
    let span = if problem.field == "with" || input.is_some() {
        of_input.or_else(|| document.inputs.first().map(|input| input.span))
    } else {
        document.place(&problem.field)
    };
    let message = match problem.field.as_str() {
        "" => format!("adapter `{}`: {}", document.name, problem.message),
        field => format!(
            "adapter `{}`: `{field}`: {}",
            document.name, problem.message
        ),
    };
    let code = match input {
        Some(_) => Code::AdapterInput,
        None if problem.field == "with" => Code::AdapterInput,
        None => Code::AdapterConfig,
    };
    Diagnostic {
        span: span.or(document.span),
        ..Diagnostic::directory(code, message)
    }
}

fn check_capabilities(
    set: &PolicySet,
    adapters: &[Option<Installed>],
    problems: &mut Vec<Diagnostic>,
) {
    let mut need = |adapter: usize, can: fn(&Installed) -> bool, what: &str, span: Span| {
        // One that could not be built has its own problem.
        if let Some(installed) = &adapters[adapter]
            && !can(installed)
        {
            let document = &set.adapters[adapter];
            problems.push(Diagnostic::error(
                Code::AdapterCannot,
                span,
                format!(
                    "adapter `{}` is a {}, which cannot {what}",
                    document.name, document.kind
                ),
            ));
        }
    };
    for policy in &set.policies {
        for ask in policy.rules.iter().filter_map(|rule| rule.ask.as_ref()) {
            need(
                ask.adapter,
                |installed| installed.handler().can_check(),
                "answer match or no match",
                ask.span,
            );
        }
        for quota in &policy.quotas {
            need(
                quota.store,
                |installed| installed.handler().can_quota(),
                "count",
                quota.span,
            );
        }
    }
    for telemetry in &set.telemetry {
        let can_report = |installed: &Installed| installed.handler().can_report();
        let what = "be told what happened";
        for metric in &telemetry.metrics {
            need(metric.to, can_report, what, metric.span);
        }
        for to in telemetry
            .logs
            .iter()
            .map(|log| log.to)
            .chain(telemetry.traces.map(|traces| traces.to))
        {
            need(to, can_report, what, telemetry.span);
        }
    }
}

/// Tells the adapter for the standard metrics which these are; another type of adapter under its name is an error.
fn declare_standard(
    set: &PolicySet,
    adapters: &[Option<Installed>],
    problems: &mut Vec<Diagnostic>,
) {
    let pairs = set.adapters.iter().zip(adapters);
    for (document, adapter) in pairs.filter(|(document, _)| &*document.name == report::STANDARD) {
        if let Some(adapter) = adapter
            && let Err(Invalid { problems: found }) = report::declare_standard(adapter)
        {
            problems.extend(found.into_iter().map(|problem| Diagnostic {
                span: document.span,
                ..Diagnostic::directory(
                    Code::MetricRefused,
                    format!(
                        "adapter `{}` is given the standard metrics: {}",
                        document.name, problem.message
                    ),
                )
            }));
        }
    }
}

/// Tells each adapter which metrics there will be, one at a time so that a problem has the place of its metric.
fn declare_metrics(
    set: &PolicySet,
    adapters: &[Option<Installed>],
    problems: &mut Vec<Diagnostic>,
) -> Vec<Vec<MetricDefinition>> {
    let mut declare = |telemetry: &Telemetry, spec: &MetricSpec| {
        let definition = definition(telemetry, spec);
        let adapter = adapters[spec.to]
            .as_ref()
            .filter(|adapter| adapter.handler().can_report());
        if let Some(adapter) = adapter
            && let Err(Invalid { problems: found }) =
                adapter.handler().declare(std::slice::from_ref(&definition))
        {
            problems.extend(found.into_iter().map(|problem| {
                let message = format!("metric `{}`: {}", spec.name, problem.message);
                Diagnostic::error(Code::MetricRefused, spec.span, message)
            }));
        }
        definition
    };
    set.telemetry
        .iter()
        .map(|telemetry| {
            telemetry
                .metrics
                .iter()
                .map(|spec| declare(telemetry, spec))
                .collect()
        })
        .collect()
}

fn definition(telemetry: &Telemetry, spec: &MetricSpec) -> MetricDefinition {
    MetricDefinition {
        name: spec.name.to_string(),
        help: format!("Declared by telemetry {}", telemetry.name),
        kind: match &spec.kind {
            mixer_documents::MetricKind::Counter => MetricKind::Counter,
            mixer_documents::MetricKind::Gauge => MetricKind::Gauge,
            mixer_documents::MetricKind::Histogram(bounds) => MetricKind::Histogram(bounds.clone()),
        },
        labels: spec
            .labels
            .iter()
            .map(|(name, _)| name.to_string())
            .collect(),
    }
}
