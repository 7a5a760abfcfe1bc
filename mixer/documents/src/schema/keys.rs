//! What each key holds and means: the table behind the schema.

use serde_json::{Value, json};

/// Definition, key, what it holds, what it means. What a key holds is the name of a definition, `[name]` for a list of it,
/// `{name}` for a map to it, words with `|` between them, or several of these with ` or `.
type Key = (&'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const KEYS: &[Key] = &[
    ("document", "policy", "name", "A policy: who may do what at some destinations. Its name, unique among policies."),
    ("document", "adapter", "name", "A connection to a backend. Its name, unique among adapters."),
    ("document", "mesh", "mesh", "What holds for the whole mesh; at most one document."),
    ("document", "service", "name", "A service: the host name callers use."),
    ("document", "route", "name", "A route: to which part of a service requests go, and what is done with them. Its name, unique among routes."),
    ("document", "telemetry", "name", "Metrics, logs and traces beyond the standard ones. Its name, unique among telemetry."),
    ("document", "jwt", "name", "Tokens of one issuer, verified at some destinations. Its name, unique among jwt documents, is `auth.issuer`."),
    ("document", "attributes", "attributes", "What this mesh knows about requests beyond the built-in attributes."),
    ("document", "workload", "name", "A process of this host that gets a certificate. Its name, unique among workloads."),
    // Policies.
    ("policy", "for", "cel", "Which destinations: `destination.service`, `.namespace`, `.labels[\"x\"]`, `context.reporter` or `rate_limit.domain`, with ==, in, startsWith, endsWith, && and ||; or `always`."),
    ("policy", "at", "inbound|outbound", "Who asks: the proxy at the destination (inbound, the default) or at the caller."),
    ("policy", "guard", "bool", "Decided alone: no other policy's allow satisfies it. Default false."),
    ("policy", "mode", "enforce|shadow", "`shadow` denies nobody and says what it would have done. Default enforce."),
    ("policy", "until", "date", "With `mode: shadow`: until when; after that, loading warns."),
    ("policy", "fail", "closed|open", "When no Mixer can be asked. Default closed."),
    ("policy", "rules", "[rule]", "Deny rules are asked first, then require rules, then allow rules."),
    ("policy", "otherwise", "allow|deny or otherwise", "When no rule decides; mandatory beside an allow rule."),
    ("policy", "quotas", "[quota]", "How much may be spent, by whom, in what time."),
    ("policy", "tests", "[test]", "What `mixer test` checks."),
    // Rules.
    ("rule", "deny", "sentence", "Denies when it matches. The sentence is its name in messages, metrics, logs and tests."),
    ("rule", "require", "sentence", "Denies unless `that` holds. The sentence is its name in messages, metrics, logs and tests."),
    ("rule", "allow", "sentence", "Lets pass when it matches. The sentence is its name in messages, metrics, logs and tests."),
    ("rule", "when", "condition", "For which requests; a list means that all must hold. Default `always`."),
    ("rule", "that", "condition", "What a require rule demands."),
    ("rule", "ask", "name", "The adapter that answers match or no match."),
    ("rule", "with", "{cel}", "What the adapter is given."),
    ("rule", "on_error", "deny|allow", "When the adapter cannot be asked. Default deny."),
    ("rule", "id", "name", "Its name in metrics; default the sentence."),
    ("rule", "mode", "enforce|shadow", "`shadow` denies nobody and says what it would have done. Default enforce."),
    ("rule", "until", "date", "With `mode: shadow`: until when; after that, loading warns."),
    ("rule", "absent", "match", "Of a deny rule: a request that lacks what `when` reads is denied on purpose."),
    ("otherwise", "deny", "sentence", "Denies, with this sentence."),
    // What a denied caller is told.
    ("reply", "status", "int", "400 to 599, or 301, 302, 303, 307, 308 with `location`."),
    ("reply", "location", "text", "Target of a redirect, with CEL in braces."),
    ("reply", "message", "text", "What the caller reads, with CEL in braces; default the sentence."),
    ("reply", "headers", "{text}", "Headers of the reply, with CEL in braces."),
    ("reply", "body", "any", "A text, or a map or list that is sent as JSON; with CEL in braces."),
    ("reply", "grpc", "text", "The status of gRPC callers, such as PERMISSION_DENIED."),
    // Quotas.
    ("quota", "quota", "sentence", "Its name in messages, metrics, logs and tests."),
    ("quota", "id", "name", "Names the counter, over all policies; default policy/sentence."),
    ("quota", "when", "condition", "Which requests it counts; a list means that all must hold. Default `always`."),
    ("quota", "key", "[cel]", "Each value has a counter; `[]` is one counter for all."),
    ("quota", "absent", "share|deny|skip", "A key that is absent: one common counter (the default), a denial, or not counted."),
    ("quota", "limit", "limit or limits", "Such as `100 per minute`, or a table of limits; with concurrency how many at once."),
    ("quota", "cost", "cel", "What a request costs: a CEL int. Default 1."),
    ("quota", "algorithm", "sliding-window|gcra|fixed-window|concurrency", "How it is counted. Default sliding-window."),
    ("quota", "burst", "int", "With gcra: tokens that may be spent at once; default the limit's amount."),
    ("quota", "window", "window", "With fixed-window: `calendar`, or `calendar` and a time zone. Default: opened by the first request."),
    ("quota", "hold", "time", "With concurrency: how long a request is counted that nobody says is over."),
    ("quota", "denied", "free|counts", "Whether a refused request counts. Default free."),
    ("quota", "store", "name", "The adapter that counts. Default memory."),
    ("quota", "lease", "auto or int", "Tokens a proxy may hold in advance; 0: always ask. Default auto."),
    ("quota", "on_error", "allow|deny or quota_on_error", "When the store cannot be asked. Default allow."),
    ("quota", "mode", "enforce|shadow", "`shadow` counts and refuses nobody. Default enforce."),
    ("quota", "until", "date", "With `mode: shadow`: until when; after that, loading warns."),
    ("quota", "tell", "nothing|RateLimit|X-RateLimit|both", "Headers that tell callers the limit and what is left. Default nothing."),
    ("limits", "by", "cel", "The name of the row: a CEL string."),
    ("limits", "table", "{limit}", "Limits by the name of the row."),
    ("limits", "otherwise", "limit", "When no row is named so."),
    ("quota_on_error", "local", "share", "Each proxy counts alone up to this share of the limit."),
    // Tests.
    ("test", "allow", "sentence", "The request passes, by this: a sentence, `otherwise`, `default` or `any`."),
    ("test", "deny", "sentence", "The request is denied, by this: a sentence, `otherwise`, `default` or `any`."),
    ("test", "limit", "sentence", "The quota that refuses the last of `times` requests; or `any`."),
    ("test", "name", "name", "For `like`."),
    ("test", "like", "name", "A test whose `given` and `answers` are below this one's."),
    ("test", "given", "map", "The request: attributes, nested or dotted; null unsets."),
    ("test", "answers", "{answer}", "What adapters answer, by their name."),
    ("test", "times", "int", "With `limit`: the request that is refused, counting from 1."),
    // Adapters.
    ("adapter", "type", "name", "What it is."),
    ("adapter", "config", "map", "What the adapter's own page says."),
    // The mesh.
    ("mesh", "default", "allow|deny", "When no policy decides. Default allow."),
    ("mesh", "outbound", "allow|deny", "Whether requests to hosts that no service names may leave. Default allow."),
    ("mesh", "trust_domain", "name", "Own trust domain. Default cluster.local."),
    ("mesh", "federated", "[name]", "Other trust domains whose namespaces and service accounts are believed."),
    ("mesh", "tls", "strict|permissive|disable", "Whether proxies take plaintext, for services that do not say. Default permissive."),
    ("mesh", "client_ip", "client_ip", "Where `request.client_ip` comes from."),
    ("mesh", "denials", "denials", "Who is told why a request was denied."),
    ("mesh", "fail", "fail", "When no Mixer can be asked."),
    ("mesh", "opaque_ports", "[int]", "Ports whose traffic is carried unread."),
    ("mesh", "clients", "clients", "Who may ask Mixer."),
    ("clients", "check", "[text]", "SPIFFE ids that may Check and take Quota; `/*` at the end: all that begin so. Default: all of the own trust domain."),
    ("clients", "report", "[text]", "Ids that may Report. Default as `check`."),
    ("clients", "watch", "[text]", "Ids that may Watch. Default as `check`."),
    ("client_ip", "header", "text", "The header that names the client, in lower case."),
    ("client_ip", "trusted", "[text]", "Networks whose word is taken, such as 10.0.0.0/8."),
    ("denials", "show", "mesh|everyone|nobody", "Default mesh: callers with a verified identity."),
    ("fail", "stale", "time", "How long answers that may be out of date are used. Default 10m."),
    ("fail", "cold", "wait", "A proxy that never heard of Mixer waits."),
    // Services.
    ("service", "hosts", "[text]", "Other names that mean it, without port."),
    ("service", "namespace", "name", "Default: what follows the first dot of its name."),
    ("service", "protocol", "http|http2|grpc|tcp", "What it speaks; default: detected."),
    ("service", "endpoints", "[text]", "Where it or its inbound proxies listen: `address:port` or `dns:name:port`."),
    ("service", "subsets", "{subset}", "Parts of it that routes send to, by name."),
    ("subset", "endpoints", "[text]", "Where the subset listens: `address:port` or `dns:name:port`."),
    ("service", "paths", "paths", "How its paths are read."),
    ("service", "identity", "text", "The SPIFFE id of its proxies: callers speak mutual TLS to it and verify this."),
    ("service", "tls", "strict|permissive|disable", "Whether its proxies take plaintext. Default: as `mesh.tls`. `strict` needs `identity`."),
    ("service", "balance", "text or balance", "How requests are spread: `ewma` (the default), `least-request`, `round-robin` or `ring-hash(CEL)`."),
    ("service", "circuit", "circuit", "What one proxy carries to it at most."),
    ("service", "outlier", "outlier", "When an endpoint that fails gets nothing for a while. Default: never."),
    ("service", "health", "health", "Asks endpoints whether they are well. Default: nobody asks."),
    ("service", "probes", "probes", "Requests that are answered before policy. Default: none."),
    ("service", "external", "bool", "Outside the mesh: policies on it say `at: outbound`. Default false."),
    ("service", "originate", "originate", "Speak TLS to it, outside the mesh, for applications that do not."),
    ("originate", "roots", "text or roots", "Who may have signed its certificate: `system` (the default) or `{ file: a PEM file of the proxy }`."),
    ("originate", "sni", "text", "The name its certificate must have. Default: the authority of the request."),
    ("roots", "file", "text", "A PEM file on the proxy's machine."),
    ("balance", "by", "text", "As `balance` without a map."),
    ("balance", "slow_start", "time", "For how long a new endpoint gets less than its share. Default: not at all."),
    ("balance", "panic", "share", "Where fewer endpoints are well, all are used. Default 50%."),
    ("circuit", "connections", "int", "Connections. Default 1024."),
    ("circuit", "pending", "int", "Requests that wait for a connection. Default 1024."),
    ("circuit", "requests", "int", "Requests in flight. Default 1024."),
    ("outlier", "consecutive_errors", "int", "Failures one after the other. Default 5."),
    ("outlier", "eject", "time", "For how long, times how often lately. Default 30s."),
    ("outlier", "max_ejected", "share", "Of the endpoints, at once. Default 50%."),
    ("health", "http", "text", "The path to GET; or `tcp`."),
    ("health", "tcp", "bool", "`true`: a connection is enough."),
    ("health", "every", "time", "Default 5s."),
    ("health", "timeout", "time", "Default 1s."),
    ("health", "unhealthy", "int", "Failures one after the other that make an endpoint unwell. Default 3."),
    ("health", "healthy", "int", "Successes that make it well again. Default 2."),
    ("probes", "paths", "[text]", "Whole plain paths, such as /healthz: GET and HEAD of them pass without a check."),
    ("probes", "from", "[text]", "Networks they come from, such as 10.0.0.0/8: the connection's own address."),
    ("paths", "encoded_slash", "keep|refuse", "Whether `%2f` stays as it is or is refused. Default refuse."),
    // Routes.
    ("route", "for", "cel", "Which services: `destination.service` or `destination.namespace`; or `always`."),
    ("route", "rules", "[route_rule]", "The first that matches decides."),
    ("route", "tests", "[route_test]", "What `mixer test` checks."),
    ("route_rule", "name", "name", "Its name in tests and logs."),
    ("route_rule", "when", "condition", "Which requests; a list means that all must hold. Default `always`."),
    ("route_rule", "to", "{int}", "Subsets and their weights, which add to 100. Default: the service's own endpoints."),
    ("route_rule", "sticky", "cel", "Requests with the same value go to the same subset."),
    ("route_rule", "timeout", "time", "How long the response's head may take, all tries together."),
    ("route_rule", "retry", "retry", "Tries again what failed."),
    ("route_rule", "fault", "fault or [fault]", "Makes requests fail or wait."),
    ("route_rule", "mirror", "mirror", "Sends copies of requests, whose answers nobody waits for."),
    ("route_rule", "headers", "headers", "Changes headers."),
    ("route_rule", "rewrite", "rewrite", "Changes the path or the host."),
    ("route_rule", "redirect", "redirect", "Sends the caller elsewhere."),
    ("retry", "when", "[text]", "connect-failure, reset, refused-stream, retriable-4xx, gateway-error, 5xx, a status such as \"503\", or of gRPC: cancelled, deadline-exceeded, internal, resource-exhausted, unavailable."),
    ("retry", "extra", "int", "Tries beyond the first, 1 to 10. Default 1."),
    ("retry", "methods", "[text]", "Of HTTP requests. Default: GET, HEAD, OPTIONS, TRACE, PUT, DELETE."),
    ("retry", "per_try", "time", "How long the response's head may take in each try."),
    ("retry", "budget", "share or budget", "Tries beyond the first, as a share of the requests. Default 20%."),
    ("budget", "share", "share", "As `budget` without a map. Default 20%."),
    ("budget", "floor", "int", "Tries beyond the first that are admitted in any case, per second. Default 3."),
    ("fault", "delay", "time", "The request waits first."),
    ("fault", "abort", "int", "It is answered with this status, 400 to 599."),
    ("fault", "percent", "share", "Of how many requests. Default 100%."),
    ("fault", "when", "condition", "Which requests. Default `always`."),
    ("mirror", "to", "name", "The subset that gets the copies."),
    ("mirror", "percent", "share", "Of how many requests. Default 100%."),
    ("headers", "set", "{text}", "Headers put in the place of what is there."),
    ("headers", "add", "{text}", "Headers put beside what is there."),
    ("headers", "remove", "[text]", "Headers taken off."),
    ("headers", "response", "response_headers", "The same for the response."),
    ("response_headers", "set", "{text}", "Headers put in the place of what is there."),
    ("response_headers", "add", "{text}", "Headers put beside what is there."),
    ("response_headers", "remove", "[text]", "Headers taken off."),
    ("rewrite", "from", "text", "The beginning of the path that is replaced. Default /."),
    ("rewrite", "prefix", "text", "What stands in its place."),
    ("rewrite", "host", "text", "The host the server sees."),
    ("redirect", "location", "text", "The URL, with CEL in braces."),
    ("redirect", "status", "int", "301, 302, 303, 307 or 308. Default 302."),
    ("route_test", "to", "name or {int}", "Where the request goes: a subset, weights, or `service`."),
    ("route_test", "by", "name", "The rule that says so."),
    ("route_test", "name", "name", "For `like`."),
    ("route_test", "like", "name", "A test whose `given` is below this one's."),
    ("route_test", "given", "map", "The request: attributes, nested or dotted; null unsets."),
    // Tokens.
    ("jwt", "for", "cel", "Which destinations: `destination.service`, `.namespace` or `.labels[\"x\"]`; or `always`."),
    ("jwt", "issuer", "text", "What the `iss` of its tokens is."),
    ("jwt", "audiences", "[text]", "The `aud` of a token must have one of them."),
    ("jwt", "jwks", "jwks", "The keys that tokens are verified with."),
    ("jwt", "from", "[token_place]", "Where requests carry tokens. Default: `Authorization: Bearer`."),
    ("jwt", "missing", "pass|deny", "A request without a token: passes on to policy (the default), or gets 401."),
    ("jwt", "invalid", "deny", "A token that cannot be verified gets 401; there is no other value."),
    ("jwt", "token", "forward|strip", "Whether the application gets the token. Default forward."),
    ("jwks", "url", "text", "An http or https address that Mixer fetches; or `file`."),
    ("jwks", "file", "text", "A file, relative to the document's."),
    ("jwks", "refresh", "time", "How often they are fetched. Default 10m."),
    ("jwks", "keep", "time", "How long they are used after the last fetch that succeeded. Default 24h."),
    ("token_place", "header", "text", "A header, in lower case; or `cookie` or `query`."),
    ("token_place", "prefix", "text", "What stands before the token; default `Bearer ` in `authorization`, else nothing."),
    ("token_place", "cookie", "text", "A cookie."),
    ("token_place", "query", "text", "A parameter of the query."),
    // Telemetry.
    ("telemetry", "for", "cel", "Which destinations, as in a policy."),
    ("telemetry", "standard", "keep|drop", "The standard metrics. Default keep."),
    ("telemetry", "metrics", "[metric]", "Metrics of its own."),
    ("telemetry", "logs", "logs or [logs]", "Log lines of its own."),
    ("telemetry", "traces", "traces", "Spans."),
    ("metric", "metric", "name", "Its name: letters, digits, underscores."),
    ("metric", "kind", "counter|gauge|histogram", "What it is."),
    ("metric", "at", "destination|source", "Which side reports it. Default destination."),
    ("metric", "when", "condition", "Which requests. Default `always`."),
    ("metric", "value", "cel", "What is added or observed; default 1."),
    ("metric", "buckets", "[number]", "Upper bounds of a histogram, rising."),
    ("metric", "labels", "{cel}", "Labels and their values."),
    ("metric", "to", "name", "The adapter it goes to. Default prometheus."),
    ("logs", "to", "name", "The adapter they go to."),
    ("logs", "when", "condition", "Which requests. Default `always`."),
    ("logs", "fields", "{cel}", "Fields beyond the standard ones."),
    ("logs", "at", "destination|source", "Which side. Default destination."),
    ("traces", "to", "name", "The adapter they go to."),
    ("traces", "sample", "share", "Share of new traces. Default 1%."),
    // Attributes.
    ("attribute", "name", "name", "Words joined by dots, in a family of its own."),
    ("attribute", "type", "string|int|double|bool|bytes|timestamp|duration|ip|list<string>|list(string)|map<string,string>|map(string, string)", "The type of its values."),
    ("attribute", "from", "cel", "What it is computed from."),
    ("attribute", "value", "any", "A constant, written as YAML."),
    ("attribute", "meaning", "text", "For those who read policies."),
    // Workloads.
    ("workload", "id", "text", "Its SPIFFE id, within the trust domain of the mesh."),
    ("workload", "attest", "attest", "How it is recognised: all that is said must hold."),
    ("attest", "uid", "int", "The user it runs as."),
    ("attest", "gid", "int", "The group it runs as; supplementary groups do not count."),
    ("attest", "path", "text", "The file it executes."),
    // Kubernetes.
    ("kubernetes", "apiVersion", "mixer.dev/v1", "The version of documents."),
    ("kubernetes", "kind", "name", "The kind of document, such as Policy."),
    ("kubernetes", "metadata", "metadata", "Its name, and what Kubernetes wants to know."),
    ("kubernetes", "spec", "any", "The document's body."),
    ("metadata", "name", "name", "The document's name."),
    ("metadata", "namespace", "name", "Of Kubernetes."),
    ("metadata", "labels", "map", "Of Kubernetes."),
    ("metadata", "annotations", "map", "Of Kubernetes."),
];

/// What is no map of keys, by name. YAML reads some texts as numbers or bools, so these are taken for texts.
pub(super) fn plain() -> Vec<(&'static str, Value)> {
    let text = json!({ "type": ["string", "number", "boolean"] });
    let pattern = |pattern: &str| json!({ "type": ["string", "number"], "pattern": pattern });
    vec![
        ("text", text.clone()),
        (
            "name",
            json!({ "type": ["string", "number", "boolean"], "maxLength": 200 }),
        ),
        (
            "sentence",
            json!({ "type": ["string", "number", "boolean"], "maxLength": 200 }),
        ),
        ("cel", text.clone()),
        (
            "condition",
            json!({ "anyOf": [text, { "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/cel" } }] }),
        ),
        ("any", json!(true)),
        ("map", json!({ "type": "object" })),
        ("bool", json!({ "type": "boolean" })),
        (
            "int",
            json!({ "type": ["integer", "string"], "minimum": 0, "pattern": "^[0-9]+$" }),
        ),
        ("number", json!({ "type": ["number", "string"] })),
        ("date", json!({ "type": "string", "pattern": "^[0-9]{4}-" })),
        ("time", pattern("^[0-9]+(ms|s|m|h|d)$")),
        ("share", pattern("^[0-9.]+%$")),
        ("limit", pattern("^[0-9]+( +per +[0-9a-z]+)?$")),
        ("window", pattern("^calendar( +[A-Za-z0-9_/+-]+)?$")),
        (
            "answer",
            json!({ "enum": ["match", "no match", "unavailable"] }),
        ),
    ]
}

/// What a key of a definition holds; `None` where the table has nothing.
pub(super) fn property(definition: &str, key: &str) -> Option<Value> {
    let find = |definition: &str| {
        KEYS.iter()
            .find(|(of, known, ..)| *of == definition && *known == key)
    };
    let reply = ["rule", "otherwise", "quota"].contains(&definition);
    let found = find(definition).or_else(|| find("reply").filter(|_| reply));
    let (_, _, holds, meaning) = found?;
    let mut forms: Vec<Value> = holds.split(" or ").map(form).collect();
    let mut value = match forms.len() {
        1 => forms.remove(0),
        _ => json!({ "anyOf": forms }),
    };
    value["description"] = (*meaning).into();
    Some(value)
}

fn form(holds: &str) -> Value {
    let reference = |name: &str| json!({ "$ref": format!("#/$defs/{name}") });
    let between = |open: char, close: char| holds.strip_prefix(open)?.strip_suffix(close);
    if let Some(item) = between('[', ']') {
        return json!({ "type": "array", "items": reference(item) });
    }
    if let Some(value) = between('{', '}') {
        return json!({ "type": "object", "additionalProperties": reference(value) });
    }
    let known = plain().iter().any(|(name, ..)| *name == holds)
        || crate::load::SHAPES.iter().any(|(name, _)| *name == holds);
    match holds {
        _ if known => reference(holds),
        _ => json!({ "enum": holds.split('|').collect::<Vec<_>>() }),
    }
}

/// Which keys a definition must have, as members of its schema.
pub(super) fn demands(definition: &str) -> Vec<(&'static str, Value)> {
    let all = |keys: &[&str]| vec![("required", json!(keys))];
    let one = |keys: &[&str]| {
        let each: Vec<Value> = keys
            .iter()
            .map(|key| json!({ "required": [key] }))
            .collect();
        vec![("oneOf", each.into())]
    };
    match definition {
        "policy" | "telemetry" => all(&["for"]),
        "route" => all(&["for", "rules"]),
        "retry" => all(&["when"]),
        "mirror" => all(&["to"]),
        "redirect" => all(&["location"]),
        "rule" => one(&["deny", "require", "allow"]),
        "otherwise" => all(&["deny"]),
        "quota" => all(&["quota", "key", "limit"]),
        "limits" => all(&["by", "table", "otherwise"]),
        "quota_on_error" => all(&["local"]),
        "test" => one(&["allow", "deny", "limit"]),
        "adapter" => all(&["type"]),
        "jwt" => all(&["for", "issuer", "audiences", "jwks"]),
        "jwks" => one(&["url", "file"]),
        "token_place" => one(&["header", "cookie", "query"]),
        "subset" => all(&["endpoints"]),
        "client_ip" => all(&["header", "trusted"]),
        "metric" => all(&["metric", "kind"]),
        "logs" | "traces" => all(&["to"]),
        "attribute" => all(&["name", "type"]),
        "workload" => all(&["id", "attest"]),
        "attest" => vec![("minProperties", json!(1))],
        "metadata" => all(&["name"]),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::SHAPES;

    #[test]
    fn every_key_the_loader_reads_is_described_and_no_other_is() {
        for (name, shape) in SHAPES {
            for key in shape.keys {
                let value = property(name, key);
                let described = value
                    .as_ref()
                    .and_then(|value| value["description"].as_str());
                assert!(
                    described.is_some_and(|text| !text.is_empty()),
                    "{name}.{key}"
                );
            }
        }
        for (name, key, ..) in KEYS {
            let shapes: &[&str] = match *name {
                "document" => continue,
                "reply" => &["rule", "otherwise", "quota"],
                name => &[name],
            };
            for wanted in shapes {
                let shape = SHAPES.iter().find(|(name, _)| name == wanted);
                let read = shape.is_some_and(|(_, shape)| shape.keys.contains(key));
                assert!(read, "nothing reads {wanted}.{key}");
            }
        }
    }
}
