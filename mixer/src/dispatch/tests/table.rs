//! Policies x attributes -> verdict, because, rule, status. Each row is one request.

use super::fixture::{Fixture, line};

/// Documents, and rows of (request, decision).
struct Group {
    what: &'static str,
    documents: &'static str,
    rows: &'static [(&'static str, &'static str)],
}

#[tokio::test]
async fn every_row_of_the_table_is_decided_as_it_says() {
    let mut wrong = Vec::new();
    let mut rows = 0;
    for group in GROUPS {
        let fixture = Fixture::new(group.documents);
        for (given, expected) in group.rows {
            rows += 1;
            let decided = line(&fixture.check(given).await);
            if decided != *expected {
                wrong.push(format!(
                    "{}: {given}\n   expected {expected}\n   decided  {decided}",
                    group.what
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {rows} rows:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(rows >= 100, "{rows} rows");
}

const GROUPS: &[Group] = &[
    Group {
        what: "no policy",
        documents: "mesh: {}",
        rows: &[
            ("{}", "allow default"),
            ("{ destination: { service: a.b } }", "allow default"),
        ],
    },
    Group {
        what: "no policy, default deny",
        documents: "mesh: { default: deny }",
        rows: &[
            ("{}", "deny default 403"),
            ("{ destination: { service: a.b } }", "deny default 403"),
        ],
    },
    Group {
        what: "a policy for another destination",
        documents: r#"
policy: p
for: destination.service == "products.shop"
rules: [ { deny: everybody } ]
"#,
        rows: &[
            (
                "{ destination: { service: products.shop } }",
                "deny matched p/everybody 403",
            ),
            ("{ destination: { service: other.shop } }", "allow default"),
            ("{}", "allow default"),
        ],
    },
    Group {
        what: "selectors",
        documents: r#"
policy: suffix
for: destination.service.endsWith(".shop") && destination.labels["tier"] == "gold"
rules: [ { deny: gold } ]
---
policy: namespaces
for: destination.namespace in ["a", "b"]
rules: [ { deny: a or b } ]
"#,
        rows: &[
            (
                r#"{ destination: { service: x.shop, labels: { tier: gold } } }"#,
                "deny matched suffix/gold 403",
            ),
            (
                r#"{ destination: { service: x.shop, labels: { tier: tin } } }"#,
                "allow default",
            ),
            (
                r#"{ destination: { service: x.shop, labels: {} } }"#,
                "allow default",
            ),
            (r#"{ destination: { service: x.shop } }"#, "allow default"),
            (
                r#"{ destination: { service: x.farm, labels: { tier: gold } } }"#,
                "allow default",
            ),
            (
                r#"{ destination: { namespace: a } }"#,
                "deny matched namespaces/a or b 403",
            ),
            (r#"{ destination: { namespace: c } }"#, "allow default"),
        ],
    },
    Group {
        what: "a deny rule",
        documents: r#"
policy: p
for: always
rules:
  - deny: nobody from the sandbox
    when: source.namespace == "sandbox"
"#,
        rows: &[
            (
                "{ source: { namespace: sandbox } }",
                "deny matched p/nobody from the sandbox 403",
            ),
            ("{ source: { namespace: shop } }", "allow default"),
            ("{}", "deny undetermined p/nobody from the sandbox 403"),
            ("{ source: { namespace: '' } }", "allow default"),
        ],
    },
    Group {
        what: "a deny rule whose error is absorbed",
        documents: r#"
policy: p
for: always
rules:
  - deny: posts from the sandbox
    when: source.namespace == "sandbox" && request.method == "POST"
  - deny: gone
    when: request.path == "/gone" || source.namespace == "gone"
  - deny: local
    when: 'has(source.workload) ? source.workload == "x" : false'
"#,
        rows: &[
            (
                "{ request: { method: GET, path: /x }, source: { namespace: a } }",
                "allow default",
            ),
            (
                "{ request: { method: GET, path: /x } }",
                "deny undetermined p/gone 403",
            ),
            (
                "{ request: { method: GET, path: /gone } }",
                "deny matched p/gone 403",
            ),
            (
                "{ request: { method: POST, path: /x } }",
                "deny undetermined p/posts from the sandbox 403",
            ),
            (
                "{ request: { path: /x }, source: { namespace: sandbox } }",
                "deny undetermined p/posts from the sandbox 403",
            ),
            (
                "{ request: { path: /x }, source: { namespace: shop } }",
                "allow default",
            ),
            (
                "{ request: { method: GET, path: /x }, source: { namespace: a, workload: x } }",
                "deny matched p/local 403",
            ),
        ],
    },
    Group {
        what: "lines of a when are a conjunction",
        documents: r#"
policy: p
for: always
rules:
  - deny: both
    when:
      - source.namespace == "a"
      - request.method == "POST"
"#,
        rows: &[
            (
                "{ source: { namespace: a }, request: { method: POST } }",
                "deny matched p/both 403",
            ),
            (
                "{ source: { namespace: a }, request: { method: GET } }",
                "allow default",
            ),
            ("{ request: { method: GET } }", "allow default"),
            ("{ source: { namespace: b } }", "allow default"),
            (
                "{ request: { method: POST } }",
                "deny undetermined p/both 403",
            ),
            ("{}", "deny undetermined p/both 403"),
        ],
    },
    Group {
        what: "statuses and redirects",
        documents: r#"
policy: p
for: always
rules:
  - deny: gone
    when: request.path == "/gone"
    status: 410
  - deny: moved
    when: request.path == "/old"
    status: 308
    location: "https://new.example{request.path}"
  - require: a name
    that: has(source.workload)
    status: 401
"#,
        rows: &[
            ("{ request: { path: /gone } }", "deny matched p/gone 410"),
            ("{ request: { path: /old } }", "deny matched p/moved 308"),
            ("{ request: { path: /x } }", "deny matched p/a name 401"),
            (
                "{ request: { path: /x }, source: { workload: w } }",
                "allow default",
            ),
            (
                "{ source: { workload: w } }",
                "deny undetermined p/gone 403",
            ),
        ],
    },
    Group {
        what: "a require rule",
        documents: r#"
policy: p
for: always
rules:
  - require: mutual TLS
    that: connection.mtls
    when: request.method != "OPTIONS"
"#,
        rows: &[
            (
                "{ request: { method: GET }, connection: { mtls: true } }",
                "allow default",
            ),
            (
                "{ request: { method: GET }, connection: { mtls: false } }",
                "deny matched p/mutual TLS 403",
            ),
            (
                "{ request: { method: OPTIONS }, connection: { mtls: false } }",
                "allow default",
            ),
            ("{ request: { method: OPTIONS } }", "allow default"),
            (
                "{ request: { method: GET } }",
                "deny undetermined p/mutual TLS 403",
            ),
            (
                "{ connection: { mtls: true } }",
                "deny undetermined p/mutual TLS 403",
            ),
        ],
    },
    Group {
        what: "allow rules and otherwise",
        documents: r#"
policy: p
for: always
rules:
  - allow: frontend
    when: source.service_account == "frontend"
  - allow: reading
    when: request.method == "GET"
otherwise: { deny: only the frontend }
"#,
        rows: &[
            (
                "{ source: { service_account: frontend }, request: { method: PUT } }",
                "allow matched p/frontend",
            ),
            (
                "{ source: { service_account: frontend }, request: { method: GET } }",
                "allow matched p/frontend",
            ),
            (
                "{ source: { service_account: other }, request: { method: GET } }",
                "allow matched p/reading",
            ),
            (
                "{ source: { service_account: other }, request: { method: PUT } }",
                "deny otherwise p/only the frontend 403",
            ),
            ("{ request: { method: GET } }", "allow matched p/reading"),
            (
                "{ request: { method: PUT } }",
                "deny otherwise p/only the frontend 403",
            ),
            ("{}", "deny otherwise p/only the frontend 403"),
        ],
    },
    Group {
        what: "otherwise without a sentence, and otherwise allow",
        documents: r#"
policy: closed
for: destination.service == "closed.shop"
rules: [ { allow: reading, when: request.method == "GET" } ]
otherwise: deny
---
policy: open
for: destination.service == "open.shop"
rules: [ { allow: reading, when: request.method == "GET" } ]
otherwise: allow
"#,
        rows: &[
            (
                "{ destination: { service: closed.shop }, request: { method: PUT } }",
                "deny otherwise closed/otherwise 403",
            ),
            (
                "{ destination: { service: open.shop }, request: { method: PUT } }",
                "allow otherwise open/otherwise",
            ),
            (
                "{ destination: { service: open.shop }, request: { method: GET } }",
                "allow matched open/reading",
            ),
        ],
    },
    Group {
        what: "the pool: denies, then requires, then allows, then otherwise, whatever the document order",
        documents: r#"
policy: a
for: always
rules:
  - allow: anything by admins
    when: source.service_account == "admin"
  - require: TLS
    that: connection.mtls
  - deny: sandbox
    when: source.namespace == "sandbox"
otherwise: deny
---
policy: b
for: always
rules:
  - deny: deletes
    when: request.method == "DELETE"
  - allow: reading
    when: request.method == "GET"
otherwise: allow
"#,
        rows: &[
            (
                "{ source: { service_account: admin, namespace: n }, connection: { mtls: true }, request: { method: GET } }",
                "allow matched a/anything by admins",
            ),
            (
                "{ source: { service_account: admin, namespace: sandbox }, connection: { mtls: false }, request: { method: DELETE } }",
                "deny matched a/sandbox 403",
            ),
            (
                "{ source: { service_account: admin, namespace: n }, connection: { mtls: false }, request: { method: DELETE } }",
                "deny matched b/deletes 403",
            ),
            (
                "{ source: { service_account: admin, namespace: n }, connection: { mtls: false }, request: { method: GET } }",
                "deny matched a/TLS 403",
            ),
            (
                "{ source: { service_account: x, namespace: n }, connection: { mtls: true }, request: { method: GET } }",
                "allow matched b/reading",
            ),
            (
                "{ source: { service_account: x, namespace: n }, connection: { mtls: true }, request: { method: PUT } }",
                "deny otherwise a/otherwise 403",
            ),
        ],
    },
    Group {
        what: "restricting policies never grant",
        documents: r#"
mesh: { default: deny }
---
policy: restrict
for: always
rules: [ { deny: sandbox, when: source.namespace == "sandbox" }, { require: TLS, that: connection.mtls } ]
"#,
        rows: &[
            (
                "{ source: { namespace: a }, connection: { mtls: true } }",
                "deny default 403",
            ),
            (
                "{ source: { namespace: a }, connection: { mtls: false } }",
                "deny matched restrict/TLS 403",
            ),
        ],
    },
    Group {
        what: "an otherwise overrides the mesh's default",
        documents: r#"
mesh: { default: deny }
---
policy: p
for: destination.service == "a.shop"
rules: [ { deny: sandbox, when: source.namespace == "sandbox" } ]
otherwise: allow
"#,
        rows: &[
            (
                "{ destination: { service: a.shop }, source: { namespace: x } }",
                "allow otherwise p/otherwise",
            ),
            (
                "{ destination: { service: b.shop }, source: { namespace: x } }",
                "deny default 403",
            ),
        ],
    },
    Group {
        what: "a guard is decided alone and can only deny",
        documents: r#"
policy: pool
for: always
rules: [ { allow: everything } ]
otherwise: deny
---
policy: quarantine
guard: true
for: always
rules: [ { deny: quarantined, when: 'source.service_account in ["leaky"]' } ]
---
policy: door
guard: true
for: always
rules:
  - allow: known callers
    when: source.namespace in ["shop", "farm"]
otherwise: { deny: unknown callers }
"#,
        rows: &[
            (
                "{ source: { service_account: leaky, namespace: shop } }",
                "deny matched quarantine/quarantined 403",
            ),
            (
                "{ source: { service_account: fine, namespace: shop } }",
                "allow matched pool/everything",
            ),
            (
                "{ source: { service_account: fine, namespace: sea } }",
                "deny otherwise door/unknown callers 403",
            ),
            (
                "{ source: { service_account: fine } }",
                "deny otherwise door/unknown callers 403",
            ),
            (
                "{ source: { namespace: shop } }",
                "deny undetermined quarantine/quarantined 403",
            ),
            (
                "{ source: { service_account: leaky, namespace: sea } }",
                "deny matched quarantine/quarantined 403",
            ),
        ],
    },
    Group {
        what: "a guard's allow does not satisfy the pool",
        documents: r#"
policy: guard
guard: true
for: always
rules: [ { allow: all } ]
otherwise: deny
---
policy: pool
for: always
rules: [ { allow: gets, when: request.method == "GET" } ]
otherwise: { deny: only gets }
"#,
        rows: &[
            ("{ request: { method: GET } }", "allow matched pool/gets"),
            (
                "{ request: { method: PUT } }",
                "deny otherwise pool/only gets 403",
            ),
        ],
    },
    Group {
        what: "the first guard that denies is reported, before the pool",
        documents: r#"
policy: pool
for: always
rules: [ { deny: pool } ]
---
policy: second
guard: true
for: always
rules: [ { require: two, that: "false" } ]
---
policy: third
guard: true
for: always
rules: [ { deny: three } ]
"#,
        rows: &[("{}", "deny matched second/two 403")],
    },
    Group {
        what: "map keys",
        documents: r#"
policy: p
for: always
rules:
  - deny: testers
    when: request.headers[?"x-tester"].orValue("") == "yes"
  - deny: marked
    when: '"x-mark" in request.headers && request.headers["x-mark"] == "1"'
  - require: a tenant
    that: request.headers["x-tenant"] != ""
"#,
        rows: &[
            (
                "{ request: { headers: { x-tester: 'yes', x-tenant: t } } }",
                "deny matched p/testers 403",
            ),
            (
                "{ request: { headers: { x-tester: 'no', x-tenant: t } } }",
                "allow default",
            ),
            (
                "{ request: { headers: { x-mark: '1', x-tenant: t } } }",
                "deny matched p/marked 403",
            ),
            (
                "{ request: { headers: { x-mark: '2', x-tenant: t } } }",
                "allow default",
            ),
            (
                "{ request: { headers: { x-tenant: '' } } }",
                "deny matched p/a tenant 403",
            ),
            (
                "{ request: { headers: {} } }",
                "deny undetermined p/a tenant 403",
            ),
        ],
    },
    Group {
        what: "claims",
        documents: r#"
policy: p
for: always
rules:
  - allow: admins
    when: '"admins" in auth.claims.groups'
otherwise: { deny: admins only }
"#,
        rows: &[
            (
                "{ auth: { claims: { groups: [users, admins] } } }",
                "allow matched p/admins",
            ),
            (
                "{ auth: { claims: { groups: [users] } } }",
                "deny otherwise p/admins only 403",
            ),
            (
                "{ auth: { claims: { groups: 7 } } }",
                "deny otherwise p/admins only 403",
            ),
            (
                "{ auth: { claims: {} } }",
                "deny otherwise p/admins only 403",
            ),
            ("{}", "deny otherwise p/admins only 403"),
        ],
    },
    Group {
        what: "a rule without a condition",
        documents: r#"
policy: p
for: always
rules: [ { allow: everything, when: always } ]
otherwise: deny
"#,
        rows: &[("{}", "allow matched p/everything")],
    },
    Group {
        what: "services declared tcp have no requests",
        documents: r#"
service: db.shop
protocol: tcp
---
service: web.shop
---
policy: p
for: always
rules:
  - deny: posts
    when: request.method == "POST"
  - require: TLS
    that: connection.mtls
"#,
        rows: &[
            (
                "{ destination: { service: db.shop }, connection: { mtls: true } }",
                "allow default",
            ),
            (
                "{ destination: { service: db.shop }, connection: { mtls: false } }",
                "deny matched p/TLS 403",
            ),
            (
                "{ destination: { service: db.shop } }",
                "deny undetermined p/TLS 403",
            ),
            (
                "{ destination: { service: web.shop }, connection: { mtls: true } }",
                "deny undetermined p/posts 403",
            ),
            (
                "{ connection: { mtls: true } }",
                "deny undetermined p/posts 403",
            ),
        ],
    },
    Group {
        what: "the way out has policies of its own",
        documents: r#"
policy: in
for: always
rules: [ { deny: inbound } ]
---
policy: egress
at: outbound
for: destination.service == "pay.example"
rules: [ { deny: no money }  ]
"#,
        rows: &[
            (
                "{ context: { reporter: destination }, destination: { service: pay.example } }",
                "deny matched in/inbound 403",
            ),
            (
                "{ destination: { service: pay.example } }",
                "deny matched in/inbound 403",
            ),
            (
                "{ context: { reporter: source }, destination: { service: pay.example } }",
                "deny matched egress/no money 403",
            ),
            (
                "{ context: { reporter: source }, destination: { service: other.example } }",
                "allow default",
            ),
        ],
    },
    Group {
        what: "shadow changes nothing",
        documents: r#"
policy: p
for: destination.service == "a.shop"
rules:
  - deny: sandbox
    mode: shadow
    when: source.namespace == "sandbox"
  - allow: shadowed allow
    mode: shadow
    when: request.method == "GET"
---
policy: q
mode: shadow
for: destination.service == "a.shop"
rules: [ { deny: everything } ]
---
policy: r
for: destination.service == "b.shop"
rules:
  - allow: on trial
    mode: shadow
otherwise: { deny: nobody yet }
"#,
        rows: &[
            (
                "{ destination: { service: a.shop }, source: { namespace: sandbox }, request: { method: GET } }",
                "allow default",
            ),
            ("{ destination: { service: a.shop } }", "allow default"),
            (
                "{ destination: { service: b.shop } }",
                "deny otherwise r/nobody yet 403",
            ),
        ],
    },
    Group {
        what: "a deny that asks",
        documents: r#"
adapter: block
type: scripted
config: { answer: bad }
---
policy: p
for: always
rules:
  - deny: blocked
    ask: block
    with: { value: request.host }
    when: request.method != "OPTIONS"
"#,
        rows: &[
            (
                "{ request: { method: GET, host: bad } }",
                "deny matched p/blocked 403",
            ),
            ("{ request: { method: GET, host: good } }", "allow default"),
            (
                "{ request: { method: OPTIONS, host: bad } }",
                "allow default",
            ),
            (
                "{ request: { method: GET } }",
                "deny undetermined p/blocked 403",
            ),
            (
                "{ request: { host: good } }",
                "deny undetermined p/blocked 403",
            ),
        ],
    },
    Group {
        what: "a require that asks",
        documents: r#"
adapter: known
type: scripted
config: { answer: good }
---
policy: p
for: always
rules: [ { require: known, ask: known, with: { value: request.host } } ]
"#,
        rows: &[
            ("{ request: { host: good } }", "allow default"),
            ("{ request: { host: bad } }", "deny matched p/known 403"),
            (
                "{ request: { method: GET } }",
                "deny undetermined p/known 403",
            ),
        ],
    },
    Group {
        what: "an allow that asks",
        documents: r#"
adapter: known
type: scripted
config: { answer: good }
---
policy: p
for: always
rules:
  - allow: reading
    when: request.method == "GET"
  - allow: known
    ask: known
    with: { value: request.host }
otherwise: { deny: unknown }
"#,
        rows: &[
            (
                "{ request: { method: GET, host: bad } }",
                "allow matched p/reading",
            ),
            (
                "{ request: { method: PUT, host: good } }",
                "allow matched p/known",
            ),
            (
                "{ request: { method: PUT, host: bad } }",
                "deny otherwise p/unknown 403",
            ),
            (
                "{ request: { method: PUT } }",
                "deny otherwise p/unknown 403",
            ),
        ],
    },
    Group {
        what: "adapters that cannot be asked, fail closed",
        documents: r#"
adapter: down
type: scripted
config: { answer: unavailable }
---
policy: d
for: destination.service == "d.shop"
rules: [ { deny: blocked, ask: down, with: { value: request.host } } ]
---
policy: r
for: destination.service == "r.shop"
rules: [ { require: known, ask: down, with: { value: request.host } } ]
---
policy: a
for: destination.service == "a.shop"
rules: [ { allow: known, ask: down, with: { value: request.host } }, { allow: gets, when: request.method == "GET" } ]
otherwise: { deny: unknown }
"#,
        rows: &[
            (
                "{ destination: { service: d.shop }, request: { host: h } }",
                "deny unavailable d/blocked 503",
            ),
            (
                "{ destination: { service: r.shop }, request: { host: h } }",
                "deny unavailable r/known 503",
            ),
            (
                "{ destination: { service: a.shop }, request: { host: h, method: PUT } }",
                "deny unavailable a/unknown 503",
            ),
            (
                "{ destination: { service: a.shop }, request: { host: h, method: GET } }",
                "allow matched a/gets",
            ),
        ],
    },
    Group {
        what: "adapters that cannot be asked, where the operator says allow",
        documents: r#"
adapter: down
type: scripted
config: { answer: unavailable }
---
policy: d
for: destination.service == "d.shop"
rules: [ { deny: blocked, ask: down, with: { value: request.host }, on_error: allow } ]
---
policy: r
for: destination.service == "r.shop"
rules: [ { require: known, ask: down, with: { value: request.host }, on_error: allow } ]
---
policy: a
for: destination.service == "a.shop"
rules: [ { allow: known, ask: down, with: { value: request.host }, on_error: allow } ]
otherwise: { deny: unknown }
"#,
        rows: &[
            (
                "{ destination: { service: d.shop }, request: { host: h } }",
                "allow default",
            ),
            (
                "{ destination: { service: r.shop }, request: { host: h } }",
                "allow default",
            ),
            (
                "{ destination: { service: a.shop }, request: { host: h } }",
                "allow unavailable a/known",
            ),
            // An input without a value is no fault of the adapter: on_error has no say.
            (
                "{ destination: { service: d.shop } }",
                "deny undetermined d/blocked 403",
            ),
            (
                "{ destination: { service: r.shop } }",
                "deny undetermined r/known 403",
            ),
            (
                "{ destination: { service: a.shop } }",
                "deny otherwise a/unknown 403",
            ),
        ],
    },
    Group {
        what: "adapters that panic are adapters that cannot be asked",
        documents: r#"
adapter: broken
type: scripted
config: { answer: panic }
---
policy: p
for: always
rules: [ { deny: blocked, ask: broken, with: { value: request.host } } ]
"#,
        rows: &[("{ request: { host: h } }", "deny unavailable p/blocked 503")],
    },
    Group {
        what: "guards that ask",
        documents: r#"
adapter: known
type: scripted
config: { answer: good }
---
policy: door
guard: true
for: always
rules: [ { allow: known, ask: known, with: { value: request.host } } ]
otherwise: { deny: unknown }
---
policy: pool
for: always
rules: [ { allow: gets, when: request.method == "GET" } ]
otherwise: { deny: only gets }
"#,
        rows: &[
            (
                "{ request: { host: good, method: GET } }",
                "allow matched pool/gets",
            ),
            (
                "{ request: { host: bad, method: GET } }",
                "deny otherwise door/unknown 403",
            ),
            (
                "{ request: { host: good, method: PUT } }",
                "deny otherwise pool/only gets 403",
            ),
            (
                "{ request: { host: bad, method: PUT } }",
                "deny otherwise pool/only gets 403",
            ),
        ],
    },
    Group {
        what: "an adapter may choose the status of a denial, not of anything else",
        documents: r#"
adapter: teapot
type: scripted
config: { answer: match, status: 418 }
---
adapter: fine
type: scripted
config: { answer: match, status: 200 }
---
policy: t
for: destination.service == "t.shop"
rules: [ { deny: tea, ask: teapot, with: { value: "'x'" }, status: 410 } ]
---
policy: f
for: destination.service == "f.shop"
rules: [ { deny: fine, ask: fine, with: { value: "'x'" }, status: 410 } ]
"#,
        rows: &[
            (
                "{ destination: { service: t.shop } }",
                "deny matched t/tea 418",
            ),
            (
                "{ destination: { service: f.shop } }",
                "deny matched f/fine 410",
            ),
        ],
    },
    Group {
        what: "what a quota cannot charge is denied",
        documents: r#"
policy: p
for: destination.service == "p.shop"
quotas:
  - quota: per tenant
    key: ['request.headers["x-tenant"]']
    absent: deny
    limit: 10 per minute
  - quota: by size
    key: []
    limit: 100 per minute
    cost: int(request.headers["x-cost"])
---
policy: s
for: destination.service == "s.shop"
quotas:
  - quota: on trial
    mode: shadow
    key: []
    limit: 1 per minute
    cost: int(request.headers["x-cost"])
"#,
        rows: &[
            (
                "{ destination: { service: p.shop }, request: { headers: { x-tenant: t, x-cost: '5' } } }",
                "allow default",
            ),
            (
                "{ destination: { service: p.shop }, request: { headers: { x-tenant: t, x-cost: '0' } } }",
                "allow default",
            ),
            (
                "{ destination: { service: p.shop }, request: { headers: { x-cost: '5' } } }",
                "deny undetermined p/per tenant 403",
            ),
            (
                "{ destination: { service: p.shop }, request: { headers: { x-tenant: t } } }",
                "deny undetermined p/by size 403",
            ),
            (
                "{ destination: { service: p.shop }, request: { headers: { x-tenant: t, x-cost: '-1' } } }",
                "deny undetermined p/by size 403",
            ),
            (
                "{ destination: { service: s.shop }, request: { headers: { x-cost: '-1' } } }",
                "allow default",
            ),
        ],
    },
];
