//! Texts with CEL in braces: `no access for {source.service_account}`.

use mixer_attributes::vocabulary::Producer;

use crate::parse::tokens;
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
        for part in &self.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Value(_, expression) => match expression.evaluate(evaluation) {
                    Ok(value) => text.push_str(&value.to_text()),
                    Err(_) => text.push('-'),
                },
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
        match closing(&source[start..]) {
            Ok(length) => {
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
            Err(message) => {
                let help = Some("`{{` is a brace in the text".to_owned());
                problems.push(Problem {
                    kind: ProblemKind::Template,
                    span: at..at + 1,
                    message,
                    help,
                    replacement: None,
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

/// How long the expression at the start of `rest` is: up to the brace that closes it.
fn closing(rest: &str) -> Result<usize, String> {
    // Whatever follows the expression need not be CEL: each `}` is tried in turn, and the first before which brackets and
    // strings are complete is the one.
    let mut problem = "`{` is never closed".to_owned();
    for (at, _) in rest.match_indices('}') {
        match tokens::tokens(&rest[..at]) {
            Ok(_) => return Ok(at),
            Err(found) => problem = found.message,
        }
        if at > crate::parse::SOURCE {
            break;
        }
    }
    Err(problem)
}
