//! Wrong documents, each with the place and the words it is refused with.

use super::*;

/// A policy whose only rule has these lines below it.
fn rule(lines: &str) -> String {
    format!("policy: p\nfor: always\nrules:\n  - {lines}\n")
}

/// A policy whose only quota has these keys.
fn quota(keys: &str) -> String {
    format!("policy: p\nfor: always\nquotas:\n  - {{ quota: q, {keys} }}\n")
}

/// A policy about rate limit descriptors.
fn limits(keys: &str) -> String {
    format!("policy: p\nfor: rate_limit.domain == \"d\"\n{keys}\n")
}

/// A workload with this line and id.
fn workload(line: &str, id: &str) -> String {
    format!("workload: w\nid: {id}\n{line}\n")
}

/// A policy with one test.
fn case(keys: &str) -> String {
    format!("policy: p\nfor: always\nrules: [{{ deny: all }}]\ntests:\n  - {keys}\n")
}

/// Each mistake, where the caret goes, and a part of what is said.
#[test]
fn each_mistake_is_shown_where_it_is() {
    let rows: &[(String, &str, &str)] = &[
        // Documents.
        ("a text".into(), "1:1", "a document is a map"),
        ("- policy: p".into(), "1:1", "a document is a map"),
        ("polcy: p\nfor: always".into(), "1:1", "unknown kind of document `polcy`; did you mean `policy`?"),
        ("for: always\nrules: []".into(), "1:1", "this document has no kind"),
        ("policy: p\nadapter: a".into(), "2:1", "either `policy` or `adapter`"),
        ("policy:\nfor: always".into(), "1:7", "the name is empty"),
        ("policy: [a]\nfor: always".into(), "1:9", "the name must be a text, this is a list"),
        ("adapter: a\ntype: list\n---\nadapter: a\ntype: log".into(), "4:10", "the adapter `a` is there already; the first is at f.yaml:1:10"),
        ("apiVersion: v2\nkind: Policy\nmetadata: {name: p}\nspec: {for: always, otherwise: allow}".into(), "1:13", "the version is `mixer.dev/v1`"),
        ("apiVersion: mixer.dev/v1\nkind: Polcy\nmetadata: {name: p}\nspec: {}".into(), "2:7", "did you mean `policy`"),
        ("apiVersion: mixer.dev/v1\nkind: Policy\nspec: {for: always, otherwise: allow}".into(), "2:7", "`metadata.name` is missing"),
        // Tokens.
        ("jwt: j\nfor: always\naudiences: [a]\njwks: { file: k }".into(), "1:6", "needs `issuer`"),
        ("jwt: j\nfor: always\nissuer: i\njwks: { file: k }".into(), "1:6", "needs `audiences`"),
        ("jwt: j\nfor: always\nissuer: i\naudiences: []\njwks: { file: k }".into(), "4:12", "it would take no token"),
        ("jwt: j\nfor: always\nissuer: i\naudiences: [a]".into(), "1:6", "needs `jwks`"),
        ("jwt: j\nfor: always\nissuer: i\naudiences: [a]\njwks: { url: \"https://i\", file: k }".into(), "5:27", "either `url` or `file`, not both"),
        ("jwt: j\nfor: always\nissuer: i\naudiences: [a]\njwks: { file: k, refresh: 1m }".into(), "5:18", "`refresh` has no meaning with `file`"),
        ("jwt: j\nfor: always\nissuer: i\naudiences: [a]\njwks: { url: \"ftp://i\" }".into(), "5:14", "not from `ftp://i`"),
        ("jwt: j\nfor: always\nissuer: i\naudiences: [a]\njwks: { url: \"https://i\", keep: 1m }".into(), "5:33", "`keep` is shorter than `refresh`"),
        ("jwt: j\nfor: always\nissuer: i\naudiences: [a]\njwks: { file: k }\ninvalid: pass".into(), "6:10", "`invalid` is `deny`, not `pass`"),
        ("jwt: j\nfor: always\nissuer: i\naudiences: [a]\njwks: { file: k }\ntoken: drop".into(), "6:8", "`token` is `forward` or `strip`"),
        ("jwt: j\nfor: always\nissuer: i\naudiences: [a]\njwks: { file: k }\nfrom: []".into(), "6:7", "`from` is empty"),
        ("jwt: j\nfor: always\nissuer: i\naudiences: [a]\njwks: { file: k }\nfrom: [{ cookie: c, prefix: p }]".into(), "6:21", "`prefix` is for headers"),
        ("jwt: j\nfor: always\nissuer: i\naudiences: [a]\njwks: { file: k }\nfrom: [{ header: X-Token }]".into(), "6:18", "in lower case"),
        ("jwt: j\nfor: context.reporter == \"destination\"\nissuer: i\naudiences: [a]\njwks: { file: k }".into(), "2:6", "tokens are verified at the destination"),
        ("attributes: [{ name: a.b, type: list<string>, value: [x] }]\n---\njwt: j\nfor: destination.service in a.b\nissuer: i\naudiences: [a]\njwks: { file: k }".into(), "4:6", "write the literals"),
        ("jwt: j\nfor: always\nissuer: i\naudience: a\njwks: { file: k }".into(), "4:1", "did you mean `audiences`"),
        // Policies.
        ("policy: p\nrules: [{ deny: all }]".into(), "1:9", "`for` is missing"),
        ("policy: p\nfor: request.path == \"/\"\nrules: [{ deny: all }]".into(), "2:6", ""),
        ("policy: p\nfor: destination.servce == \"a\"\nrules: [{ deny: all }]".into(), "2:6", "destination.service"),
        ("attributes: [{ name: a.b, type: list<string> }]\n---\npolicy: p\nfor: destination.service in a.b\notherwise: deny".into(), "4:29", "a list of literal strings, or an attribute that is one"),
        ("attributes: [{ name: a.b, type: string, from: source.namespace }]\n---\npolicy: p\nfor: destination.service == a.b\notherwise: deny".into(), "4:29", "compares with literal strings"),
        ("policy: p\nfor: always\nruls: []".into(), "3:1", "unknown key `ruls` in a policy; did you mean `rules`?"),
        ("policy: p\nfor: always\nwhatever: 1\notherwise: deny".into(), "3:1", "known keys: for, rules"),
        ("policy: p\nfor: always\nguard: yes\notherwise: deny".into(), "3:8", "`guard` is `true` or `false`, not `yes`"),
        ("policy: p\nfor: always\nat: outbond\notherwise: deny".into(), "3:5", "did you mean `outbound`"),
        ("policy: p\nfor: always\nfail: maybe\notherwise: deny".into(), "3:7", "`closed` or `open`"),
        ("policy: p\nfor: always\notherwise: { allow: x }".into(), "3:14", "unknown key `allow`"),
        ("policy: p\nfor: always\notherwise: dney".into(), "3:12", "did you mean `deny`"),
        ("policy: p\nfor: always\nrules: { deny: all }".into(), "3:8", "`rules` must be a list, this is a map"),
        ("policy: p\nfor: always\nrules:\n  - allow: some".into(), "4:12", "must say what happens otherwise"),
        ("policy: p\nfor: always\nrules:\n  - deny: a\n  - deny: a".into(), "5:11", "this sentence is given twice"),
        ("policy: p\nfor: always\nrules: [{ deny: a }]\notherwise: { deny: a }".into(), "4:20", "this sentence is given twice"),
        ("policy: p\nfor: always\nrules:\n  - deny: a\n    id: x\n  - deny: b\n    id: x".into(), "6:11", "the id `x` is given twice"),
        ("policy: p\nfor: always".into(), "1:9", "no rules, no `otherwise` and no quotas"),
        // Policies about rate limit descriptors.
        (limits("rules: [{ deny: all }]"), "3:1", "`rules` has no meaning here: only quotas answer the rate limit service"),
        (limits("otherwise: deny"), "3:1", "`otherwise` has no meaning here"),
        (limits("guard: true"), "3:1", "`guard` has no meaning here"),
        (limits("fail: open"), "3:1", "`failure_mode_deny`"),
        (limits("at: outbound"), "3:1", "`at` has no meaning here"),
        ("policy: p\nfor: rate_limit.domain == \"d\" || destination.service == \"s\"\nquotas: []".into(), "2:6", "can name nothing else"),
        (limits("quotas:\n  - { quota: q, key: [source.ip], limit: 1 per day }"), "4:14", "reads `source.ip`, which the rate limit service is not told"),
        (limits("quotas:\n  - { quota: q, key: [], limit: 1 per day, status: 503 }"), "4:14", "the status of a refusal is the proxy's"),
        (limits("quotas:\n  - { quota: q, key: [], limit: 1 per day, lease: 0 }"), "4:14", "`lease` has no meaning here"),
        (limits("quotas:\n  - { quota: q, key: [], limit: 1 per day, on_error: { local: 10% } }"), "4:14", "no proxy of ours could count alone"),
        (limits("quotas:\n  - { quota: q, key: [], limit: 5, algorithm: concurrency, hold: 30s }"), "4:14", "not told when a request is over"),
        (limits("quotas:\n  - { quota: q, key: [], limit: 5 per day, tell: both }"), "4:14", "`tell` has no meaning here"),
        (limits("quotas:\n  - quota: q\n    key: []\n    limit: 5 per day\n    message: \"not {request.path}\""), "4:12", "reads `request.path`, which the rate limit service is not told"),
        (rule("deny: a\n    when: connection.mtls\n    body: { of: \"{rate_limit.domain}\" }"), "4:11", "`rate_limit.domain` is known only where `for` names"),
        (quota("key: [rate_limit.domain], limit: 1 per day"), "4:14", "`rate_limit.domain` is known only where `for` names"),
        (rule("{ deny: all, when: rate_limit.hits > 1 }"), "4:13", "`rate_limit.hits` is known only where `for` names"),
        // Rules.
        (rule("when: connection.mtls"), "4:5", "a rule needs one of `deny`, `require`, `allow`"),
        (rule("deny: a\n    allow: b"), "5:5", "either `deny` or `allow`"),
        (rule("deny: otherwise"), "4:11", "has a meaning of its own in tests"),
        (rule("deny: ''"), "4:11", "the sentence is empty"),
        (rule("deny: a\n    when:"), "5:9", "`when` is empty; unconditional is `when: always`"),
        (rule("deny: a\n    when: ''"), "5:11", "`when` is empty"),
        (rule("deny: a\n    when: []"), "5:11", "`when` is empty"),
        (rule("deny: a\n    when: [connection.mtls, null]"), "5:29", "`when` is empty"),
        (rule("deny: a\n    when: { a: b }"), "5:11", "`when` must be a text, this is a map"),
        (rule("deny: a\n    when: source.namespce == \"a\""), "5:11", "source.namespace"),
        (rule("deny: a\n    when: connection.mtls && source.namespace == 5"), "5:47", "a string is never equal to an int"),
        (rule("deny: a\n    when: 'connection.mtls && source.port == \"x\"'"), "5:43", "an int is never equal to a string"),
        (rule("deny: a\n    when: >\n      connection.mtls &&\n      source.nope == 5"), "7:7", ""),
        (rule("deny: a\n    when: |\n      connection.mtls &&\n      source.nope == 5"), "7:7", ""),
        (rule("deny: a\n    when: source.port"), "5:11", "bool"),
        (rule("deny: a\n    when: response.code == 200"), "5:11", ""),
        (rule("deny: a\n    when: source.port =="), "5:23", "ends too early"),
        (rule("deny: a\n    when: request.headers[\"x\"] == \"y\""), "5:11", "may be absent, and a deny rule that cannot be decided denies"),
        (rule("deny: a\n    when:\n      - connection.mtls\n      - auth.claims.plan == \"y\""), "7:9", "or give the rule `absent: match`"),
        (rule("deny: a\n    when: !has(source.ip)"), "5:11", "is a YAML tag, not an expression: quote it"),
        ("policy: p\nfor: always\nrules: [{ deny: a, when: source.namespace in [\"a\"] }]".into(), "3:46", "inside [ ] and { }"),
        ("policy: p\nfor: always\nrules: [{ deny: a, when: [request.path.matches(a, b)] }]".into(), "3:27", "cut `when` short"),
        ("policy: p\nfor: always\nrules: [{ deny: nobody, ever }]".into(), "3:25", "inside [ ] and { }"),
        (rule("require: a"), "4:5", "a require rule needs `that`"),
        (rule("require: a\n    that: connection.mtls\n    ask: memory"), "6:5", "two demands"),
        (rule("deny: a\n    that: connection.mtls"), "5:5", "`that` is for require rules; here it is `when`"),
        (rule("deny: a\n    ask: blocklst\n---\nadapter: blocklist\ntype: list"), "5:10", "there is no adapter `blocklst`; did you mean `blocklist`?"),
        (rule("deny: a\n    with: { value: source.ip }"), "5:5", "`with` has no meaning without `ask`"),
        (rule("deny: a\n    on_error: allow"), "5:5", "`on_error` has no meaning without `ask`"),
        (rule("deny: a\n    ask: memory\n    with: source.ip"), "6:11", "`with` must be a map"),
        (rule("deny: a\n    ask: memory\n    with: { value: source.i }"), "6:20", "source.ip"),
        (rule("deny: a\n    ask: memory\n    with: { value: source.ip }\n  - deny: b\n    ask: memory\n    with: { address: source.ip }"), "9:11", "the same inputs; f.yaml:5:10 gives it `value`"),
        (rule("deny: a\n    ask: memory\n    with: { value: source.ip }\n  - deny: b\n    ask: memory\n    with: { value: source.port }"), "9:13", "is int here and ip elsewhere"),
        (rule("deny: a\n    status: 200"), "5:13", "from 400 to 599, not 200"),
        (rule("deny: a\n    status: 999"), "5:13", "whole number from 100 to 599"),
        (rule("deny: a\n    status: 302"), "5:13", "needs a `location`"),
        (rule("deny: a\n    location: /login"), "5:5", "needs a status of 301"),
        (rule("deny: a\n    status: 404\n    location: /login"), "6:5", "needs a status of 301"),
        (rule("deny: a\n    message: \"no {source.nope}\""), "5:19", ""),
        (rule("deny: a\n    grpc: permission_denied"), "5:11", "not `permission_denied`; did you mean `PERMISSION_DENIED`?"),
        (rule("deny: a\n    grpc: OK"), "5:11", "0 is OK, which denies nobody"),
        (rule("deny: a\n    grpc: 0"), "5:11", "from 1 to 16, not `0`; 0 is OK"),
        (rule("deny: a\n    grpc: 17"), "5:11", "from 1 to 16, not `17`; such as `PERMISSION_DENIED`"),
        (rule("deny: a\n    grpc: [7]"), "5:11", "`grpc` must be a text, this is a list"),
        (rule("deny: a\n    headers: [x-a]"), "5:14", "`headers` must be a map, this is a list; such as"),
        (rule("deny: a\n    headers: { ':status': a }"), "5:16", "`:status` is a pseudo-header, which only the proxy sets"),
        (rule("deny: a\n    headers: { x a: b }"), "5:16", "`x a` is not the name of a header"),
        (rule("deny: a\n    headers: { Connection: close }"), "5:16", "`Connection` is about one connection"),
        (rule("deny: a\n    headers: { trailer: a }"), "5:16", "about one connection"),
        (rule("deny: a\n    headers: { Content-Length: '0' }"), "5:16", "says how the body is sent"),
        (rule("deny: a\n    headers: { transfer-encoding: chunked }"), "5:16", "says how the body is sent"),
        (rule("deny: a\n    headers: { location: /login }"), "5:16", "is a key of its own; write `location:`"),
        (rule("deny: a\n    headers: { grpc-status: '7' }"), "5:16", "write `grpc:` for the status"),
        (rule("deny: a\n    headers: { x-a: b, X-A: c }"), "5:24", "the header `x-a` is given twice"),
        (rule("deny: a\n    headers: { x-a: \"b\\r\\nc\" }"), "5:21", "the value of `x-a` has a line break"),
        (rule("deny: a\n    headers: { x-a: }"), "5:19", "the header's value is empty"),
        (rule("deny: a\n    headers: { x-a: '{source.nope}' }"), "5:23", "unknown attribute `source.nope`"),
        (rule("deny: a\n    headers: { content-type: text/html }"), "5:16", "`content-type` says what the `body` is; add a `body`"),
        (rule("deny: a\n    body: b\n    headers: { content-type: html }"), "6:30", "a media type such as text/html, not `html`"),
        (rule("deny: a\n    body: b\n    headers: { content-type: '{source.ip}/x' }"), "6:30", "a media type such as"),
        (rule("deny: a\n    body:"), "5:9", "`body` is empty"),
        (rule("deny: a\n    body: \"no {source.nope}\""), "5:16", "unknown attribute `source.nope`"),
        (rule("deny: a\n    body: {request.path}"), "5:11", "YAML reads these braces as a map, not as a template; quote the text: \"{request.path}\""),
        (rule("deny: a\n    body:\n      path: {request.path}"), "6:13", "YAML reads these braces as a map"),
        (rule("deny: a\n    body: { a: [\"{source.nope}\"] }"), "5:19", "unknown attribute `source.nope`"),
        (rule("deny: a\n    body: { a: .inf }"), "5:16", "`.inf` is not a number that JSON has"),
        (rule("deny: a\n    body: { title: no, status: 404 }"), "5:32", "the problem's status is 404, and 403 is sent; write `status: 403` here"),
        (rule(&format!("deny: a\n    body: {}", "x".repeat(17_000))), "5:11", "16384 bytes, this one has 17000"),
        (rule(&format!("deny: a\n    body: {{ a: {0}, b: {0} }}", "x".repeat(9_000))), "5:11", "a body is at most 16 KiB"),
        ("policy: p\nfor: always\notherwise: { deny: x, status: 200 }".into(), "3:31", "from 400 to 599, not 200"),
        ("policy: p\nfor: always\notherwise: { status: 404 }".into(), "3:12", "`otherwise` is `allow`, `deny` or"),
        ("policy: p\nfor: always\notherwise: { deny: x, mesage: y }".into(), "3:23", "unknown key `mesage` in `otherwise`; did you mean `message`?"),
        (format!("{}otherwise: deny\n", rule("allow: a\n    body: b")), "5:5", "`body` has no meaning in an allow rule"),
        (format!("{}otherwise: deny\n", rule("allow: a\n    headers: { x-a: b }")), "5:5", "nobody is denied"),
        (quota("key: [], limit: 1 per day, status: 302"), "4:52", "a status of 302 needs a `location`"),
        (quota("key: [], limit: 1 per day, grpc: RESOURCES_EXHAUSTED"), "4:50", "did you mean `RESOURCE_EXHAUSTED`?"),
        (rule("deny: a\n    until: 2026-12-31"), "5:5", "`until` has no meaning without `mode: shadow`"),
        (rule("deny: a\n    mode: enforce\n    until: 2026-12-31"), "6:5", "`until` has no meaning without `mode: shadow`"),
        (rule("deny: a\n    mode: shadow\n    until: 31.12.2026"), "6:12", "is a date or a time, not `31.12.2026`; such as 2026-12-31"),
        (rule("deny: a\n    mode: shadow\n    until: 2026-02-30"), "6:12", "is a date or a time"),
        ("policy: p\nfor: always\nuntil: 2026-12-31\notherwise: deny".into(), "3:1", "`until` has no meaning without `mode: shadow`"),
        (quota("key: [], limit: 1 per day, until: 2026-12-31"), "4:44", "`until` has no meaning without"),
        (rule("deny: a\n    mode: shadwo"), "5:11", "did you mean `shadow`"),
        (rule("deny: a\n    absent: match"), "5:5", "has no meaning without `when`"),
        (rule("deny: a\n    absent: deny\n    when: connection.mtls"), "5:13", "`absent` is `match`"),
        (format!("{}otherwise: deny\n", rule("allow: a\n    message: b")), "5:5", "nobody is denied"),
        (format!("{}otherwise: deny\n", rule("allow: a\n    absent: match\n    when: connection.mtls")), "5:5", "`absent` is for deny rules"),
        (
            rule("deny: a\n    ask: memory\n    with: { value: 'request.headers[?\"x\"]' }"),
            "6:21",
            "where a string or",
        ),
        // Quotas.
        (quota("limit: 1 per day"), "4:5", "a quota needs a `key`"),
        (quota("key: []"), "4:5", "a quota needs a `limit`"),
        (quota("key: source.ip, limit: 1 per day"), "4:22", "`key` must be a list, this is a text; write [source.ip]"),
        (quota("key: [source.labels], limit: 1 per day"), "4:23", ""),
        (quota("key: [], limit: 100"), "4:33", "such as `100 per minute`"),
        (quota("key: [], limit: 100 per fortnight"), "4:33", "such as `100 per minute`"),
        (quota("key: [], limit: 0 per day"), "4:33", "a limit is above zero"),
        (quota("key: [], limit: { by: source.namespace, table: { a: 1 per day } }"), "4:33", "needs `otherwise`"),
        (quota("key: [], limit: { by: source.port, table: { a: 1 per day }, otherwise: 1 per day }"), "4:39", ""),
        (quota("key: [], limit: 1 per day, cost: source.namespace"), "4:50", ""),
        (quota("key: [], limit: 1 per 367d"), "4:33", "such as `100 per minute`"),
        (quota("key: [], limit: 1 per day, algorithm: fixed-windows"), "4:55", "did you mean `fixed-window`?"),
        (quota("key: [], limit: 1 per day, window: calendar Europe/Berlin"), "4:44", "`window` has no meaning without `algorithm: fixed-window`"),
        (quota("key: [], limit: 1 per day, algorithm: fixed-window, window: daily"), "4:77", "`window` is `calendar` or `calendar` and a time zone, not `daily`"),
        (quota("key: [], limit: 1 per day, algorithm: fixed-window, window: calendar Europe/Berln"), "4:77", "no time zone `Europe/Berln`; did you mean `Europe/Berlin`?"),
        (quota("key: [], limit: 1 per 24h, algorithm: fixed-window, window: calendar"), "4:33", "such as `100 per day`; for any other time leave `window` out"),
        (quota("key: [], limit: { by: source.namespace, table: { a: 1 per hour }, otherwise: 1 per day }, algorithm: fixed-window"), "4:69", "all limits of a table are for the same time"),
        (quota("key: [], limit: { by: source.namespace, table: { a: 1 per 30d }, otherwise: 1 per month }, algorithm: fixed-window, window: calendar"), "4:69", "a window of the calendar is"),
        (quota("key: [], limit: 1 per day, hold: 30s"), "4:44", "`hold` has no meaning without `algorithm: concurrency`"),
        (quota("key: [], limit: 20, algorithm: concurrency"), "4:5", "needs `hold`: how long a request is counted that nobody says is over; longer than any request takes, such as `hold: 30s`"),
        (quota("key: [], limit: 1 per day, algorithm: concurrency, hold: 30s"), "4:33", "a limit is how many at once, not `1 per day`; such as `limit: 20`"),
        (quota("key: [], limit: 0, algorithm: concurrency, hold: 30s"), "4:33", "a limit is how many at once, not `0`"),
        (quota("key: [], limit: 20, algorithm: concurrency, hold: 0s"), "4:67", "`hold` is a time such as"),
        (quota("key: [], limit: 20, algorithm: concurrency, hold: 30s, window: calendar"), "4:72", "`window` has no meaning"),
        (quota("key: [], limit: 20, algorithm: concurrency, hold: 30s, burst: 5"), "4:72", "`burst` has no meaning without `algorithm: gcra`"),
        (quota("key: [], limit: 20, algorithm: concurrency, hold: 30s, tell: both"), "4:72", "`tell` has no meaning with `algorithm: concurrency`"),
        (quota("key: [], limit: 20 per day, tell: Ratelimit"), "4:51", "did you mean `RateLimit`"),
        (quota("key: [], limit: 20, algorithm: concurrency, hold: 30s, lease: auto"), "4:72", "`lease` has no meaning with `algorithm: concurrency`"),
        (quota("key: [], limit: 20, algorithm: concurrency, hold: 30s, denied: counts"), "4:80", "a refused request holds nothing"),
        (quota("key: [], limit: 20"), "4:33", "a bare number is how many at once: it needs `algorithm: concurrency` and `hold`"),
        (quota("key: [], limit: 1 per day, denied: count"), "4:52", "did you mean `counts`?"),
        (quota("key: [], limit: 1 per day, burst: 5"), "4:44", "has no meaning without `algorithm: gcra`"),
        (quota("key: [], limit: 1 per day, store: shared"), "4:51", "there is no adapter `shared`; add a document"),
        (quota("key: [], limit: 1 per day, lease: many"), "4:51", "`lease` is `auto` or a number"),
        (quota("key: [], limit: 1 per day, on_error: { local: 0.5% }"), "4:63", "whole percentage"),
        (format!("{}  - {{ quota: r, id: p/q, key: [], limit: 1 per day }}\n", quota("key: [], limit: 1 per day")), "5:21", "names another counter"),
        // Tests.
        (case("allow: a\n    deny: b"), "6:5", "either `allow` or `deny`"),
        (case("{ deny: all, times: 3 }"), "5:18", "`times` is for tests of a `limit`"),
        (case("limit: q"), "5:5", "needs `times`"),
        (case("{ limit: default, times: 2 }"), "5:14", "the sentence of a quota"),
        (case("{ deny: all, like: nobody }"), "5:24", "there is no test `nobody`"),
        (case("{ deny: all, name: a, like: a }"), "5:33", "this test is like itself"),
        (case("{ deny: all, name: a }\n  - { deny: all, name: a }"), "6:24", "already a test `a`"),
        (case("{ deny: all, given: { source: { namespce: a } } }"), "5:37", "unknown attribute `source.namespce`; did you mean `source.namespace`?"),
        (case("{ deny: all, given: { source: a } }"), "5:35", "is a family of attributes"),
        (case("{ deny: all, given: { source: { ip: 10.0.0.300 } } }"), "5:41", "`source.ip` is an address, not `10.0.0.300`"),
        (case("{ deny: all, given: { source: { port: http } } }"), "5:43", "a whole number"),
        (case("{ deny: all, given: { connection: { mtls: yes } } }"), "5:47", "`true` or `false`"),
        (case("{ deny: all, given: { request: { time: today } } }"), "5:44", "a time such as"),
        (case("{ deny: all, given: { request: { headers: { X-A: b } } } }"), "5:49", "no header name in lower case; write x-a"),
        (case("{ deny: all, given: { request: { method: [GET] } } }"), "5:46", "must be a text"),
        (case("{ deny: all, answers: { blocklist: match } }"), "5:29", "there is no adapter `blocklist`"),
        (case("{ deny: all, answers: { memory: maybe } }"), "5:37", "`match` or `no match` or `unavailable`"),
        // Adapters.
        ("adapter: a".into(), "1:10", "an adapter needs a `type`"),
        ("adapter: a\ntype: list\nconfg: {}".into(), "3:1", "did you mean `config`"),
        ("adapter: a\ntype: list\nconfig: { a: .nan }".into(), "3:14", "not a number"),
        // Mesh.
        ("mesh: deny".into(), "1:7", "`mesh` must be a map"),
        ("mesh: {}\nfor: always".into(), "2:1", "unknown key `for`"),
        ("mesh: {}\n---\nmesh: {}".into(), "3:1", "there is already a `mesh` document"),
        ("mesh: { tls: always }".into(), "1:14", "`tls` is `strict` or `permissive` or `disable`"),
        ("mesh: { clients: [] }".into(), "1:18", "`clients` must be a map"),
        ("mesh: { clients: { check: [spiffe://A/x] } }".into(), "1:28", "its trust domain has lower-case letters"),
        ("mesh: { clients: { check: [spiffe://a*] } }".into(), "1:28", "a workload's has a path"),
        ("mesh: { clients: { check: [spiffe://a/b*] } }".into(), "1:28", "its path has letters"),
        ("mesh: { fail: { stale: 10 } }".into(), "1:24", "a time such as 10ms"),
        ("mesh: { fail: { cold: go } }".into(), "1:23", "`cold` is `wait`"),
        ("mesh: { client_ip: { header: x-a } }".into(), "1:20", "needs a `header` and the `trusted`"),
        ("mesh: { client_ip: { header: X-A, trusted: [] } }".into(), "1:30", "a header name is written in lower case"),
        ("mesh: { client_ip: { header: x, trusted: [10.0.0.1/8] } }".into(), "1:43", "bits set behind its length"),
        ("mesh: { client_ip: { header: x, trusted: [10.0.0.0/33] } }".into(), "1:43", "a network is an address and a length"),
        ("mesh: { opaque_ports: [0] }".into(), "1:24", "from 1 to 65535"),
        ("mesh: { trust_domain: Cluster }".into(), "1:23", "lower-case letters"),
        // Services.
        ("service: Products".into(), "1:10", "a host name in lower case"),
        ("service: a\nhosts: [b:80]".into(), "2:9", "without port"),
        ("service: a\nhosts: ['*.b']".into(), "2:9", "not supported yet"),
        ("service: a\nhosts: [x]\n---\nservice: b\nhosts: [x]".into(), "5:9", "means a service already; the first is at f.yaml:2:9"),
        ("service: a\nhosts: [b]\n---\nservice: b".into(), "2:9", "means a service already"),
        ("service: a\nendpoints: [products:80]".into(), "2:13", "did you mean `dns:products:80`?"),
        ("service: a\nendpoints: [10.0.0.1]".into(), "2:13", "`address:port` or `dns:name:port`"),
        ("service: a\nprotocol: htpp".into(), "2:11", "did you mean `http`"),
        ("service: a.b\nsubsets: { v1: { endpoints: [] }, v2: { endpoints: [] } }\n---\nroute: r\nfor: destination.service == \"a.b\"\nrules:\n  - to: { v1: 90, v2: 5 }".into(), "7:9", "the weights of `to` add to 100, not 95"),
        ("service: a.b\nsubsets: { v1: { endpoints: [] }, v2: { endpoints: [] } }\n---\nroute: r\nfor: destination.service == \"a.b\"\nrules:\n  - to: { v1: 50%, v2: 50% }".into(), "7:15", "a weight is a whole number from 0 to 100, not `50%`"),
        ("service: a.b\nsubsets: { v1: { endpoints: [] }, v2: { endpoints: [] } }\n---\nroute: r\nfor: destination.service == \"a.b\"\nrules:\n  - to: { v3: 100 }".into(), "7:11", "`a.b` has no subset `v3`"),
        ("service: a.b\nsubsets: { v1: { endpoints: [] }, v2: { endpoints: [] } }\n---\nroute: r\nfor: destination.service == \"a.b\"\nrules:\n  - to: { v1: 100 }\n    mirror: { to: v, percent: 3 }".into(), "8:19", "`a.b` has no subset `v`"),
        ("service: a.b\nsubsets: { v1: { endpoints: [] }, v2: { endpoints: [] } }\n---\nroute: r\nfor: destination.service == \"a.b\"\nrules:\n  - mirror: { to: v1, percent: 3 }".into(), "7:32", "`percent` is a share from 0% to 100%, not `3`"),
        ("service: a.b\nsubsets: { v1: { endpoints: [] }, v2: { endpoints: [] } }\n---\nroute: r\nfor: destination.service == \"a.b\"\nrules:\n  - retry: { when: [conect-failure] }".into(), "7:21", "`conect-failure` is nothing to retry on"),
        ("service: a.b\nsubsets: { v1: { endpoints: [] }, v2: { endpoints: [] } }\n---\nroute: r\nfor: destination.service == \"a.b\"\nrules:\n  - retry: { when: [\"200\"] }".into(), "7:21", "`200` is nothing to retry on"),
        ("service: a.b\nsubsets: { v1: { endpoints: [] }, v2: { endpoints: [] } }\n---\nroute: r\nfor: destination.service == \"a.b\"\nrules:\n  - retry: { extra: 1 }".into(), "7:12", "`retry` needs `when`"),
        ("service: a.b\nsubsets: { v1: { endpoints: [] }, v2: { endpoints: [] } }\n---\nroute: r\nfor: destination.service == \"a.b\"\nrules:\n  - retry: { when: [reset], extra: 0 }".into(), "7:36", "`extra` is a whole number from 1 to 10, not `0`"),
        ("service: a.b\nsubsets: { v1: { endpoints: [] }, v2: { endpoints: [] } }\n---\nroute: r\nfor: destination.service == \"a.b\"\nrules:\n  - retry: { when: [reset], methods: [get] }".into(), "7:39", "a method is a word in capitals, not `get`"),
        ("service: a.b\nsubsets: { v1: { endpoints: [] }, v2: { endpoints: [] } }\n---\nroute: r\nfor: destination.service == \"a.b\"\nrules:\n  - fault: { percent: 1% }".into(), "7:12", "a fault needs `delay`, `abort` or both"),
        ("service: a.b\nsubsets: { v1: { endpoints: [] }, v2: { endpoints: [] } }\n---\nroute: r\nfor: destination.service == \"a.b\"\nrules:\n  - fault: { abort: 200 }".into(), "7:21", "`abort` is a status from 400 to 599, not `200`"),
        ("service: a.b\nsubsets: { v1: { endpoints: [] }, v2: { endpoints: [] } }\n---\nroute: r\nfor: destination.service == \"a.b\"\nrules:\n  - headers: { set: { connection: close } }".into(), "7:23", "`connection` is about one connection"),
        ("service: a.b\nsubsets: { v1: { endpoints: [] }, v2: { endpoints: [] } }\n---\nroute: r\nfor: destination.service == \"a.b\"\nrules:\n  - headers: { remove: [x-mixer-principal] }".into(), "7:25", "`x-mixer-principal` is a claim of identity"),
        ("service: a.b\nsubsets: { v1: { endpoints: [] }, v2: { endpoints: [] } }\n---\nroute: r\nfor: destination.service == \"a.b\"\nrules:\n  - rewrite: { prefix: /a/../b }".into(), "7:24", "this is a path such as /api/v1, not `/a/../b`"),
        ("service: a.b\nsubsets: { v1: { endpoints: [] }, v2: { endpoints: [] } }\n---\nroute: r\nfor: destination.service == \"a.b\"\nrules:\n  - rewrite: { host: \"a b\" }".into(), "7:22", "`host` is a host name, with a port if wanted, not `a b`"),
        ("service: a.b\nsubsets: { v1: { endpoints: [] }, v2: { endpoints: [] } }\n---\nroute: r\nfor: destination.service == \"a.b\"\nrules:\n  - redirect: { location: /, status: 200 }".into(), "7:38", "the status of a redirect is 301"),
        ("service: a.b\nsubsets: { v1: { endpoints: [] }, v2: { endpoints: [] } }\n---\nroute: r\nfor: destination.service == \"a.b\"\nrules:\n  - redirect: { location: / }\n    to: { v1: 100 }".into(), "8:5", "`to` has no meaning beside `redirect`"),
        ("service: a.b\nsubsets: { v1: { endpoints: [] }, v2: { endpoints: [] } }\n---\nroute: r\nfor: destination.service == \"a.b\"\nrules:\n  - sticky: source.ip".into(), "7:5", "`sticky` chooses among the subsets of `to`, which is missing"),
        ("service: a.b\nsubsets: { v1: { endpoints: [] }, v2: { endpoints: [] } }\n---\nroute: r\nfor: destination.service == \"a.b\"\nrules:\n  - when: response.code == 200".into(), "7:11", "`response.code`"),
        ("service: a.b\nsubsets: { v1: { endpoints: [] }, v2: { endpoints: [] } }\n---\nroute: r\nfor: destination.service == \"a.b\"\nrules:\n  - tiemout: 3s".into(), "7:5", "unknown key `tiemout` in a rule of a route"),
        ("service: a.b\nsubsets: { v1: { endpoints: [] }, v2: { endpoints: [] } }\n---\nroute: r\nfor: destination.service == \"a.b\"\nrules:\n  - { name: x }\n  - { name: x }".into(), "8:13", "there is already a rule `x` in this route"),
        ("route: r\nfor: destination.labels[\"a\"] == \"b\"\nrules: []".into(), "2:6", "the `for` of a route compares"),
        ("attributes: [ { name: a.b, type: int, from: request.size } ]\n---\nroute: r\nfor: always\nrules: [ { when: a.b > 1 } ]".into(), "5:18", "proxies carry routes out"),
        ("route: r\nfor: always\nrules: []\ntests: [ { given: {} } ]".into(), "4:10", "a test of a route needs `to` or `by`"),
        ("route: r\nfor: always".into(), "1:8", "a route needs `rules`"),
        ("service: a\nsubsets: { v1: { endpoint: [] } }".into(), "2:18", "unknown key `endpoint` in a subset"),
        ("service: a\nsubsets: [v1]".into(), "2:10", "`subsets` must be a map from names to subsets, this is a list"),
        ("service: a\nbalance: ewmas".into(), "2:10", "did you mean `ewma`"),
        ("service: a\nbalance: ring-hash(request.hedaers)".into(), "2:20", "unknown attribute `request.hedaers`"),
        ("service: a\nbalance: ring-hash(request.headers)".into(), "2:20", "this is a map(string, string)"),
        ("attributes: [{ name: u.id, type: string, from: source.principal }]\n---\nservice: a\nbalance: ring-hash(u.id)".into(), "4:10", "proxies choose endpoints"),
        ("service: a\nbalance: { by: ring-hash(source.ip), slow_start: 5s }".into(), "2:38", "`slow_start` has no meaning with `ring-hash`"),
        ("service: a\nbalance: { panic: 0.5% }".into(), "2:19", "`panic` is a whole percentage"),
        ("service: a\ncircuit: { requests: 0 }".into(), "2:22", "`requests` is a whole number from 1 to 1000000"),
        ("service: a\noutlier: { eject: soon }".into(), "2:19", "`eject` is a time"),
        ("service: a\nhealth: { every: 5s }".into(), "2:9", "`health` needs"),
        ("service: a\nhealth: { http: healthz }".into(), "2:17", "`http` is a path such as /healthz"),
        ("service: a\nhealth: { tcp: false }".into(), "2:16", "`tcp` is `true`"),
        ("service: a\nexternal: true\nprobes: { paths: [/a], from: [10.0.0.0/8] }".into(), "3:1", "a service outside the mesh has none"),
        ("service: a\nprotocol: tcp\nprobes: { paths: [/a], from: [10.0.0.0/8] }".into(), "3:1", "is declared `protocol: tcp`"),
        ("service: a\nprobes: { paths: [/healthz] }".into(), "2:9", "`probes` needs"),
        ("service: a\nprobes: { paths: [], from: [10.0.0.0/8] }".into(), "2:18", "`paths` is empty"),
        ("service: a\nprobes: { paths: [healthz], from: [10.0.0.0/8] }".into(), "2:19", "not a plain path"),
        ("service: a\nprobes: { paths: [\"/%68ealthz\"], from: [10.0.0.0/8] }".into(), "2:19", "not a plain path"),
        ("service: a\nprobes: { paths: [/a/../b], from: [10.0.0.0/8] }".into(), "2:19", "not a plain path"),
        ("service: a\nprobes: { paths: [/a//b], from: [10.0.0.0/8] }".into(), "2:19", "not a plain path"),
        ("service: a\nprobes: { paths: [\"/a b\"], from: [10.0.0.0/8] }".into(), "2:19", "not a plain path"),
        ("service: a\nprobes: { paths: [/a], from: [10.0.0.1/8] }".into(), "2:31", "bits set behind its length"),
        ("service: a\nprobes: { paths: [/a], from: [nodes] }".into(), "2:31", "a network is an address"),
        ("service: a\ntls: strict".into(), "1:10", "does not say its `identity`"),
        ("mesh: { tls: strict }\n---\nservice: a".into(), "3:10", "does not say its `identity`"),
        ("service: a\nidentity: https://a/b".into(), "2:11", "it begins with `spiffe://`"),
        ("service: a\nidentity: spiffe://a/b/".into(), "2:11", "no segment of its path is empty"),
        ("service: a\nexternal: true\ntls: disable".into(), "3:1", "`tls` is for services of the mesh"),
        ("service: a\nexternal: true\nidentity: spiffe://a/b".into(), "3:1", "`identity` is for services of the mesh"),
        ("service: a\noriginate: { roots: system }".into(), "2:1", "`originate` is for services outside the mesh"),
        ("service: a\nexternal: true\noriginate: { roots: none }".into(), "3:21", "`roots` is `system`"),
        ("service: a\nexternal: true\noriginate: { sni: 'b:1' }".into(), "3:19", "`sni` is a host name"),
        ("service: x\nexternal: true\n---\npolicy: p\nfor: destination.service == \"x\"\nrules: [{ deny: all }]".into(), "4:9", "nobody asks this policy there"),
        // Attributes.
        ("attributes: {}".into(), "1:13", "`attributes` must be a list"),
        ("attributes: [{ name: size, type: int }]".into(), "1:22", "joined by dots"),
        ("attributes: [{ name: source.x, type: int }]".into(), "1:22", "`source.` is for built-in attributes"),
        ("attributes: [{ name: a.b, type: integer }]".into(), "1:33", "`type` is `string`"),
        ("attributes: [{ name: a.b, type: int }, { name: a.b, type: int }]".into(), "1:48", "there is already an attribute `a.b`"),
        ("attributes: [{ name: a.b, type: int }, { name: a.b.c, type: int }]".into(), "1:48", "cannot both be attributes"),
        ("attributes: [{ name: a.b, type: int, from: source.namespace }]".into(), "1:44", ""),
        ("attributes: [{ name: a.b, type: int, from: a.c }, { name: a.c, type: int }]".into(), "1:44", ""),
        ("attributes: [{ name: a.b, type: int, value: 1, from: '1' }]".into(), "1:38", "`value` and `from` say the same thing"),
        ("attributes: [{ name: a.b, type: int, value: many }]".into(), "1:45", "`value` is a whole number, not `many`"),
        ("attributes: [{ name: a.b, type: double, value: .inf }]".into(), "1:48", "`value` is a number, not `.inf`"),
        ("attributes: [{ name: a.b, type: bool, value: yes }]".into(), "1:46", "`value` is `true` or `false`, not `yes`"),
        ("attributes: [{ name: a.b, type: ip, value: 10.0.0.0/8 }]".into(), "1:44", "`value` is an address, not `10.0.0.0/8`"),
        ("attributes: [{ name: a.b, type: timestamp, value: today }]".into(), "1:51", "`value` is a time such as"),
        ("attributes: [{ name: a.b, type: duration, value: 5 }]".into(), "1:50", "a time such as 10ms"),
        ("attributes: [{ name: a.b, type: bytes, value: x }]".into(), "1:47", "a constant cannot be of type bytes; write a CEL literal"),
        ("attributes: [{ name: a.b, type: list<string>, value: ann }]".into(), "1:54", "`value` must be a list, this is a text"),
        ("attributes: [{ name: a.b, type: list<string>, value: [ann, [bob]] }]".into(), "1:60", "`value` must be a text, this is a list"),
        ("attributes: [{ name: a.b, type: list<string>, value: [ann, null] }]".into(), "1:60", "`value` is empty"),
        ("attributes: [{ name: a.b, type: 'map<string,string>', value: [ann] }]".into(), "1:62", "`value` must be a map, this is a list"),
        ("attributes: [{ name: a.b, type: string, value: }]".into(), "1:46", "`value` is empty"),
        (format!("attributes: [{{ name: a.b, type: list<string>, value: [{}] }}]", "someone, ".repeat(3000)), "1:54", "a longer list is an adapter of `type: list`"),
        // Workloads.
        ("workload: w".into(), "1:11", "a workload needs the `id` it gets"),
        (workload("attest: { uid: 1 }", "cluster.local/a"), "2:5", "is no SPIFFE id"),
        (workload("attest: { uid: 1 }", "spiffe://cluster.local"), "2:5", "is no SPIFFE id"),
        (workload("attest: { uid: 1 }", "spiffe://cluster.local/a/../b"), "2:5", "is no SPIFFE id"),
        (workload("attest: { uid: 1 }", "spiffe://cluster.local/a?b"), "2:5", "is no SPIFFE id"),
        (workload("attest: { uid: 1 }", "spiffe://other/a"), "2:5", "the trust domain of this mesh is `cluster.local`, not `other`"),
        (workload("attest: {}", "spiffe://cluster.local/a"), "3:9", "at least one of `uid`, `gid`, `path`"),
        (workload("attest: { uid: bob }", "spiffe://cluster.local/a"), "3:16", "`uid` is a whole number"),
        (workload("attest: { gid: 4294967295 }", "spiffe://cluster.local/a"), "3:16", "`gid` is a whole number from 0 to 4294967294"),
        (workload("attest: { path: products }", "spiffe://cluster.local/a"), "3:17", "the absolute path of an executable"),
        (workload("attest: { path: /usr/../products }", "spiffe://cluster.local/a"), "3:17", "the absolute path of an executable"),
        (workload("attest: { pth: /products }", "spiffe://cluster.local/a"), "3:11", "unknown key `pth` in `attest`; did you mean `path`?"),
        // Telemetry.
        ("telemetry: t".into(), "1:12", "`for` is missing"),
        ("telemetry: t\nfor: always\nmetrics: [{ metric: istio_x, kind: counter }]".into(), "3:21", "Mixer's own"),
        ("telemetry: t\nfor: always\nmetrics: [{ metric: a-b, kind: counter }]".into(), "3:21", "letters, digits and underscores"),
        ("telemetry: t\nfor: always\nmetrics: [{ metric: a }]".into(), "3:11", "needs a `kind`"),
        ("telemetry: t\nfor: always\nmetrics: [{ metric: a, kind: gauge }]".into(), "3:11", "needs a `value`"),
        ("telemetry: t\nfor: always\nmetrics: [{ metric: a, kind: histogram, value: 1, buckets: [2, 1] }]".into(), "3:64", "bounds of buckets rise"),
        ("telemetry: t\nfor: always\nmetrics: [{ metric: a, kind: counter, buckets: [1] }]".into(), "3:39", "are for histograms"),
        ("telemetry: t\nfor: always\nmetrics: [{ metric: a, kind: counter }, { metric: a_total, kind: counter }]".into(), "3:51", "already a metric"),
        ("telemetry: t\nfor: always\nmetrics: [{ metric: a, kind: counter, labels: { le: source.ip } }]".into(), "3:49", "cannot be a name"),
        ("telemetry: t\nfor: always\nlogs: { to: access-log }".into(), "3:13", "there is no adapter `access-log`"),
        ("telemetry: t\nfor: always\nlogs: {}".into(), "3:7", "logs need `to`"),
        ("telemetry: t\nfor: always\ntraces: { to: memory, sample: 1 }".into(), "3:31", "a share from 0% to 100%"),
    ];
    let mut wrong = Vec::new();
    for (text, place, message) in rows {
        let found = problems(text);
        let said: Vec<String> = found
            .lines()
            .iter()
            .zip(&found.list)
            .map(|(line, problem)| format!("{line}; {}", problem.help.join("; ")))
            .collect();
        let expected = |line: &&String| {
            line.starts_with(&format!("f.yaml:{place}: ")) && line.contains(message)
        };
        if said.iter().find(expected).is_none() {
            wrong.push(format!(
                "{text}\n  expected {place} {message}\n  found {said:#?}"
            ));
        }
    }
    assert!(rows.len() >= 60);
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n\n")
    );
}

#[test]
fn ten_mistakes_of_a_file_are_shown_at_once() {
    let rendered = problems(include_str!("ten.yaml")).render(false);
    let expected = include_str!("ten.txt");
    assert!(rendered == expected, "it is now\n{rendered}");
}

#[test]
fn a_key_that_is_misspelt_is_not_also_called_missing() {
    for text in [
        "adapter: a\ntpye: list",
        "policy: p\nfro: always\notherwise: deny",
        "policy: p\nfor: always\nrules: [{ dney: all }]",
        "policy: p\nfor: always\nrules: [{ require: a, taht: connection.mtls }]",
        "policy: p\nfor: always\nquotas: [{ quota: q, ky: [], limit: 1 per day }]",
        "policy: p\nfor: always\nrlues: []",
    ] {
        let lines = problems(text).lines();
        assert!(
            lines.len() == 1 && lines[0].contains("unknown key"),
            "{text}: {lines:#?}"
        );
    }
}

#[test]
fn what_a_broken_file_would_define_is_not_called_missing() {
    let sources = Sources::from_texts([
        (
            "a.yaml",
            "policy: p\nfor: always\nrules: [{ deny: all, ask: blocklist }]\n",
        ),
        ("b.yaml", "adapter: blocklist\ntype: [list\n"),
    ]);
    let lines = load(sources).unwrap_err().lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].starts_with("b.yaml:2:7"), "{lines:#?}");
}

#[test]
fn one_mistake_in_one_of_many_files_refuses_all() {
    let mut texts: Vec<(String, String)> = (0..5)
        .map(|at| {
            (
                format!("{at}.yaml"),
                format!("policy: p{at}\nfor: always\nrules: [{{ deny: all }}]\n"),
            )
        })
        .collect();
    texts[3].1 = texts[3].1.replace("rules", "ruels");
    let problems = load(Sources::from_texts(texts)).unwrap_err();
    assert_eq!(problems.errors(), 1);
    assert!(
        problems.lines()[0].starts_with("3.yaml:3:1: error[MX1004]: unknown key `ruels`"),
        "{:?}",
        problems.lines()
    );
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

        #[test]
        fn no_prefix_of_a_file_panics(end in 0..SHOP.len()) {
            problems(&SHOP[..SHOP.floor_char_boundary(end)]).render(false);
        }

        #[test]
        fn no_mutation_of_a_file_panics(edits in prop::collection::vec((0..SHOP.len(), "[-\\[\\]{}:,#&*!|>'\"%@ \n\té0-9a-z]{0,3}", 0usize..4), 1..4)) {
            let mut text = SHOP.to_owned();
            for (at, insert, remove) in edits {
                let start = text.floor_char_boundary(at);
                let end = text.floor_char_boundary(start + remove);
                text.replace_range(start..end.max(start), &insert);
            }
            let found = problems(&text);
            found.render(false);
            found.render(true);
            prop_assert_eq!(found.lines().len(), found.list.len());
        }
    }
}
