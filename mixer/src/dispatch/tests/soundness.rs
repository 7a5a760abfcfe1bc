//! What makes answers cacheable: for any two requests equal in what a decision read, fresh decisions are equal. And what makes
//! them trustworthy: they are deterministic, and what is in shadow changes none of them.
//!
//! Policies are built at random as documents, requests at random over the attributes these read. The second request of a pair is
//! random too, then made equal to the first in the referenced set alone, so that every pair is one the property speaks of.

use std::collections::BTreeMap;

use mixer_attributes::{Dynamic, OwnedBag, OwnedValue, Timestamp, vocabulary};
use mixer_cel::Reference;
use proptest::prelude::*;
use proptest::sample::select;

use super::fixture::{Fixture, LEFT, line};
use crate::dispatch::{Decision, Verdict};

/// Conditions with a value for every request, or an error that is not a missing key: what deny rules may have.
const GUARDED: &[&str] = &[
    r#"source.namespace == "a""#,
    r#"source.namespace in ["a", "b"]"#,
    r#"has(source.namespace)"#,
    r#"connection.mtls"#,
    r#"request.method == "GET""#,
    r#"request.path.startsWith("/a")"#,
    r#"request.headers[?"x"].orValue("") == "1""#,
    r#""x" in request.headers"#,
    r#""x" in request.headers && request.headers["x"] == "1""#,
    r#"request.headers.size() > 1"#,
    r#"request.headers.exists(name, name == "y")"#,
    r#"request.query[?"q"].hasValue()"#,
    r#"has(auth.claims.sub)"#,
    r#"auth.claims[?"sub"].orValue("") == "s""#,
    r#"has(auth.claims.sub) && auth.claims.sub == "s""#,
    r#"request.time < timestamp("2020-01-01T00:00:00Z")"#,
    r#"has(source.workload) ? source.workload == "w" : connection.mtls"#,
    r#"source.workload.size() + 1 > 1"#,
    "true",
    "false",
];

/// Conditions that other rules and quotas may have too.
const UNGUARDED: &[&str] = &[
    r#"request.headers["x"] == "1""#,
    r#"request.query.q == "v""#,
    r#"auth.claims.sub == "s""#,
    r#""g" in auth.claims.groups"#,
    r#"request.headers["x"] == request.query["q"]"#,
];

const SELECTORS: &[&str] = &[
    "always",
    r#"destination.service == "a.shop""#,
    r#"destination.service.endsWith(".shop") && destination.labels["tier"] == "gold""#,
    r#"destination.namespace in ["shop"]"#,
];

const KEYS: &[&str] = &[
    r#"request.headers["x"]"#,
    "source.namespace",
    "auth.claims.sub",
    "string(connection.mtls)",
];

const COSTS: &[&str] = &[
    "1",
    "int(request.headers[\"x\"])",
    "connection.mtls ? 1 : 2",
    "-1",
];

const MESSAGES: &[&str] = &[
    "no",
    "no access for {source.namespace}",
    "{request.headers[\"y\"]} {auth.claims.sub}",
];

#[derive(Clone, Debug)]
struct RuleText {
    kind: &'static str,
    when: Vec<String>,
    that: String,
    ask: Option<&'static str>,
    input: &'static str,
    on_error: bool,
    message: Option<&'static str>,
    shadow: bool,
}

#[derive(Clone, Debug)]
struct QuotaText {
    when: Option<String>,
    key: Option<&'static str>,
    absent: &'static str,
    by: Option<&'static str>,
    cost: &'static str,
    shadow: bool,
}

#[derive(Clone, Debug)]
struct PolicyText {
    selector: &'static str,
    outbound: bool,
    guard: bool,
    shadow: bool,
    rules: Vec<RuleText>,
    otherwise: Option<&'static str>,
    quotas: Vec<QuotaText>,
}

#[derive(Clone, Debug)]
struct Documents {
    default: &'static str,
    denials: &'static str,
    tcp: bool,
    policies: Vec<PolicyText>,
}

impl Documents {
    /// As YAML; without what is in shadow, if that is asked for.
    fn text(&self, with_shadow: bool) -> String {
        let mut text = format!(
            "mesh: {{ default: {}, denials: {{ show: {} }} }}\n",
            self.default, self.denials
        );
        for (name, answer) in [("sees", "a"), ("down", "unavailable"), ("briefly", "/a")] {
            let valid_for = if name == "briefly" { "'9'" } else { "version" };
            text += &format!(
                "---\nadapter: {name}\ntype: scripted\nconfig: {{ answer: {answer}, valid_for: {valid_for} }}\n"
            );
        }
        if self.tcp {
            text += "---\nservice: a.shop\nprotocol: tcp\n";
        }
        for (at, policy) in self.policies.iter().enumerate() {
            if policy.shadow && !with_shadow {
                continue;
            }
            text += &format!("---\npolicy: p{at}\nfor: {}\n", quoted(policy.selector));
            if policy.outbound {
                text += "at: outbound\n";
            }
            if policy.guard {
                text += "guard: true\n";
            }
            if policy.shadow {
                text += "mode: shadow\n";
            }
            text += "rules:\n";
            for (number, rule) in policy.rules.iter().enumerate() {
                if with_shadow || !rule.shadow {
                    text += &rule.text(number);
                }
            }
            // A rule that never acts, so that the list is not empty.
            text += "  - { deny: never, when: \"false\" }\n";
            let allows = policy.rules.iter().any(|rule| rule.kind == "allow");
            if let Some(otherwise) = policy.otherwise.or(allows.then_some("deny")) {
                text += &format!("otherwise: {otherwise}\n");
            }
            let quotas: Vec<String> = policy
                .quotas
                .iter()
                .enumerate()
                .filter(|(_, quota)| with_shadow || !quota.shadow)
                .map(|(number, quota)| quota.text(number))
                .collect();
            if !quotas.is_empty() {
                text += &format!("quotas:\n{}", quotas.concat());
            }
        }
        text
    }
}

impl RuleText {
    fn text(&self, number: usize) -> String {
        let mut text = format!("  - {}: r{number}\n", self.kind);
        if !self.when.is_empty() {
            text += "    when:\n";
            for line in &self.when {
                text += &format!("      - {}\n", quoted(line));
            }
        }
        if let Some(adapter) = self.ask {
            text += &format!(
                "    ask: {adapter}\n    with: {{ value: {} }}\n",
                quoted(self.input)
            );
            if self.on_error {
                text += "    on_error: allow\n";
            }
        } else if self.kind == "require" {
            text += &format!("    that: {}\n", quoted(&self.that));
        }
        if let (Some(message), true) = (self.message, self.kind != "allow") {
            let message = quoted(message);
            text += &format!(
                "    message: {message}\n    headers: {{ x-why: {message} }}\n    body: {{ why: {message} }}\n"
            );
        }
        if self.shadow {
            text += "    mode: shadow\n";
        }
        text
    }
}

impl QuotaText {
    fn text(&self, number: usize) -> String {
        let mut text = format!("  - quota: q{number}\n    absent: {}\n", self.absent);
        text += &format!("    key: [{}]\n", self.key.map(quoted).unwrap_or_default());
        if let Some(key) = self.key {
            text += &format!("    body: {}\n", quoted(&format!("enough, {{{key}}}")));
        }
        match self.by {
            Some(by) => {
                text += &format!(
                    "    limit: {{ by: {}, table: {{ a: 9 per minute }}, otherwise: 5 per minute }}\n",
                    quoted(by)
                )
            }
            None => text += "    limit: 5 per minute\n",
        }
        text += &format!("    cost: {}\n", quoted(self.cost));
        if let Some(when) = &self.when {
            text += &format!("    when: {}\n", quoted(when));
        }
        if self.shadow {
            text += "    mode: shadow\n";
        }
        text
    }
}

/// As YAML takes it literally.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn condition(atoms: Vec<&'static str>) -> impl Strategy<Value = String> {
    let atom = select(atoms).prop_map(str::to_owned);
    atom.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) || ({b})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

fn free_condition() -> impl Strategy<Value = String> {
    condition([GUARDED, UNGUARDED].concat())
}

fn rule() -> impl Strategy<Value = RuleText> {
    let kind = select(vec!["deny", "require", "allow"]);
    let when = |kind: &'static str| match kind {
        "deny" => prop::collection::vec(condition(GUARDED.to_vec()).boxed(), 0..3),
        _ => prop::collection::vec(free_condition().boxed(), 0..3),
    };
    let ask = prop::option::weighted(0.3, select(vec!["sees", "down", "briefly"]));
    let input = select(vec![
        "source.namespace",
        "request.path",
        r#"request.headers[?"x"].orValue("")"#,
    ]);
    let message = prop::option::of(select(MESSAGES.to_vec()));
    (
        kind.prop_flat_map(move |kind| (Just(kind), when(kind))),
        free_condition(),
        ask,
        input,
        any::<bool>(),
        message,
        prop::bool::weighted(0.2),
    )
        .prop_map(
            |((kind, when), that, ask, input, on_error, message, shadow)| RuleText {
                kind,
                when,
                that,
                ask,
                input,
                on_error,
                message,
                shadow,
            },
        )
}

fn quota() -> impl Strategy<Value = QuotaText> {
    (
        prop::option::of(free_condition()),
        prop::option::of(select(KEYS.to_vec())),
        select(vec!["share", "deny", "skip"]),
        prop::option::of(select(KEYS.to_vec())),
        select(COSTS.to_vec()),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(when, key, absent, by, cost, shadow)| QuotaText {
            when,
            key,
            absent,
            by,
            cost,
            shadow,
        })
}

fn policy() -> impl Strategy<Value = PolicyText> {
    (
        select(SELECTORS.to_vec()),
        (
            prop::bool::weighted(0.1),
            prop::bool::weighted(0.3),
            prop::bool::weighted(0.15),
        ),
        prop::collection::vec(rule(), 0..4),
        prop::option::weighted(
            0.3,
            select(vec!["deny", "allow", "{ deny: not otherwise }"]),
        ),
        prop::collection::vec(quota(), 0..2),
    )
        .prop_map(
            |(selector, (outbound, guard, shadow), rules, otherwise, quotas)| PolicyText {
                selector,
                outbound,
                guard,
                shadow,
                rules,
                otherwise,
                quotas,
            },
        )
}

fn documents() -> impl Strategy<Value = Documents> {
    let denials = select(vec!["mesh", "everyone", "nobody"]);
    (
        select(vec!["allow", "deny"]),
        denials,
        prop::bool::weighted(0.2),
        prop::collection::vec(policy(), 1..4),
    )
        .prop_map(|(default, denials, tcp, policies)| Documents {
            default,
            denials,
            tcp,
            policies,
        })
}

fn map(
    keys: &'static [&'static str],
    values: &'static [&'static str],
) -> impl Strategy<Value = OwnedValue> {
    prop::collection::btree_map(select(keys), select(values), 0..=keys.len()).prop_map(|map| {
        OwnedValue::Map(
            map.into_iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        )
    })
}

fn text(values: &'static [&'static str]) -> impl Strategy<Value = OwnedValue> {
    select(values).prop_map(|value| OwnedValue::String(value.to_owned()))
}

fn claims() -> impl Strategy<Value = OwnedValue> {
    let text = |text: &str| Dynamic::String(text.to_owned());
    let sub = prop::option::of(select(vec![
        text("s"),
        text("t"),
        Dynamic::Int(7),
        Dynamic::Null,
    ]));
    let groups = prop::option::of(select(vec![
        Dynamic::List(vec![text("g")]),
        Dynamic::List(vec![]),
        Dynamic::Bool(true),
    ]));
    let other = prop::option::of(select(vec![text("1"), text("2")]));
    (groups, other, sub).prop_map(|(groups, other, sub)| {
        let members = [("groups", groups), ("other", other), ("sub", sub)];
        let members = members
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        OwnedValue::Dynamic(Dynamic::Map(members.collect()))
    })
}

/// A request over the attributes the documents read, and some they do not.
fn request() -> impl Strategy<Value = OwnedBag> {
    let time = (0i64..3).prop_map(|year| {
        OwnedValue::Timestamp(Timestamp {
            seconds: 1_500_000_000 + year * 100_000_000,
            nanos: 0,
        })
    });
    let attributes = vec![
        (vocabulary::SOURCE_NAMESPACE, text(&["a", "b", "c"]).boxed()),
        (
            vocabulary::SOURCE_PRINCIPAL,
            text(&["spiffe://cluster.local/x", "spiffe://other/x"]).boxed(),
        ),
        (vocabulary::SOURCE_WORKLOAD, text(&["w", "v", ""]).boxed()),
        (
            vocabulary::CONNECTION_MTLS,
            any::<bool>().prop_map(OwnedValue::Bool).boxed(),
        ),
        (
            vocabulary::DESTINATION_SERVICE,
            text(&["a.shop", "b.shop"]).boxed(),
        ),
        (
            vocabulary::DESTINATION_NAMESPACE,
            text(&["shop", "farm"]).boxed(),
        ),
        (
            vocabulary::DESTINATION_LABELS,
            map(&["tier", "team"], &["gold", "tin"]).boxed(),
        ),
        (vocabulary::REQUEST_METHOD, text(&["GET", "PUT"]).boxed()),
        (vocabulary::REQUEST_PATH, text(&["/a", "/b"]).boxed()),
        (
            vocabulary::REQUEST_HEADERS,
            map(&["x", "y", "z"], &["1", "2", ""]).boxed(),
        ),
        (
            vocabulary::REQUEST_QUERY,
            map(&["q", "r"], &["v", "1"]).boxed(),
        ),
        (vocabulary::REQUEST_ID, text(&["1", "2"]).boxed()),
        (vocabulary::REQUEST_TIME, time.boxed()),
        (vocabulary::AUTH_CLAIMS, claims().boxed()),
        (
            vocabulary::CONTEXT_REPORTER,
            text(&["destination", "destination", "source"]).boxed(),
        ),
    ];
    let each: Vec<_> = attributes
        .into_iter()
        .map(|(id, value)| prop::option::weighted(0.8, value).prop_map(move |value| (id, value)))
        .collect();
    each.prop_map(|values| {
        let mut bag = OwnedBag::new();
        for (id, value) in values {
            if let Some(value) = value {
                bag.set(id, value);
            }
        }
        bag
    })
}

/// `other`, made equal to `first` in what `decision` read of it, as a cache compares: a map without a key is not an absent map.
fn equal_on_referenced(first: &OwnedBag, other: &OwnedBag, decision: &Decision) -> OwnedBag {
    let mut equal = other.clone();
    for (reference, present) in &decision.referenced {
        let (at, value) = (reference.attribute, first.value(reference.attribute));
        let is_whole = |other: &(Reference, bool)| other.0.attribute == at && other.0.key.is_none();
        let Some(value) = value else {
            assert!(!present, "{reference:?}");
            equal.unset(at);
            continue;
        };
        match &reference.key {
            None => {
                assert!(present, "{reference:?}");
                equal.set(at, value.clone());
            }
            Some(_) if decision.referenced.iter().any(is_whole) => {}
            Some(key) => assert_eq!(
                *present,
                copy_key(&mut equal, at, key, value),
                "{reference:?}"
            ),
        }
    }
    equal
}

/// Gives the map `at` what `from` has under `key`, which may be nothing; whether it has it.
fn copy_key(bag: &mut OwnedBag, at: vocabulary::AttributeId, key: &str, from: &OwnedValue) -> bool {
    match from {
        OwnedValue::Map(map) => {
            if bag.value(at).is_none() {
                bag.set(at, OwnedValue::Map(BTreeMap::new()));
            }
            let Some(OwnedValue::Map(to)) = bag.value_mut(at) else {
                panic!("it is a map")
            };
            match map.get(key) {
                Some(value) => drop(to.insert(key.to_owned(), value.clone())),
                None => drop(to.remove(key)),
            }
            map.contains_key(key)
        }
        OwnedValue::Dynamic(tree) => {
            if bag.value(at).is_none() {
                bag.set(at, OwnedValue::Dynamic(Dynamic::Map(Vec::new())));
            }
            let Some(OwnedValue::Dynamic(Dynamic::Map(to))) = bag.value_mut(at) else {
                panic!("it is a map")
            };
            to.retain(|(name, _)| name != key);
            to.extend(
                tree.member(key)
                    .map(|value| (key.to_owned(), value.clone())),
            );
            to.sort_by(|(a, _), (b, _)| a.cmp(b));
            tree.member(key).is_some()
        }
        other => panic!("{other:?} has no keys"),
    }
}

/// A decision without what is made anew each time.
fn comparable(decision: &Decision) -> String {
    let mut decision = decision.clone();
    decision.message = decision.message.replace(&decision.id, "ID");
    decision.id.clear();
    format!("{decision:#?}")
}

fn inside<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decisions_are_deterministic_and_equal_for_requests_equal_in_what_they_read(
        documents in documents(),
        pairs in prop::collection::vec((request(), request()), 6),
    ) {
        inside(async {
            let text = documents.text(true);
            let shared = Fixture::new(&text);
            // The breaker opens on an adapter that is always down: answers before and after are not equal.
            let alone = || documents.asks_what_is_down().then(|| Fixture::new(&text));
            for (first, other) in &pairs {
                let check = async |request: &OwnedBag| {
                    let alone = alone();
                    let fixture = alone.as_ref().unwrap_or(&shared);
                    fixture.dispatcher.check(&request.bag(), LEFT).await
                };
                let decided = check(first).await;
                prop_assert_eq!(comparable(&decided), comparable(&check(first).await));
                let equal = equal_on_referenced(first, other, &decided);
                let fresh = check(&equal).await;
                prop_assert_eq!(comparable(&decided), comparable(&fresh), "{:?}\nand {:?}\n{}", first, equal, text);
            }
            Ok(())
        })?;
    }

    #[test]
    fn what_is_in_shadow_changes_no_verdict(documents in documents(), requests in prop::collection::vec(request(), 6)) {
        inside(async {
            let [with, without] = [true, false].map(|with_shadow| documents.text(with_shadow));
            let shared = (Fixture::new(&with), Fixture::new(&without));
            let alone = || documents.asks_what_is_down().then(|| (Fixture::new(&with), Fixture::new(&without)));
            for request in &requests {
                let alone = alone();
                let (with, without) = alone.as_ref().unwrap_or(&shared);
                let with = with.dispatcher.check(&request.bag(), LEFT).await;
                let without = without.dispatcher.check(&request.bag(), LEFT).await;
                prop_assert_eq!(line(&with), line(&without));
                prop_assert!(without.shadow.is_empty());
                let enforced = with.charges.iter().filter(|charge| !charge.shadow).map(|charge| (&charge.quota, &charge.key, charge.cost));
                let alone = without.charges.iter().map(|charge| (&charge.quota, &charge.key, charge.cost));
                prop_assert_eq!(enforced.collect::<Vec<_>>(), alone.collect::<Vec<_>>());
                prop_assert!(with.verdict == Verdict::Allow || with.charges.is_empty());
            }
            Ok(())
        })?;
    }
}

impl Documents {
    fn asks_what_is_down(&self) -> bool {
        self.policies
            .iter()
            .flat_map(|policy| &policy.rules)
            .any(|rule| rule.ask == Some("down"))
    }
}
