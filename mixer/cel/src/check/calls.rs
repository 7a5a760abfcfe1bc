//! Calls: which function is meant, which of its signatures fits, and the forms that are compiled to nodes of their own.

use std::ops::Range;

use super::names::closest;
use super::resolve::dotted;
use super::{Checker, Typed};
use crate::functions::{Function, parse_cidr, parse_duration, parse_ip, parse_timestamp};
use crate::node::{Node, TextTest};
use crate::pattern::Pattern;
use crate::tree::Ast;
use crate::{EvalError, Kind, ProblemKind, Val};

/// Names that look like functions and are compiled to nodes of their own, with their style.
const FORMS: [(&str, bool); 18] = [
    ("has", false),
    ("matches", true),
    ("all", true),
    ("exists", true),
    ("exists_one", true),
    ("existsOne", true),
    ("map", true),
    ("filter", true),
    ("transformList", true),
    ("transformMap", true),
    ("transformMapEntry", true),
    ("sortBy", true),
    ("or", true),
    ("orValue", true),
    ("optMap", true),
    ("optFlatMap", true),
    ("cel.bind", false),
    ("matches", false),
];

impl Checker<'_> {
    pub(super) fn call(
        &mut self,
        ast: &Ast,
        target: Option<&Ast>,
        name: &str,
        args: &[Ast],
    ) -> Option<Typed> {
        let Some(target) = target else {
            let name = name.trim_start_matches('.');
            return match name {
                "has" => self.has(ast, args),
                "matches" => match args {
                    [target, pattern] => self.matches(target, pattern),
                    _ => self.problem_of(
                        ProblemKind::Call,
                        &ast.at,
                        "`matches` takes a text and a pattern",
                        None,
                    ),
                },
                _ => self.function(ast, name, false, args.iter().collect()),
            };
        };
        // `math.greatest(..)` is a function with a namespace, unless `math` names a value.
        if let Some((space, _)) = dotted(target).filter(|(space, _)| !self.is_local(space)) {
            let full = format!("{}.{name}", space.trim_start_matches('.'));
            if full == "cel.bind" {
                return self.bind(ast, args);
            }
            if full == "math.greatest" || full == "math.least" {
                return self.extreme(ast, &full, args);
            }
            if Function::named(&full, false).is_some() {
                return self.function(ast, &full, false, args.iter().collect());
            }
            if matches!(
                &*space,
                "math"
                    | "strings"
                    | "optional"
                    | "base64"
                    | "cel"
                    | "lists"
                    | "sets"
                    | "regex"
                    | "ip"
                    | "net"
            ) {
                return self.unsupported(&ast.at, &full, false);
            }
        }
        match (name, args) {
            ("matches", [pattern]) => self.matches(target, pattern),
            ("or" | "orValue", [other]) => self.or_else(ast, target, other, name == "orValue"),
            ("optMap" | "optFlatMap", [name_of, body]) => {
                self.optional_map(ast, target, name_of, body, name == "optFlatMap")
            }
            _ => match self.macro_call(ast, target, name, args) {
                Some(checked) => checked,
                None => self.function(ast, name, true, [target].into_iter().chain(args).collect()),
            },
        }
    }

    /// Whether the first part of a name stands for a value that is given beside the request.
    fn is_local(&self, name: &str) -> bool {
        let root = name.split('.').next().unwrap_or_default();
        self.scope.iter().any(|(held, _)| held == root)
            || self.names.variables.iter().any(|(held, _)| **held == *root)
    }

    /// A call of the library.
    fn function(&mut self, ast: &Ast, name: &str, member: bool, args: Vec<&Ast>) -> Option<Typed> {
        let Some(function) = Function::named(name, member) else {
            if self.names.unchecked {
                return Some(self.unbound(name));
            }
            // Problems in the arguments are worth knowing at the same time.
            for arg in &args {
                self.check(arg);
            }
            return self.unsupported(&ast.at, name, member);
        };
        let mut typed = Vec::with_capacity(args.len());
        for arg in &args {
            typed.push(self.check(arg));
        }
        let typed: Vec<Typed> = typed.into_iter().collect::<Option<_>>()?;
        let kinds: Vec<&Kind> = typed.iter().map(|arg| &arg.kind).collect();
        let Some(kind) = self.overload(function, &kinds) else {
            return self.no_overload(ast, function, member, &args, &kinds);
        };
        if let ([literal], Some(text)) = (&*args, args.first().and_then(|arg| arg.as_text())) {
            let parsed = match name {
                "ip" => Some(parse_ip(text).map(Val::Ip)),
                "cidr" => Some(parse_cidr(text).map(|(address, bits)| Val::Cidr(address, bits))),
                "timestamp" => Some(parse_timestamp(text).map(Val::Timestamp)),
                "duration" => Some(parse_duration(text).map(Val::Duration)),
                _ => None,
            };
            match parsed {
                Some(Ok(value)) => {
                    return Some(Typed {
                        node: Node::Constant(value),
                        kind,
                    });
                }
                Some(Err(EvalError::Invalid(_, reason))) => {
                    return self.problem_of(ProblemKind::Literal, &literal.whole, reason, None);
                }
                Some(Err(error)) => {
                    return self.problem_of(
                        ProblemKind::Literal,
                        &literal.whole,
                        error.to_string(),
                        None,
                    );
                }
                None => {}
            }
        }
        let mut nodes: Vec<Node> = typed.into_iter().map(|arg| arg.node).collect();
        let node = match (name, &mut *nodes) {
            ("hasValue", [Node::Find(_)]) => match nodes.remove(0) {
                Node::Find(path) => Node::Has(path),
                other => other,
            },
            ("startsWith" | "endsWith" | "contains", [_, Node::Constant(Val::String(text))]) => {
                let text = (**text).into();
                let operand = Box::new(nodes.remove(0));
                match name {
                    "startsWith" => Node::Text(operand, TextTest::StartsWith(text)),
                    "endsWith" => Node::Text(operand, TextTest::EndsWith(text)),
                    _ => Node::Text(operand, TextTest::Contains(text)),
                }
            }
            ("dyn", [_]) => nodes.remove(0),
            _ => Node::Call(function, nodes.into()),
        };
        Some(Typed { node, kind })
    }

    /// The type of the result; `None` when no signature fits.
    fn overload(&self, function: Function, kinds: &[&Kind]) -> Option<Kind> {
        let mut result: Option<Kind> = None;
        for (sorts, sort) in function.signatures() {
            let mut a = None;
            let fits = sorts.len() == kinds.len()
                && sorts
                    .iter()
                    .zip(kinds)
                    .all(|(sort, kind)| sort.admits(kind, &mut a));
            if fits {
                let kind = sort.kind(&a);
                result = Some(result.map_or(kind.clone(), |result| result.join(kind)));
            }
        }
        let arity = function
            .signatures()
            .iter()
            .any(|(sorts, _)| sorts.len() == kinds.len());
        result.or_else(|| (self.names.unchecked && arity).then_some(Kind::Dyn))
    }

    fn no_overload<T>(
        &mut self,
        ast: &Ast,
        function: Function,
        member: bool,
        args: &[&Ast],
        kinds: &[&Kind],
    ) -> Option<T> {
        let name = function.name();
        let first = usize::from(member);
        let arities: Vec<usize> = function
            .signatures()
            .iter()
            .map(|(sorts, _)| sorts.len() - first)
            .collect();
        if !arities.contains(&(args.len() - first)) {
            let (least, most) = (
                arities.iter().min().copied().unwrap_or(0),
                arities.iter().max().copied().unwrap_or(0),
            );
            let takes = if least == most {
                least.to_string()
            } else {
                format!("{least} to {most}")
            };
            let message = format!(
                "`{name}` takes {takes} arguments, this call has {}",
                args.len() - first
            );
            return self.problem_of(ProblemKind::Call, &ast.at, message, None);
        }
        // The first argument no signature of this length takes is to blame; else the combination is.
        let fitting = || {
            function
                .signatures()
                .iter()
                .filter(|(sorts, _)| sorts.len() == kinds.len())
        };
        let to_blame = (0..kinds.len())
            .find(|at| !fitting().any(|(sorts, _)| sorts[*at].admits(kinds[*at], &mut None)));
        let mut wanted: Vec<String> = Vec::new();
        if let Some(at) = to_blame {
            for (sorts, _) in fitting() {
                let kind = sorts[at].kind(&None).to_string();
                if !wanted.contains(&kind) {
                    wanted.push(kind);
                }
            }
        }
        let (span, message) = match to_blame {
            Some(at) => {
                let place = if member && at == 0 {
                    "is called on".to_owned()
                } else {
                    "takes".to_owned()
                };
                (
                    args[at].whole.clone(),
                    format!(
                        "`{name}` {place} {}; this is {}",
                        list(&wanted),
                        kinds[at].a()
                    ),
                )
            }
            None => {
                let kinds: Vec<String> = kinds.iter().map(|kind| kind.to_string()).collect();
                (
                    ast.at.clone(),
                    format!("`{name}` does not take ({})", kinds.join(", ")),
                )
            }
        };
        let help = match to_blame.map(|at| kinds[at]) {
            Some(Kind::Ip) if wanted == ["string"] => Some(
                "an address is no text: `string(..)`, or `cidr(\"10.0.0.0/8\").containsIP(..)`"
                    .to_owned(),
            ),
            Some(Kind::Optional(_)) => Some("add `.orValue(..)`".to_owned()),
            Some(kind) if kind.is_number() && wanted == ["string"] => {
                Some("`string(..)` makes text of a number".to_owned())
            }
            _ => None,
        };
        self.problem(&span, message, help)
    }

    fn unsupported<T>(&mut self, span: &Range<usize>, name: &str, member: bool) -> Option<T> {
        let forms = FORMS
            .iter()
            .filter(|(_, style)| *style == member)
            .map(|(form, _)| *form);
        let known = Function::names(member).chain(forms);
        let other_style = Function::named(name, !member).is_some();
        let help = match closest(name, known) {
            Some(meant) if meant != name => Some(format!("did you mean `{meant}`?")),
            _ if other_style && member => Some(format!("write `{name}(..)`")),
            _ if other_style => Some(format!("write `x.{name}(..)`")),
            _ => None,
        };
        self.problem_of(
            ProblemKind::Unsupported,
            span,
            format!("unsupported: there is no function `{name}` here"),
            help,
        )
    }

    /// `text.matches("pattern")`: the pattern is compiled now.
    fn matches(&mut self, target: &Ast, pattern: &Ast) -> Option<Typed> {
        let typed = self.check(target);
        let Some(text) = pattern.as_text() else {
            let pattern_kind = self.check(pattern)?;
            if !Kind::String.admits(&pattern_kind.kind) && !self.names.unchecked {
                let message = format!(
                    "`matches` takes a pattern; this is {}",
                    pattern_kind.kind.a()
                );
                return self.problem(&pattern.whole, message, None);
            }
            let help = "write the pattern as a literal, so that it is compiled and checked at load"
                .to_owned();
            return self.problem_of(
                ProblemKind::Unsupported,
                &pattern.whole,
                "unsupported: a pattern that is not a literal",
                Some(help),
            );
        };
        let compiled = match Pattern::compile(text) {
            Ok(pattern) => pattern,
            Err(reason) => {
                return self.problem_of(ProblemKind::Literal, &pattern.whole, reason, None);
            }
        };
        let typed = typed?;
        if !Kind::String.admits(&typed.kind) && !self.names.unchecked {
            let message = format!(
                "`matches` is called on a string; this is {}",
                typed.kind.a()
            );
            return self.problem(&target.whole, message, None);
        }
        Some(Typed {
            node: Node::Text(Box::new(typed.node), TextTest::Matches(Box::new(compiled))),
            kind: Kind::Bool,
        })
    }

    /// `math.greatest` and `math.least` take any number of arguments: a list is made of them.
    fn extreme(&mut self, ast: &Ast, name: &str, args: &[Ast]) -> Option<Typed> {
        let Some(function) = Function::named(name, false) else {
            return self.unsupported(&ast.at, name, false);
        };
        let mut nodes = Vec::with_capacity(args.len());
        let mut kinds: Vec<Kind> = Vec::with_capacity(args.len());
        for arg in args {
            let typed = self.check(arg)?;
            let single_list = args.len() == 1 && matches!(typed.kind, Kind::List(_));
            if !typed.kind.is_number()
                && typed.kind != Kind::Dyn
                && !single_list
                && !self.names.unchecked
            {
                return self.problem(
                    &arg.whole,
                    format!("`{name}` takes numbers; this is {}", typed.kind.a()),
                    None,
                );
            }
            kinds.push(typed.kind);
            nodes.push((false, typed.node));
        }
        let kind = match &*kinds {
            [] => {
                return self.problem_of(
                    ProblemKind::Call,
                    &ast.at,
                    format!("`{name}` takes at least one argument"),
                    None,
                );
            }
            [Kind::List(item)] => (**item).clone(),
            [first, rest @ ..] if rest.iter().all(|kind| kind == first) => first.clone(),
            _ => Kind::Dyn,
        };
        let single_list = matches!(&*kinds, [Kind::List(_)]);
        let list = match nodes.pop() {
            Some((_, list)) if single_list => list,
            last => {
                nodes.extend(last);
                Node::List(nodes.into())
            }
        };
        Some(Typed {
            node: Node::Call(function, [list].into()),
            kind,
        })
    }
}

fn list(wanted: &[String]) -> String {
    let with_article: Vec<String> = wanted
        .iter()
        .map(|kind| {
            format!(
                "{} {kind}",
                if kind.starts_with(['a', 'e', 'i', 'o']) {
                    "an"
                } else {
                    "a"
                }
            )
        })
        .collect();
    match &*with_article {
        [all @ .., last] if !all.is_empty() => format!("{} or {last}", all.join(", ")),
        [one] => one.clone(),
        _ => "something else".to_owned(),
    }
}
