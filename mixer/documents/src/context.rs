//! What checking a document needs: the sources, the compiler, the adapters, and a place to put problems.
//!
//! Checks go on after a problem, with a default in its stead, so that all of them are found; what was built from defaults is
//! thrown away with the set.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use mixer_attributes::vocabulary::Producer;
use mixer_cel::{Compiler, Expect, Expression, Kind, Problem, Selector, Template};

use crate::diagnostics::Problems;
use crate::fields::Fields;
use crate::scalar::{Unique, scalar};
use crate::suggest::nearest;
use crate::yaml::{FLOW, Node, Scalar, Value};
use crate::{AdapterDocument, AskAdapter, Code, Condition, Input, Sources, Span};

#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) sources: &'a Sources,
    pub(crate) problems: Problems,
    pub(crate) compiler: Compiler,
    pub(crate) adapters: Vec<AdapterDocument>,
    pub(crate) adapter_names: HashMap<Arc<str>, usize>,
    /// Quota ids, unique over all policies.
    pub(crate) quota_ids: Unique,
    /// Some file could not be parsed: what it would have defined is not called missing.
    pub(crate) incomplete: bool,
}

impl Context<'_> {
    /// An expression.
    pub(crate) fn expression(
        &mut self,
        node: &Node,
        what: &str,
        phase: Producer,
        expect: Expect,
    ) -> Option<Expression> {
        let text = self.text(node, what)?;
        match self.compiler.expression(text, phase, expect) {
            Ok(expression) => Some(expression),
            Err(found) => self.explain(node, found),
        }
    }

    /// The expression that stands at `range` of a text.
    pub(crate) fn part(
        &mut self,
        node: &Node,
        range: Range<usize>,
        phase: Producer,
        expect: Expect,
    ) -> Option<Expression> {
        let text = self.text(node, "it")?.get(range.clone())?;
        match self.compiler.expression(text, phase, expect) {
            Ok(expression) => Some(expression),
            Err(mut found) => {
                for problem in &mut found {
                    problem.span.start += range.start;
                    problem.span.end += range.start;
                }
                self.explain(node, found)
            }
        }
    }

    /// A text with expressions in braces.
    pub(crate) fn template(&mut self, node: &Node, what: &str) -> Option<Template> {
        let text = self.text(node, what)?;
        match self.compiler.template(text, Producer::Check) {
            Ok(template) => Some(template),
            Err(found) => self.explain(node, found),
        }
    }

    /// The `for` of a document.
    pub(crate) fn selector(&mut self, fields: &Fields<'_>) -> Option<Selector> {
        let help = "say which destinations it is about: `for: destination.service == \"products.shop\"`, or `for: always`";
        let node = fields.need("for", "`for` is missing", help, &mut self.problems)?;
        let text = self.text(node, "`for`")?;
        match self.compiler.selector(text) {
            Ok(selector) => Some(selector),
            Err(found) => self.explain(node, found),
        }
    }

    /// A `when` or `that`: one expression, `always`, or a list of expressions that must all hold. `guard_keys`: keys of maps
    /// must be tested before they are read.
    pub(crate) fn condition(
        &mut self,
        node: Option<&Node>,
        what: &str,
        phase: Producer,
        guard_keys: bool,
    ) -> Condition {
        let mut condition = Condition::default();
        let Some(node) = node else { return condition };
        let lines = match &node.value {
            Value::Null => return self.empty_condition(node, what),
            Value::Scalar(scalar) if scalar.text.trim().is_empty() => {
                return self.empty_condition(node, what);
            }
            Value::Scalar(scalar) if scalar.text.trim() == "always" => return condition,
            Value::List(lines) if lines.is_empty() => return self.empty_condition(node, what),
            Value::List(lines) => lines.as_slice(),
            _ => std::slice::from_ref(node),
        };
        for line in lines {
            let Some(expression) = self.expression(line, what, phase, Expect::Kind(Kind::Bool))
            else {
                continue;
            };
            if guard_keys {
                let earlier: Vec<&Expression> =
                    condition.lines.iter().map(|(line, _)| line).collect();
                for key in expression.unguarded_keys(&earlier) {
                    let place = line.locate(self.sources, key.span);
                    let fix = line.written(&key.optional);
                    let error = self.problems.error(
                        Code::UnguardedKey,
                        place,
                        format!(
                            "`{}` may be absent, and a deny rule that cannot be decided denies",
                            key.text
                        ),
                    );
                    if let Some(text) = fix {
                        error.fix(place, text);
                    }
                    error.help(format!("say what an absent one counts as: {}", key.optional))
                        .help("or give the rule `absent: match`, so that requests without it are denied on purpose");
                }
            }
            condition.lines.push((expression, line.span));
        }
        condition
    }

    fn empty_condition(&mut self, node: &Node, what: &str) -> Condition {
        self.problems
            .error(Code::Empty, node.span, format!("{what} is empty"))
            .help("unconditional is `when: always`, or no `when` at all");
        Condition::default()
    }

    /// A sentence: the name of a rule, quota or `otherwise`.
    pub(crate) fn sentence(&mut self, node: &Node, what: &str) -> Option<Arc<str>> {
        let sentence = crate::scalar::name(node, what, &mut self.problems)?;
        if let Value::Scalar(scalar) = &node.value {
            self.comment_trap(node, scalar);
        }
        if ["otherwise", "default", "any"].contains(&sentence) {
            self.problems.error(
                Code::ReservedSentence,
                node.span,
                format!("`{sentence}` has a meaning of its own in tests; write a sentence"),
            );
        }
        Some(sentence.into())
    }

    /// The adapter a document names.
    pub(crate) fn adapter(&mut self, node: &Node, what: &str) -> Option<usize> {
        let name = scalar(node, what, &mut self.problems)?.text.as_str();
        let found = self.adapter_names.get(name).copied();
        if found.is_none() && !self.incomplete {
            let error = self.problems.error(
                Code::UnknownAdapter,
                node.span,
                format!("there is no adapter `{name}`"),
            );
            match nearest(name, self.adapters.iter().map(|adapter| &*adapter.name)) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error.help(format!("add a document `adapter: {name}`")),
            };
        }
        found
    }

    /// `ask` and `with`. All users of an adapter give it inputs of the same names and types.
    pub(crate) fn ask(&mut self, ask: &Node, with: Option<&Node>) -> Option<AskAdapter> {
        let adapter = self.adapter(ask, "`ask`");
        let mut given = Vec::new();
        match with.map(|with| (&with.value, with)) {
            None | Some((Value::Wrong, _)) => {}
            Some((Value::Map(entries), _)) => {
                for entry in entries {
                    if let Some(expression) =
                        self.expression(&entry.value, "an input", Producer::Check, inputs())
                    {
                        let kind = expression.kind().clone();
                        given.push((
                            Input {
                                name: entry.key.as_str().into(),
                                kind,
                                span: entry.span,
                            },
                            expression,
                        ));
                    }
                }
                given.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
                if given.len() < entries.len() {
                    return None;
                }
            }
            Some((_, node)) => {
                self.problems.error(
                    Code::WrongShape,
                    node.span,
                    format!(
                        "`with` must be a map such as `{{ value: source.ip }}`, this is {}",
                        node.what()
                    ),
                );
                return None;
            }
        }
        let adapter = adapter?;
        let (inputs, with_expressions): (Vec<Input>, Vec<Expression>) = given.into_iter().unzip();
        self.same_inputs(
            adapter,
            inputs,
            with.map_or(ask.span, |with| with.span),
            ask.span,
        );
        Some(AskAdapter {
            adapter,
            with: with_expressions,
            span: ask.span,
        })
    }

    fn same_inputs(&mut self, adapter: usize, inputs: Vec<Input>, span: Span, ask: Span) {
        let adapter = &mut self.adapters[adapter];
        let Some(first) = adapter.first_ask else {
            adapter.first_ask = Some(ask);
            adapter.inputs = inputs;
            return;
        };
        if !adapter
            .inputs
            .iter()
            .map(|input| &input.name)
            .eq(inputs.iter().map(|input| &input.name))
        {
            let names = adapter
                .inputs
                .iter()
                .map(|input| format!("`{}`", input.name))
                .collect::<Vec<_>>()
                .join(", ");
            let names = if names.is_empty() {
                "no inputs".to_owned()
            } else {
                names
            };
            self.problems
                .error(
                    Code::InputsDiffer,
                    span,
                    format!(
                        "every rule that asks `{}` must give it the same inputs",
                        adapter.name
                    ),
                )
                .help(format!("{} gives it {names}", self.sources.place(first)));
            return;
        }
        for (there, here) in adapter
            .inputs
            .iter()
            .zip(&inputs)
            .filter(|(there, here)| there.kind != here.kind)
        {
            self.problems
                .error(
                    Code::InputsDiffer,
                    here.span,
                    format!(
                        "the input `{}` is {} here and {} elsewhere",
                        here.name, here.kind, there.kind
                    ),
                )
                .help(format!(
                    "{} gives the other",
                    self.sources.place(there.span)
                ));
        }
    }

    /// The text of an expression or template, once YAML's traps are ruled out.
    fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        if let Value::List(_) | Value::Map(_) = node.value {
            self.problems
                .error(
                    Code::WrongShape,
                    node.span,
                    format!("{what} must be a text, this is {}", node.what()),
                )
                .help("quote a text that begins with a bracket or brace");
            return None;
        }
        let scalar = scalar(node, what, &mut self.problems)?;
        if scalar.text.trim().is_empty() {
            self.problems
                .error(Code::Empty, node.span, format!("{what} is empty"));
            return None;
        }
        self.comment_trap(node, scalar);
        if node.flow && scalar.is_plain() && !balanced(&scalar.text) {
            self.problems
                .error(
                    Code::CutShort,
                    node.span,
                    format!("a comma or bracket has cut {what} short: quote the whole"),
                )
                .help(FLOW);
            return None;
        }
        Some(&scalar.text)
    }

    /// ` #` begins a comment: what stands behind it is not part of the policy, though it may have been meant to be.
    fn comment_trap(&mut self, node: &Node, scalar: &Scalar) {
        if scalar.is_plain() && self.sources.after(node.span).starts_with(" #") {
            let place = Span {
                start: node.span.end + 1,
                end: node.span.end + 2,
                ..node.span
            };
            self.problems
                .warning(
                    Code::CommentTrap,
                    place,
                    "` #` begins a comment: the text ends before it",
                )
                .help("quote the text if the rest belongs to it; before a comment, put two spaces");
        }
    }

    fn explain<T>(&mut self, node: &Node, found: Vec<Problem>) -> Option<T> {
        for problem in found {
            let place = node.locate(self.sources, problem.span);
            let error =
                self.problems
                    .error(Code::of_expression(problem.kind), place, problem.message);
            if let Some(help) = problem.help {
                error.help(help);
            }
            if let Some(text) = problem.replacement.and_then(|text| node.written(&text)) {
                error.fix(place, text);
            }
        }
        None
    }
}

/// What adapters can be given: what attributes can be.
fn inputs() -> Expect {
    let string = || Box::new(Kind::String);
    Expect::OneOf(vec![
        Kind::String,
        Kind::Int,
        Kind::Double,
        Kind::Bool,
        Kind::Bytes,
        Kind::Timestamp,
        Kind::Duration,
        Kind::Ip,
        Kind::List(string()),
        Kind::Map(string(), string()),
    ])
}

/// Whether quotes and brackets outside of quotes are closed.
fn balanced(text: &str) -> bool {
    let mut open = Vec::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' | '\'' => loop {
                match characters.next() {
                    Some('\\') => drop(characters.next()),
                    Some(end) if end == c => break,
                    Some(_) => {}
                    None => return false,
                }
            },
            '(' | '[' | '{' => open.push(c),
            ')' | ']' | '}' => {
                let opening = match c {
                    ')' => '(',
                    ']' => '[',
                    _ => '{',
                };
                if open.pop() != Some(opening) {
                    return false;
                }
            }
            _ => {}
        }
    }
    open.is_empty()
}
