//! Documents that load, and what they come to.

use std::time::Duration;

use mixer_attributes::{OwnedValue, Value, vocabulary};

use super::*;
use crate::{
    Absent, Algorithm, At, Attest, Calendar, Denials, Denied, Endpoint, Expectation, Fail,
    GivenAnswer, LeaseLimit, Limit, MetricKind, Mode, OnError, Otherwise, Period, QuotaOnError,
    RuleKind, TestKind,
};

#[test]
fn every_key_of_a_policy_means_what_it_says() {
    let set = set(SHOP);
    assert_eq!(set.warnings.lines(), Vec::<String>::new());
    let names: Vec<&str> = set.policies.iter().map(|policy| &*policy.name).collect();
    assert_eq!(names, ["products", "quarantine", "egress", "kube"]);
    let products = &set.policies[0];
    assert_eq!(
        (products.at, products.guard, products.mode, products.fail),
        (At::Inbound, false, Mode::Enforce, Fail::Closed)
    );
    let kinds: Vec<RuleKind> = products.rules.iter().map(|rule| rule.kind).collect();
    assert_eq!(
        kinds,
        [
            RuleKind::Deny,
            RuleKind::Require,
            RuleKind::Deny,
            RuleKind::Allow,
            RuleKind::Allow
        ]
    );
    let [sandbox, tls, blocked, _, frontend] = products.rules.as_slice() else {
        panic!()
    };
    assert_eq!(
        (&*sandbox.sentence, &*sandbox.id, sandbox.reply.status),
        ("nobody from the sandbox", "nobody from the sandbox", 403)
    );
    assert_eq!(
        sandbox.reply.message.as_ref().unwrap().source(),
        "no access for {source.service_account}"
    );
    assert_eq!(set.warnings.sources.place(sandbox.span), "f.yaml:4:11");
    assert!(tls.when.is_always() && tls.that.as_ref().unwrap().lines.len() == 1);
    let ask = blocked.ask.as_ref().unwrap();
    assert_eq!(
        (
            &*set.adapters[ask.adapter].name,
            ask.with.len(),
            blocked.on_error
        ),
        ("blocklist", 1, OnError::Deny)
    );
    assert_eq!(
        set.adapters[ask.adapter].inputs[0].kind,
        mixer_cel::Kind::Ip
    );
    assert_eq!(frontend.when.lines.len(), 3);
    assert_eq!(
        [sandbox, blocked, frontend].map(|rule| (rule.reads_request, rule.reads_path)),
        [(false, false), (true, false), (true, true)]
    );
    let Some(Otherwise::Deny {
        sentence, reply, ..
    }) = &products.otherwise
    else {
        panic!()
    };
    assert_eq!(&**sentence, "only the shop frontend may read products");
    assert_eq!((reply.status, reply.grpc), (404, 5));
    assert_eq!(reply.message.as_ref().unwrap().source(), "nothing here");

    let egress = &set.policies[2];
    assert_eq!(
        (egress.at, egress.mode, egress.fail),
        (At::Outbound, Mode::Shadow, Fail::Open)
    );
    assert_eq!(egress.rules[0].reply.status, 302);
    assert_eq!(
        egress.rules[0].reply.location.as_ref().unwrap().source(),
        "https://{request.host}/login"
    );
    assert!(
        egress.rules[2].reads_request,
        "through the definition of cart.size"
    );
    assert!(set.policies[1].guard);
}

#[test]
fn what_a_denied_caller_is_told_is_read_as_written() {
    let set = set(SHOP);
    let reply = &set.policies[0].rules[0].reply;
    assert_eq!((reply.status, reply.grpc), (403, 16));
    let headers: Vec<(&str, &str)> = reply
        .headers
        .iter()
        .map(|(name, value)| (&**name, value.source()))
        .collect();
    assert_eq!(
        headers,
        [
            ("x-denied-by", "mesh"),
            (
                "www-authenticate",
                r#"Bearer realm="{destination.service}""#
            )
        ]
    );
    let body = reply.body.as_ref().unwrap();
    assert_eq!(&*body.content_type, "application/problem+json");
    assert_eq!(
        body.source(),
        r#"{"type":"https://errors.shop/sandbox","title":"No access","status":403,"port":"{source.port}","caller":["{source.service_account}","{}",1.5,true,null,"","403"]}"#
    );
    let mut bag = mixer_attributes::AttributeBag::new();
    bag.set(vocabulary::SOURCE_PORT, Value::Int(99));
    bag.set(vocabulary::SOURCE_SERVICE_ACCOUNT, Value::String("\"a\"\n"));
    let mut evaluation = mixer_cel::Evaluation::new(&bag, &set.references);
    assert_eq!(
        body.render(&mut evaluation).unwrap(),
        r#"{"type":"https://errors.shop/sandbox","title":"No access","status":403,"port":99,"caller":["\"a\"\n","{}",1.5,true,null,"","403"]}"#
    );

    let quota = &set.policies[0].quotas[0].reply;
    assert_eq!((quota.status, quota.grpc), (429, 8));
    let body = quota.body.as_ref().unwrap();
    assert_eq!(
        (&*body.content_type, body.source()),
        (
            "text/markdown",
            "too many requests, {auth.claims.sub}\n".to_owned()
        )
    );
}

#[test]
fn the_type_of_a_body_follows_from_its_form() {
    for (body, content_type, text) in [
        ("nobody", "text/plain; charset=utf-8", "nobody"),
        ("'{source.port}'", "text/plain; charset=utf-8", "-"),
        ("\"<p>\\n\"", "text/plain; charset=utf-8", "<p>\n"),
        ("{}", "application/json", "{}"),
        ("[]", "application/json", "[]"),
        ("[1, a]", "application/json", r#"[1,"a"]"#),
        (
            "{ a: '{source.port}', b: ' {source.port}', c: '{source.namespace}' }",
            "application/json",
            r#"{"a":null,"b":" -","c":"-"}"#,
        ),
        (
            "{ a: '{1.5}', b: '{0.0 / 0.0}', c: '{2 > 1}', d: '{2u}' }",
            "application/json",
            r#"{"a":1.5,"b":null,"c":true,"d":2}"#,
        ),
        (
            "{ type: error, code: 7 }",
            "application/json",
            r#"{"type":"error","code":7}"#,
        ),
        (
            "{ title: no, status: 403 }",
            "application/problem+json",
            r#"{"title":"no","status":403}"#,
        ),
        (
            "{ title: no, type: about:blank }",
            "application/problem+json",
            r#"{"title":"no","type":"about:blank"}"#,
        ),
    ] {
        let set = set(&format!(
            "policy: p\nfor: always\nrules:\n  - deny: a\n    body: {body}\n"
        ));
        let read = set.policies[0].rules[0].reply.body.as_ref().unwrap();
        assert_eq!(&*read.content_type, content_type, "{body}");
        let bag = mixer_attributes::AttributeBag::new();
        let mut evaluation = mixer_cel::Evaluation::new(&bag, &set.references);
        assert_eq!(
            read.render(&mut evaluation).as_deref(),
            Some(text),
            "{body}"
        );
    }
}

#[test]
fn what_is_still_in_shadow_after_its_time_is_a_warning_at_that_place() {
    let at = |now: u64| {
        let mut set = set(SHOP);
        set.warn_overdue(std::time::UNIX_EPOCH + Duration::from_secs(now));
        set.warnings.lines()
    };
    let place = |what: &str| {
        let before = &SHOP[..SHOP.find(what).unwrap()];
        let line = before.lines().count();
        let column = SHOP.lines().nth(line - 1).unwrap().find("2026").unwrap() + 1;
        format!("f.yaml:{line}:{column}")
    };
    let quota = format!(
        "{}: warning[MX3011]: in shadow until 2026-12-31T18:00:00+01:00, which has passed",
        place("2026-12-31T18")
    );
    let policy = format!(
        "{}: warning[MX3011]: in shadow until 2026-12-31, which has passed",
        place("2026-12-31\nfail")
    );
    // 2026-12-31T17:00:00Z, and the end of that day.
    let (evening, midnight) = (1_798_736_400, 1_798_761_600);
    assert_eq!(at(evening - 1), Vec::<String>::new());
    assert_eq!(at(evening), std::slice::from_ref(&quota));
    assert_eq!(at(midnight - 1), std::slice::from_ref(&quota));
    assert_eq!(at(midnight), [quota, policy]);
}

#[test]
fn a_constant_is_what_it_says_in_every_type_and_is_read_from_no_request() {
    let of = |kind: &str, value: &str, condition: &str| {
        let set = set(&format!(
            "attributes: [{{ name: a.b, type: '{kind}', value: {value} }}]\n---\npolicy: p\nfor: always\nrules:\n  - require: x\n    that: {condition}\n"
        ));
        let bag = mixer_attributes::AttributeBag::new();
        let mut evaluation = mixer_cel::Evaluation::new(&bag, &set.references);
        let held = set.policies[0].rules[0]
            .that
            .as_ref()
            .unwrap()
            .test(&mut evaluation);
        assert_eq!(held, Ok(true), "{kind} {value}: {condition}");
        assert_eq!(evaluation.referenced(), [], "{kind} {value}");
    };
    for (kind, value, condition) in [
        (
            "list<string>",
            "[ann, 'b\"o\\b', 10.0.0.0/8]",
            "a.b.size() == 3 && \"ann\" in a.b && a.b[1] == 'b\"o\\\\b'",
        ),
        ("list<string>", "[]", "a.b.size() == 0"),
        ("list<string>", "[7, true]", "a.b == [\"7\", \"true\"]"),
        (
            "map<string,string>",
            "{ pro: gold, '': x }",
            "a.b[\"pro\"] == \"gold\" && a.b[\"\"] == \"x\"",
        ),
        ("map<string,string>", "{}", "a.b.size() == 0"),
        ("string", "\"a\\tb\"", "a.b == \"a\\tb\""),
        ("string", "12", "a.b == \"12\""),
        ("int", "-5", "a.b == -5"),
        ("int", "9223372036854775807", "a.b > 0"),
        ("double", "1", "a.b == 1.0"),
        ("double", "1e300", "a.b > 1.0"),
        ("bool", "true", "a.b"),
        ("ip", "::1", "a.b == ip(\"::1\")"),
        ("duration", "5m", "a.b == duration(\"300s\")"),
        ("duration", "10ms", "a.b == duration(\"0.01s\")"),
        (
            "timestamp",
            "2026-01-31T12:00:00.5+01:00",
            "a.b == timestamp(\"2026-01-31T11:00:00.5Z\")",
        ),
    ] {
        let condition = format!("'{}'", condition.replace('\'', "''"));
        of(kind, value, &condition);
    }
}

#[test]
fn a_policy_may_be_for_a_named_list_of_services() {
    let selector = |attributes: &str, selector: &str| {
        let set = set(&format!(
            "{attributes}policy: p\nfor: {selector}\nrules: [{{ deny: x }}]\n"
        ));
        set.policies[0].selector.clone()
    };
    let constants = "attributes:\n  - { name: shop.doors, type: list<string>, value: [b.shop, a.shop] }\n  - { name: shop.suffix, type: string, value: .shop }\n---\n";
    for (named, literal) in [
        (
            "destination.service in shop.doors",
            "destination.service in [\"a.shop\", \"b.shop\"]",
        ),
        (
            "destination.service.endsWith(shop.suffix)",
            "destination.service.endsWith(\".shop\")",
        ),
        (
            "destination.namespace == shop.suffix",
            "destination.namespace == \".shop\"",
        ),
    ] {
        assert_eq!(selector(constants, named), selector("", literal), "{named}");
    }
}

#[test]
fn a_named_list_is_the_list() {
    let text = |attributes: &str, list: &str| {
        format!(
            "{attributes}policy: p\nfor: destination.service == \"a.shop\"\nrules:\n  - deny: x\n    when: '!(source.service_account in {list})'\n"
        )
    };
    let constant =
        "attributes:\n  - { name: shop.admins, type: list<string>, value: [ann, bob] }\n---\n";
    let from = "attributes:\n  - { name: shop.admins, type: list<string>, from: '[\"ann\", \"bob\"]' }\n---\n";
    let compiled = |text: &str| {
        let set = set(text);
        let rule = set.policies[0].rules[0].clone();
        let debug = format!("{:?}", rule.when.lines[0].0);
        // From the node on: before it stands the source.
        debug[debug.find("node:").unwrap()..].to_owned()
    };
    let literal = compiled(&text("", "[\"ann\", \"bob\"]"));
    let node = |debug: &str| debug[..debug.find("reads:").unwrap()].to_owned();
    for attributes in [constant, from] {
        let named = compiled(&text(attributes, "shop.admins"));
        assert_eq!(node(&named), node(&literal), "{attributes}");
    }
    let revision = |value: &str| {
        let constant = constant.replace("bob", value);
        let set = set(&text(&constant, "shop.admins"));
        let mut bag = mixer_attributes::AttributeBag::new();
        bag.set(vocabulary::DESTINATION_SERVICE, Value::String("a.shop"));
        set.applicable(At::Inbound, &bag).scope.revision.clone()
    };
    assert_ne!(revision("bob"), revision("eve"));
}

#[test]
fn every_key_of_a_quota_means_what_it_says() {
    let set = set(SHOP);
    let [customer, bytes] = set.policies[0].quotas.as_slice() else {
        panic!()
    };
    assert_eq!(
        (&*customer.sentence, &*customer.id, customer.key.len()),
        ("requests per customer", "per-customer", 1)
    );
    assert_eq!(
        (customer.absent, customer.algorithm, customer.lease),
        (Absent::Share, Algorithm::SlidingWindow, LeaseLimit::Auto)
    );
    assert_eq!(
        (customer.on_error, customer.mode),
        (QuotaOnError::Allow, Mode::Enforce)
    );
    assert_eq!(&*set.adapters[customer.store].name, "shared");
    let minute = |amount| Limit {
        amount,
        window: Duration::from_secs(60),
    };
    assert_eq!(
        (customer.limit.row("pro"), customer.limit.row("none")),
        (minute(2000), minute(100))
    );
    assert_eq!(
        (&*bytes.id, bytes.mode),
        ("products/bytes per namespace", Mode::Shadow)
    );
    assert_eq!(
        bytes.limit.otherwise,
        Limit {
            amount: 5000,
            window: Duration::from_secs(10)
        }
    );
    assert_eq!(
        (bytes.algorithm, bytes.lease),
        (Algorithm::Gcra { burst: 100 }, LeaseLimit::AtMost(0))
    );
    assert_eq!(bytes.on_error, QuotaOnError::Local(10));
    assert_eq!(&*set.adapters[bytes.store].name, "memory");
}

#[test]
fn each_algorithm_is_what_it_says() {
    let algorithm = |keys: &str| {
        let set = set(&format!(
            "policy: p\nfor: always\nquotas: [{{ quota: q, key: [], {keys} }}]"
        ));
        let quota = &set.policies[0].quotas[0];
        let limit = quota.limit.otherwise;
        (
            quota.algorithm,
            limit.amount,
            limit.window.as_secs(),
            quota.denied,
        )
    };
    let fixed = |period, zone| Algorithm::FixedWindow {
        calendar: Some(Calendar { period, zone }),
    };
    let opened = Algorithm::FixedWindow { calendar: None };
    let (day, free) = (86_400, Denied::Free);
    let berlin = fixed(Period::Month, chrono_tz::Tz::Europe__Berlin);
    let hold = Duration::from_secs(90);
    for (keys, expected) in [
        (
            "limit: 5 per week",
            (Algorithm::SlidingWindow, 5, 7 * day, free),
        ),
        (
            "limit: 5 per month, denied: counts",
            (Algorithm::SlidingWindow, 5, 30 * day, Denied::Counts),
        ),
        (
            "limit: 5 per year, algorithm: fixed-window, denied: free",
            (opened, 5, 365 * day, free),
        ),
        (
            "limit: 5 per 366d, algorithm: fixed-window",
            (opened, 5, 366 * day, free),
        ),
        (
            "limit: 5 per hour, algorithm: fixed-window, window: calendar",
            (fixed(Period::Hour, chrono_tz::Tz::UTC), 5, 3_600, free),
        ),
        (
            "limit: { by: source.namespace, table: { a: 9 per month }, otherwise: 5 per month }, algorithm: fixed-window, window: calendar Europe/Berlin",
            (berlin, 5, 30 * day, free),
        ),
        (
            "limit: 20, algorithm: concurrency, hold: 90s, lease: 0",
            (Algorithm::Concurrency { hold }, 20, 90, free),
        ),
    ] {
        assert_eq!(algorithm(keys), expected, "{keys}");
    }
}

#[test]
fn tests_merge_what_they_are_like_and_are_typed() {
    let set = set(SHOP);
    let [frontend, sandbox, limit] = set.policies[0].tests.as_slice() else {
        panic!()
    };
    assert_eq!(
        frontend.expect,
        Expectation::Sentence("the shop frontend may read products".into())
    );
    assert_eq!(
        frontend.answers,
        [("blocklist".into(), GivenAnswer::NoMatch)]
    );
    assert_eq!(sandbox.answers, frontend.answers);
    let text = |text: &str| Some(OwnedValue::String(text.to_owned()));
    assert_eq!(
        sandbox.given.value(vocabulary::SOURCE_NAMESPACE).cloned(),
        text("sandbox")
    );
    assert_eq!(
        sandbox
            .given
            .value(vocabulary::SOURCE_SERVICE_ACCOUNT)
            .cloned(),
        text("frontend")
    );
    assert_eq!(
        sandbox.given.value(vocabulary::REQUEST_PATH).cloned(),
        text("/products?a=b"),
        "taken as it stands"
    );
    let address = OwnedValue::Ip("10.1.1.1".parse().unwrap());
    assert_eq!(
        limit.given.value(vocabulary::REQUEST_CLIENT_IP),
        Some(&address)
    );
    assert_eq!(
        limit.given.value(vocabulary::REQUEST_HEADERS),
        Some(&OwnedValue::Map(Default::default())),
        "present, perhaps empty"
    );
    assert_eq!((limit.kind, limit.times), (TestKind::Limit, 101));
}

#[test]
fn every_type_of_attribute_can_be_given() {
    let text = "policy: p
for: always
rules: [{ deny: all }]
tests:
  - deny: any
    given:
      source: { ip: '::ffff:10.0.0.1', port: 80 }
      request: { time: 2026-01-01T00:00:00Z, headers: { x-a: 1, x-b: null }, method: GET, query: { a: '' } }
      auth.audiences: [a, b]
      auth: { claims: { groups: [admins, 7, 1.5, true, null], plan: { name: pro }, iat: '5' } }
      response: { duration: 30ms }
      connection.mtls: false
  - deny: any
    name: tcp
    given: { api: { protocol: tcp }, request: { id: x } }
  - deny: any
    like: tcp
    given: { request: { id: null } }
";
    let set = set(text);
    let [all, tcp, none] = set.policies[0].tests.as_slice() else {
        panic!()
    };
    let given = |id| {
        all.given
            .value(id)
            .map(|value| value.borrow().to_string())
            .unwrap_or_default()
    };
    assert_eq!(given(vocabulary::SOURCE_IP), "10.0.0.1");
    assert_eq!(given(vocabulary::SOURCE_PORT), "80");
    assert_eq!(
        given(vocabulary::REQUEST_TIME),
        "timestamp(1767225600.000000000)"
    );
    assert_eq!(given(vocabulary::REQUEST_HEADERS), "{\"x-a\": \"1\"}");
    assert_eq!(given(vocabulary::REQUEST_QUERY), "{\"a\": \"\"}");
    assert_eq!(given(vocabulary::AUTH_AUDIENCES), "[\"a\", \"b\"]");
    assert_eq!(given(vocabulary::RESPONSE_DURATION), "0.03s");
    assert_eq!(given(vocabulary::CONNECTION_MTLS), "false");
    let Some(Value::Dynamic(claims)) = all
        .given
        .value(vocabulary::AUTH_CLAIMS)
        .map(OwnedValue::borrow)
    else {
        panic!()
    };
    assert_eq!(
        claims.member("iat"),
        Some(&mixer_attributes::Dynamic::String("5".to_owned())),
        "quoted is text"
    );
    assert_eq!(
        format!("{:?}", claims.member("groups").unwrap()),
        "List([String(\"admins\"), Int(7), Double(1.5), Bool(true), Null])"
    );
    assert_eq!(tcp.given.value(vocabulary::REQUEST_HEADERS), None);
    assert_eq!(
        none.given.value(vocabulary::REQUEST_ID),
        None,
        "null unsets"
    );
}

#[test]
fn services_mesh_adapters_and_telemetry_are_read() {
    let set = set(SHOP);
    let [products, postgres, payments] = set.services.as_slice() else {
        panic!()
    };
    assert_eq!(products.namespace.as_deref(), Some("shop"));
    assert_eq!(products.hosts, ["products", "products.shop.svc"]);
    assert_eq!(
        products.endpoints[1],
        Endpoint::Dns("products.shop".to_owned(), 15006)
    );
    assert!(products.keep_encoded_slash && !products.external && payments.external);
    assert_eq!(postgres.namespace.as_deref(), Some("data"));
    assert_eq!(set.mesh.fail.stale, Duration::from_secs(600));
    assert_eq!(
        set.mesh.client_ip.as_ref().unwrap().trusted[0],
        ("10.0.0.0".parse().unwrap(), 8)
    );
    assert_eq!(set.mesh.denials, Denials::Mesh);

    let names: Vec<(&str, &str)> = set
        .adapters
        .iter()
        .map(|adapter| (&*adapter.name, &*adapter.kind))
        .collect();
    let expected = [
        ("blocklist", "list"),
        ("shared", "memory-quota"),
        ("zipkin", "zipkin"),
        ("memory", "memory-quota"),
        ("prometheus", "prometheus"),
    ];
    assert_eq!(names, expected);
    let list = &set.adapters[0];
    let config = r#"{"entries":["10.0.0.0/8"],"refresh":"5m","ports":[80,"443"],"headers":{"authorization":{"from_env":"FEED_TOKEN"}}}"#;
    assert_eq!(list.config.to_string(), config);
    let at = |field: &str| {
        set.warnings
            .sources
            .slice(list.place(field).unwrap())
            .to_owned()
    };
    assert_eq!(at("ports.1"), "\"443\"");
    assert_eq!(at("headers.authorization.nope"), "{ from_env: FEED_TOKEN }");
    assert_eq!(at("nope"), at(""));

    let checkout = &set.telemetry[0];
    assert_eq!(
        checkout.metrics[0].kind,
        MetricKind::Histogram(vec![100.0, 1000.0])
    );
    assert_eq!(&*checkout.metrics[0].labels[0].0, "route");
    assert_eq!(checkout.traces.unwrap().sample, 0.01);
    assert_eq!(&*set.adapters[checkout.traces.unwrap().to].name, "zipkin");
}

#[test]
fn a_named_adapter_takes_the_place_of_the_one_that_is_there_by_itself() {
    let set = set("adapter: memory\ntype: redis-quota\n");
    let names: Vec<(&str, &str)> = set
        .adapters
        .iter()
        .map(|adapter| (&*adapter.name, &*adapter.kind))
        .collect();
    assert_eq!(
        names,
        [("memory", "redis-quota"), ("prometheus", "prometheus")]
    );
}

#[test]
fn canonical_documents_are_read_back_to_the_same() {
    let balanced = r#"
service: carts.shop
balance: { by: 'ring-hash(request.headers["x-user"])', panic: 0% }
circuit: { pending: 8 }
outlier: { eject: 1500ms, max_ejected: 10% }
health: { tcp: true, every: 1s, unhealthy: 1 }
probes: { paths: [/healthz, /ready/], from: [10.0.0.0/8, "::1"] }
---
service: mail.shop
balance: { by: least-request, slow_start: 30s }
health: { http: '/healthz?deep=1' }
"#;
    let set = set(&format!("{SHOP}\n---\n{balanced}"));
    let canonical: Vec<(String, String)> =
        std::iter::once(("mesh".to_owned(), set.mesh.canonical()))
            .chain(
                set.services
                    .iter()
                    .map(|service| (service.name.to_string(), service.canonical())),
            )
            .collect();
    let again = load(Sources::from_texts(canonical)).unwrap();
    assert_eq!(again.mesh, set.mesh);
    let sorted = |set: &PolicySet| {
        let mut services: Vec<_> = set
            .services
            .iter()
            .map(|service| (service.canonical(), service.namespace.clone()))
            .collect();
        services.sort();
        services
    };
    assert_eq!(sorted(&again), sorted(&set));
    assert_eq!(again.mesh.canonical(), set.mesh.canonical());
    let denying = super::set(
        "mesh: { default: deny, outbound: deny, fail: { stale: 1500ms }, denials: { show: nobody } }",
    );
    let again = load(Sources::from_texts([("m", denying.mesh.canonical())])).unwrap();
    assert_eq!(again.mesh, denying.mesh);
}

#[test]
fn a_file_with_carriage_returns_is_the_same() {
    let windows = set(&SHOP.replace('\n', "\r\n"));
    assert_eq!(windows.warnings.lines(), Vec::<String>::new());
    assert_eq!(windows.policies[0].rules.len(), 5);
    let line = "policy: p\r\nfor: always\r\nrules: [{ deny: all, when: source.prt == 1 }]\r\n";
    assert!(problems(line).lines()[0].starts_with("f.yaml:3:28: error"));
    assert!(!problems(line).render(false).contains('\r'));
}

#[test]
fn nothing_but_defaults_is_a_set_without_sources() {
    let set = load(Sources::default()).unwrap();
    assert_eq!(set.mesh, crate::Mesh::default());
    assert_eq!(
        problems("# nothing\n---\n").lines(),
        ["error[MX0002]: no documents in f.yaml"]
    );
}

#[test]
fn a_comment_behind_one_space_is_a_warning_and_behind_two_is_none() {
    let policy = |space: &str| {
        format!(
            "policy: p\nfor: always\nrules:\n  - deny: all{space}# of them\n    when: connection.mtls{space}# x\n"
        )
    };
    assert_eq!(
        problems(&policy(" ")).lines(),
        [
            "f.yaml:4:15: warning[MX0112]: ` #` begins a comment: the text ends before it",
            "f.yaml:5:27: warning[MX0112]: ` #` begins a comment: the text ends before it",
        ]
    );
    assert!(problems(&policy("  ")).lines().is_empty());
}

#[test]
fn workloads_are_read_and_are_part_of_no_revision() {
    let set = set(
        "workload: products\nid: spiffe://cluster.local/ns/shop/sa/products\nattest: { uid: 1001, path: /usr/bin/products }\n\
         ---\nworkload: its twin\nid: spiffe://cluster.local/twin\nattest: { uid: 1001, path: /usr/bin/products }\n\
         ---\napiVersion: mixer.dev/v1\nkind: Workload\nmetadata: { name: kube }\nspec: { id: spiffe://cluster.local/k, attest: { gid: 0 } }\n",
    );
    let [products, twin, kube] = set.workloads.as_slice() else {
        panic!("{:?}", set.workloads)
    };
    assert_eq!(
        (&*products.name, products.id.as_str()),
        ("products", "spiffe://cluster.local/ns/shop/sa/products")
    );
    let both = Attest {
        uid: Some(1001),
        gid: None,
        path: Some("/usr/bin/products".into()),
    };
    assert_eq!((&products.attest, &twin.attest), (&both, &both));
    assert_eq!((kube.attest.uid, kube.attest.gid), (None, Some(0)));
    let none = load(Sources::from_texts([("f.yaml", "mesh: {}")])).unwrap();
    assert_eq!(set.revision(), none.revision());
}

#[test]
fn every_example_loads_without_a_warning() {
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let folders = std::fs::read_dir(examples)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut loaded = 0;
    for folder in folders.filter(|path| path.is_dir()) {
        let set = load(Sources::read(&[folder]).unwrap())
            .unwrap_or_else(|problems| panic!("{}", problems.render(false)));
        assert_eq!(set.warnings.lines(), Vec::<String>::new());
        loaded += 1;
    }
    assert!(loaded > 0);
}
