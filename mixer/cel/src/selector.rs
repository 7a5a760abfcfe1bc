//! `for`: which destinations a document is about.
//!
//! Not a condition: it is read before anything of the request is, decides which documents a proxy must know of, and so may
//! name only what operators configure. It has no negation, which makes two things simple: an absent attribute selects nothing,
//! and whether some request could be selected is the same walk with the unknown taken as true.

use mixer_attributes::vocabulary::SELECTORS;
use mixer_attributes::{AttributeBag, AttributeId, Entry, Value, Vocabulary};

use crate::check::Names;
use crate::node::Node;
use crate::parse::{self, Parser};
use crate::tree::{Ast, AstKind, Operator};
use crate::{Fact, FactTest, Problem, ProblemKind, Question, Val, facts};

/// A compiled `for`. A comparison with an absent attribute is false.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(Test);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Always,
    All(Vec<Test>),
    Any(Vec<Test>),
    Compare(Field, Comparison),
}

/// An attribute, or one label of the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    attribute: AttributeId,
    name: String,
    key: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Comparison {
    /// One of these, sorted.
    In(Vec<String>),
    StartsWith(String),
    EndsWith(String),
}

/// What a request says of a field.
enum Said<'a> {
    /// The attribute is not in the bag.
    Nothing,
    /// The map is, without this key.
    NoKey,
    Text(std::borrow::Cow<'a, str>),
}

impl Selector {
    /// Selects everything.
    pub fn always() -> Self {
        Self(Test::Always)
    }

    /// Whether it selects the request.
    pub fn selects(&self, bag: &AttributeBag<'_>) -> bool {
        self.0.holds(bag, false)
    }

    /// The attributes (and literal keys of `destination.labels`) it compares.
    pub fn reads(&self) -> Vec<(AttributeId, Option<String>)> {
        let mut reads = Vec::new();
        self.0.fields(&mut |field| {
            let read = (field.attribute, field.key.clone());
            if !reads.contains(&read) {
                reads.push(read);
            }
        });
        reads
    }

    /// Whether some request with these attributes can be selected, the attributes it lacks being free: `None` in the bag
    /// means "any value". It may say yes where two comparisons of one free attribute contradict each other.
    pub fn can_select(&self, bag: &AttributeBag<'_>) -> bool {
        self.0.holds(bag, true)
    }

    /// The values that `attribute` may have for this to select, when only these can be.
    pub fn only(&self, attribute: AttributeId) -> Option<Vec<&str>> {
        self.0.only(attribute)
    }

    /// What makes it select nothing whatever else is so. What is absent does, too.
    pub fn facts(&self) -> Vec<Fact> {
        self.0.facts()
    }

    /// A text that is equal for selectors that mean the same comparison tree, for digests.
    pub fn canonical(&self) -> String {
        let mut text = String::new();
        self.0.write(&mut text);
        text
    }
}

impl Test {
    fn holds(&self, bag: &AttributeBag<'_>, unknown: bool) -> bool {
        match self {
            Test::Always => true,
            Test::All(tests) => tests.iter().all(|test| test.holds(bag, unknown)),
            Test::Any(tests) => tests.iter().any(|test| test.holds(bag, unknown)),
            Test::Compare(field, comparison) => match field.said(bag) {
                Said::Nothing => unknown,
                Said::NoKey => false,
                Said::Text(text) => match comparison {
                    Comparison::In(texts) => texts
                        .binary_search_by(|held| held.as_str().cmp(&text))
                        .is_ok(),
                    Comparison::StartsWith(start) => text.starts_with(start.as_str()),
                    Comparison::EndsWith(end) => text.ends_with(end.as_str()),
                },
            },
        }
    }

    fn fields(&self, visit: &mut impl FnMut(&Field)) {
        match self {
            Test::Always => {}
            Test::All(tests) | Test::Any(tests) => tests.iter().for_each(|test| test.fields(visit)),
            Test::Compare(field, _) => visit(field),
        }
    }

    fn only(&self, attribute: AttributeId) -> Option<Vec<&str>> {
        match self {
            Test::Compare(field, Comparison::In(texts))
                if field.attribute == attribute && field.key.is_none() =>
            {
                Some(texts.iter().map(String::as_str).collect())
            }
            Test::All(tests) => tests.iter().find_map(|test| test.only(attribute)),
            Test::Any(tests) => {
                let all: Option<Vec<_>> = tests.iter().map(|test| test.only(attribute)).collect();
                all.map(|all| all.concat())
            }
            Test::Always | Test::Compare(..) => None,
        }
    }

    fn facts(&self) -> Vec<Fact> {
        match self {
            Test::Always => Vec::new(),
            Test::All(tests) => tests.iter().flat_map(Test::facts).collect(),
            Test::Any(tests) => facts::either(tests.iter().map(Test::facts))
                .into_iter()
                .collect(),
            Test::Compare(field, comparison) => {
                let text = |text: &String| Box::from(text.as_str());
                let tests = match comparison {
                    Comparison::In(texts) => {
                        texts.iter().map(|is| FactTest::Is(text(is))).collect()
                    }
                    Comparison::StartsWith(start) => vec![FactTest::StartsWith(text(start))],
                    Comparison::EndsWith(end) => vec![FactTest::EndsWith(text(end))],
                };
                vec![Fact {
                    question: Question::of_selector(field.attribute, field.key.as_deref()),
                    tests,
                }]
            }
        }
    }

    fn write(&self, text: &mut String) {
        let list = |name: &str, tests: &[Test], text: &mut String| {
            text.push_str(name);
            text.push('(');
            for (index, test) in tests.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                test.write(text);
            }
            text.push(')');
        };
        match self {
            Test::Always => text.push_str("always"),
            Test::All(tests) => list("and", tests, text),
            Test::Any(tests) => list("or", tests, text),
            Test::Compare(field, comparison) => {
                text.push_str(&field.name);
                if let Some(key) = &field.key {
                    text.push_str(&format!("[{key:?}]"));
                }
                text.push_str(&match comparison {
                    Comparison::In(texts) => format!(" in {texts:?}"),
                    Comparison::StartsWith(start) => format!(" startsWith {start:?}"),
                    Comparison::EndsWith(end) => format!(" endsWith {end:?}"),
                });
            }
        }
    }
}

impl Field {
    fn said<'a>(&self, bag: &AttributeBag<'a>) -> Said<'a> {
        match (bag.value(self.attribute), &self.key) {
            (Some(Value::String(text)), None) => Said::Text(text.into()),
            (Some(Value::Map(map)), Some(key)) => match map.lookup(key) {
                Entry::Value(text) => Said::Text(text),
                Entry::Absent | Entry::Ambiguous => Said::NoKey,
            },
            (Some(_), _) => Said::NoKey,
            (None, _) => Said::Nothing,
        }
    }
}

pub(crate) fn compile(
    parser: &mut Parser,
    vocabulary: &Vocabulary,
    names: &Names,
    source: &str,
) -> Result<Selector, Vec<Problem>> {
    if source.trim() == "always" {
        return Ok(Selector::always());
    }
    let ast = parse::parse(parser, source)?;
    let mut reader = Reader {
        vocabulary,
        names,
        source,
        problems: Vec::new(),
    };
    let test = reader.test(&ast);
    match test.filter(|_| reader.problems.is_empty()) {
        Some(test) => Ok(Selector(test)),
        None => Err(reader.problems),
    }
}

struct Reader<'r> {
    vocabulary: &'r Vocabulary,
    names: &'r Names,
    source: &'r str,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn test(&mut self, ast: &Ast) -> Option<Test> {
        match &ast.kind {
            AstKind::And(terms) => self.all(terms).map(Test::All),
            AstKind::Or(terms) => self.all(terms).map(Test::Any),
            AstKind::Binary(Operator::Equal, sides) => {
                let (field, text) = if sides[0].as_text().is_some() {
                    (&sides[1], &sides[0])
                } else {
                    (&sides[0], &sides[1])
                };
                let (field, text) = (self.field(field), self.literal(text));
                Some(Test::Compare(field?, Comparison::In(vec![text?])))
            }
            AstKind::Binary(Operator::In, sides) => {
                let field = self.field(&sides[0]);
                let texts: Vec<_> = match (&sides[1].kind, self.constant(&sides[1])) {
                    (AstKind::List(elements), _) => elements
                        .iter()
                        .map(|element| self.literal(&element.value))
                        .collect(),
                    (_, Some(Val::List(list))) => list
                        .iter()
                        .map(|item| item.as_str().map(str::to_owned))
                        .collect(),
                    _ => {
                        return self.problem(
                            &sides[1],
                            "`for` compares with a list of literal strings, or an attribute that is one",
                            None,
                        );
                    }
                };
                let mut texts: Vec<String> = texts.into_iter().collect::<Option<_>>()?;
                texts.sort();
                texts.dedup();
                Some(Test::Compare(field?, Comparison::In(texts)))
            }
            AstKind::Call {
                target: Some(target),
                name,
                args,
            } if matches!(&**name, "startsWith" | "endsWith") => {
                let field = self.field(target);
                let [arg] = &args[..] else {
                    return self.problem(ast, format!("`{name}` takes one argument"), None);
                };
                let text = self.literal(arg)?;
                let comparison = if name == "startsWith" {
                    Comparison::StartsWith(text)
                } else {
                    Comparison::EndsWith(text)
                };
                Some(Test::Compare(field?, comparison))
            }
            AstKind::Ident(name) if name == "always" => Some(Test::Always),
            _ => {
                let text = &self.source[ast.whole.clone()];
                let help = "`for` takes `==`, `in`, `startsWith`, `endsWith`, `&&`, `||`, or `always`; put the rest in `when`";
                self.problem(
                    ast,
                    format!("`for` cannot hold `{text}`"),
                    Some(help.to_owned()),
                )
            }
        }
    }

    fn all(&mut self, terms: &[Ast]) -> Option<Vec<Test>> {
        let tests: Vec<Option<Test>> = terms.iter().map(|term| self.test(term)).collect();
        tests.into_iter().collect()
    }

    fn literal(&mut self, ast: &Ast) -> Option<String> {
        match (ast.as_text(), self.constant(ast)) {
            (Some(text), _) => Some(text.to_owned()),
            (None, Some(Val::String(text))) => Some(text.to_string()),
            _ => self.problem(ast, "`for` compares with literal strings", None),
        }
    }

    /// The value of an attribute that is a constant.
    fn constant(&self, ast: &Ast) -> Option<&Val<'static>> {
        let (name, _) = crate::check::dotted(ast).filter(|(_, optional)| !optional)?;
        let attribute = self.vocabulary.by_name(&name)?;
        match &self.names.definitions.get(&attribute.id)?.node {
            Node::Constant(value) => Some(value),
            _ => None,
        }
    }

    fn field(&mut self, ast: &Ast) -> Option<Field> {
        let text = &self.source[ast.whole.clone()];
        let (path, key) = match &ast.kind {
            AstKind::Index {
                operand,
                index,
                optional: false,
            } => (operand.as_ref(), Some(self.literal(index)?)),
            _ => (ast, None),
        };
        let name = crate::check::dotted(path)
            .filter(|(_, optional)| !optional)
            .map(|(name, _)| name);
        let attribute = name
            .as_deref()
            .and_then(|name| self.vocabulary.by_name(name));
        let selector = attribute.filter(|attribute| SELECTORS.contains(&attribute.id));
        let is_map = |attribute: &mixer_attributes::vocabulary::Attribute| {
            attribute.kind == mixer_attributes::vocabulary::Type::Map
        };
        match selector {
            Some(attribute) if is_map(attribute) == key.is_some() => Some(Field {
                attribute: attribute.id,
                name: attribute.name.clone(),
                key,
            }),
            _ => {
                let names: Vec<String> = SELECTORS
                    .iter()
                    .filter_map(|id| self.vocabulary.by_id(*id))
                    .map(|attribute| {
                        format!(
                            "{}{}",
                            attribute.name,
                            if is_map(attribute) { "[\"..\"]" } else { "" }
                        )
                    })
                    .collect();
                let message = if attribute.is_some() && selector.is_none() {
                    format!(
                        "`for` cannot read `{text}`: it selects by what operators configure, not by what a caller sends"
                    )
                } else {
                    format!("`for` cannot read `{text}`")
                };
                let help = format!(
                    "`for` reads {}; anything else stands in `when`",
                    names.join(", ")
                );
                self.problem(ast, message, Some(help))
            }
        }
    }

    fn problem<T>(
        &mut self,
        ast: &Ast,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Option<T> {
        self.problems.push(Problem {
            kind: ProblemKind::Selector,
            span: ast.whole.clone(),
            message: message.into(),
            help,
            replacement: None,
        });
        None
    }
}
