//! The parser's tree to ours: chains of `&&` and `||` flat again, operators by kind, every node with its bytes in the source.
//!
//! Runs on the parser's thread, since the parser's tree is as deep as a text can make it.

use std::ops::Range;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators};

use super::tokens::{self, Token, TokenKind};
use super::{DEPTH, NODES, problem};
use crate::tree::{Ast, AstKind, Element, Entry, Literal, Operator};
use crate::{Problem, ProblemKind};

pub(super) fn convert(
    source: &str,
    tokens: &[Token],
    places: &SourceInfo,
    tree: IdedExpr,
) -> Result<Ast, Problem> {
    // The parser counts characters.
    let mut bytes: Vec<usize> = source.char_indices().map(|(at, _)| at).collect();
    bytes.push(source.len());
    let mut converter = Converter {
        source,
        tokens,
        places,
        bytes,
        nodes: 0,
    };
    converter.ast(tree, 0)
}

struct Converter<'s> {
    source: &'s str,
    tokens: &'s [Token],
    places: &'s SourceInfo,
    bytes: Vec<usize>,
    nodes: usize,
}

impl Converter<'_> {
    fn ast(&mut self, tree: IdedExpr, depth: usize) -> Result<Ast, Problem> {
        let token = self.token(tree.id);
        let at = self.tokens[token].span.clone();
        self.nodes += 1;
        if self.nodes > NODES {
            return Err(
                problem(at, format!("the expression has more than {NODES} parts"))
                    .of(ProblemKind::Limit),
            );
        }
        if depth >= DEPTH {
            return Err(
                problem(at, format!("the expression is nested deeper than {DEPTH}"))
                    .of(ProblemKind::Limit),
            );
        }
        let below = depth + 1;
        match tree.expr {
            Expr::Literal(literal) => {
                // The sign of a negative literal is a token of its own.
                let signed = matches!(&literal, LiteralValue::Int(v) if *v.inner() < 0)
                    || matches!(&literal, LiteralValue::Double(v) if v.inner().is_sign_negative());
                let at = if signed
                    && token > 0
                    && self.text(token) != "-"
                    && self.text(token - 1) == "-"
                {
                    self.tokens[token - 1].span.start..at.end
                } else {
                    at
                };
                Ok(Ast {
                    whole: at.clone(),
                    at,
                    kind: AstKind::Literal(convert_literal(literal)),
                })
            }
            Expr::Ident(name) => {
                let start = if name.starts_with('.') && token > 0 {
                    self.tokens[token - 1].span.start
                } else {
                    at.start
                };
                let whole = start..at.end;
                Ok(Ast {
                    at: whole.clone(),
                    whole,
                    kind: AstKind::Ident(name),
                })
            }
            Expr::Select(select) => {
                let operand = self.ast(*select.operand, below)?;
                self.select(token, operand, select.field, false)
            }
            Expr::Call(call) => self.call(token, at, call, depth),
            Expr::List(list) => {
                let optional = list.optional_indices;
                let elements = list.elements.into_iter().enumerate().map(|(index, value)| {
                    Ok(Element {
                        optional: optional.contains(&index),
                        value: self.ast(value, below)?,
                    })
                });
                let elements = elements.collect::<Result<_, Problem>>()?;
                let whole = at.start..self.closing(token);
                Ok(Ast {
                    at: whole.clone(),
                    whole,
                    kind: AstKind::List(elements),
                })
            }
            Expr::Map(map) => {
                let mut entries = Vec::with_capacity(map.entries.len());
                for entry in map.entries {
                    let EntryExpr::MapEntry(entry) = entry.expr else {
                        return Err(problem(at, "a map has keys and values".to_owned()));
                    };
                    let (key, value) = (self.ast(entry.key, below)?, self.ast(entry.value, below)?);
                    entries.push(Entry {
                        optional: entry.optional,
                        key,
                        value,
                    });
                }
                let whole = at.start..self.closing(token);
                Ok(Ast {
                    at: whole.clone(),
                    whole,
                    kind: AstKind::Map(entries),
                })
            }
            Expr::Struct(message) => {
                // The parser places it at its brace; the dotted name stands before.
                let names = message.type_name.split('.').count() * 2 - 1;
                let start = self.tokens[token.saturating_sub(names)].span.start;
                let whole = start..self.closing(token);
                let kind = AstKind::Struct(message.type_name);
                Ok(Ast {
                    at: whole.clone(),
                    whole,
                    kind,
                })
            }
            Expr::Comprehension(_) | Expr::Unspecified => {
                Err(problem(at, "this is not an expression".to_owned()))
            }
        }
    }

    fn call(
        &mut self,
        token: usize,
        at: Range<usize>,
        call: CallExpr,
        depth: usize,
    ) -> Result<Ast, Problem> {
        let CallExpr {
            func_name,
            target,
            args,
        } = call;
        let below = depth + 1;
        let connective = matches!(
            func_name.as_str(),
            operators::LOGICAL_AND | operators::LOGICAL_OR
        );
        if connective {
            let mut terms = Vec::new();
            for arg in args {
                self.terms(&func_name, arg, depth, &mut terms)?;
            }
            let whole = span_of(&terms);
            let kind = if func_name == operators::LOGICAL_AND {
                AstKind::And(terms)
            } else {
                AstKind::Or(terms)
            };
            return Ok(Ast { at, whole, kind });
        }
        let target = target.map(|target| self.ast(*target, below)).transpose()?;
        let mut args = args
            .into_iter()
            .map(|arg| self.ast(arg, below))
            .collect::<Result<Vec<_>, _>>()?;
        let kind = match (func_name.as_str(), args.len()) {
            (operators::CONDITIONAL, 3) => {
                let whole = span_of(&args);
                let Ok(parts) = <[Ast; 3]>::try_from(args) else {
                    unreachable!("its length was matched")
                };
                return Ok(Ast {
                    at,
                    whole,
                    kind: AstKind::Conditional(Box::new(parts)),
                });
            }
            (operators::LOGICAL_NOT | operators::NEGATE, 1) => {
                let operand = Box::new(args.remove(0));
                let whole = at.start..operand.whole.end;
                let not = func_name == operators::LOGICAL_NOT;
                return Ok(Ast {
                    at,
                    whole,
                    kind: if not {
                        AstKind::Not(operand)
                    } else {
                        AstKind::Negate(operand)
                    },
                });
            }
            (operators::OPT_SELECT, 2) => {
                let field = args.remove(1);
                let field = field.as_text().unwrap_or_default().to_owned();
                return self.select(token, args.remove(0), field, true);
            }
            (operators::INDEX | operators::OPT_INDEX, 2) => {
                let index = Box::new(args.remove(1));
                let operand = Box::new(args.remove(0));
                let whole = operand.whole.start..self.closing(token);
                let optional = func_name == operators::OPT_INDEX;
                return Ok(Ast {
                    at: index.whole.clone(),
                    whole,
                    kind: AstKind::Index {
                        operand,
                        index,
                        optional,
                    },
                });
            }
            (name, 2) if target.is_none() => match operator(name) {
                Some(operator) => {
                    let whole = span_of(&args);
                    let Ok(sides) = <[Ast; 2]>::try_from(args) else {
                        unreachable!("its length was matched")
                    };
                    return Ok(Ast {
                        at,
                        whole,
                        kind: AstKind::Binary(operator, Box::new(sides)),
                    });
                }
                None => AstKind::Call {
                    target: None,
                    name: func_name,
                    args,
                },
            },
            _ => AstKind::Call {
                target: target.map(Box::new),
                name: func_name,
                args,
            },
        };
        // The parser places calls at their parenthesis; the name stands before it.
        let name = if token > 0 {
            self.tokens[token - 1].span.clone()
        } else {
            at
        };
        let start = match &kind {
            AstKind::Call {
                target: Some(target),
                ..
            } => target.whole.start,
            _ => name.start,
        };
        Ok(Ast {
            at: name,
            whole: start..self.closing(token),
            kind,
        })
    }

    /// The parser balances chains of one connective; in the order written they are one list.
    fn terms(
        &mut self,
        connective: &str,
        tree: IdedExpr,
        depth: usize,
        terms: &mut Vec<Ast>,
    ) -> Result<(), Problem> {
        match tree.expr {
            Expr::Call(call) if call.func_name == connective && call.target.is_none() => {
                for arg in call.args {
                    self.terms(connective, arg, depth, terms)?;
                }
            }
            _ => terms.push(self.ast(tree, depth + 1)?),
        }
        Ok(())
    }

    fn select(
        &mut self,
        dot: usize,
        operand: Ast,
        field: String,
        optional: bool,
    ) -> Result<Ast, Problem> {
        let name = (dot + 1 + usize::from(optional)).min(self.tokens.len() - 1);
        let at = self.tokens[name].span.clone();
        let whole = operand.whole.start..at.end;
        Ok(Ast {
            at,
            whole,
            kind: AstKind::Select {
                operand: Box::new(operand),
                field,
                optional,
            },
        })
    }

    fn token(&self, id: u64) -> usize {
        let start = self
            .places
            .offset_for(id)
            .map_or(0, |(start, _)| start as usize);
        let start = self.bytes.get(start).copied().unwrap_or(0);
        tokens::at(self.tokens, start).unwrap_or(self.tokens.len() - 1)
    }

    fn text(&self, token: usize) -> &str {
        &self.source[self.tokens[token].span.clone()]
    }

    /// Where the bracket that `token` opens ends.
    fn closing(&self, token: usize) -> usize {
        match self.tokens[token].kind {
            TokenKind::Open(close) => self.tokens[close].span.end,
            _ => self.tokens[token].span.end,
        }
    }
}

fn span_of(parts: &[Ast]) -> Range<usize> {
    parts.first().map_or(0, |part| part.whole.start)..parts.last().map_or(0, |part| part.whole.end)
}

fn operator(name: &str) -> Option<Operator> {
    Some(match name {
        operators::EQUALS => Operator::Equal,
        operators::NOT_EQUALS => Operator::NotEqual,
        operators::LESS => Operator::Less,
        operators::LESS_EQUALS => Operator::LessEqual,
        operators::GREATER => Operator::Greater,
        operators::GREATER_EQUALS => Operator::GreaterEqual,
        operators::IN => Operator::In,
        operators::ADD => Operator::Add,
        operators::SUBSTRACT => Operator::Subtract,
        operators::MULTIPLY => Operator::Multiply,
        operators::DIVIDE => Operator::Divide,
        operators::MODULO => Operator::Modulo,
        _ => return None,
    })
}

fn convert_literal(literal: LiteralValue) -> Literal {
    match literal {
        LiteralValue::Null => Literal::Null,
        LiteralValue::Boolean(bit) => Literal::Bool(bit.into_inner()),
        LiteralValue::Int(number) => Literal::Int(number.into_inner()),
        LiteralValue::UInt(number) => Literal::Uint(number.into_inner()),
        LiteralValue::Double(number) => Literal::Double(number.into_inner()),
        LiteralValue::String(text) => Literal::String(text.into_inner()),
        LiteralValue::Bytes(bytes) => Literal::Bytes(bytes.into_inner()),
    }
}
