//! Texts to compiled expressions, sharing one table of references.

use std::sync::Arc;

use mixer_attributes::vocabulary::Producer;
use mixer_attributes::{AttributeId, Vocabulary};

use crate::check::{Checker, Names, Typed};
use crate::expression::Compiled;
use crate::node::Definition;
use crate::parse::Parser;
use crate::tree::Ast;
use crate::{
    Expression, Kind, Problem, ProblemKind, ReferenceId, References, Selector, Template, parse,
    selector, template,
};

/// What an expression must yield.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Exactly this kind (`dyn` is admitted and checked when it is evaluated).
    Kind(Kind),
    /// Any of these.
    OneOf(Vec<Kind>),
    /// Anything.
    Any,
}

/// Compiles the expressions of one set of documents.
#[derive(Debug)]
pub struct Compiler {
    vocabulary: Vocabulary,
    names: Names,
    references: References,
    parser: Parser,
}

impl Compiler {
    /// For expressions over `vocabulary`.
    pub fn new(vocabulary: Vocabulary) -> Self {
        Self {
            vocabulary,
            names: Names::default(),
            references: References::default(),
            parser: Parser::default(),
        }
    }

    /// The vocabulary expressions are checked against.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Gives the custom attribute `id` its meaning: reading it evaluates `source` in its place (so that what it reads is
    /// referenced). Definitions may read attributes defined before them.
    pub fn define(&mut self, id: AttributeId, source: &str) -> Result<(), Vec<Problem>> {
        let Some(attribute) = self.vocabulary.by_id(id).cloned() else {
            let message = "there is no attribute to define".to_owned();
            return Err(vec![Problem {
                kind: ProblemKind::UnknownName,
                span: 0..source.len(),
                message,
                help: None,
                replacement: None,
            }]);
        };
        let expect = Expect::Kind(Kind::from(attribute.kind));
        let (compiled, depth) = self.compile(source, attribute.producer, &expect)?;
        let wanted = compiled.wanted.first().copied();
        let definition = Definition {
            node: compiled.node,
            wanted,
            reads: compiled.reads,
            depth,
        };
        self.names.definitions.insert(id, Arc::new(definition));
        Ok(())
    }

    /// Declares a value that is given beside the request (see [`crate::Evaluation::with_variables`]); tools and tests have
    /// such. It hides an attribute of the same name.
    pub fn variable(&mut self, name: &str, kind: Kind) {
        self.names.variables.push((name.into(), kind));
    }

    /// Looks names up under `container` first, as CEL's containers say. Empty at first.
    pub fn set_container(&mut self, container: &str) {
        container.clone_into(&mut self.names.container);
    }

    /// From here on, types that do not fit are errors of evaluation and not of loading; for conformance to CEL's unchecked
    /// mode, not for policies.
    pub fn skip_type_checks(&mut self) {
        self.names.unchecked = true;
    }

    /// An expression over what is known at `phase` (at Report everything is).
    pub fn expression(
        &mut self,
        source: &str,
        phase: Producer,
        expect: Expect,
    ) -> Result<Expression, Vec<Problem>> {
        self.compile(source, phase, &expect)
            .map(|(compiled, _)| Expression::new(compiled))
    }

    /// A text with CEL in braces, `{{` and `}}` for braces.
    pub fn template(&mut self, source: &str, phase: Producer) -> Result<Template, Vec<Problem>> {
        template::compile(self, source, phase)
    }

    /// A `for`: selector attributes only, `==`, `in`, `startsWith`, `endsWith`, `&&`, `||`, or `always`.
    pub fn selector(&mut self, source: &str) -> Result<Selector, Vec<Problem>> {
        selector::compile(&mut self.parser, &self.vocabulary, &self.names, source)
    }

    /// The number of a reference that something else than an expression reads (an index), for
    /// [`crate::Evaluation::touch_reference`].
    pub fn reference(&mut self, attribute: AttributeId, key: Option<&str>) -> ReferenceId {
        self.references.intern(attribute, key)
    }

    /// The table of references that evaluations of these expressions need.
    pub fn finish(self) -> References {
        self.references
    }

    /// The syntax tree alone.
    pub(crate) fn parsed(&mut self, source: &str) -> Result<Ast, Vec<Problem>> {
        parse::parse(&mut self.parser, source)
    }

    /// Also how deep the tree is, definitions included.
    fn compile(
        &mut self,
        source: &str,
        phase: Producer,
        expect: &Expect,
    ) -> Result<(Compiled, usize), Vec<Problem>> {
        let ast = self.parsed(source)?;
        let Self {
            vocabulary,
            names,
            references,
            ..
        } = self;
        let mut checker = Checker::new(source, vocabulary, names, references, phase);
        let typed = checker.check(&ast);
        let Checker {
            mut problems,
            reads,
            unguarded,
            established,
            deepest,
            ..
        } = checker;
        let Some(Typed { node, kind }) = typed.filter(|_| problems.is_empty()) else {
            problems.sort_by_key(|problem| problem.span.start);
            return Err(problems);
        };
        let wanted: &[Kind] = match expect {
            Expect::Kind(kind) => std::slice::from_ref(kind),
            Expect::OneOf(kinds) => kinds,
            Expect::Any => &[],
        };
        let admitted = wanted.is_empty() || wanted.iter().any(|wanted| wanted.admits(&kind));
        if !admitted && !names.unchecked {
            return Err(vec![unexpected(source, &kind, wanted)]);
        }
        // Where the checker could not tell, the evaluation does.
        let open = kind == Kind::Dyn && !wanted.contains(&Kind::Dyn);
        let wanted = if open {
            wanted.iter().filter_map(Kind::type_name).collect()
        } else {
            Vec::new()
        };
        let source = source.to_owned();
        Ok((
            Compiled {
                source,
                kind,
                wanted,
                node,
                reads,
                unguarded,
                established,
            },
            deepest,
        ))
    }
}

fn unexpected(source: &str, kind: &Kind, wanted: &[Kind]) -> Problem {
    let all: Vec<String> = wanted.iter().map(Kind::a).collect();
    let help = match (kind, wanted) {
        (Kind::Optional(_), _) => Some("add `.orValue(..)`".to_owned()),
        (Kind::String, [Kind::Bool]) => Some("compare it: `.. == \"..\"`".to_owned()),
        (_, [Kind::String]) if kind.is_number() || matches!(kind, Kind::Bool | Kind::Ip) => {
            Some(format!("`string({})`", source.trim()))
        }
        _ => None,
    };
    Problem {
        kind: ProblemKind::Type,
        span: 0..source.len(),
        message: format!("this is {}, where {} is wanted", kind.a(), all.join(" or ")),
        help,
        replacement: None,
    }
}
