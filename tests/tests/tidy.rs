//! The workspace is what its design says: who depends on whom, where things are, and what sources say. The checks, and the
//! proof that they can fail, are in `mixer_tests::tidy`.

use mixer_tests::tidy::{Tree, arrows, layout, text};

/// Fails with every problem, one a line.
#[track_caller]
fn none(problems: Vec<String>) {
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

#[test]
fn crates_depend_only_where_an_arrow_allows() {
    let tree = Tree::workspace();
    let edges = arrows::edges(&tree.metadata().unwrap());
    assert!(
        edges.len() > 20,
        "cargo metadata tells of too few edges: {edges:?}"
    );
    none(arrows::refused(&edges));
}

#[test]
fn only_the_verbs_that_start_a_proxy_name_it() {
    none(arrows::proxy_named(&Tree::workspace().sources().unwrap()));
}

#[test]
fn the_top_level_holds_exactly_its_names() {
    none(layout::top_level(&Tree::workspace().top_level().unwrap()));
}

#[test]
fn every_crate_is_named_after_its_folder_and_has_a_readme() {
    let tree = Tree::workspace();
    let sources = tree.sources().unwrap();
    let paths: Vec<&str> = sources.iter().map(|source| source.path.as_str()).collect();
    none(layout::crates(&tree.metadata().unwrap(), &paths));
}

#[test]
fn one_version_of_each_pillar_and_none_of_what_is_banned() {
    let packages = Tree::workspace().packages().unwrap();
    assert!(
        packages
            .iter()
            .any(|package| package.starts_with("tonic v")),
        "cargo tree tells of no tonic"
    );
    none(layout::packages(&packages));
}

#[test]
fn every_source_reads_as_agreed() {
    let sources = Tree::workspace().sources().unwrap();
    assert!(sources.len() > 50, "too few sources found");
    none(sources.iter().flat_map(text::problems).collect());
}
