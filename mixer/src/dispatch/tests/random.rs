//! Documents and requests at random: policies of every kind over conditions of every kind, and requests that have some of the
//! attributes these read, and some keys twice.

use std::borrow::Cow;
use std::collections::BTreeMap;

use mixer_attributes::{
    AttributeBag, Dynamic, Entry, OwnedBag, OwnedValue, StringMap, Timestamp, Value, vocabulary,
};
use proptest::prelude::*;
use proptest::sample::select;

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
    r#"source.ip == "10.0.0.1""#,
    r#"source.ip in ["10.0.0.1", "10.0.0.2"]"#,
    r#"destination.port in [80, 443]"#,
    r#"destination.port == 80"#,
    r#"!connection.mtls"#,
    r#"connection.mtls == false"#,
    r#"!has(source.namespace)"#,
    r#"request.path.startsWith("/")"#,
    r#"request.path.endsWith("b")"#,
    r#"request.path == "/a" || request.path.startsWith("/b")"#,
    r#"request.path == "/a" || request.path == "/b/b""#,
    r#"request.path.startsWith("/b/") && request.path.endsWith("/b")"#,
    r#"request.headers[?"x"].orValue("1") in ["1", "2"]"#,
    r#"request.headers[?"x"].orValue("").startsWith("1")"#,
    r#"auth.claims[?"sub"].orValue("t") == "t""#,
    r#"has(auth.claims.level) && auth.claims.level == 7"#,
    r#"[source.namespace, "c"].exists(name, name == "c")"#,
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
    r#"request.query["q"] in ["v", "w"]"#,
    r#"auth.claims.level == 7"#,
    r#"auth.claims.admin"#,
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
pub(super) struct Documents {
    default: &'static str,
    denials: &'static str,
    tcp: bool,
    policies: Vec<PolicyText>,
}

impl Documents {
    /// As YAML; without what is in shadow, if that is asked for.
    pub(super) fn text(&self, with_shadow: bool) -> String {
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

fn policy(most: usize) -> impl Strategy<Value = PolicyText> {
    (
        select(SELECTORS.to_vec()),
        (
            prop::bool::weighted(0.1),
            prop::bool::weighted(0.3),
            prop::bool::weighted(0.15),
        ),
        prop::collection::vec(rule(), 0..most),
        prop::option::weighted(
            0.3,
            select(vec!["deny", "allow", "{ deny: not otherwise }"]),
        ),
        prop::collection::vec(quota(), 0..most / 2),
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

/// With up to `most` rules a policy: an index tells rules apart only where there are many.
pub(super) fn documents(most: usize) -> impl Strategy<Value = Documents> {
    let denials = select(vec!["mesh", "everyone", "nobody"]);
    (
        select(vec!["allow", "deny"]),
        denials,
        prop::bool::weighted(0.2),
        prop::collection::vec(policy(most), 1..4),
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
    let level = prop::option::of(select(vec![
        Dynamic::Int(7),
        Dynamic::Int(8),
        Dynamic::Double(7.0),
        text("7"),
    ]));
    let admin = prop::option::of(select(vec![Dynamic::Bool(true), text("yes")]));
    (admin, groups, level, other, sub).prop_map(|(admin, groups, level, other, sub)| {
        let members = [
            ("admin", admin),
            ("groups", groups),
            ("level", level),
            ("other", other),
            ("sub", sub),
        ];
        let members = members
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        OwnedValue::Dynamic(Dynamic::Map(members.collect()))
    })
}

/// Keys that a request may give twice.
pub(super) const TWICE: [(vocabulary::AttributeId, &str); 2] = [
    (vocabulary::REQUEST_QUERY, "q"),
    (vocabulary::REQUEST_HEADERS, "x"),
];

/// Attributes, and which of [`TWICE`] are given twice.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) bag: OwnedBag,
    pub(super) twice: Vec<bool>,
}

/// A map some of whose keys are given twice.
struct Doubled<'a>(&'a BTreeMap<String, String>, Vec<&'static str>);

impl Request {
    /// What `work` makes of it.
    pub(super) async fn with<T>(&self, work: impl AsyncFnOnce(&AttributeBag<'_>) -> T) -> T {
        let doubled = |at| match self.bag.value(at) {
            Some(OwnedValue::Map(map)) => {
                let keys = TWICE.iter().zip(&self.twice);
                let keys = keys.filter(|((attribute, _), twice)| *attribute == at && **twice);
                Some(Doubled(map, keys.map(|((_, key), _)| *key).collect()))
            }
            _ => None,
        };
        let maps = [vocabulary::REQUEST_QUERY, vocabulary::REQUEST_HEADERS];
        let maps = maps.map(|at| (at, doubled(at)));
        let mut bag = self.bag.bag();
        for (at, map) in &maps {
            if let Some(map) = map {
                bag.set(*at, Value::Map(map));
            }
        }
        work(&bag).await
    }
}

impl StringMap for Doubled<'_> {
    fn lookup(&self, key: &str) -> Entry<'_> {
        match self.1.contains(&key) {
            true => Entry::Ambiguous,
            false => self.0.lookup(key),
        }
    }

    fn entries(&self) -> Vec<(Cow<'_, str>, Entry<'_>)> {
        let single = self.0.entries().into_iter();
        let mut entries: Vec<_> = single
            .filter(|(key, _)| !self.1.contains(&&**key))
            .collect();
        entries.extend(self.1.iter().map(|key| ((*key).into(), Entry::Ambiguous)));
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        entries
    }
}

/// A request over the attributes the documents read, and some they do not.
pub(super) fn request() -> impl Strategy<Value = Request> {
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
        (
            vocabulary::REQUEST_PATH,
            text(&["/a", "/b", "/b/b", "/"]).boxed(),
        ),
        (
            vocabulary::REQUEST_HEADERS,
            map(&["x", "y", "z"], &["1", "2", ""]).boxed(),
        ),
        (
            vocabulary::REQUEST_QUERY,
            map(&["q", "r"], &["v", "1"]).boxed(),
        ),
        (
            vocabulary::SOURCE_IP,
            select(vec!["10.0.0.1", "10.0.0.9"])
                .prop_map(|text| OwnedValue::Ip(text.parse().unwrap()))
                .boxed(),
        ),
        (
            vocabulary::DESTINATION_PORT,
            select(vec![80, 8080]).prop_map(OwnedValue::Int).boxed(),
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
    let twice = prop::collection::vec(prop::bool::weighted(0.15), TWICE.len());
    (each, twice).prop_map(|(values, twice)| {
        let mut bag = OwnedBag::new();
        for (id, value) in values {
            if let Some(value) = value {
                bag.set(id, value);
            }
        }
        Request { bag, twice }
    })
}

impl Documents {
    pub(super) fn asks_what_is_down(&self) -> bool {
        self.policies
            .iter()
            .flat_map(|policy| &policy.rules)
            .any(|rule| rule.ask == Some("down"))
    }

    pub(super) fn has_shadow_quotas(&self) -> bool {
        self.policies.iter().any(|policy| {
            let mut quotas = policy.quotas.iter();
            policy.shadow && !policy.quotas.is_empty() || quotas.any(|quota| quota.shadow)
        })
    }
}
