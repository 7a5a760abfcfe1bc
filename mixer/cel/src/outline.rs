//! The parts of an expression, for tools that show what each came to.

use std::ops::Range;

use crate::tree::{Ast, AstKind};
use crate::{Compiler, Problem};

/// An expression or a part of it, with the parts that stand for themselves: each can be compiled alone and means the same.
/// What a macro repeats does not, because it reads the macro's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Bytes of the source.
    pub span: Range<usize>,
    /// Which parts are evaluated.
    pub shape: Shape,
    /// In the order of evaluation.
    pub parts: Vec<Outline>,
}

/// How an expression uses its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Until one is false.
    And,
    /// Until one is true.
    Or,
    /// The second part when the first is true, else the third.
    Conditional,
    /// All of them.
    Plain,
    /// It has none and says itself what it is.
    Literal,
}

impl Compiler {
    /// The parts of an expression; names and types are not looked at.
    pub fn outline(&mut self, source: &str) -> Result<Outline, Vec<Problem>> {
        self.parsed(source).map(|ast| outline(&ast))
    }
}

fn outline(ast: &Ast) -> Outline {
    let of = |asts: &[Ast]| asts.iter().map(outline).collect();
    let (shape, parts): (_, Vec<Outline>) = match &ast.kind {
        AstKind::And(terms) => (Shape::And, of(terms)),
        AstKind::Or(terms) => (Shape::Or, of(terms)),
        AstKind::Conditional(parts) => (Shape::Conditional, of(&parts[..])),
        AstKind::Not(operand) | AstKind::Negate(operand) => (Shape::Plain, vec![outline(operand)]),
        AstKind::Binary(_, sides) => (Shape::Plain, of(&sides[..])),
        AstKind::List(elements) => {
            let values = elements.iter().map(|element| outline(&element.value));
            (Shape::Plain, values.collect())
        }
        AstKind::Map(entries) => {
            let entries = entries
                .iter()
                .flat_map(|entry| [outline(&entry.key), outline(&entry.value)]);
            (Shape::Plain, entries.collect())
        }
        AstKind::Select { operand, .. } => (Shape::Plain, rooted(operand)),
        AstKind::Index { operand, index, .. } => {
            let mut parts = rooted(operand);
            parts.push(outline(index));
            (Shape::Plain, parts)
        }
        AstKind::Call { target, name, args } => (Shape::Plain, call(target.as_deref(), name, args)),
        AstKind::Literal(_) => (Shape::Literal, Vec::new()),
        AstKind::Ident(_) | AstKind::Struct(_) => (Shape::Plain, Vec::new()),
    };
    Outline {
        span: ast.whole.clone(),
        shape,
        parts,
    }
}

/// What a field or key is read off, unless it is a part of a name.
fn rooted(operand: &Ast) -> Vec<Outline> {
    match &operand.kind {
        AstKind::Ident(_) => Vec::new(),
        AstKind::Select { operand, .. } => rooted(operand),
        AstKind::Index { operand, index, .. } => {
            let mut parts = rooted(operand);
            parts.push(outline(index));
            parts
        }
        _ => vec![outline(operand)],
    }
}

fn call(target: Option<&Ast>, name: &str, args: &[Ast]) -> Vec<Outline> {
    let Some(target) = target else {
        // What is asked for need not be there.
        let args = if name == "has" { &[] } else { args };
        return args.iter().map(outline).collect();
    };
    if target.as_name() == Some("cel") {
        return args.get(1).map(outline).into_iter().collect();
    }
    let binds = matches!(
        name,
        "all"
            | "exists"
            | "exists_one"
            | "existsOne"
            | "map"
            | "filter"
            | "transformList"
            | "transformMap"
            | "transformMapEntry"
            | "sortBy"
            | "optMap"
            | "optFlatMap"
    );
    // An alternative is evaluated only when it is needed.
    let later = binds || matches!(name, "or" | "orValue");
    let args = if later { &[] } else { args };
    let namespace = target.as_name().is_some_and(|name| {
        matches!(
            name,
            "math" | "strings" | "optional" | "base64" | "lists" | "ip"
        )
    });
    let target = Some(target).filter(|_| !namespace);
    target.into_iter().chain(args).map(outline).collect()
}

#[cfg(test)]
mod tests {
    use mixer_attributes::Vocabulary;

    use super::*;

    fn shown(source: &str, outline: &Outline) -> String {
        let parts: Vec<String> = outline
            .parts
            .iter()
            .map(|part| shown(source, part))
            .collect();
        match outline.shape {
            Shape::Literal => "_".to_owned(),
            _ if parts.is_empty() => source[outline.span.clone()].to_owned(),
            shape => format!("{shape:?}({})", parts.join("; ")),
        }
    }

    #[test]
    fn parts_are_what_means_the_same_alone() {
        let mut compiler = Compiler::new(Vocabulary::new());
        for (source, wanted) in [
            (
                "a.b == 'x' && (c || !d)",
                "And(Plain(a.b; _); Or(c; Plain(d)))",
            ),
            ("a.b[c.d].e[1]", "Plain(c.d; _)"),
            ("a ? b : 1", "Conditional(a; b; _)"),
            ("a.b.exists(x, x == c)", "Plain(a.b)"),
            ("f(a).g", "Plain(Plain(a))"),
            ("has(a.b)", "has(a.b)"),
            ("a.?b.orValue(c)", "Plain(a.?b)"),
            ("cel.bind(x, a.b, x + x)", "Plain(a.b)"),
            ("math.greatest(a, 2)", "Plain(a; _)"),
            ("[a, {b: 1}]", "Plain(a; Plain(b; _))"),
            ("a.b.startsWith(c)", "Plain(a.b; c)"),
            ("1", "_"),
        ] {
            let outline = compiler.outline(source).unwrap();
            assert_eq!(shown(source, &outline), wanted, "{source}");
        }
        assert!(compiler.outline("a &&").is_err());
    }
}
