//! Which crate may depend on which. `("documents", &["cel", ..])` says: documents may depend on cel and on whatever cel may.
//!
//! Crates are named without their prefix. What no line allows is refused; a crate that no line names must get one.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Source;

const ARROWS: &[(&str, &[&str])] = &[
    ("runtime", &[]),
    ("attributes", &[]),
    ("proto", &[]),
    ("cel", &["attributes"]),
    ("documents", &["cel", "runtime"]),
    ("adapter", &["attributes", "runtime"]),
    ("adapters/*", &["adapter", "runtime"]),
    (
        "adapters/remote",
        &["adapter", "runtime", "proto", "identity"],
    ),
    ("adapters", &["adapters/*", "adapters/remote"]),
    ("identity", &["runtime", "proto"]),
    ("ca", &["runtime", "proto", "identity"]),
    ("client", &["attributes", "runtime", "proto", "identity"]),
    (
        "proxy",
        &["client", "documents", "runtime", "proto", "identity"],
    ),
    (
        "mixer",
        &[
            "documents",
            "ca",
            "runtime",
            "adapters",
            "proto",
            "identity",
            "proxy",
        ],
    ),
];

/// Depends on anything, and nothing on it.
const TESTS: &str = "tests";

/// The only sources of `mixer` that may name the proxy: the verbs that start one.
const NAMES_THE_PROXY: &[&str] = &[
    "mixer/src/cli/demo.rs",
    "mixer/src/cli/demo/",
    "mixer/src/cli/proxy.rs",
    "mixer/src/cli/proxy/",
];

/// One crate of the workspace needs another to build.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// Who depends.
    pub from: String,
    /// On whom.
    pub on: String,
}

/// The edges between members that `cargo metadata` tells of: normal and build dependencies. A crate's own tests may use what they
/// like, but for the tests crate: what needs that is in it.
pub fn edges(metadata: &Value) -> Vec<Edge> {
    let empty = Vec::new();
    let root = metadata["workspace_root"].as_str().unwrap_or_default();
    let packages = metadata["packages"].as_array().unwrap_or(&empty);
    let mut edges = Vec::new();
    for package in packages {
        for dependency in package["dependencies"].as_array().unwrap_or(&empty) {
            let counts = dependency["kind"] != "dev" || dependency["name"] == "mixer-tests";
            if dependency["path"].is_string() && counts {
                let on = packages
                    .iter()
                    .find(|other| other["name"] == dependency["name"]);
                edges.push(Edge {
                    from: short(package, root),
                    on: on.map_or_else(|| dependency["name"].to_string(), |on| short(on, root)),
                });
            }
        }
    }
    edges.sort();
    edges
}

/// `mixer-list` in `adapters/list` is `adapters/list`; others are their name without the prefix.
fn short(package: &Value, root: &str) -> String {
    let name = package["name"].as_str().unwrap_or_default();
    let folder = package["manifest_path"].as_str().unwrap_or_default();
    let folder = folder
        .strip_prefix(root)
        .unwrap_or(folder)
        .trim_start_matches('/')
        .trim_end_matches("/Cargo.toml");
    if folder.starts_with("adapters/") {
        folder.to_owned()
    } else {
        name.strip_prefix("mixer-").unwrap_or(name).to_owned()
    }
}

/// The edges that no arrow allows.
pub fn refused(edges: &[Edge]) -> Vec<String> {
    let mut problems = Vec::new();
    for edge in edges {
        if edge.on == TESTS {
            problems.push(format!("{} depends on tests: nothing may", edge.from));
        } else if edge.from != TESTS {
            match allowed(&edge.from) {
                None => problems.push(format!("no arrow tells what {} may depend on", edge.from)),
                Some(allowed) if !allowed.contains(arrow(&edge.on)) => {
                    problems.push(format!(
                        "{} depends on {}: no arrow allows it",
                        edge.from, edge.on
                    ));
                }
                Some(_) => {}
            }
        }
    }
    problems.dedup();
    problems
}

/// The name in [`ARROWS`] that speaks for a crate.
fn arrow(name: &str) -> &str {
    let own = ARROWS.iter().any(|(from, _)| *from == name);
    if name.starts_with("adapters/") && !own {
        "adapters/*"
    } else {
        name
    }
}

fn allowed(name: &str) -> Option<BTreeSet<&'static str>> {
    let direct = |name: &str| {
        ARROWS
            .iter()
            .find(|(from, _)| *from == name)
            .map(|(_, on)| *on)
    };
    let mut open = direct(arrow(name))?.to_vec();
    let mut all = BTreeSet::new();
    while let Some(next) = open.pop() {
        if all.insert(next) {
            open.extend(direct(next).unwrap_or_default());
        }
    }
    Some(all)
}

/// Lines of `mixer` that name the proxy where they may not.
pub fn proxy_named(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for source in sources {
        let excepted = NAMES_THE_PROXY
            .iter()
            .any(|allowed| source.path.starts_with(allowed));
        if source.path.starts_with("mixer/src/") && !excepted {
            for (number, line) in source.text.lines().enumerate() {
                if super::text::code(line).contains("mixer_proxy") {
                    problems.push(format!(
                        "{}:{}: only the verbs demo and proxy may name mixer_proxy",
                        source.path,
                        number + 1
                    ));
                }
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: &str, on: &str) -> Edge {
        Edge {
            from: from.to_owned(),
            on: on.to_owned(),
        }
    }

    #[test]
    fn an_arrow_allows_what_lies_behind_it() {
        for (from, on) in [
            ("mixer", "cel"),
            ("mixer", "adapters/list"),
            ("proxy", "attributes"),
            ("adapters", "adapters/remote"),
            ("adapters/list", "attributes"),
            ("tests", "mixer"),
        ] {
            assert_eq!(
                refused(&[edge(from, on)]),
                Vec::<String>::new(),
                "{from} -> {on}"
            );
        }
    }

    #[test]
    fn what_no_arrow_allows_is_refused() {
        for (from, on) in [
            ("adapters/list", "cel"),
            ("adapters/zipkin", "documents"),
            ("adapters/list", "proto"),
            ("adapters/list", "adapters/log"),
            ("client", "mixer"),
            ("client", "adapters"),
            ("client", "cel"),
            ("documents", "proto"),
            ("proxy", "mixer"),
            ("attributes", "runtime"),
            ("mixer", "tests"),
            ("newcomer", "runtime"),
        ] {
            assert_eq!(refused(&[edge(from, on)]).len(), 1, "{from} -> {on}");
        }
    }

    #[test]
    fn metadata_yields_normal_and_build_edges_between_members() {
        let member = |name: &str, folder: &str, dependencies: Value| serde_json::json!({ "name": name, "manifest_path": format!("/w/{folder}/Cargo.toml"), "dependencies": dependencies });
        let on = |name: &str, kind: Option<&str>| serde_json::json!({ "name": name, "path": "/w/x", "kind": kind });
        let metadata = serde_json::json!({ "workspace_root": "/w", "packages": [
            member("mixer-list", "adapters/list", serde_json::json!([on("mixer-proto", Some("build")), on("mixer-cel", Some("dev"))])),
            member("mixer-client", "proxy-client", serde_json::json!([on("mixer-list", None), { "name": "tokio", "kind": null }])),
            member("mixer-proto", "proto", serde_json::json!([])),
        ]});
        assert_eq!(
            edges(&metadata),
            [
                edge("adapters/list", "proto"),
                edge("client", "adapters/list")
            ]
        );
    }

    #[test]
    fn the_proxy_is_named_in_its_two_verbs_only() {
        let source = |path: &str, text: &str| Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let name = "use mixer_proxy::Proxy;";
        assert_eq!(
            proxy_named(&[
                source("mixer/src/cli/demo.rs", name),
                source("mixer/src/cli/demo/mesh.rs", name)
            ])
            .len(),
            0
        );
        assert_eq!(
            proxy_named(&[source("mixer/src/cli.rs", "// not mixer_proxy")]).len(),
            0
        );
        assert_eq!(
            proxy_named(&[source("mixer/src/cli/serve.rs", name)]).len(),
            1
        );
        assert_eq!(
            proxy_named(&[source(
                "mixer/src/server.rs",
                "fn f() { mixer_proxy::run() }"
            )])
            .len(),
            1
        );
    }
}
