//! What is said and, more important, what is not.

use crate::{Code, Sources, lint, load};

/// The codes of the lints of one text, each with the text its place holds.
fn found(text: &str) -> Vec<(Code, String)> {
    let set = load(Sources::from_texts([("f.yaml", text)]))
        .unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    let found = lint(&set);
    let place = |problem: &crate::Diagnostic| {
        let span = problem.span.expect("a lint has a place");
        found.sources.slice(span).to_owned()
    };
    found
        .list
        .iter()
        .map(|problem| (problem.code, place(problem)))
        .collect()
}

fn rules(rules: &str) -> String {
    format!("policy: p\nfor: always\nrules:\n{rules}\n")
}

/// One deny rule with this condition, which a YAML single-quoted text holds.
fn when(condition: &str) -> String {
    rules(&format!(
        "  - deny: d\n    absent: match\n    when: '{}'",
        condition.replace('\'', "''")
    ))
}

#[track_caller]
fn is(text: &str, expected: &[(Code, &str)]) {
    let found = found(text);
    let found: Vec<(Code, &str)> = found
        .iter()
        .map(|(code, at)| (*code, at.as_str()))
        .collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn a_rule_behind_an_unconditional_one_never_decides() {
    use Code::{OtherwiseUnreachable, RuleUnreachable};
    let text = rules(
        "  - deny: before\n    when: connection.mtls\n  - require: r\n    that: connection.mtls\n  - allow: a\n  - deny: all\n  - deny: behind\n    when: connection.mtls\notherwise: { deny: o }",
    );
    is(
        &text,
        &[
            (RuleUnreachable, "r"),
            (RuleUnreachable, "a"),
            (RuleUnreachable, "behind"),
            (OtherwiseUnreachable, "o"),
        ],
    );
    for fine in [
        // What stands before it is reported by its own name.
        "  - deny: a\n    when: connection.mtls\n  - deny: all",
        // Trials decide nothing by design.
        "  - deny: all\n    mode: shadow\n  - deny: a\n    when: connection.mtls",
        "  - deny: all\n  - deny: a\n    mode: shadow\n    when: connection.mtls",
        // It is not sure that the adapter matches.
        "  - deny: all\n    ask: blocklist\n    with: { value: source.ip }\n  - deny: b\n    when: connection.mtls\n---\nadapter: blocklist\ntype: list",
        "  - allow: first\n    when: connection.mtls\n  - allow: all\notherwise: allow",
        // A deny goes before an allow, wherever it stands.
        "  - allow: all\n  - deny: b\n    when: connection.mtls\notherwise: allow",
    ] {
        is(&rules(fine), &[]);
    }
}

#[test]
fn a_rule_that_demands_more_than_an_earlier_one_never_decides() {
    use Code::RuleShadowed;
    let mtls = "connection.mtls";
    let port = "source.port==80";
    for (first, second) in [
        ("when: connection.mtls", "when: connection.mtls"),
        (
            "when: connection.mtls",
            "when: [source.port == 80, (connection.mtls)]",
        ),
        (
            "when: source.port == 80",
            "when: connection.mtls && source.port==80",
        ),
    ] {
        let text = rules(&format!(
            "  - deny: a\n    {first}\n  - deny: b\n    {second}"
        ));
        is(&text, &[(RuleShadowed, "b")]);
    }
    let require = |a: &str, b: &str| {
        rules(&format!(
            "  - require: a\n    that: [{a}]\n  - require: b\n    that: [{b}]"
        ))
    };
    is(
        &require(&format!("{mtls}, {port}"), mtls),
        &[(RuleShadowed, "b")],
    );
    is(&require(mtls, &format!("{mtls}, {port}")), &[]);
    for fine in [
        "  - deny: a\n    when: connection.mtls && source.port == 80\n  - deny: b\n    when: connection.mtls",
        "  - deny: a\n    when: connection.mtls\n  - allow: b\n    when: connection.mtls\notherwise: deny",
        "  - deny: a\n    when: connection.mtls || source.port == 80\n  - deny: b\n    when: connection.mtls && source.port == 81",
        "  - deny: a\n    mode: shadow\n    when: connection.mtls\n  - deny: b\n    when: connection.mtls",
        "  - deny: a\n    ask: l\n    with: { value: source.ip }\n    when: connection.mtls\n  - deny: b\n    when: connection.mtls\n---\nadapter: l\ntype: list",
    ] {
        is(&rules(fine), &[]);
    }
}

#[test]
fn a_condition_that_contradicts_itself_is_never_true() {
    for (condition, at) in [
        (
            "request.method == 'A' && request.method == 'B'",
            "request.method == ''B''",
        ),
        (
            "request.method in ['A', 'B'] && request.method == 'C'",
            "request.method == ''C''",
        ),
        ("request.method in []", "request.method in []"),
        ("connection.mtls && false", "false"),
        ("connection.mtls && !connection.mtls", "!connection.mtls"),
        (
            "request.path == '/a' && request.path.startsWith('/b')",
            "request.path.startsWith(''/b'')",
        ),
        (
            "request.path.startsWith('/a/') && request.path.startsWith('/b/')",
            "request.path.startsWith(''/b/'')",
        ),
        (
            "request.path.endsWith('.a') && request.path.endsWith('.b')",
            "request.path.endsWith(''.b'')",
        ),
        (
            "request.method == 'A' && request.method != 'A'",
            "request.method != ''A''",
        ),
        (
            "!has(source.workload) && source.workload == 'a'",
            "source.workload == ''a''",
        ),
        (
            "request.headers[?'a'].orValue('') == 'x' && request.headers[?'a'].orValue('') == 'y'",
            "request.headers[?''a''].orValue('''') == ''y''",
        ),
    ] {
        is(&when(condition), &[(Code::NeverTrue, at)]);
    }
    for fine in [
        "request.method == 'A' || request.method == 'B'",
        "request.method in ['A', 'B'] && request.method == 'B'",
        "request.path.startsWith('/a') && request.path.startsWith('/a/b')",
        "request.path.startsWith('/a') && request.path.endsWith('/b')",
        "request.path.startsWith('/a') && request.path != '/a'",
        "source.ip == '2001:db8:0::1' && source.ip == '2001:db8::1'",
        "source.port == 1 && destination.port == 2",
        "request.headers[?'a'].orValue('x') == 'x' && request.headers[?'b'].orValue('') == 'y'",
        "!has(source.workload) && source.labels[?'a'].orValue('') == 'a'",
        "!('a' in request.headers) && request.headers[?'a'].orValue('b') == 'b'",
    ] {
        is(&when(fine), &[]);
    }
}

#[test]
fn a_literal_the_attribute_never_has_is_found() {
    for (condition, at) in [
        ("request.method == 'get'", "''get''"),
        ("request.method in ['GET', 'Post']", "''Post''"),
        ("request.path == 'admin'", "''admin''"),
        ("request.path.startsWith('admin')", "''admin''"),
        ("request.path == '/a?b=c'", "''/a?b=c''"),
        ("request.path == '/a%20b'", "''/a%20b''"),
        ("request.path == '/a//b'", "''/a//b''"),
        (
            "connection.mtls || request.path == '/a/../b'",
            "''/a/../b''",
        ),
        ("request.host == 'a.example:8080'", "''a.example:8080''"),
        ("request.host == 'A.example'", "''A.example''"),
    ] {
        is(&when(condition), &[(Code::LiteralNeverHad, at)]);
    }
    for fine in [
        "request.method == 'brew'",
        "request.path.endsWith('admin')",
        "request.path.contains('?')",
        "request.path == '*'",
        "request.path.startsWith('')",
        "request.path == '/100%'",
        "request.raw_path == '/a%20b'",
        "request.host == '[::1]'",
        "request.host == '::1'",
        "request.host == 'a.example'",
    ] {
        is(&when(fine), &[]);
    }
}

#[test]
fn absence_is_told_where_it_turns_the_meaning() {
    let allow = |condition: &str| {
        rules(&format!(
            "  - allow: a\n    when: '{condition}'\notherwise: deny"
        ))
    };
    let deny = |condition: &str| rules(&format!("  - deny: d\n    when: '{condition}'"));
    is(
        &when("has(source.workload) || source.workload == 'a'"),
        &[(Code::AbsentBranch, "source.workload == ''a''")],
    );
    is(
        &deny("source.namespace != \"a\""),
        &[(Code::AbsentDiffers, "source.namespace != \"a\"")],
    );
    is(
        &deny("!(source.namespace in [\"a\"])"),
        &[(Code::AbsentDiffers, "!(source.namespace in [\"a\"]")],
    );
    is(
        &allow("request.headers[\"x\"] != \"a\""),
        &[(Code::AbsentDiffers, "request.headers[\"x\"] != \"a\"")],
    );
    for fine in [
        when("source.namespace != 'a'"),
        when("!has(source.workload) || source.workload == 'a'"),
        deny("source.namespace == \"a\""),
        deny("has(source.namespace) && source.namespace != \"a\""),
        deny("request.method != \"GET\""),
        deny("request.headers[?\"x\"].orValue(\"\") != \"a\""),
        allow("source.namespace != \"a\""),
        allow("request.headers[\"x\"] == \"a\""),
        allow("\"x\" in request.headers && request.headers[\"x\"] != \"a\""),
    ] {
        is(&fine, &[]);
    }
}

#[test]
fn destinations_nobody_declares_are_found() {
    let policy = "\n---\npolicy: p\nfor: destination.service == \"a.shop\"\nrules: [{ deny: d, when: request.method == \"A\" }]";
    is(
        &format!("service: b.shop\nhosts: [a.shop]{policy}"),
        &[(Code::ForUnknown, "p")],
    );
    is(
        &format!("service: a.shop\nprotocol: tcp{policy}"),
        &[(Code::RuleOfTcp, "d")],
    );
    let route = "\n---\nroute: r\nfor: destination.service == \"a.shop\"\nrules: [{ name: gets, when: request.method == \"GET\", timeout: 1s }]";
    is(
        &format!("service: a.shop\nprotocol: tcp{route}"),
        &[(Code::RuleOfTcp, "gets")],
    );
    is(&format!("service: a.shop{route}"), &[]);
    is(&format!("service: a.shop{policy}"), &[]);
    is(&format!("mesh: {{}}{policy}"), &[]);
    // It may select services nobody has declared by name.
    let pattern = policy.replace(
        "== \"a.shop\"",
        "in [\"a.shop\"] || destination.service.startsWith(\"x\")",
    );
    is(&format!("service: c.shop{pattern}"), &[]);
}

#[test]
fn policies_that_undo_each_other_are_found() {
    let pair = |a: &str, b: &str| format!("policy: p\n{a}\n---\npolicy: q\n{b}");
    let shop = "for: destination.service == \"a.shop\"";
    let all = "rules: [{ allow: all }]\notherwise: allow";
    let closed = "otherwise: { deny: closed }";
    is(
        &pair(&format!("{shop}\n{closed}"), &format!("for: always\n{all}")),
        &[(Code::OtherwiseDefeated, "closed")],
    );
    is(
        &pair(&format!("{shop}\n{all}"), &format!("{shop}\n{closed}")),
        &[
            (Code::OtherwiseDefeated, "allow"),
            (Code::OtherwiseDefeated, "closed"),
        ],
    );
    let some = "rules: [{ allow: some, when: connection.mtls }]\notherwise: deny";
    let quota = "quotas: [{ quota: c, key: [source.ip], limit: 1 per day }]";
    is(
        &pair(
            &format!("{shop}\n{quota}"),
            &format!("for: always\n{quota}"),
        ),
        &[(Code::QuotaTwice, "c")],
    );
    for fine in [
        // One team adds to another's.
        pair(&format!("{shop}\n{some}"), &format!("{shop}\n{some}")),
        pair(
            &format!("for: always\n{closed}"),
            &format!("{shop}\n{all}").replace("allow\n", "deny\n"),
        )
        .replace("otherwise: allow", "otherwise: deny")
        .replace("{ allow: all }", "{ allow: all, when: connection.mtls }"),
        pair(
            &format!("{shop}\nguard: true\n{closed}"),
            &format!("for: always\n{all}"),
        ),
        pair(
            &format!("{shop}\nat: outbound\n{closed}"),
            &format!("for: always\n{all}"),
        ),
        pair(
            &format!("for: always\n{closed}"),
            &format!("for: destination.namespace == \"b\"\n{all}")
                .replace("otherwise: allow", "otherwise: deny"),
        )
        .replace("{ allow: all }", "{ allow: all, when: connection.mtls }"),
        pair(
            &format!("{shop}\n{quota}"),
            &format!("for: always\n{}", quota.replace("1 per", "2 per")),
        ),
        pair(
            &format!("{shop}\n{quota}"),
            &format!("for: destination.service == \"b.shop\"\n{quota}"),
        ),
    ] {
        is(&fine, &[]);
    }
}

#[test]
fn probes_from_everywhere_are_found() {
    let probes = |from: &str| format!("service: a.shop\nprobes: {{ paths: [/a], from: [{from}] }}");
    is(
        &probes("10.0.0.0/8, 0.0.0.0/0, \"::/0\""),
        &[(Code::ProbesOfAll, "a.shop"), (Code::ProbesOfAll, "a.shop")],
    );
    is(&probes("10.0.0.0/8, \"::1\""), &[]);
}

#[test]
fn labels_and_reads_without_bound_are_found() {
    let label = |value: &str| {
        format!(
            "telemetry: t\nfor: always\nmetrics: [{{ metric: m, kind: counter, labels: {{ l: '{value}' }} }}]"
        )
    };
    for value in [
        "request.path",
        "string(request.client_ip)",
        "request.headers[\"x\"]",
        "request.headers[?\"x\"].orValue(\"\")",
        "auth.principal",
        "request.id",
    ] {
        is(&label(value), &[(Code::LabelUnbounded, "m")]);
    }
    for value in [
        "source.namespace",
        "response.code",
        "request.path == \"/a\"",
        "request.path.startsWith(\"/a\") ? \"a\" : \"b\"",
        "request.method",
    ] {
        is(&label(value), &[]);
    }
    for condition in [
        "request.id == 'a'",
        "request.time > timestamp('2026-01-01T00:00:00Z')",
        "size(request.headers) > 3",
        "connection.mtls && request.headers.exists(h, h == 'x')",
    ] {
        is(&when(condition), &[(Code::CacheDefeated, "d")]);
    }
    for condition in [
        "request.path == '/a'",
        "'x' in request.headers",
        "request.client_ip == '10.0.0.1'",
    ] {
        is(&when(condition), &[]);
    }
}

/// Documents of two issuers for the same service, and a policy with these rules.
fn two_issuers(rules: &str) -> String {
    let jwt = |name: &str, selected: &str| {
        format!(
            "jwt: {name}\nfor: {selected}\nissuer: https://{name}.example\naudiences: [shop]\njwks: {{ url: \"https://{name}.example/jwks\" }}\n---\n"
        )
    };
    let (staff, customers) = (
        jwt("staff", "always"),
        jwt("customers", "destination.namespace == \"shop\""),
    );
    format!("{staff}{customers}policy: p\nfor: destination.service == \"a.shop\"\n{rules}")
}

#[test]
fn claims_of_any_of_several_issuers_are_pointed_out() {
    let any = |at| [(Code::AnyIssuer, at)];
    let admins =
        "rules:\n  - allow: admins\n    when: '\"admins\" in auth.claims.groups'\notherwise: deny";
    is(&two_issuers(admins), &any("admins"));
    let by_subject = "quotas: [{ quota: each, key: [auth.claims.sub], limit: 1 per day }]";
    is(&two_issuers(by_subject), &any("each"));
    let required = "rules:\n  - require: admins\n    that: '\"admins\" in auth.claims.groups'\n";
    is(&two_issuers(required), &any("admins"));
    for asked in [
        "rules:\n  - allow: admins\n    when: [auth.issuer == \"staff\", '\"admins\" in auth.claims.groups']\notherwise: deny",
        "rules:\n  - require: staff\n    that: auth.issuer == \"staff\"\n  - allow: admins\n    when: '\"admins\" in auth.claims.groups'\notherwise: deny",
        "rules:\n  - allow: one\n    when: auth.principal == \"https://staff.example/1\" && auth.claims.x == 1\notherwise: deny",
        "rules:\n  - require: a token\n    that: has(auth.issuer)\n",
        "quotas: [{ quota: each, key: [auth.principal], limit: 1 per day }]",
    ] {
        is(&two_issuers(asked), &[]);
    }
    let elsewhere = "\n---\nservice: b.shop";
    let misspelt =
        two_issuers(admins).replace("for: always", "for: destination.service == \"b.shpo\"");
    let found = found(&(misspelt + elsewhere));
    assert!(
        found.contains(&(Code::ForUnknown, "staff".into())),
        "{found:?}"
    );
    // Only one of them is for the policy's service.
    is(&two_issuers(admins).replace("a.shop", "a.office"), &[]);
}
