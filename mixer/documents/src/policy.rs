//! Policies: who may, who may not, and what is said to those who may not.

use std::sync::Arc;

use mixer_cel::{EvalError, Evaluation, Expression, Selector};

use crate::{Quota, Reply, Span, Test, Until};

/// A checked and compiled `policy`.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name, unique among policies.
    pub name: Arc<str>,
    /// On which side of a request it is asked.
    pub at: At,
    /// Decided alone: another policy's allow cannot satisfy it.
    pub guard: bool,
    /// Whether it is enforced.
    pub mode: Mode,
    /// How long it is meant to be in shadow.
    pub until: Option<Until>,
    /// Which destinations it is about.
    pub selector: Selector,
    /// In document order.
    pub rules: Vec<Rule>,
    /// When no rule decides.
    pub otherwise: Option<Otherwise>,
    /// When no Mixer can be asked.
    pub fail: Fail,
    /// In document order.
    pub quotas: Vec<Quota>,
    /// Its in-file tests.
    pub tests: Vec<Test>,
    /// Its name in the file.
    pub span: Span,
}

/// Which proxy asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum At {
    /// The destination's (the default).
    Inbound,
    /// The caller's: egress.
    Outbound,
}

/// Whether a rule, quota or policy changes verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It does.
    Enforce,
    /// It only says what it would have done.
    Shadow,
}

/// What happens when no Mixer can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fail {
    /// Requests are refused with 503.
    Closed,
    /// Requests pass.
    Open,
}

/// What a rule does when it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuleKind {
    /// Denies when it matches.
    Deny,
    /// Denies when it is asked and not met.
    Require,
    /// Lets pass when it matches.
    Allow,
}

/// How a rule is taken when its adapter cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnError {
    /// A deny rule matches, a require is unmet, an allow does not match (the default).
    Deny,
    /// The reverse.
    Allow,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What it does.
    pub kind: RuleKind,
    /// Its name in messages, logs and tests.
    pub sentence: Arc<str>,
    /// Its name in metrics: `id:`, else the sentence.
    pub id: Arc<str>,
    /// When it is asked.
    pub when: Condition,
    /// What a require demands, unless it asks an adapter.
    pub that: Option<Condition>,
    /// The adapter that answers match or no match.
    pub ask: Option<AskAdapter>,
    /// When that adapter cannot be asked.
    pub on_error: OnError,
    /// What the caller is told when it denies.
    pub reply: Reply,
    /// `absent: match`: a deny rule without a value is meant to match. It does in any case.
    pub absent_matches: bool,
    /// Whether it is enforced; a shadow policy's rules are all shadow.
    pub mode: Mode,
    /// How long it is meant to be in shadow.
    pub until: Option<Until>,
    /// Its conditions or inputs read `request.*`: it does not apply to services declared tcp.
    pub reads_request: bool,
    /// Its conditions or inputs read `request.path`.
    pub reads_path: bool,
    /// Its sentence in the file.
    pub span: Span,
}

/// A `when` or `that`: lines that must all hold. No line always holds.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// Each line and its place.
    pub lines: Vec<(Expression, Span)>,
}

/// `ask` and `with`.
#[derive(Clone, Debug)]
pub struct AskAdapter {
    /// Index into [`crate::PolicySet::adapters`].
    pub adapter: usize,
    /// The inputs, in the order of that adapter's [`crate::AdapterDocument::inputs`].
    pub with: Vec<Expression>,
    /// Place of the adapter's name.
    pub span: Span,
}

/// `otherwise`.
#[derive(Clone, Debug)]
pub enum Otherwise {
    /// Lets pass.
    Allow {
        /// Its place.
        span: Span,
    },
    /// Denies, with a sentence of its own or "otherwise".
    Deny {
        /// The sentence.
        sentence: Arc<str>,
        /// What the caller is told.
        reply: Box<Reply>,
        /// Its place.
        span: Span,
    },
}

impl Condition {
    /// Whether it always holds.
    pub fn is_always(&self) -> bool {
        self.lines.is_empty()
    }

    /// Its lines without their places.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.lines.iter().map(|(line, _)| line)
    }

    /// `(a) && (b) && ..` as CEL has it: false if any line is false, else an error if any line is one.
    pub fn test<'a>(&'a self, evaluation: &mut Evaluation<'a>) -> Result<bool, EvalError> {
        let mut error = None;
        for (line, _) in &self.lines {
            match line.test(evaluation) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(first) => error = error.or(Some(first)),
            }
        }
        error.map_or(Ok(true), Err)
    }
}
