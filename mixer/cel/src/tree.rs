//! The syntax tree the checker reads: the parser's, made flat, bounded, and with places.

use std::ops::Range;

/// One expression of the source.
#[derive(Clone, Debug)]
pub(crate) struct Ast {
    /// The token to point at: an operator, a name, a literal.
    pub(crate) at: Range<usize>,
    /// All of it.
    pub(crate) whole: Range<usize>,
    pub(crate) kind: AstKind,
}

/// What an expression is. Macros are calls here: the checker knows them.
#[derive(Clone, Debug)]
pub(crate) enum AstKind {
    Literal(Literal),
    /// A name; with a leading dot when it was written so.
    Ident(String),
    /// `operand.field`, or `operand.?field`.
    Select {
        operand: Box<Ast>,
        field: String,
        optional: bool,
    },
    /// `operand[index]`, or `operand[?index]`.
    Index {
        operand: Box<Ast>,
        index: Box<Ast>,
        optional: bool,
    },
    Call {
        target: Option<Box<Ast>>,
        name: String,
        args: Vec<Ast>,
    },
    /// Two or more, in the order written.
    And(Vec<Ast>),
    Or(Vec<Ast>),
    Not(Box<Ast>),
    Negate(Box<Ast>),
    Conditional(Box<[Ast; 3]>),
    Binary(Operator, Box<[Ast; 2]>),
    List(Vec<Element>),
    Map(Vec<Entry>),
    /// `Name{field: ..}`: message construction, which Mixer has no messages for.
    Struct(String),
}

/// An element of a list literal; `?` before it drops it when it is none.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    pub(crate) optional: bool,
    pub(crate) value: Ast,
}

/// An entry of a map literal.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) optional: bool,
    pub(crate) key: Ast,
    pub(crate) value: Ast,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Ast {
    /// The text of a string literal.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.kind {
            AstKind::Literal(Literal::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Whether it is a plain name.
    pub(crate) fn as_name(&self) -> Option<&str> {
        match &self.kind {
            AstKind::Ident(name) => Some(name),
            _ => None,
        }
    }
}
