//! `telemetry` documents.

use std::sync::Arc;

use mixer_attributes::vocabulary::Producer;
use mixer_cel::{Expect, Expression, Kind, Selector};

use super::document::Document;
use super::quota::SCALARS;
use crate::context::Context;
use crate::fields::{Fields, Shape};
use crate::scalar::{Unique, list, percent, scalar, word};
use crate::yaml::{Node, Value};
use crate::{At, Code, LogSpec, MetricKind, MetricSpec, Telemetry, TraceSpec};

pub(crate) const SHAPE: Shape = Shape {
    what: "telemetry",
    keys: &["for", "standard", "metrics", "logs", "traces"],
    later: &[],
};
pub(crate) const METRIC: Shape = Shape {
    what: "a metric",
    keys: &[
        "metric", "kind", "at", "when", "value", "buckets", "labels", "to",
    ],
    later: &[],
};
pub(crate) const LOGS: Shape = Shape {
    what: "`logs`",
    keys: &["to", "when", "fields", "at"],
    later: &[],
};
pub(crate) const TRACES: Shape = Shape {
    what: "`traces`",
    keys: &["to", "sample"],
    later: &[],
};

/// Where metrics go that do not say.
const METRICS: &str = "prometheus";
/// The share of traces that is kept when nobody says, in percent.
const SAMPLE: f64 = 1.0;
/// Prefixes of metrics that Mixer makes itself.
const RESERVED: [&str; 2] = ["istio_", "mixer_"];

pub(super) fn read<'d, 'n: 'd>(
    documents: impl Iterator<Item = &'d Document<'n>>,
    context: &mut Context<'_>,
) -> Vec<Telemetry> {
    let mut names = Unique::default();
    documents
        .map(|document| telemetry(document, &mut names, context))
        .collect()
}

fn telemetry(document: &Document<'_>, names: &mut Unique, context: &mut Context<'_>) -> Telemetry {
    let mut telemetry = Telemetry {
        name: document.name.into(),
        selector: Selector::always(),
        drop_standard: false,
        metrics: Vec::new(),
        logs: Vec::new(),
        traces: None,
        span: document.span,
    };
    let Some(fields) = document.fields(SHAPE, &mut context.problems) else {
        return telemetry;
    };
    if let Some(selector) = context.selector(&fields) {
        telemetry.selector = selector;
    }
    if let Some(node) = fields.get("standard") {
        let words = [("keep", false), ("drop", true)];
        telemetry.drop_standard =
            word(node, "`standard`", &words, &[], &mut context.problems).unwrap_or_default();
    }
    for node in fields
        .get("metrics")
        .and_then(|node| list(node, "`metrics`", &mut context.problems))
        .unwrap_or_default()
    {
        telemetry.metrics.extend(metric(node, names, context));
    }
    if let Some(node) = fields.get("logs") {
        let items = if let Value::List(items) = &node.value {
            items.as_slice()
        } else {
            std::slice::from_ref(node)
        };
        telemetry.logs = items
            .iter()
            .filter_map(|item| logs(item, context))
            .collect();
    }
    telemetry.traces = fields.get("traces").and_then(|node| traces(node, context));
    telemetry
}

fn metric(node: &Node, names: &mut Unique, context: &mut Context<'_>) -> Option<MetricSpec> {
    let fields = Fields::of(node, METRIC, &mut context.problems)?;
    let (_, key) = fields.one_of(&["metric"], "a metric", &mut context.problems)?;
    let name = metric_name(&key.value, names, context).unwrap_or_default();
    let why = "a metric needs a `kind`: `counter`, `gauge` or `histogram`";
    let kind = fields
        .need("kind", why, "", &mut context.problems)
        .and_then(|node| {
            let words = [
                ("counter", "counter"),
                ("gauge", "gauge"),
                ("histogram", "histogram"),
            ];
            word(node, "`kind`", &words, &[], &mut context.problems)
        });
    let buckets = buckets(&fields, kind, context);
    if matches!(kind, Some("gauge" | "histogram")) {
        let why = "a gauge or histogram needs a `value`";
        fields.need("value", why, "", &mut context.problems);
    }
    let numbers = Expect::OneOf(vec![Kind::Int, Kind::Uint, Kind::Double, Kind::Duration]);
    let value = fields
        .get("value")
        .and_then(|node| context.expression(node, "`value`", Producer::Report, numbers));
    let when = context.condition(fields.get("when"), "`when`", Producer::Report, false);
    let labels = texts(fields.get("labels"), "`labels`", is_label, context);
    let to = match fields.get("to") {
        Some(to) => context.adapter(to, "`to`"),
        None => context.adapter_names.get(METRICS).copied(),
    };
    let kind = match kind {
        Some("gauge") => MetricKind::Gauge,
        Some("histogram") => MetricKind::Histogram(buckets),
        _ => MetricKind::Counter,
    };
    // The exposition format adds the suffix.
    let name = match (&kind, name.strip_suffix("_total")) {
        (MetricKind::Counter, Some(stem)) => stem.into(),
        _ => name,
    };
    Some(MetricSpec {
        name,
        kind,
        at: at(&fields, context),
        when,
        value,
        labels,
        to: to.unwrap_or_default(),
        span: key.value.span,
    })
}

fn metric_name(node: &Node, names: &mut Unique, context: &mut Context<'_>) -> Option<Arc<str>> {
    let problems = &mut context.problems;
    let text = &scalar(node, "the name of a metric", problems)?.text;
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    if text.len() > 200
        || !text.starts_with(|c: char| c.is_ascii() && letter(c as u8))
        || !text.bytes().all(|b| letter(b) || b.is_ascii_digit())
    {
        problems.error(
            Code::MetricName,
            node.span,
            format!("the name of a metric is letters, digits and underscores, not `{text}`"),
        );
        return None;
    }
    if let Some(prefix) = RESERVED.iter().find(|prefix| text.starts_with(**prefix)) {
        problems.error(
            Code::MetricName,
            node.span,
            format!("names that begin with `{prefix}` are Mixer's own"),
        );
        return None;
    }
    if let Err(first) = names.add(text.strip_suffix("_total").unwrap_or(text), node.span) {
        problems
            .error(
                Code::MetricTaken,
                node.span,
                format!("there is already a metric `{text}`"),
            )
            .help(format!("the first is at {}", context.sources.place(first)));
    }
    Some(text.as_str().into())
}

fn buckets(fields: &Fields<'_>, kind: Option<&str>, context: &mut Context<'_>) -> Vec<f64> {
    let problems = &mut context.problems;
    if kind != Some("histogram") {
        if kind.is_some() {
            fields.refuse("buckets", "are for histograms", problems);
        }
        return Vec::new();
    }
    let why = "a histogram needs `buckets`: upper bounds such as [100, 1000]";
    let Some(node) = fields.need("buckets", why, "", problems) else {
        return Vec::new();
    };
    let mut bounds = Vec::new();
    for item in list(node, "`buckets`", problems).unwrap_or_default() {
        let Some(text) = scalar(item, "a bound", problems) else {
            continue;
        };
        match text
            .text
            .parse::<f64>()
            .ok()
            .filter(|bound| bound.is_finite())
        {
            Some(bound) if bounds.last().is_none_or(|last| *last < bound) => bounds.push(bound),
            Some(_) => drop(problems.error(Code::Buckets, item.span, "the bounds of buckets rise")),
            None => drop(problems.error(
                Code::Buckets,
                item.span,
                format!("a bound is a number, not `{}`", text.text),
            )),
        }
    }
    if bounds.is_empty() || bounds.len() > 200 {
        problems.error(Code::Buckets, node.span, "a histogram has 1 to 200 buckets");
    }
    bounds
}

fn is_label(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().next().is_some_and(letter)
        && name
            .bytes()
            .all(|byte| letter(byte) || byte.is_ascii_digit())
        && !name.starts_with("__")
        && !["le", "quantile"].contains(&name)
}

/// A map from names to expressions with one text for each value.
fn texts(
    node: Option<&Node>,
    what: &str,
    valid: fn(&str) -> bool,
    context: &mut Context<'_>,
) -> Vec<(Arc<str>, Expression)> {
    let Some(node) = node else { return Vec::new() };
    let entries = match &node.value {
        Value::Map(entries) => entries,
        Value::Wrong => return Vec::new(),
        _ => {
            context.problems.error(
                Code::WrongShape,
                node.span,
                format!(
                    "{what} must be a map from names to expressions, this is {}",
                    node.what()
                ),
            );
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for entry in entries {
        if !valid(&entry.key) {
            context.problems.error(
                Code::LabelName,
                entry.span,
                format!("`{}` cannot be a name in {what}", entry.key),
            );
        }
        let kinds = Expect::OneOf(SCALARS.to_vec());
        if let Some(expression) =
            context.expression(&entry.value, "a value", Producer::Report, kinds)
        {
            found.push((entry.key.as_str().into(), expression));
        }
    }
    found
}

fn at(fields: &Fields<'_>, context: &mut Context<'_>) -> At {
    let words = [("destination", At::Inbound), ("source", At::Outbound)];
    fields
        .get("at")
        .and_then(|node| word(node, "`at`", &words, &[], &mut context.problems))
        .unwrap_or(At::Inbound)
}

fn logs(node: &Node, context: &mut Context<'_>) -> Option<LogSpec> {
    let fields = Fields::of(node, LOGS, &mut context.problems)?;
    let when = context.condition(fields.get("when"), "`when`", Producer::Report, false);
    let names = texts(
        fields.get("fields"),
        "`fields`",
        |name| !name.is_empty(),
        context,
    );
    let to = to(&fields, "logs", context);
    Some(LogSpec {
        when,
        fields: names,
        at: at(&fields, context),
        to: to.unwrap_or_default(),
    })
}

fn traces(node: &Node, context: &mut Context<'_>) -> Option<TraceSpec> {
    let fields = Fields::of(node, TRACES, &mut context.problems)?;
    let to = to(&fields, "traces", context);
    let sample = fields
        .get("sample")
        .and_then(|node| percent(node, "`sample`", &mut context.problems));
    Some(TraceSpec {
        sample: sample.unwrap_or(SAMPLE) / 100.0,
        to: to.unwrap_or_default(),
    })
}

fn to(fields: &Fields<'_>, what: &str, context: &mut Context<'_>) -> Option<usize> {
    let why = format!("{what} need `to`: the adapter they go to");
    let to = fields.need("to", &why, "", &mut context.problems)?;
    context.adapter(to, "`to`")
}
