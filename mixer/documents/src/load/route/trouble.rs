//! `retry`, `fault` and `mirror`.

use std::sync::Arc;

use super::Checks;
use crate::fields::{Fields, Shape};
use crate::scalar::{integer, list, percent, scalar, span};
use crate::suggest::nearest;
use crate::yaml::{Node, Value};
use crate::{Code, Fault, Mirror, Retry, RetryOn};

/// `retry`.
pub(crate) const RETRY: Shape = Shape {
    what: "`retry`",
    keys: &["when", "extra", "methods", "per_try", "budget"],
    later: &[],
};

/// `budget`, as a map.
pub(crate) const BUDGET: Shape = Shape {
    what: "`budget`",
    keys: &["share", "floor"],
    later: &[],
};

/// `fault`.
pub(crate) const FAULT: Shape = Shape {
    what: "`fault`",
    keys: &["delay", "abort", "percent", "when"],
    later: &[],
};

/// `mirror`.
pub(crate) const MIRROR: Shape = Shape {
    what: "`mirror`",
    keys: &["to", "percent"],
    later: &[],
};

/// Methods that there are: RFC 9110 and PATCH. Others may be meant.
const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH",
];

impl Checks<'_, '_> {
    pub(super) fn retry(&mut self, node: &Node) -> Option<Retry> {
        let problems = &mut self.context.problems;
        let fields = Fields::of(node, RETRY, problems)?;
        let mut retry = Retry {
            when: Vec::new(),
            extra: 1,
            methods: Retry::METHODS.map(Arc::from).to_vec(),
            per_try: None,
            budget: Retry::BUDGET,
            floor: Retry::FLOOR,
        };
        let help = "such as `when: [connect-failure, refused-stream, \"503\"]`";
        let when = fields.need("when", "`retry` needs `when`", help, problems);
        let when = when.and_then(|node| list(node, "`when`", problems));
        for node in when.unwrap_or_default() {
            let Some(word) = scalar(node, "a condition", problems) else {
                continue;
            };
            match retry_on(&word.text) {
                Some(one) => retry.when.push(one),
                None => {
                    let words = || RetryOn::WORDS.iter().map(|(word, _)| *word);
                    let message = format!("`{}` is nothing to retry on", word.text);
                    let error = problems.error(Code::RetryCondition, node.span, message);
                    match nearest(&word.text, words()) {
                        Some(near) => error.help(format!("did you mean `{near}`?")),
                        None => error.help(format!(
                            "one of {}, or a status such as \"503\"",
                            words().collect::<Vec<_>>().join(", ")
                        )),
                    };
                }
            }
        }
        if let Some(node) = fields.get("extra") {
            retry.extra = integer(node, "`extra`", 1..=10, problems).unwrap_or(1) as u8;
        }
        if let Some(node) = fields.get("methods") {
            let methods = list(node, "`methods`", problems).unwrap_or_default();
            retry.methods.clear();
            for node in methods {
                let Some(method) = scalar(node, "a method", problems) else {
                    continue;
                };
                let text = &*method.text;
                if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_uppercase()) {
                    let message = format!("a method is a word in capitals, not `{text}`");
                    let error = problems.error(Code::UnknownWord, node.span, message);
                    if let Some(near) = nearest(&text.to_ascii_uppercase(), METHODS) {
                        error.help(format!("did you mean `{near}`?"));
                    }
                    continue;
                }
                retry.methods.push(text.into());
            }
        }
        retry.per_try = fields
            .get("per_try")
            .and_then(|node| span(node, "`per_try`", problems));
        match fields.get("budget") {
            Some(node) if matches!(node.value, Value::Map(_)) => {
                let fields = Fields::of(node, BUDGET, problems)?;
                if let Some(node) = fields.get("share") {
                    retry.budget = percent(node, "`share`", problems).unwrap_or(retry.budget);
                }
                if let Some(node) = fields.get("floor") {
                    retry.floor =
                        integer(node, "`floor`", 0..=10_000, problems).unwrap_or(0) as u32;
                }
            }
            Some(node) => {
                retry.budget = percent(node, "`budget`", problems).unwrap_or(retry.budget);
            }
            None => {}
        }
        Some(retry)
    }

    /// One fault, or a list.
    pub(super) fn faults(&mut self, node: &Node) -> Vec<Fault> {
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        items.iter().filter_map(|item| self.fault(item)).collect()
    }

    fn fault(&mut self, node: &Node) -> Option<Fault> {
        let problems = &mut self.context.problems;
        let fields = Fields::of(node, FAULT, problems)?;
        if fields.lacks("delay") && fields.lacks("abort") {
            let message = "a fault needs `delay`, `abort` or both";
            problems.error(Code::MissingKey, fields.span, message);
        }
        let delay = fields
            .get("delay")
            .and_then(|node| span(node, "`delay`", problems));
        let abort = fields.get("abort").and_then(|node| {
            let text = &scalar(node, "`abort`", problems)?.text;
            let status = text
                .parse()
                .ok()
                .filter(|status| (400..=599).contains(status));
            if status.is_none() {
                let message = format!("`abort` is a status from 400 to 599, not `{text}`");
                problems.error(Code::Status, node.span, message);
            }
            status
        });
        let share = fields
            .get("percent")
            .and_then(|node| percent(node, "`percent`", problems));
        Some(Fault {
            delay,
            abort,
            percent: share.unwrap_or(100.0),
            when: self.condition(fields.get("when")),
        })
    }

    pub(super) fn mirror(&mut self, node: &Node) -> Option<Mirror> {
        let problems = &mut self.context.problems;
        let fields = Fields::of(node, MIRROR, problems)?;
        let share = fields
            .get("percent")
            .and_then(|node| percent(node, "`percent`", problems));
        let help = "the subset that gets the copies";
        let to = fields.need("to", "`mirror` needs `to`", help, problems)?;
        let to_name = scalar(to, "`to`", problems)?.text.as_str();
        self.subset(to_name, to.span);
        Some(Mirror {
            to: to_name.into(),
            percent: share.unwrap_or(100.0),
        })
    }
}

fn retry_on(text: &str) -> Option<RetryOn> {
    let word = RetryOn::WORDS.iter().find(|(word, _)| *word == text);
    let status = || {
        let three = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|status| three && (400..=599).contains(status))
    };
    word.map(|(_, one)| *one)
        .or_else(|| status().map(RetryOn::Status))
}
