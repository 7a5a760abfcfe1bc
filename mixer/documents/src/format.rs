//! One way to lay documents out, as far as that can be had without rewriting them.
//!
//! Whole lines are moved and white space is dropped, nothing else is touched: the keys of a document come in the order of the
//! reference, each with the comments above it; no white space ends a line, no two blank lines follow each other, a file ends
//! with one line break. Indentation, quotes, flow style and the inside of texts stay as their author wrote them: a tool that
//! prints YAML anew loses comments sooner or later. What comes out is loaded again, and if it does not mean the same it is not
//! used.

use std::path::Path;

use granit_parser::{Event, Parser};

use crate::diagnostics::Problems;
use crate::yaml::{self, Node, Value};
use crate::{Diagnostics, FileId, PolicySet, Sources, load};

/// The order of keys, by the key that says what a document is.
const ORDER: [&[&str]; 8] = [
    &[
        "policy",
        "for",
        "at",
        "guard",
        "mode",
        "until",
        "fail",
        "rules",
        "otherwise",
        "quotas",
        "tests",
    ],
    &["adapter", "type", "config"],
    &[
        "service",
        "namespace",
        "hosts",
        "protocol",
        "endpoints",
        "subsets",
        "paths",
        "identity",
        "tls",
        "balance",
        "circuit",
        "outlier",
        "health",
        "probes",
        "external",
        "originate",
    ],
    &["route", "for", "rules", "tests"],
    &[
        "jwt",
        "for",
        "issuer",
        "audiences",
        "jwks",
        "from",
        "missing",
        "invalid",
        "token",
    ],
    &["telemetry", "for", "standard", "metrics", "logs", "traces"],
    &["workload", "id", "attest"],
    &["apiVersion", "kind", "metadata", "spec"],
];

/// A file that is laid out otherwise now.
#[derive(Debug)]
pub struct Formatted {
    sources: Sources,
    changed: Vec<usize>,
    /// Files that are left alone since their new form would not have meant the same. A defect of ours.
    pub kept: Vec<String>,
}

impl Formatted {
    /// The files that changed, with their texts.
    pub fn changed(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.changed.iter().map(|at| {
            let (path, _, text) = &self.sources.files[*at];
            (path.as_path(), text.as_str())
        })
    }

    /// Writes the files that changed, each whole or not at all.
    pub fn write(&self) -> Result<(), (std::path::PathBuf, std::io::Error)> {
        for (path, text) in self.changed() {
            crate::fix::replace(path, text).map_err(|error| (path.to_owned(), error))?;
        }
        Ok(())
    }
}

/// Lays out every file of a set that loads.
pub fn format(sources: Sources) -> Result<Formatted, Diagnostics> {
    let before = load(sources.clone())?;
    let mut now = sources.clone();
    for (at, (_, _, text)) in now.files.iter_mut().enumerate() {
        *text = laid_out(FileId(at as u32), text);
    }
    let differs = |at: &usize| now.files[*at].2 != sources.files[*at].2;
    let mut changed: Vec<usize> = (0..now.files.len()).filter(differs).collect();
    let mut kept = Vec::new();
    if !is_same(&before, &now) {
        // Which file it was is found out one by one.
        changed.retain(|at| {
            let mut one = sources.clone();
            one.files[*at] = now.files[*at].clone();
            let same = is_same(&before, &one);
            if !same {
                kept.push(sources.files[*at].0.display().to_string());
            }
            same
        });
    }
    Ok(Formatted {
        sources: now,
        changed,
        kept,
    })
}

/// Whether the documents mean what they did: the same revision, services, routes, issuers, adapters, tests and workloads, and every comment is there.
fn is_same(before: &PolicySet, now: &Sources) -> bool {
    let Ok(after) = load(now.clone()) else {
        return false;
    };
    let meaning = |set: &PolicySet| {
        let services: Vec<String> = set.services.iter().map(|one| one.canonical()).collect();
        let issuers: Vec<String> = set
            .jwts
            .iter()
            .map(|one| format!("{} {:?}", one.canonical(), one.keys))
            .collect();
        let adapters = set.adapters.iter();
        let adapters: Vec<String> = adapters
            .map(|one| format!("{} {} {}", one.name, one.kind, one.config))
            .collect();
        let tests = set.policies.iter().flat_map(|policy| &policy.tests);
        let tests: Vec<String> = tests
            .map(|test| {
                let (kind, expect, name) = (test.kind, &test.expect, &test.name);
                let (given, answers, times) = (&test.given, &test.answers, test.times);
                format!("{kind:?} {expect:?} {name:?} {given:?} {answers:?} {times}")
            })
            .collect();
        let routes = set.routes.iter();
        let routes: Vec<String> = routes
            .map(|route| {
                let tests = route.tests.iter();
                let tests: Vec<String> = tests
                    .map(|test| {
                        format!(
                            "{:?} {:?} {:?} {:?}",
                            test.to, test.by, test.name, test.given
                        )
                    })
                    .collect();
                format!("{} {tests:?}", route.canonical())
            })
            .collect();
        let workloads = set.workloads.iter();
        let workloads: Vec<String> = workloads
            .map(|one| format!("{} {} {:?}", one.name, one.id, one.attest))
            .collect();
        (
            set.revision(),
            services,
            routes,
            issuers,
            adapters,
            tests,
            workloads,
        )
    };
    let all = |sources: &Sources| -> Vec<Vec<String>> {
        let texts = sources.files.iter().map(|(_, _, text)| comments(text));
        texts
            .map(|mut comments| {
                comments.sort();
                comments
            })
            .collect()
    };
    meaning(before) == meaning(&after) && all(&before.warnings.sources) == all(now)
}

/// The comments of a text, without white space around them.
fn comments(text: &str) -> Vec<String> {
    let options = granit_parser::options! { emit_comments: true };
    Parser::new_from_str_with_options(text, options)
        .filter_map(|event| match event {
            Ok((Event::Comment(text, ..), _)) => Some(text.trim().to_owned()),
            _ => None,
        })
        .collect()
}

/// One file.
fn laid_out(file: FileId, text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let mut problems = Problems::default();
    let trees = yaml::documents(file, &text, &mut problems);
    let ordered = trees.iter().rev().fold(text.clone(), |text, tree| {
        let moved = in_order(&text, tree);
        moved.unwrap_or(text)
    });
    let trees = yaml::documents(file, &ordered, &mut problems);
    let mut inside = Vec::new();
    trees
        .iter()
        .for_each(|tree| long_texts(tree, &ordered, &mut inside));
    tidy(&ordered, &inside)
}

/// The text with the keys of one document in order; `None` when they are, or when lines are not all of a key.
fn in_order(text: &str, tree: &Node) -> Option<String> {
    let Value::Map(entries) = &tree.value else {
        return None;
    };
    let order = ORDER
        .iter()
        .find(|order| entries.iter().any(|entry| entry.key == order[0]))?;
    let rank = |key: &str| order.iter().position(|known| *known == key);
    let starts: Vec<usize> = entries
        .iter()
        .map(|entry| entry.span.start as usize)
        .collect();
    // Each key begins a line: the document is in block style and not indented.
    let begins = |at: usize| at == 0 || text[..at].ends_with('\n');
    if starts.is_empty() || !starts.iter().all(|start| begins(*start)) {
        return None;
    }
    let end = end_of(text, tree);
    // What stands above the first key is about the document; above another, about the key.
    let mut cuts: Vec<usize> = starts[..1].to_vec();
    cuts.extend(starts[1..].iter().map(|start| with_comments(text, *start)));
    cuts.push(end);
    let mut blocks: Vec<(usize, &str)> = entries
        .iter()
        .zip(cuts.windows(2))
        .map(|(entry, cut)| {
            let rank = rank(&entry.key).unwrap_or(usize::MAX);
            (rank, &text[cut[0]..cut[1]])
        })
        .collect();
    if blocks.is_sorted_by_key(|(rank, _)| *rank) || cuts.windows(2).any(|cut| cut[0] > cut[1]) {
        return None;
    }
    blocks.sort_by_key(|(rank, _)| *rank);
    let mut moved = text[..cuts[0]].to_owned();
    for (_, block) in &blocks {
        moved.push_str(block);
        if !block.ends_with('\n') {
            moved.push('\n');
        }
    }
    moved.push_str(&text[end..]);
    Some(moved)
}

/// Where the lines of a document end: before the next `---`, or the comments above it.
fn end_of(text: &str, tree: &Node) -> usize {
    let from = tree.span.end as usize;
    let rest = &text[from..];
    match rest.find("\n---") {
        Some(mark) => with_comments(text, from + mark + 1),
        None => text.len(),
    }
}

/// The start of the lines of comment right above the line that begins at `start`.
fn with_comments(text: &str, start: usize) -> usize {
    let mut start = start;
    while start > 0 {
        let line = text[..start - 1]
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        if !text[line..start].starts_with('#') {
            break;
        }
        start = line;
    }
    start
}

/// Where texts of several lines are.
fn long_texts(node: &Node, text: &str, found: &mut Vec<(usize, usize)>) {
    match &node.value {
        Value::Scalar(_) => {
            let (start, end) = (node.span.start as usize, node.span.end as usize);
            if text.get(start..end).is_some_and(|text| text.contains('\n')) {
                found.push((start, end));
            }
        }
        Value::List(items) => items.iter().for_each(|item| long_texts(item, text, found)),
        Value::Map(entries) => entries
            .iter()
            .for_each(|entry| long_texts(&entry.value, text, found)),
        Value::Null | Value::Wrong => {}
    }
}

/// Drops white space at the ends of lines and blank lines beyond one, outside of `inside`.
fn tidy(text: &str, inside: &[(usize, usize)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blank = true;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let within = inside
            .iter()
            .any(|(start, end)| *start < at + line.len() && at < *end);
        at += line.len();
        if within {
            out.push_str(line);
            blank = false;
            continue;
        }
        let trimmed = line.trim_end();
        if trimmed.is_empty() {
            if !blank {
                out.push('\n');
            }
            blank = true;
            continue;
        }
        out.push_str(trimmed);
        out.push('\n');
        blank = false;
    }
    let end = if out.ends_with("\n\n") && !inside.iter().any(|(_, end)| *end >= text.len()) {
        out.trim_end().len()
    } else {
        out.trim_end_matches('\n').len()
    };
    if inside.iter().any(|(_, inside)| *inside >= end) {
        return out;
    }
    out.truncate(end);
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests;
