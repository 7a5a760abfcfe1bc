//! Cases: an expression with variables of its own, as JSON, and what it came to.
//!
//! The form is that of the CEL specification's conformance suite as data, so that whoever has cases for CEL, in whatever
//! language, can ask this implementation what it makes of them: `mixer eval --cases` reads them line by line. Answers never
//! guess: what is not implemented is refused as `unsupported` when it is compiled.

mod kinds;
mod typed;

pub use typed::same;

use mixer_attributes::vocabulary::Producer;
use mixer_attributes::{AttributeBag, Vocabulary};
use serde_json::{Map as Members, Value as Json, json};

use crate::{Compiler, Evaluation, Expect, Kind, Problem, ProblemKind, Val};

/// What a case came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Its typed value, or why it has none.
    pub outcome: Result<Json, Failure>,
    /// The variables and attributes it read, with the key where one was read off a map.
    pub referenced: Vec<String>,
}

/// Why a case has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub message: String,
    /// On which of its ways.
    pub kind: FailureKind,
}

/// How far a case came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// It is not CEL.
    Parse,
    /// Its names or types do not fit.
    Check,
    /// It was evaluated, to an error.
    Eval,
    /// It needs something of CEL that is not here.
    Unsupported,
}

impl FailureKind {
    /// As answers write it.
    pub fn name(self) -> &'static str {
        match self {
            FailureKind::Parse => "parse",
            FailureKind::Check => "check",
            FailureKind::Eval => "eval",
            FailureKind::Unsupported => "unsupported",
        }
    }
}

impl Answer {
    /// `{"value": {"t": .., "v": ..}}` or `{"error": .., "kind": ..}`; with `referenced` when it is asked for.
    pub fn to_json(&self, referenced: bool) -> Json {
        let mut answer = match &self.outcome {
            Ok(value) => json!({ "value": value }),
            Err(failure) => json!({ "error": failure.message, "kind": failure.kind.name() }),
        };
        if referenced {
            answer["referenced"] = json!(self.referenced);
        }
        answer
    }

    fn failure(message: impl Into<String>, kind: FailureKind) -> Self {
        Self {
            outcome: Err(Failure {
                message: message.into(),
                kind,
            }),
            referenced: Vec::new(),
        }
    }
}

/// The answer to a line that holds a case as JSON.
pub fn answer_line(line: &[u8]) -> Answer {
    match serde_json::from_slice(line) {
        Ok(case) => answer(&case),
        Err(error) => Answer::failure(format!("the line is no JSON: {error}"), FailureKind::Parse),
    }
}

/// The answer to `{"expr", "bindings", "type_env", "container", "flags"}`; what is missing is empty. With the flag
/// `disable_check` types are not checked. A binding that `type_env` does not type is dyn.
pub fn answer(case: &Json) -> Answer {
    if !case.is_object() {
        return Answer::failure("a case is an object", FailureKind::Parse);
    }
    let case = match Case::read(case) {
        Ok(case) => case,
        Err(reason) => return Answer::failure(reason, FailureKind::Unsupported),
    };
    let mut compiler = Compiler::new(Vocabulary::new());
    compiler.set_container(case.container);
    if case.unchecked {
        compiler.skip_type_checks();
    }
    for variable in &case.variables {
        compiler.variable(variable.name, variable.kind.clone());
    }
    let expression = match compiler.expression(case.expression, Producer::Report, Expect::Any) {
        Ok(expression) => expression,
        Err(problems) => return refused(&problems, case.container),
    };
    let vocabulary = compiler.vocabulary().clone();
    let references = compiler.finish();
    let bag = AttributeBag::new();
    let values: Vec<Option<Val<'_>>> = case.variables.iter().map(|v| v.value.clone()).collect();
    let mut evaluation = Evaluation::with_variables(&bag, &references, &values);
    let outcome = match expression.evaluate(&mut evaluation) {
        Ok(value) => typed::to_json(&value).map_err(|reason| Failure {
            message: reason,
            kind: FailureKind::Eval,
        }),
        Err(error) => Err(Failure {
            message: error.to_string(),
            kind: FailureKind::Eval,
        }),
    };
    let attributes = evaluation.referenced().into_iter().map(|(reference, _)| {
        let attribute = vocabulary.by_id(reference.attribute);
        let name = attribute.map_or("?", |attribute| attribute.name.as_str());
        named(name, reference.key.as_deref())
    });
    let variables = evaluation
        .variables_read()
        .map(|(index, key)| named(case.variables[index].name, key));
    let referenced = variables.chain(attributes).collect();
    Answer {
        outcome,
        referenced,
    }
}

fn named(name: &str, key: Option<&str>) -> String {
    key.map_or_else(|| name.to_owned(), |key| format!("{name}[{key:?}]"))
}

fn refused(problems: &[Problem], container: &str) -> Answer {
    let unsupported = problems
        .iter()
        .find(|problem| problem.kind == ProblemKind::Unsupported);
    let Some(problem) = unsupported.or(problems.first()) else {
        return Answer::failure("it does not compile", FailureKind::Check);
    };
    let kind = match problem.kind {
        ProblemKind::Parse | ProblemKind::Limit => FailureKind::Parse,
        ProblemKind::Unsupported => FailureKind::Unsupported,
        // What a container holds are messages and their enums.
        ProblemKind::UnknownName if !container.is_empty() => {
            let message = format!("unsupported: {} of {container}", problem.message);
            return Answer::failure(message, FailureKind::Unsupported);
        }
        _ => FailureKind::Check,
    };
    let help = problem.help.iter().map(|help| format!(" ({help})"));
    Answer::failure(
        format!("{}{}", problem.message, help.collect::<String>()),
        kind,
    )
}

struct Case<'j> {
    expression: &'j str,
    container: &'j str,
    unchecked: bool,
    variables: Vec<Variable<'j>>,
}

struct Variable<'j> {
    name: &'j str,
    kind: Kind,
    /// `None`: declared and unset.
    value: Option<Val<'static>>,
}

impl<'j> Case<'j> {
    fn read(case: &'j Json) -> Result<Self, String> {
        let text = |name: &str| match &case[name] {
            Json::Null => Ok(""),
            Json::String(text) => Ok(text.as_str()),
            _ => Err(format!("`{name}` is not a string")),
        };
        let members = |name: &str| match &case[name] {
            Json::Null => Ok(None),
            Json::Object(members) => Ok(Some(members)),
            _ => Err(format!("`{name}` is not an object")),
        };
        let flags = case["flags"].as_array().into_iter().flatten();
        let (types, bindings) = (members("type_env")?, members("bindings")?);
        let held = |of: Option<&'j Members<String, Json>>| of.into_iter().flatten();
        let mut variables = Vec::new();
        for (name, kind) in held(types) {
            let kind = kind.as_str().and_then(kinds::read);
            let binding = bindings.and_then(|bindings| bindings.get(name));
            variables.push(Variable {
                name,
                kind: kind.ok_or_else(|| format!("unsupported: the type of `{name}`"))?,
                value: binding.map(|binding| bound(name, binding)).transpose()?,
            });
        }
        for (name, binding) in held(bindings) {
            if !types.is_some_and(|types| types.contains_key(name)) {
                variables.push(Variable {
                    name,
                    kind: Kind::Dyn,
                    value: Some(bound(name, binding)?),
                });
            }
        }
        Ok(Self {
            expression: text("expr")?,
            container: text("container")?,
            unchecked: flags.into_iter().any(|flag| flag == "disable_check"),
            variables,
        })
    }
}

/// A binding is a typed value, by itself or under `value`.
fn bound(name: &str, binding: &Json) -> Result<Val<'static>, String> {
    let value = binding.get("value").unwrap_or(binding);
    typed::from_json(value).map_err(|reason| format!("unsupported: `{name}`: {reason}"))
}

#[cfg(test)]
mod tests;
