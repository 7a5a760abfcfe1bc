//! In-file tests of routes.

use std::sync::Arc;

use mixer_attributes::Vocabulary;

use crate::context::Context;
use crate::fields::Shape;
use crate::load::given;
use crate::load::testcase::{Case, Names, collect};
use crate::scalar::{integer, name};
use crate::suggest::nearest;
use crate::yaml::{Node, Value};
use crate::{Code, Route, RouteExpectation, RouteTest};

pub(crate) const SHAPE: Shape = Shape {
    what: "a test of a route",
    keys: &["to", "by", "name", "like", "given"],
    later: &[],
};

/// The tests of each route, given the list of each.
pub(in crate::load) fn read(
    lists: &[Option<&Node>],
    routes: &[Route],
    vocabulary: &Vocabulary,
    defined: &[(String, String)],
    context: &mut Context<'_>,
) -> Vec<Vec<RouteTest>> {
    let cases = collect(lists, SHAPE, context);
    let names = Names::of(&cases, "route", context);
    let mut tests: Vec<Vec<RouteTest>> = lists.iter().map(|_| Vec::new()).collect();
    for (at, case) in cases.iter().enumerate() {
        let given = names.merged(&cases, at, "given", context);
        let given = given
            .map(|node| given::read(&node, vocabulary, defined, &mut context.problems))
            .unwrap_or_default();
        let by = rule(case, &routes[case.document], context);
        let to = case
            .fields
            .get("to")
            .and_then(|node| expected(node, context));
        let problems = &mut context.problems;
        if case.fields.lacks("to") && case.fields.lacks("by") {
            let message = "a test of a route needs `to` or `by`";
            problems
                .error(Code::MissingKey, case.fields.span, message)
                .help(
                    "`to` is a subset, a map of weights or `service`; `by` is the name of a rule",
                );
        }
        tests[case.document].push(RouteTest {
            to,
            by,
            name: case.name.map(|(name, _)| name.into()),
            given,
            span: case.fields.span,
        });
    }
    tests
}

/// `by`, which is a rule of the same route.
fn rule(case: &Case<'_>, route: &Route, context: &mut Context<'_>) -> Option<Arc<str>> {
    let node = case.fields.get("by")?;
    let by = name(node, "`by`", &mut context.problems)?;
    let mut known = route.rules.iter().map(|rule| &*rule.name);
    if !known.clone().any(|rule| rule == by) {
        let message = format!("there is no rule `{by}` in this route");
        let error = context
            .problems
            .error(Code::TestOfRoute, node.span, message);
        if let Some(near) = nearest(by, known.by_ref()) {
            error.help(format!("did you mean `{near}`?"));
        }
    }
    Some(by.into())
}

/// `to`: a subset, weights, or `service`.
fn expected(node: &Node, context: &mut Context<'_>) -> Option<RouteExpectation> {
    let problems = &mut context.problems;
    let Value::Map(entries) = &node.value else {
        return match name(node, "`to`", problems)? {
            "service" => Some(RouteExpectation::Service),
            subset => Some(RouteExpectation::Subset(subset.into())),
        };
    };
    let mut weights: Vec<(Arc<str>, u8)> = Vec::new();
    for entry in entries {
        let weight = integer(&entry.value, "a weight", 0..=100, problems)?;
        weights.push((entry.key.as_str().into(), weight as u8));
    }
    weights.sort();
    Some(RouteExpectation::Weights(weights))
}
