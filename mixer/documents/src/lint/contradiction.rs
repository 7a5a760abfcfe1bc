//! Conditions that no request can meet.
//!
//! Terms joined with `&&` that compare one text with what it cannot be at once, a term together with its negation, `in []`,
//! `false`. Only attributes and keys whose values are texts are compared with each other: addresses and numbers have several
//! ways to be written.

use mixer_attributes::{Type, Vocabulary};
use mixer_cel::{Clause, ClauseKind, Comparison, Place};

use super::{Line, ReadCondition, ReadPolicy, Reading, warn};
use crate::{Code, Diagnostic};

const HELP: &str =
    "a deny rule would still deny requests that lack what it reads; fix or remove the condition";

pub(super) fn look(read: &Reading<'_>, policy: &ReadPolicy<'_>, found: &mut Vec<Diagnostic>) {
    for condition in policy.conditions() {
        if let Some((line, term, why)) = contradiction(condition, &read.set.vocabulary) {
            warn(
                found,
                Code::NeverTrue,
                read.place(line, term.span.clone()),
                format!("this condition can never be true: {why}"),
                HELP,
            );
        }
    }
}

/// The first term that cannot hold together with those before it, and why.
fn contradiction<'c, 's>(
    condition: &'c ReadCondition<'s>,
    vocabulary: &Vocabulary,
) -> Option<(&'c Line<'s>, &'c Clause, String)> {
    let terms: Vec<_> = condition.terms().collect();
    terms.iter().enumerate().find_map(|(at, (line, term))| {
        let why = impossible(term).or_else(|| {
            terms[..at].iter().find_map(|(_, before)| {
                opposed(before, term)
                    .or_else(|| opposed(term, before))
                    .or_else(|| apart(before, term, vocabulary))
            })
        })?;
        Some((*line, *term, why))
    })
}

/// Of one term alone.
fn impossible(term: &Clause) -> Option<String> {
    match &term.kind {
        ClauseKind::Constant(false) => Some("it is `false`".to_owned()),
        ClauseKind::Compare(_, Comparison::OneOf(of)) if of.is_empty() => {
            Some("nothing is in an empty list".to_owned())
        }
        ClauseKind::Not(inner) if matches!(inner.kind, ClauseKind::Constant(true)) => {
            Some("it is `false`".to_owned())
        }
        _ => None,
    }
}

/// `denied` is the negation of `term`, or says that what `term` compares is absent.
fn opposed(denied: &Clause, term: &Clause) -> Option<String> {
    let ClauseKind::Not(denied) = &denied.kind else {
        return None;
    };
    if denied.text == term.text {
        return Some("the same is demanded and refused".to_owned());
    }
    match (&denied.kind, &term.kind) {
        (ClauseKind::Has(absent), ClauseKind::Compare(place, _) | ClauseKind::Holds(place))
            if same(absent, place) && place.or_value.is_none() =>
        {
            Some("it compares what it demands to be absent".to_owned())
        }
        _ => None,
    }
}

/// Two comparisons of one text that exclude each other.
fn apart(a: &Clause, b: &Clause, vocabulary: &Vocabulary) -> Option<String> {
    let (ClauseKind::Compare(a_place, a), ClauseKind::Compare(b_place, b)) = (&a.kind, &b.kind)
    else {
        return None;
    };
    if !same(a_place, b_place)
        || a_place.or_value != b_place.or_value
        || !is_text(a_place, vocabulary)
    {
        return None;
    }
    let excluded = match (a, b) {
        (Comparison::OneOf(of), test) | (test, Comparison::OneOf(of)) => {
            let texts: Vec<&str> = of.iter().map(|one| one.as_text()).collect::<Option<_>>()?;
            !texts.iter().any(|text| admits(test, text))
        }
        (Comparison::StartsWith(a), Comparison::StartsWith(b)) => {
            let (a, b) = (a.as_text()?, b.as_text()?);
            !a.starts_with(b) && !b.starts_with(a)
        }
        (Comparison::EndsWith(a), Comparison::EndsWith(b)) => {
            let (a, b) = (a.as_text()?, b.as_text()?);
            !a.ends_with(b) && !b.ends_with(a)
        }
        _ => false,
    };
    excluded.then(|| "two comparisons of it exclude each other".to_owned())
}

/// Whether a text passes a comparison; what is not compared with a text lets all pass.
fn admits(test: &Comparison, text: &str) -> bool {
    let part = |constant: &mixer_cel::Constant, holds: fn(&str, &str) -> bool| {
        constant.as_text().is_none_or(|part| holds(text, part))
    };
    match test {
        Comparison::OneOf(of) => of
            .iter()
            .any(|one| one.as_text().is_none_or(|one| one == text)),
        Comparison::IsNot(other) => part(other, |text, other| text != other),
        Comparison::StartsWith(start) => part(start, |text, start| text.starts_with(start)),
        Comparison::EndsWith(end) => part(end, |text, end| text.ends_with(end)),
        Comparison::Contains(middle) => part(middle, |text, middle| text.contains(middle)),
    }
}

pub(super) fn same(a: &Place, b: &Place) -> bool {
    a.attribute == b.attribute && a.key == b.key
}

/// Its values are texts, each with one way to be written.
fn is_text(place: &Place, vocabulary: &Vocabulary) -> bool {
    let kind = vocabulary
        .by_id(place.attribute)
        .map(|attribute| attribute.kind);
    match place.key {
        None => kind == Some(Type::String),
        Some(_) => matches!(kind, Some(Type::Map | Type::Dynamic)),
    }
}
