//! The explanation, as text: the policies that apply, each rule line by line, the quotas, and the decision.

use std::fmt::Write;
use std::time::Duration;

use mixer_adapter::Instance;
use mixer_attributes::{AttributeBag, Entry, Value, Vocabulary};
use mixer_cel::{Evaluation, Expression, Reference};
use mixer_documents::{At, Condition, Mode, Otherwise, Policy, Rule, RuleKind};

use crate::dispatch::{Charge, Decision, Dispatcher, ShadowVerdict, Verdict};
use crate::testing::described;

/// How long the whole may take: an operator waits, no proxy does.
const LEFT: Duration = Duration::from_secs(5);

/// What `bag` would meet.
pub(super) async fn story(dispatcher: &Dispatcher, at: At, bag: &AttributeBag<'_>) -> String {
    let mut story = Story {
        dispatcher,
        bag,
        text: String::new(),
    };
    let set = &dispatcher.snapshot().set;
    let applicable = set.applicable(at, bag);
    let side = match at {
        At::Inbound => "inbound",
        At::Outbound => "outbound",
    };
    let groups = [
        ("guard", &applicable.guards),
        ("policy", &applicable.pool),
        ("shadow policy", &applicable.shadow),
    ];
    let _ = writeln!(
        story.text,
        "policies that apply ({side}, revision {}):",
        dispatcher.snapshot().scope(at, bag).revision
    );
    if groups.iter().all(|(_, members)| members.is_empty()) {
        story.line(1, "none");
    }
    for (what, members) in groups {
        for policy in members {
            story.policy(what, &set.policies[*policy]).await;
        }
    }
    let decision = dispatcher.check(bag, LEFT).await;
    let enforced = (decision.verdict, decision.because);
    let shadows = dispatcher.shadow(bag, enforced, LEFT).await;
    story.decision(&decision, &shadows);
    story.text
}

struct Story<'s> {
    dispatcher: &'s Dispatcher,
    bag: &'s AttributeBag<'s>,
    text: String,
}

impl Story<'_> {
    fn line(&mut self, depth: usize, text: &str) {
        let _ = writeln!(self.text, "{:width$}{text}", "", width = 2 * depth);
    }

    async fn policy(&mut self, what: &str, policy: &Policy) {
        let place = self
            .dispatcher
            .snapshot()
            .set
            .warnings
            .sources
            .place(policy.span);
        self.line(1, &format!("{what} {} ({place})", policy.name));
        for rule in &policy.rules {
            self.rule(rule).await;
        }
        match &policy.otherwise {
            Some(Otherwise::Allow { .. }) => self.line(2, "otherwise: allow"),
            Some(Otherwise::Deny { sentence, .. }) => {
                self.line(2, &format!("otherwise: deny: {sentence}"))
            }
            None => {}
        }
        for quota in &policy.quotas {
            self.line(
                2,
                &format!("quota: {}{}", quota.sentence, shadow(quota.mode)),
            );
            self.condition("when", &quota.when);
            for key in &quota.key {
                self.expression("key", key);
            }
            for (name, expression) in [("by", &quota.limit.by), ("cost", &quota.cost)] {
                if let Some(expression) = expression {
                    self.expression(name, expression);
                }
            }
        }
    }

    async fn rule(&mut self, rule: &Rule) {
        let kind = match rule.kind {
            RuleKind::Deny => "deny",
            RuleKind::Require => "require",
            RuleKind::Allow => "allow",
        };
        self.line(
            2,
            &format!("{kind}: {}{}", rule.sentence, shadow(rule.mode)),
        );
        self.condition("when", &rule.when);
        if let Some(that) = &rule.that {
            self.condition("that", that);
        }
        let Some(ask) = &rule.ask else { return };
        let snapshot = self.dispatcher.snapshot();
        let adapter = &snapshot.adapters[ask.adapter];
        let mut inputs = Vec::new();
        for (input, expression) in snapshot.set.adapters[ask.adapter]
            .inputs
            .iter()
            .zip(&ask.with)
        {
            self.expression(&input.name, expression);
            let mut evaluation = Evaluation::new(self.bag, &snapshot.set.references);
            let value = expression
                .evaluate(&mut evaluation)
                .ok()
                .and_then(|value| value.to_owned_value());
            inputs.extend(value);
        }
        let answer = if inputs.len() < ask.with.len() {
            "is not asked: an input has no value".to_owned()
        } else {
            match adapter.check(&Instance { values: &inputs }, LEFT).await {
                Ok(answer) if answer.matched => "answers: match".to_owned(),
                Ok(_) => "answers: no match".to_owned(),
                Err(why) => format!("could not be asked: {}", why.reason),
            }
        };
        self.line(3, &format!("{} {answer}", adapter.name()));
    }

    fn condition(&mut self, name: &str, condition: &Condition) {
        for (line, _) in &condition.lines {
            self.expression(name, line);
        }
    }

    /// An expression, its value, and below it what it read.
    fn expression(&mut self, name: &str, expression: &Expression) {
        let set = &self.dispatcher.snapshot().set;
        let mut evaluation = Evaluation::new(self.bag, &set.references);
        let value = match expression.evaluate(&mut evaluation) {
            Ok(value) => value.to_text(),
            Err(error) => format!("cannot decide: {error}"),
        };
        self.line(3, &format!("{name} {} -> {value}", expression.source()));
        for (reference, _) in evaluation.referenced() {
            let read = format!(
                "{} = {}",
                name_of(&reference, &set.vocabulary),
                value_of(&reference, self.bag)
            );
            self.line(4, &read);
        }
    }

    fn decision(&mut self, decision: &Decision, shadows: &[ShadowVerdict]) {
        let _ = writeln!(self.text, "decision: {}", described(decision));
        if decision.verdict == Verdict::Deny {
            let status = format!(
                "HTTP {}, grpc-status {}: {}",
                decision.http_status, decision.grpc_status, decision.message
            );
            self.line(1, &status);
        }
        if let Some(location) = &decision.location {
            self.line(1, &format!("location: {location}"));
        }
        for header in decision.headers.iter().chain(&decision.reply_headers) {
            let value = header
                .value
                .as_deref()
                .map_or("removed".to_owned(), |value| format!("set to {value:?}"));
            self.line(1, &format!("header {}: {value}", header.name));
        }
        if let Some(body) = &decision.body {
            self.line(
                1,
                &format!("body, {}: {}", body.content_type, body.text.trim_end()),
            );
        }
        for Charge {
            quota,
            key,
            cost,
            limit,
            shadow,
            ..
        } in &decision.charges
        {
            let shadow = if *shadow { " (shadow)" } else { "" };
            let limit = format!("{} in {:?}", limit.amount, limit.window);
            self.line(
                1,
                &format!("charges {cost} of {limit} to {quota} {key:?}{shadow}"),
            );
        }
        for shadow in shadows {
            let would = match shadow.would {
                Some((Verdict::Allow, _)) => "allow",
                Some((Verdict::Deny, _)) => "deny",
                None => continue,
            };
            self.line(
                1,
                &format!(
                    "shadow: \"{}\" of policy {} would {would}",
                    shadow.rule, shadow.policy
                ),
            );
        }
        let vocabulary = &self.dispatcher.snapshot().set.vocabulary;
        let names: Vec<String> = decision
            .referenced
            .iter()
            .map(|(reference, _)| name_of(reference, vocabulary))
            .collect();
        let uses = match (decision.valid_for, decision.valid_uses) {
            (Some(Duration::ZERO), _) | (_, 1) => "holds for this request only".to_owned(),
            (Some(span), _) => format!("holds for {span:?} for requests equal in"),
            (None, _) => "holds for requests equal in".to_owned(),
        };
        self.line(1, &format!("{uses}: {}", names.join(", ")));
    }
}

fn shadow(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "",
        Mode::Shadow => " (shadow)",
    }
}

fn name_of(reference: &Reference, vocabulary: &Vocabulary) -> String {
    let name = vocabulary
        .by_id(reference.attribute)
        .map_or("?", |attribute| attribute.name.as_str());
    match &reference.key {
        Some(key) => format!("{name}[{key:?}]"),
        None => name.to_owned(),
    }
}

fn value_of(reference: &Reference, bag: &AttributeBag<'_>) -> String {
    const ABSENT: &str = "(not known)";
    match (bag.value(reference.attribute), &reference.key) {
        (None, _) => ABSENT.to_owned(),
        (Some(value), None) => value.to_string(),
        (Some(Value::Map(map)), Some(key)) => match map.lookup(key) {
            Entry::Value(value) => format!("{value:?}"),
            Entry::Ambiguous => "(given twice)".to_owned(),
            Entry::Absent => ABSENT.to_owned(),
        },
        (Some(Value::Dynamic(tree)), Some(key)) => tree
            .member(key)
            .map_or(ABSENT.to_owned(), |member| format!("{member:?}")),
        (Some(value), Some(_)) => value.to_string(),
    }
}
