//! Runs the tests that stand beside routes: which rule decides, and where it sends. Nothing is carried, nothing is random.

use mixer_attributes::{OwnedValue, vocabulary};
use mixer_cel::Evaluation;
use mixer_documents::{PolicySet, Route, RouteExpectation, RouteRule, RouteTest};
use mixer_runtime::Clock;

use super::coverage::Coverage;
use super::{Choice, Failure, Ran};

/// Adds the results of every chosen test of a route.
pub(super) fn run(
    set: &PolicySet,
    choice: &Choice,
    stopwatch: &Clock,
    tests: &mut Vec<Ran>,
    coverage: &mut Coverage,
) {
    for route in &set.routes {
        for test in route
            .tests
            .iter()
            .filter(|test| is_chosen(route, test, choice))
        {
            let begin = stopwatch.now();
            let failure = one(set, test, coverage).err().map(Failure::from);
            tests.push(Ran {
                place: set.warnings.sources.place(test.span),
                kind: "route",
                policy: route.name.clone(),
                test: title(test),
                took: stopwatch.now().since(begin),
                failure,
            });
        }
    }
}

fn one(set: &PolicySet, test: &RouteTest, coverage: &mut Coverage) -> Result<(), String> {
    let mut bag = test.given.bag();
    let Some(OwnedValue::String(service)) = test.given.value(vocabulary::DESTINATION_SERVICE)
    else {
        return Err(
            "it does not say which service is called: `given: { destination: { service: .. } }`"
                .to_owned(),
        );
    };
    let known = set.services.iter().find(|known| *known.name == **service);
    let Some(known) = known else {
        return Err(format!("no `service` document declares `{service}`"));
    };
    set.locate(&mut bag);
    let table = set.route_table(service, known.namespace.as_deref());
    let mut evaluation = Evaluation::new(&bag, &set.references);
    let found = table
        .as_ref()
        .and_then(|table| table.first(&mut evaluation));
    if let Some(table) = &table {
        coverage.note_route(set, table, &bag, found);
    }
    holds(set, test, found.map(|(route, rule)| (&**route, &**rule)))
}

fn holds(
    set: &PolicySet,
    test: &RouteTest,
    found: Option<(&Route, &RouteRule)>,
) -> Result<(), String> {
    let rule = found.map(|(_, rule)| rule);
    let by = test
        .by
        .as_ref()
        .is_none_or(|by| rule.is_some_and(|rule| rule.name == *by));
    let redirected = rule.is_some_and(|rule| rule.redirect.is_some());
    let to = match (&test.to, rule) {
        (None, _) => true,
        (Some(_), Some(_)) if redirected => false,
        (Some(RouteExpectation::Service), rule) => rule.is_none_or(|rule| rule.to.is_empty()),
        (Some(RouteExpectation::Subset(subset)), Some(rule)) => {
            rule.to.iter().any(|to| *to == (subset.clone(), 100))
        }
        (Some(RouteExpectation::Weights(weights)), Some(rule)) => {
            let sent = rule.to.iter().filter(|(_, weight)| *weight > 0);
            sent.eq(weights.iter().filter(|(_, weight)| *weight > 0))
        }
        (Some(_), None) => false,
    };
    if by && to {
        return Ok(());
    }
    let happens = match found {
        None => "no rule matches: it goes to the service's own endpoints".to_owned(),
        Some((route, rule)) => format!(
            "it goes {} by \"{}\" of route {} ({})",
            sent(rule),
            rule.name,
            route.name,
            set.warnings.sources.place(rule.span)
        ),
    };
    Err(format!("expected {}, but {happens}", claim(test)))
}

fn sent(rule: &RouteRule) -> String {
    match (&rule.redirect, rule.to.as_slice()) {
        (Some(_), _) => "nowhere (a redirect)".to_owned(),
        (None, []) => "to the service's own endpoints".to_owned(),
        (None, weights) => format!("to {}", written(weights)),
    }
}

fn written(weights: &[(std::sync::Arc<str>, u8)]) -> String {
    match weights {
        [(subset, 100)] => subset.to_string(),
        weights => {
            let each = weights
                .iter()
                .map(|(subset, weight)| format!("{subset}: {weight}"));
            format!("{{ {} }}", each.collect::<Vec<_>>().join(", "))
        }
    }
}

fn claim(test: &RouteTest) -> String {
    let to = test.to.as_ref().map(|to| match to {
        RouteExpectation::Subset(subset) => format!("to: {subset}"),
        RouteExpectation::Weights(weights) => format!("to: {}", written(weights)),
        RouteExpectation::Service => "to: service".to_owned(),
    });
    let by = test.by.as_ref().map(|by| format!("by: {by}"));
    to.into_iter().chain(by).collect::<Vec<_>>().join(", ")
}

fn title(test: &RouteTest) -> String {
    match &test.name {
        Some(name) => name.to_string(),
        None => claim(test),
    }
}

fn is_chosen(route: &Route, test: &RouteTest, choice: &Choice) -> bool {
    choice.filter.as_ref().is_none_or(|filter| {
        route.name.contains(&**filter)
            || title(test).contains(&**filter)
            || claim(test).contains(&**filter)
    })
}
