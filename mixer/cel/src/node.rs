//! Compiled expressions: a tree whose names are slots, whose constants are values and whose regexes are compiled.
//!
//! A tree and not closures or byte code: measured, closures gain at most a third on conditions of this size, and a tree can be
//! looked into by an index, by `explain` and by tests.

use std::sync::Arc;

use mixer_attributes::AttributeId;

use crate::functions::Function;
use crate::pattern::Pattern;
use crate::{Read, ReferenceId, Val};

/// One step of an evaluation.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Constant(Val<'static>),
    /// The value bound by the `n`-th enclosing macro, counted from the innermost.
    Local(usize),
    /// A value given beside the request; only tools and tests have them.
    Variable(usize, Arc<str>),
    Attribute(Box<AttributeRead>),
    /// A custom attribute, evaluated in its place.
    Defined(Arc<Definition>),
    /// A literal key of a map attribute.
    Key(Box<KeyRead>),
    /// Any other key of a map attribute.
    DynamicKey(Box<(AttributeRead, Node)>),
    /// A key of a map, or an element of a list.
    Index(Box<(Node, Node)>),
    /// Whether the path it holds leads to a value.
    Has(Box<Node>),
    /// The value its path leads to, or none.
    Find(Box<Node>),

    And(Box<[Node]>),
    Or(Box<[Node]>),
    Not(Box<Node>),
    Conditional(Box<[Node; 3]>),
    Equal(Box<(Node, Node)>),
    NotEqual(Box<(Node, Node)>),
    Order(Comparison, Box<(Node, Node)>),
    In(Box<(Node, Node)>),
    /// `in` a map attribute, without reading the rest of it.
    KeyIn(Box<KeyRead>),
    DynamicKeyIn(Box<(AttributeRead, Node)>),
    Arithmetic(Arithmetic, Box<(Node, Node)>),
    Negate(Box<Node>),

    /// A question about a text that was prepared at load.
    Text(Box<Node>, TextTest),

    Call(Function, Box<[Node]>),
    List(Box<[(bool, Node)]>),
    Map(Box<[(bool, Node, Node)]>),
    /// `.or(..)` and `.orValue(..)` look at their argument only when they need it.
    OrElse {
        optional: Box<Node>,
        other: Box<Node>,
        unwrap: bool,
    },
    /// `optMap` and `optFlatMap`.
    OptionalMap {
        optional: Box<Node>,
        body: Box<Node>,
        flat: bool,
    },
    Bind(Box<(Node, Node)>),
    Loop(Box<Loop>),
}

/// The meaning of a custom attribute.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) node: Node,
    /// The type its value must have, where the checker could not tell.
    pub(crate) wanted: Option<&'static str>,
    /// What it reads, the definitions it uses included.
    pub(crate) reads: Vec<Read>,
    pub(crate) depth: usize,
}

/// A question about a text.
#[derive(Clone, Debug)]
pub(crate) enum TextTest {
    /// Equality with a literal.
    Is(Box<str>),
    /// `in` a literal list; sorted.
    OneOf(Box<[Box<str>]>),
    StartsWith(Box<str>),
    EndsWith(Box<str>),
    Contains(Box<str>),
    Matches(Box<Pattern>),
}

/// An attribute of the request.
#[derive(Clone, Debug)]
pub(crate) struct AttributeRead {
    pub(crate) attribute: AttributeId,
    pub(crate) reference: ReferenceId,
    pub(crate) name: Arc<str>,
}

/// A literal key of a map attribute.
#[derive(Clone, Debug)]
pub(crate) struct KeyRead {
    pub(crate) attribute: AttributeId,
    pub(crate) reference: ReferenceId,
    pub(crate) name: Arc<str>,
    pub(crate) key: Box<str>,
    /// Name and key, for errors.
    pub(crate) text: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

/// A macro over the elements of a list or the keys of a map.
#[derive(Clone, Debug)]
pub(crate) struct Loop {
    pub(crate) range: Node,
    pub(crate) kind: LoopKind,
    /// Two names are bound: index and element, or key and value.
    pub(crate) pairs: bool,
    /// What one turn costs.
    pub(crate) steps: usize,
    /// What `map`, `filter` and the transforms test first.
    pub(crate) filter: Option<Node>,
    /// What is tested, or gives the element.
    pub(crate) body: Option<Node>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    /// `map`, `filter`, `transformList`.
    List,
    /// `transformMap`.
    Map,
    /// `transformMapEntry`.
    Entries,
    /// `sortBy`.
    Sort,
}
