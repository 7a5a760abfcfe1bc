//! An explanation as text: the policies that apply, each rule line by line, the steps, and the decision.

use std::fmt::{self, Display};
use std::time::Duration;

use super::{
    ChargeStory, Denial, Effect, Explanation, Line, PolicyStory, QuotaStory, ReadStory, RuleStory,
    Step, printable,
};

/// Lines, each indented by its depth.
#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, depth: usize, text: impl Display) {
        use fmt::Write;
        writeln!(self.0, "{:width$}{text}", "", width = 2 * depth)
            .expect("a String takes all that is written");
    }
}

impl Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut page = Page::default();
        page.line(
            0,
            format_args!(
                "policies that apply ({}, revision {}):",
                self.side, self.revision
            ),
        );
        if self.policies.is_empty() {
            page.line(1, "none");
        }
        for policy in &self.policies {
            page.policy(policy);
        }
        page.line(0, "steps:");
        for step in &self.steps {
            page.line(1, step);
        }
        if self.denials.len() > 1 {
            page.line(
                0,
                "reasons to deny, each enough (the first that decides is reported):",
            );
            for denial in &self.denials {
                page.line(1, denial);
            }
        }
        self.decision(&mut page);
        f.write_str(&page.0)
    }
}

impl Page {
    fn policy(&mut self, policy: &PolicyStory) {
        self.line(
            1,
            format_args!("{} {} ({})", policy.group, policy.policy, policy.place),
        );
        for rule in &policy.rules {
            self.rule(rule);
        }
        match &policy.otherwise {
            Some(end) if end.denies => self.line(
                2,
                format_args!("otherwise: deny: {} ({})", end.sentence, end.place),
            ),
            Some(end) => self.line(2, format_args!("otherwise: allow ({})", end.place)),
            None => {}
        }
        for quota in &policy.quotas {
            self.quota(quota);
        }
    }

    fn rule(&mut self, rule: &RuleStory) {
        let shadow = if rule.shadow { " (shadow)" } else { "" };
        let effect = match rule.effect {
            Effect::Denies => ": denies",
            Effect::Allows => ": allows",
            Effect::Nothing => "",
        };
        self.line(
            2,
            format_args!(
                "{}: {}{shadow} ({}) -> {}{effect}",
                rule.kind, rule.rule, rule.place, rule.because
            ),
        );
        self.lines(&rule.lines);
        if let Some(ask) = &rule.ask {
            self.lines(&ask.inputs);
            self.line(3, format_args!("{} answers: {}", ask.adapter, ask.answer));
        }
    }

    fn quota(&mut self, quota: &QuotaStory) {
        let shadow = if quota.shadow { " (shadow)" } else { "" };
        self.line(
            2,
            format_args!("quota: {}{shadow} ({})", quota.quota, quota.place),
        );
        self.lines(&quota.lines);
        if let Some(charge) = &quota.charge {
            self.line(3, charge);
        }
    }

    /// Expressions, and below each what it read.
    fn lines(&mut self, lines: &[Line]) {
        for line in lines {
            self.line(3, line);
            for read in &line.reads {
                self.line(4, read);
            }
        }
    }
}

impl Explanation {
    /// Only what decided, and what is called `expected`: their lines and the values these read. Empty if the policies say no
    /// more about either.
    pub(crate) fn about(&self, expected: Option<&str>) -> String {
        let mut page = Page::default();
        let decision = &self.decision;
        for policy in &self.policies {
            let is_meant = |sentence: &str| {
                expected == Some(sentence)
                    || (policy.policy == decision.policy && sentence == &*decision.rule)
            };
            for rule in policy.rules.iter().filter(|rule| is_meant(&rule.rule)) {
                page.rule(rule);
            }
            for quota in policy.quotas.iter().filter(|quota| is_meant(&quota.quota)) {
                page.quota(quota);
            }
        }
        page.0
    }

    fn decision(&self, page: &mut Page) {
        let decision = &self.decision;
        let place = decision
            .place
            .as_ref()
            .map_or(String::new(), |place| format!(" ({place})"));
        page.line(0, format_args!("decision: {}{place}", decision.summary));
        if decision.verdict == "deny" {
            page.line(
                1,
                format_args!(
                    "HTTP {}, grpc-status {}: {}",
                    decision.http_status,
                    decision.grpc_status,
                    printable(&decision.message)
                ),
            );
        }
        if let Some(location) = &decision.location {
            page.line(1, format_args!("location: {location}"));
        }
        for (name, value) in &decision.headers {
            match value {
                Some(value) => page.line(1, format_args!("header {name}: set to {value:?}")),
                None => page.line(1, format_args!("header {name}: removed")),
            }
        }
        if let Some(body) = &decision.body {
            page.line(
                1,
                format_args!(
                    "body, {}: {}",
                    body.content_type,
                    printable(body.text.trim_end())
                ),
            );
        }
        for shadow in &decision.shadow {
            page.line(
                1,
                format_args!(
                    "shadow: \"{}\" of policy {} would {} ({})",
                    shadow.rule, shadow.policy, shadow.would, shadow.because
                ),
            );
        }
        let holds = match decision.valid_for_seconds {
            Some(0.0) => "holds for this request only".to_owned(),
            _ if decision.once => "holds for this request only".to_owned(),
            Some(seconds) => format!(
                "holds for {:?} for requests equal in",
                Duration::from_secs_f64(seconds)
            ),
            None => "holds for requests equal in".to_owned(),
        };
        let names: Vec<&str> = decision
            .referenced
            .iter()
            .map(|read| read.name.as_str())
            .collect();
        page.line(1, format_args!("{holds}: {}", names.join(", ")));
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> ", self.role, self.expression)?;
        match (&self.value, &self.error) {
            (Some(value), _) => f.write_str(&printable(value)),
            (None, Some(error)) => write!(f, "cannot decide: {}", printable(error)),
            (None, None) => f.write_str("no value"),
        }
    }
}

impl Display for ReadStory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.as_deref().unwrap_or("(not known)");
        write!(f, "{} = {value}", self.name)
    }
}

impl Display for ChargeStory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let window = Duration::from_secs_f64(self.window_seconds);
        write!(
            f,
            "charges {} of {} in {window:?} to {} {:?}",
            self.cost, self.limit, self.counter, self.key
        )?;
        if !self.row.is_empty() {
            write!(f, ", row {}", self.row)?;
        }
        if u64::try_from(self.cost).is_ok_and(|cost| cost > self.limit) {
            f.write_str(": more than there is")?;
        }
        Ok(())
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}: ", self.group, self.step)?;
        let effect = match self.effect {
            Effect::Nothing => return f.write_str("nothing"),
            Effect::Denies => "denies",
            Effect::Allows => "lets pass",
        };
        f.write_str(effect)?;
        for (at, by) in self.by.iter().enumerate() {
            let before = if at == 0 { " by " } else { ", " };
            write!(f, "{before}\"{by}\"")?;
        }
        if self.decides {
            f.write_str(" <- decides")?;
        }
        Ok(())
    }
}

impl Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(
                f,
                "\"{}\" of policy {} ({place}): {}",
                self.rule, self.policy, self.because
            ),
            None => f.write_str(&self.because),
        }
    }
}
