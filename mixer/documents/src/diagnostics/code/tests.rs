//! Every code is explained, and what its page shows is so.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::*;
use crate::{Sources, lint, load};

/// What a page has under "Wrong:" or "Right:".
fn example(code: Code, which: &str) -> Option<&'static str> {
    let (_, text) = code
        .explanation()
        .split_once(&format!("{which}:\n\n```yaml\n"))?;
    text.split_once("```").map(|(text, _)| text)
}

fn codes_in(text: &str) -> Vec<Code> {
    let found = match load(Sources::from_texts([("f.yaml", text)])) {
        Ok(mut set) => {
            // A day long after those of the pages.
            set.warn_overdue(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 32));
            lint(&set)
        }
        Err(problems) => problems,
    };
    found.list.iter().map(|problem| problem.code).collect()
}

#[test]
fn codes_are_unique_in_order_and_have_a_page_each() {
    let ids: Vec<&str> = Code::ALL.iter().map(|code| code.id()).collect();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(ids, sorted);
    let headings: Vec<&str> = PAGES
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .filter_map(|heading| heading.split(' ').next())
        .collect();
    assert_eq!(ids, headings);
    for code in Code::ALL {
        assert!(!code.title().is_empty(), "{code}");
        let shown = example(*code, "Wrong").is_some() && example(*code, "Right").is_some();
        assert!(
            shown || !code.explanation().is_empty(),
            "{code}: neither a text nor documents"
        );
        assert_eq!(Code::find(&code.id().to_lowercase()), Some(*code));
    }
    assert_eq!(Code::find("MX9999"), None);
}

/// Those of adapters are shown by documents too, which are built where adapters are known; so are files read.
const BUILT_ELSEWHERE: [Code; 6] = [
    Code::UnknownAdapterType,
    Code::AdapterConfig,
    Code::AdapterCannot,
    Code::AdapterInput,
    Code::MetricRefused,
    Code::KeysFile,
];

#[test]
fn the_documents_of_a_page_have_the_problem_and_have_it_no_more() {
    let mut wrong = Vec::new();
    for code in Code::ALL {
        if let Some(text) = example(*code, "Wrong")
            && !BUILT_ELSEWHERE.contains(code)
        {
            let found = codes_in(text);
            if !found.contains(code) {
                wrong.push(format!("{code}: {found:?} in\n{text}"));
            }
        }
        if let Some(text) = example(*code, "Right") {
            let found = codes_in(text);
            if !found.is_empty() {
                wrong.push(format!("{code}: {found:?} in the right\n{text}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_no_document_shows_is_told_too() {
    let mut shown: BTreeSet<Code> = BUILT_ELSEWHERE.into();
    let mut tell = |problems: crate::Diagnostics| {
        shown.extend(problems.list.iter().map(|problem| problem.code));
    };
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_owned();
    tell(Sources::read(&[path.join("none")]).expect_err("it is not there"));
    tell(Sources::read(std::slice::from_ref(&path)).expect_err("it is empty"));
    std::fs::write(path.join("a.yaml"), "#".repeat((1 << 20) + 1)).expect("a file");
    tell(Sources::read(&[path]).expect_err("it is too large"));
    let many: Vec<String> = (0..257)
        .map(|at| format!("{{ name: a.b{at}, type: int }}"))
        .collect();
    let many = format!("attributes: [{}]", many.join(", "));
    tell(load(Sources::from_texts([("f", many)])).expect_err("they are too many"));
    let two = "source: {}\n---\nsource: {}";
    tell(crate::request("f", two, &Default::default()).expect_err("they are two"));
    for code in Code::ALL {
        // There is no document that makes Mixer panic, it is hoped.
        let told = example(*code, "Wrong").is_some() || *code == Code::Internal;
        assert!(told || shown.contains(code), "nothing shows {code}");
    }
}
