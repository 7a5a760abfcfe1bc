//! Documents that load, and what they come to.

use std::time::Duration;

use mixer_attributes::{OwnedValue, Value, vocabulary};

use super::*;
use crate::{
    Absent, Algorithm, At, Denials, Endpoint, Expectation, Fail, GivenAnswer, LeaseLimit, Limit,
    MetricKind, Mode, OnError, Otherwise, QuotaOnError, RuleKind, TestKind,
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
        (&*sandbox.sentence, &*sandbox.id, sandbox.status),
        ("nobody from the sandbox", "nobody from the sandbox", 403)
    );
    assert_eq!(
        sandbox.message.as_ref().unwrap().source(),
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
    let Some(Otherwise::Deny { sentence, .. }) = &products.otherwise else {
        panic!()
    };
    assert_eq!(&**sentence, "only the shop frontend may read products");

    let egress = &set.policies[2];
    assert_eq!(
        (egress.at, egress.mode, egress.fail),
        (At::Outbound, Mode::Shadow, Fail::Open)
    );
    assert_eq!(egress.rules[0].status, 302);
    assert_eq!(
        egress.rules[0].location.as_ref().unwrap().source(),
        "https://{request.host}/login"
    );
    assert!(
        egress.rules[2].reads_request,
        "through the definition of cart.size"
    );
    assert!(set.policies[1].guard);
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
    let set = set(SHOP);
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
