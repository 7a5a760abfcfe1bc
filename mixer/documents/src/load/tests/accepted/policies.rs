//! Policies: rules, what the denied are told, constants and named lists.

use std::time::Duration;

use mixer_attributes::{Value, vocabulary};

use super::super::*;
use crate::{At, Fail, Mode, OnError, Otherwise, RuleKind};

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
