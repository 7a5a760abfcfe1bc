//! `route` documents.

mod cases;
mod changes;
mod trouble;

use std::sync::Arc;

use mixer_attributes::vocabulary::{self, Producer};
use mixer_attributes::{AttributeBag, Value as Attribute, Vocabulary};
use mixer_cel::{Compiler, Expect, Expression, Selector, Template};

use super::document::Document;
use super::quota::SCALARS;
use crate::context::Context;
use crate::fields::{Fields, Shape};
use crate::reads::reads_request;
use crate::scalar::{Unique, integer, list, name, span};
use crate::suggest::nearest;
use crate::yaml::{Node, Value};
use crate::{Code, Condition, HeaderChanges, Route, RouteRule, Service, Span};

pub(crate) use cases::SHAPE as TEST;
pub(super) use cases::read as read_tests;
pub(crate) use changes::{HEADERS, REDIRECT, RESPONSE_HEADERS, REWRITE};
pub(crate) use trouble::{BUDGET, FAULT, MIRROR, RETRY};

pub(crate) const SHAPE: Shape = Shape {
    what: "a route",
    keys: &["for", "rules", "tests"],
    later: &[],
};

/// A rule.
pub(crate) const RULE: Shape = Shape {
    what: "a rule of a route",
    keys: &[
        "name", "when", "to", "sticky", "timeout", "retry", "fault", "mirror", "headers",
        "rewrite", "redirect",
    ],
    later: &[],
};

/// What has no meaning where callers are sent elsewhere.
const NOT_REDIRECTED: [&str; 8] = [
    "to", "sticky", "timeout", "retry", "fault", "mirror", "headers", "rewrite",
];

/// What the parts of routes are checked with.
struct Checks<'c, 's> {
    context: &'c mut Context<'s>,
    /// Knows what proxies know: no attributes of documents.
    proxy: Compiler,
    /// The services that the route at hand is about.
    services: Vec<Arc<Service>>,
}

/// Routes, and the list of each one's tests.
pub(super) fn read<'d, 'n: 'd>(
    documents: impl Iterator<Item = &'d Document<'n>>,
    services: &[Arc<Service>],
    context: &mut Context<'_>,
) -> (Vec<Route>, Vec<Option<&'n Node>>) {
    let mut checks = Checks {
        context,
        proxy: Compiler::new(Vocabulary::new()),
        services: Vec::new(),
    };
    documents
        .map(|document| checks.route(document, services))
        .unzip()
}

impl Checks<'_, '_> {
    fn route<'n>(
        &mut self,
        document: &Document<'n>,
        services: &[Arc<Service>],
    ) -> (Route, Option<&'n Node>) {
        let mut route = Route {
            name: document.name.into(),
            selector: Selector::always(),
            selected: "always".into(),
            rules: Vec::new(),
            tests: Vec::new(),
            span: document.span,
        };
        let Some(fields) = document.fields(SHAPE, &mut self.context.problems) else {
            return (route, None);
        };
        if let Some(selector) = self.selector(&fields) {
            self.services = services
                .iter()
                .filter(|service| selects(&selector, service))
                .cloned()
                .collect();
            route.selector = selector;
        }
        if let Some(Value::Scalar(text)) = fields.get("for").map(|node| &node.value) {
            route.selected = text.text.as_str().into();
        }
        let help = "such as `rules: [ { to: { v1: 95, v2: 5 } } ]`";
        let rules = fields.need(
            "rules",
            "a route needs `rules`",
            help,
            &mut self.context.problems,
        );
        let rules = rules.and_then(|node| list(node, "`rules`", &mut self.context.problems));
        let mut names = Unique::default();
        for (at, node) in rules.unwrap_or_default().iter().enumerate() {
            let Some(rule) = self.rule(node, at + 1) else {
                continue;
            };
            if let Err(first) = names.add(&rule.name, rule.span) {
                let message = format!("there is already a rule `{}` in this route", rule.name);
                let first = format!("the first is at {}", self.context.sources.place(first));
                let problems = &mut self.context.problems;
                problems
                    .error(Code::NameTaken, rule.span, message)
                    .help(first);
            }
            route.rules.push(Arc::new(rule));
        }
        self.services.clear();
        (route, fields.get("tests"))
    }

    /// The `for`, which says services by name or namespace: that is all that a caller's proxy knows of them.
    fn selector(&mut self, fields: &Fields<'_>) -> Option<Selector> {
        let selector = self.context.selector(fields)?;
        let node = fields.get("for")?;
        let known = [
            vocabulary::DESTINATION_SERVICE,
            vocabulary::DESTINATION_NAMESPACE,
        ];
        if selector
            .reads()
            .iter()
            .any(|(read, _)| !known.contains(read))
        {
            let why = "the `for` of a route compares `destination.service` or `destination.namespace`: callers know no more of a destination";
            let problems = &mut self.context.problems;
            problems.error(Code::NoMeaning, node.span, why);
        } else if let Value::Scalar(text) = &node.value
            && self.proxy.selector(&text.text).is_err()
        {
            self.unknown_to_proxies(node.span);
        }
        Some(selector)
    }

    fn rule(&mut self, node: &Node, number: usize) -> Option<RouteRule> {
        let fields = Fields::of(node, RULE, &mut self.context.problems)?;
        let called = fields.get("name");
        let place = called.map_or(fields.span, |node| node.span);
        let called = called.and_then(|node| name(node, "`name`", &mut self.context.problems));
        let mut rule = RouteRule {
            name: called.map_or_else(|| format!("rule {number}").into(), Into::into),
            when: self.condition(fields.get("when")),
            to: Vec::new(),
            sticky: None,
            timeout: None,
            retry: None,
            faults: Vec::new(),
            mirror: None,
            request_headers: HeaderChanges::default(),
            response_headers: HeaderChanges::default(),
            rewrite: None,
            redirect: None,
            reads_request: false,
            span: place,
        };
        let when: Vec<&Expression> = rule.when.expressions().collect();
        rule.reads_request = reads_request(&when, self.context.compiler.vocabulary());
        if let Some(node) = fields.get("redirect") {
            for key in NOT_REDIRECTED {
                let why = "has no meaning beside `redirect`: the request goes nowhere";
                fields.refuse(key, why, &mut self.context.problems);
            }
            rule.redirect = self.redirect(node);
            return Some(rule);
        }
        if let Some(node) = fields.get("to") {
            rule.to = self.weights(node);
        }
        if let Some(node) = fields.get("sticky") {
            rule.sticky = self.expression(node, "`sticky`");
            if fields.lacks("to") {
                let why = "chooses among the subsets of `to`, which is missing";
                fields.refuse("sticky", why, &mut self.context.problems);
            }
        }
        let problems = &mut self.context.problems;
        rule.timeout = fields
            .get("timeout")
            .and_then(|node| span(node, "`timeout`", problems));
        rule.retry = fields.get("retry").and_then(|node| self.retry(node));
        rule.faults = fields
            .get("fault")
            .map_or_else(Vec::new, |node| self.faults(node));
        rule.mirror = fields.get("mirror").and_then(|node| self.mirror(node));
        if let Some(node) = fields.get("headers") {
            (rule.request_headers, rule.response_headers) = self.headers(node);
        }
        rule.rewrite = fields.get("rewrite").and_then(|node| self.rewrite(node));
        Some(rule)
    }

    /// `{ v1: 95, v2: 5 }`.
    fn weights(&mut self, node: &Node) -> Vec<(Arc<str>, u8)> {
        let entries = match &node.value {
            Value::Map(entries) => entries,
            Value::Wrong => return Vec::new(),
            _ => {
                let message = format!(
                    "`to` must be a map from subsets to weights, this is {}",
                    node.what()
                );
                let problems = &mut self.context.problems;
                problems
                    .error(Code::WrongShape, node.span, message)
                    .help("such as `to: { v1: 95, v2: 5 }`");
                return Vec::new();
            }
        };
        let mut weights: Vec<(Arc<str>, u8)> = Vec::new();
        let mut wrong = false;
        for entry in entries {
            self.subset(&entry.key, entry.span);
            let problems = &mut self.context.problems;
            match integer(&entry.value, "a weight", 0..=100, problems) {
                Some(weight) => weights.push((entry.key.as_str().into(), weight as u8)),
                None => wrong = true,
            }
        }
        let sum: u32 = weights.iter().map(|(_, weight)| u32::from(*weight)).sum();
        if !wrong && sum != 100 {
            let message = format!("the weights of `to` add to 100, not {sum}");
            let problems = &mut self.context.problems;
            problems.error(Code::Weights, node.span, message);
        }
        // By name: every proxy cuts the line from 0 to 100 in the same way.
        weights.sort();
        weights
    }

    /// Says so where a service of the route lacks a subset of this name.
    fn subset(&mut self, called: &str, span: Span) {
        let without = |service: &&Arc<Service>| service.subset(called).is_none();
        let Some(service) = self.services.iter().find(without) else {
            return;
        };
        if self.context.incomplete {
            return;
        }
        let message = format!("`{}` has no subset `{called}`", service.name);
        let error = self
            .context
            .problems
            .error(Code::SubsetUnknown, span, message);
        let known = || service.subsets.iter().map(|subset| &*subset.name);
        match nearest(called, known()) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None if service.subsets.is_empty() => error.help(format!(
                "give the service `subsets: {{ {called}: {{ endpoints: [..] }} }}`"
            )),
            None => error.help(format!("it has {}", known().collect::<Vec<_>>().join(", "))),
        };
    }

    fn condition(&mut self, node: Option<&Node>) -> Condition {
        let condition = self
            .context
            .condition(node, "`when`", Producer::Check, false);
        for (line, span) in &condition.lines {
            let expect = Expect::Kind(line.kind().clone());
            if self
                .proxy
                .expression(line.source(), Producer::Check, expect)
                .is_err()
            {
                self.unknown_to_proxies(*span);
            }
        }
        condition
    }

    fn expression(&mut self, node: &Node, what: &str) -> Option<Expression> {
        let expect = || Expect::OneOf(SCALARS.to_vec());
        let expression = self
            .context
            .expression(node, what, Producer::Check, expect())?;
        let text = expression.source();
        if self
            .proxy
            .expression(text, Producer::Check, expect())
            .is_err()
        {
            self.unknown_to_proxies(node.span);
        }
        Some(expression)
    }

    fn template(&mut self, node: &Node, what: &str) -> Option<Template> {
        let template = self.context.template(node, what)?;
        if self
            .proxy
            .template(template.source(), Producer::Check)
            .is_err()
        {
            self.unknown_to_proxies(node.span);
        }
        Some(template)
    }

    fn unknown_to_proxies(&mut self, span: Span) {
        let why =
            "proxies carry routes out, and do not know attributes of an `attributes` document";
        let problems = &mut self.context.problems;
        problems
            .error(Code::NoMeaning, span, why)
            .help("compare the built-in attributes it is made from");
    }
}

fn selects(selector: &Selector, service: &Service) -> bool {
    let mut bag = AttributeBag::new();
    bag.set(
        vocabulary::DESTINATION_SERVICE,
        Attribute::String(&service.name),
    );
    if let Some(namespace) = &service.namespace {
        bag.set(
            vocabulary::DESTINATION_NAMESPACE,
            Attribute::String(namespace),
        );
    }
    selector.selects(&bag)
}
