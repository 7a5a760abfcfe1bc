//! Evaluating what there is to tell: every expression alone, with what it read.

use mixer_attributes::AttributeBag;
use mixer_cel::{Evaluation, Expression, Reference};
use mixer_documents::{Condition, Mode, Otherwise, PolicySet, Quota, Span};

use super::words::{because, name_of, place, summary, value_of, verdict};
use super::{
    BodyStory, ChargeStory, DecisionStory, Line, OtherwiseStory, PolicyStory, QuotaStory,
    ReadStory, ShadowStory,
};
use crate::dispatch::{Charge, Decision, Dispatcher, ShadowVerdict};

/// Evaluates what there is to tell.
pub(super) struct Teller<'t> {
    pub(super) dispatcher: &'t Dispatcher,
    pub(super) set: &'t PolicySet,
    pub(super) bag: &'t AttributeBag<'t>,
    pub(super) tcp: bool,
    pub(super) decision: &'t Decision,
}

impl Teller<'_> {
    pub(super) fn place(&self, span: Span) -> String {
        self.set.warnings.sources.place(span)
    }

    pub(super) async fn policy(&self, group: &'static str, at: usize) -> PolicyStory {
        let policy = &self.set.policies[at];
        let mut rules = Vec::with_capacity(policy.rules.len());
        for rule in &policy.rules {
            rules.push(self.rule(rule).await);
        }
        let otherwise = policy.otherwise.as_ref().map(|otherwise| match otherwise {
            Otherwise::Allow { span } => OtherwiseStory {
                denies: false,
                sentence: "otherwise".into(),
                place: self.place(*span),
            },
            Otherwise::Deny { sentence, span, .. } => OtherwiseStory {
                denies: true,
                sentence: sentence.clone(),
                place: self.place(*span),
            },
        });
        let quotas = policy.quotas.iter().enumerate();
        PolicyStory {
            policy: policy.name.clone(),
            place: self.place(policy.span),
            group,
            rules,
            otherwise,
            quotas: quotas
                .map(|(within, quota)| self.quota((at, within), quota))
                .collect(),
        }
    }

    fn quota(&self, place: (usize, usize), quota: &Quota) -> QuotaStory {
        let mut lines = self.condition("when", &quota.when);
        lines.extend(quota.key.iter().map(|key| self.line("key", key, None)));
        for (role, expression) in [("by", &quota.limit.by), ("cost", &quota.cost)] {
            lines.extend(
                expression
                    .iter()
                    .map(|expression| self.line(role, expression, None)),
            );
        }
        let mut charges = self.decision.charges.iter();
        QuotaStory {
            quota: quota.sentence.clone(),
            place: self.place(quota.span),
            shadow: quota.mode == Mode::Shadow,
            lines,
            charge: charges
                .find(|charge| charge.place == place)
                .map(ChargeStory::of),
        }
    }

    pub(super) fn condition(&self, role: &str, condition: &Condition) -> Vec<Line> {
        let lines = condition.lines.iter();
        lines
            .map(|(line, span)| self.line(role, line, Some(*span)))
            .collect()
    }

    pub(super) fn line(&self, role: &str, expression: &Expression, span: Option<Span>) -> Line {
        let mut evaluation = Evaluation::new(self.bag, &self.set.references);
        let (value, error) = match expression.evaluate(&mut evaluation) {
            Ok(value) => (Some(value.to_text()), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let reads = evaluation.referenced();
        Line {
            role: role.to_owned(),
            expression: expression.source().to_owned(),
            place: span.map(|span| self.place(span)),
            value,
            error,
            reads: reads
                .iter()
                .map(|(reference, _)| self.read(reference))
                .collect(),
        }
    }

    fn read(&self, reference: &Reference) -> ReadStory {
        ReadStory {
            name: name_of(reference, &self.set.vocabulary),
            value: value_of(reference, self.bag),
        }
    }

    pub(super) fn decision(&self, shadows: &[ShadowVerdict]) -> DecisionStory {
        let decision = self.decision;
        let shadow = shadows.iter().filter_map(|shadow| {
            let (would, why) = shadow.would?;
            Some(ShadowStory {
                policy: shadow.policy.clone(),
                rule: shadow.rule.clone(),
                would: verdict(would),
                because: because(why),
            })
        });
        let headers = decision.headers.iter().chain(&decision.reply_headers);
        DecisionStory {
            verdict: verdict(decision.verdict),
            because: because(decision.because),
            policy: decision.policy.clone(),
            rule: decision.rule.clone(),
            place: place(self.set, decision),
            summary: summary(decision),
            http_status: decision.http_status,
            grpc_status: decision.grpc_status,
            message: decision.message.clone(),
            detail: decision.detail.clone(),
            location: decision.location.clone(),
            headers: headers
                .map(|header| (header.name.clone(), header.value.clone()))
                .collect(),
            body: decision.body.as_ref().map(|body| BodyStory {
                content_type: body.content_type.clone(),
                text: body.text.clone(),
            }),
            shadow: shadow.collect(),
            referenced: decision
                .referenced
                .iter()
                .map(|(reference, _)| self.read(reference))
                .collect(),
            valid_for_seconds: decision.valid_for.map(|span| span.as_secs_f64()),
            once: decision.valid_uses == 1,
        }
    }
}

impl ChargeStory {
    fn of(charge: &Charge) -> Self {
        Self {
            counter: charge.quota.clone(),
            key: charge.key.clone(),
            cost: charge.cost,
            limit: charge.limit.amount,
            window_seconds: charge.limit.window.as_secs_f64(),
            row: charge.tier.clone(),
        }
    }
}
