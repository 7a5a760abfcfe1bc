//! Texts with CEL in braces: `no access for {source.service_account}`.

use mixer_attributes::vocabulary::Producer;

use crate::budget::Budget;
use crate::parse::{SOURCE, tokens};
use crate::{Compiler, Evaluation, Expect, Expression, Problem, ProblemKind, Read};

/// A compiled template. What is absent or cannot be evaluated renders as `-`.
#[derive(Clone, Debug)]
pub struct Template {
    source: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    /// With the byte its source starts at in the template.
    Value(usize, Expression),
}

impl Template {
    /// The text it was compiled from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Its text, when there is no expression in it.
    pub fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(literal)] => Some(literal),
            _ => None,
        }
    }

    /// Its expression, when there is nothing else in it.
    pub fn sole(&self) -> Option<&Expression> {
        match self.parts.as_slice() {
            [Part::Value(_, expression)] => Some(expression),
            _ => None,
        }
    }

    /// Every read in it.
    pub fn reads(&self) -> Vec<Read> {
        let mut reads = Vec::new();
        for part in &self.parts {
            if let Part::Value(start, expression) = part {
                reads.extend(expression.reads().iter().map(|read| Read {
                    span: read.span.start + start..read.span.end + start,
                    ..read.clone()
                }));
            }
        }
        reads
    }

    /// The text for one request.
    pub fn render<'a>(&'a self, evaluation: &mut Evaluation<'a>) -> String {
        let mut text = String::with_capacity(self.source.len());
        // One budget for all of it: a template has room for many expressions.
        evaluation.budget = Budget::default();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Value(_, expression) => {
                    let value = expression
                        .evaluate_within(evaluation)
                        .map(|value| value.to_text());
                    match value {
                        Ok(value) if evaluation.budget.build(value.len()).is_ok() => {
                            text.push_str(&value);
                        }
                        Ok(_) | Err(_) => text.push('-'),
                    }
                }
            }
        }
        text
    }
}

pub(crate) fn compile(
    compiler: &mut Compiler,
    source: &str,
    phase: Producer,
) -> Result<Template, Vec<Problem>> {
    if source.len() > SOURCE {
        return Err(vec![Problem {
            kind: ProblemKind::Limit,
            span: 0..source.len(),
            message: format!(
                "a template may have {SOURCE} bytes, this one has {}",
                source.len()
            ),
            help: None,
            replacement: None,
        }]);
    }
    let mut parts = Vec::new();
    let mut problems = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    while let Some(next) = source[at..].find(['{', '}']) {
        literal.push_str(&source[at..at + next]);
        at += next;
        let brace = &source[at..=at];
        if source[at + 1..].starts_with(brace) {
            literal.push_str(brace);
            at += 2;
            continue;
        }
        if brace == "}" {
            let help = Some("`}}` is a brace in the text".to_owned());
            problems.push(Problem {
                kind: ProblemKind::Template,
                span: at..at + 1,
                message: "`}` closes nothing".to_owned(),
                help,
                replacement: None,
            });
            at += 1;
            continue;
        }
        let start = at + 1;
        match tokens::closing(&source[start..]) {
            Ok(Some(length)) => {
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                match compiler.expression(&source[start..start + length], phase, Expect::Any) {
                    Ok(expression) => parts.push(Part::Value(start, expression)),
                    Err(found) => problems.extend(found.into_iter().map(|problem| Problem {
                        span: problem.span.start + start..problem.span.end + start,
                        ..problem
                    })),
                }
                at = start + length + 1;
            }
            Ok(None) => {
                problems.push(Problem {
                    kind: ProblemKind::Template,
                    span: at..at + 1,
                    message: "`{` is never closed".to_owned(),
                    help: Some("`{{` is a brace in the text".to_owned()),
                    replacement: None,
                });
                return Err(problems);
            }
            Err(problem) => {
                let help = "`{{` is a brace in the text".to_owned();
                problems.push(Problem {
                    span: problem.span.start + start..problem.span.end + start,
                    help: problem.help.or(Some(help)),
                    ..problem
                });
                return Err(problems);
            }
        }
    }
    literal.push_str(&source[at..]);
    if !literal.is_empty() {
        parts.push(Part::Text(literal));
    }
    if problems.is_empty() {
        Ok(Template {
            source: source.to_owned(),
            parts,
        })
    } else {
        Err(problems)
    }
}
