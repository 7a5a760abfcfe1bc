//! Putting the fixes that problems carry into the texts, as long as nothing gets worse.
//!
//! One at a time: a fix stays if the documents come to have no error they did not have before, and is taken back otherwise. A
//! fix in the text moves every place behind it, so each is checked with a load of its own; that is slow for a thousand
//! mistakes and right for each.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::{Code, Diagnostic, Diagnostics, Edit, Severity, Sources};

/// How many fixes are tried in one run.
const MOST: usize = 1_000;

/// Texts in which what could be fixed is.
#[derive(Debug)]
pub struct Fixed {
    /// What is still wrong, with the texts as they are now.
    pub problems: Diagnostics,
    /// What was changed, in the order it was.
    pub applied: Vec<Applied>,
    /// Where there are fixes that would have led to errors that were not there before: `path:line:column`, in the text as it is
    /// now.
    pub left: Vec<String>,
    before: Sources,
}

/// A fix that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The problem.
    pub code: Code,
    /// `path:line:column`, in the text as it was then.
    pub place: String,
    /// What stood there.
    pub old: String,
    /// What stands there now.
    pub new: String,
}

impl Fixed {
    /// The files that changed, with their texts.
    pub fn changed(&self) -> Vec<(&Path, &str)> {
        let pairs = self.problems.sources.files.iter().zip(&self.before.files);
        pairs
            .filter(|((_, _, now), (_, _, before))| now != before)
            .map(|((path, _, now), _)| (path.as_path(), now.as_str()))
            .collect()
    }

    /// Writes the files that changed, each whole or not at all.
    pub fn write(&self) -> Result<(), (PathBuf, std::io::Error)> {
        for (path, text) in self.changed() {
            replace(path, text).map_err(|error| (path.to_owned(), error))?;
        }
        Ok(())
    }
}

/// Puts `text` in the place of a file, by way of a new file beside it, so that who reads meanwhile has the one or the other. A
/// link stays one, and who may read the file stays the same.
pub(crate) fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let path = path.canonicalize()?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Hidden, so that who watches the directory does not take it for a document.
    let beside = directory.join(format!(".{name}.{}", std::process::id()));
    let written = std::fs::metadata(&path).and_then(|meta| {
        std::fs::write(&beside, text)?;
        std::fs::set_permissions(&beside, meta.permissions())?;
        std::fs::rename(&beside, &path)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

/// Fixes what can be fixed. `check` says everything that is wrong with some sources, and keeps them.
///
/// A document that YAML stumbles over hides what else is wrong with it, and so do a misspelt key and a misspelt attribute. A fix
/// may show errors that were hidden, and is kept if they can be fixed too; else it is taken back with all that came after it.
pub fn fix(sources: Sources, mut check: impl FnMut(Sources) -> Diagnostics) -> Fixed {
    let before = sources.clone();
    let mut problems = check(sources);
    let mut good = problems.clone();
    let mut applied = Vec::new();
    let mut refused: Vec<Diagnostic> = Vec::new();
    // The fix that showed new errors, and how many were made before it.
    let mut trial: Option<(Diagnostic, usize)> = None;
    for _ in 0..MOST {
        let untried = |problem: &&Diagnostic| {
            !problem.fix.is_empty() && !refused.iter().any(|known| is_same(known, problem))
        };
        let Some(next) = problems.list.iter().find(untried).cloned() else {
            let Some((first, length)) = trial.take() else {
                break;
            };
            applied.truncate(length);
            problems = good.clone();
            refused.push(first);
            continue;
        };
        let then = edited(&problems.sources, &next.fix).map(&mut check);
        let Some(then) = then.filter(|then| is_gone(&problems, then, &next)) else {
            refused.push(next);
            continue;
        };
        let no_worse = has_no_more(&good, &then);
        let length = applied.len();
        applied.extend(next.fix.iter().map(|edit| Applied {
            code: next.code,
            place: problems.sources.place(edit.span),
            old: problems.sources.slice(edit.span).to_owned(),
            new: edit.text.clone(),
        }));
        problems = then;
        if no_worse {
            good = problems.clone();
            trial = None;
        } else {
            trial.get_or_insert((next, length));
        }
    }
    if let Some((_, length)) = trial {
        applied.truncate(length);
    }
    let left = good.list.iter().filter(|problem| !problem.fix.is_empty());
    let left = left
        .filter_map(|problem| problem.span)
        .map(|span| good.sources.place(span))
        .collect();
    Fixed {
        problems: good,
        applied,
        left,
        before,
    }
}

/// The same problem with the same remedy; where it stands moves with fixes before it.
fn is_same(a: &Diagnostic, b: &Diagnostic) -> bool {
    let edits = |problem: &Diagnostic| -> Vec<_> {
        let edits = problem.fix.iter();
        edits
            .map(|edit| (edit.span.file, edit.text.clone()))
            .collect()
    };
    a.code == b.code && a.message == b.message && edits(a) == edits(b)
}

/// The texts with all of `edits` made; `None` if they overlap.
fn edited(sources: &Sources, edits: &[Edit]) -> Option<Sources> {
    let mut sources = sources.clone();
    let mut edits: Vec<&Edit> = edits.iter().collect();
    edits.sort_by_key(|edit| std::cmp::Reverse(edit.span));
    for pair in edits.windows(2) {
        if pair[0].span.file == pair[1].span.file && pair[1].span.end > pair[0].span.start {
            return None;
        }
    }
    for edit in edits {
        let (_, _, text) = sources.files.get_mut(edit.span.file.0 as usize)?;
        let range = edit.span.start as usize..edit.span.end as usize;
        text.get(range.clone())?;
        text.replace_range(range, &edit.text);
    }
    Some(sources)
}

/// Of every error there are no more than before.
fn has_no_more(before: &Diagnostics, then: &Diagnostics) -> bool {
    let was = counted(before);
    counted(then)
        .iter()
        .all(|(key, count)| key.0 == Severity::Warning || was.get(key) >= Some(count))
}

/// Of the problem that was fixed there are fewer.
fn is_gone(before: &Diagnostics, then: &Diagnostics, fixed: &Diagnostic) -> bool {
    let key = (fixed.severity, fixed.code, fixed.message.as_str());
    counted(then).get(&key) < counted(before).get(&key)
}

fn counted(problems: &Diagnostics) -> HashMap<(Severity, Code, &str), usize> {
    let mut counted = HashMap::new();
    for problem in &problems.list {
        *counted
            .entry((problem.severity, problem.code, problem.message.as_str()))
            .or_default() += 1;
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{lint, load};

    fn check(sources: Sources) -> Diagnostics {
        match load(sources) {
            Ok(set) => lint(&set),
            Err(problems) => problems,
        }
    }

    fn fixed(text: &str) -> (String, Fixed) {
        let fixed = fix(Sources::from_texts([("f.yaml", text)]), check);
        let text = fixed.problems.sources.files[0].2.clone();
        (text, fixed)
    }

    #[test]
    fn what_is_mechanical_is_fixed_and_all_else_stays() {
        let wrong = "# Ours.\npolicy: p  # é\nfor: always\nruls:\n  - deny:   a # c\n    when: !has(source.ip)\n  - deny: b\n    when: '[\"a\"].exists(x, x == source.namspace)'\n  - deny: c\n    when: request.headers[\"X-Tester\"] == \"yes\"\n  - deny: d\n    when: \"admin\" in auth.audiences\n  - deny: e\n    when: request.method == \"get\"\ntests:\n  - deny: a\n    given: { source: { namespce: x }, request: { headers: { X-A: b } } }\n";
        let right = "# Ours.\npolicy: p  # é\nfor: always\nrules:\n  - deny:   a # c\n    when: '!has(source.ip)'\n  - deny: b\n    when: '[\"a\"].exists(x, x == source.namespace)'\n  - deny: c\n    when: request.headers[?\"x-tester\"].orValue(\"\") == \"yes\"\n  - deny: d\n    when: '\"admin\" in auth.audiences'\n  - deny: e\n    when: request.method == \"GET\"\ntests:\n  - deny: a\n    given: { source: { namespace: x }, request: { headers: { x-a: b } } }\n";
        let (text, fixed) = fixed(wrong);
        assert_eq!(
            text,
            right,
            "{:#?} {:#?} {}",
            fixed.applied,
            fixed.left,
            fixed.problems.render(false)
        );
        assert!(fixed.left.is_empty());
        assert_eq!(
            fixed.problems.list.len(),
            1,
            "the comment is left to its author"
        );
        assert_eq!(fixed.applied[0].new, "'!has(source.ip)'");
    }

    #[test]
    fn a_fix_that_leads_to_another_error_is_left() {
        // The key would be there twice, or it is not clear which is meant.
        for text in [
            "policy: p\nfor: always\nrules: []\nruls: []\notherwise: deny\n",
            "adapter: a\ntype: log\nxonfi: {}\n",
            "policy: p\nfor: always\nrules:\n  - deny: a\n    when: !has(source.ip) + 1\n",
        ] {
            let (now, fixed) = fixed(text);
            assert_eq!(now, text, "{:#?}", fixed.applied);
            assert!(fixed.changed().is_empty());
        }
    }

    #[test]
    fn files_are_replaced_whole_and_keep_their_rights() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("p.yaml");
        std::fs::write(&path, "policy: p\nfor: always\notherwize: deny\n").expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("rights");
        let link = directory.path().join("link.yml");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        let fixed = fix(
            Sources::read(std::slice::from_ref(&link)).expect("it is there"),
            check,
        );
        assert_eq!(fixed.changed().len(), 1);
        fixed.write().expect("it is written");
        let text = std::fs::read_to_string(&path).expect("it is there");
        assert_eq!(text, "policy: p\nfor: always\notherwise: deny\n");
        let mode = std::fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o640);
        assert!(
            std::fs::symlink_metadata(&link)
                .expect("a link")
                .is_symlink()
        );
        assert_eq!(
            std::fs::read_dir(directory.path())
                .expect("a directory")
                .count(),
            2
        );
    }
}
