//! Where things are: the top level, a README for every crate, folder names that are crate names, and what is not built in.

use serde_json::Value;

const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "adapters",
    "mixer",
    "policies",
    "proto",
    "proxy-client",
    "tests",
];

/// Crates whose folder says more than their name.
const NAMED_OTHERWISE: &[(&str, &str)] = &[("mixer-client", "proxy-client")];

/// Built once at most, lest two halves of the program speak different types.
const ONCE: &[&str] = &["tonic", "prost", "rustls", "hyper", "h2", "tokio"];

/// Never built: one cryptography, and no C library of the system.
const NEVER: &[&str] = &["ring", "openssl", "openssl-sys", "native-tls"];

/// The top level holds exactly these names.
pub fn top_level(names: &[String]) -> Vec<String> {
    let extra = names
        .iter()
        .filter(|name| !TOP_LEVEL.contains(&name.as_str()));
    let absent = TOP_LEVEL
        .iter()
        .filter(|name| !names.iter().any(|other| other == *name));
    extra
        .map(|name| format!("{name}: not a name of the top level"))
        .chain(absent.map(|name| format!("{name}: missing at the top level")))
        .collect()
}

/// Every crate is named after its folder, and its folder has a README.
pub fn crates(metadata: &Value, paths: &[&str]) -> Vec<String> {
    let root = metadata["workspace_root"].as_str().unwrap_or_default();
    let mut problems = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        let folder = manifest
            .strip_prefix(root)
            .unwrap_or(manifest)
            .trim_matches('/')
            .trim_end_matches("/Cargo.toml");
        let last = folder.rsplit('/').next().unwrap_or_default();
        let exception = NAMED_OTHERWISE.contains(&(name, folder));
        if name != last && name.strip_prefix("mixer-") != Some(last) && !exception {
            problems.push(format!(
                "{folder}: holds the crate {name}, whose name should be mixer-{last}"
            ));
        }
        let readme = format!("{folder}/README.md");
        if !paths.contains(&readme.as_str()) {
            problems.push(format!("{readme}: missing"));
        }
    }
    problems
}

/// What is built once, and what never. `packages` are lines `name vVERSION`, each once.
pub fn packages(packages: &[String]) -> Vec<String> {
    let versions = |name: &str| {
        packages
            .iter()
            .filter(|line| line.split(' ').next() == Some(name))
            .count()
    };
    let many = ONCE
        .iter()
        .filter(|name| versions(name) > 1)
        .map(|name| format!("{name}: built in several versions"));
    let never = NEVER
        .iter()
        .filter(|name| versions(name) > 0)
        .map(|name| format!("{name}: must not be built in"));
    many.chain(never).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_level_is_exactly_its_names() {
        let mut names: Vec<String> = TOP_LEVEL.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(top_level(&names), Vec::<String>::new());
        names[0] = "docs".to_owned();
        assert_eq!(
            top_level(&names),
            [
                "docs: not a name of the top level",
                "Cargo.lock: missing at the top level"
            ]
        );
    }

    #[test]
    fn a_crate_is_named_after_its_folder_which_has_a_readme() {
        let metadata = |name: &str, folder: &str| {
            let manifest = format!("/w/{folder}/Cargo.toml");
            serde_json::json!({ "workspace_root": "/w", "packages": [{ "name": name, "manifest_path": manifest }] })
        };
        let none = Vec::<String>::new();
        assert_eq!(
            crates(
                &metadata("mixer-list", "adapters/list"),
                &["adapters/list/README.md"]
            ),
            none
        );
        assert_eq!(
            crates(
                &metadata("mixer-client", "proxy-client"),
                &["proxy-client/README.md"]
            ),
            none
        );
        assert_eq!(
            crates(&metadata("mixer", "mixer"), &["mixer/README.md"]),
            none
        );
        assert_eq!(
            crates(
                &metadata("mixer-lists", "adapters/list"),
                &["adapters/list/README.md"]
            )
            .len(),
            1
        );
        assert_eq!(
            crates(&metadata("mixer-list", "adapters/list"), &["README.md"]),
            ["adapters/list/README.md: missing"]
        );
    }

    #[test]
    fn doubles_and_banned_packages_are_seen() {
        let lines = |lines: &[&str]| {
            lines
                .iter()
                .map(|line| (*line).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            packages(&lines(&[
                "hyper v1.12.0",
                "hyper-util v0.1.0",
                "spring v1.0.0"
            ])),
            Vec::<String>::new()
        );
        assert_eq!(
            packages(&lines(&["hyper v0.14.0", "hyper v1.12.0"])).len(),
            1
        );
        assert_eq!(packages(&lines(&["ring v0.17.14"])).len(), 1);
    }
}
