//! Limits of other rate limit services, as policies: `mixer import`.
//!
//! What is written means what was read: the same descriptors meet the same limits. What has no equal here is an error with its
//! place, and nothing is written; what changes no limit is a warning. The result is loaded before it is given away.
//!
//! One thing differs unless it is asked for: both services count fixed windows, which let twice the limit pass around their
//! boundary. The quotas written here allow at most the limit in any window.

use std::time::Duration;

use crate::diagnostics::Problems;
use crate::{Code, Diagnostics, Sources, Span, load};

mod limitador;
mod ratelimit;
#[cfg(test)]
mod tests;

pub use limitador::limitador;
pub use ratelimit::ratelimit;

/// Documents that were made of others.
#[derive(Debug)]
pub struct Imported {
    /// One file for each domain: a name for it, and its text.
    pub files: Vec<(String, String)>,
    /// Warnings.
    pub warnings: Diagnostics,
}

/// How what is imported counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Windows {
    /// At most the limit in any window.
    #[default]
    Sliding,
    /// As the service does it that the limits are from.
    Fixed,
}

/// A policy that is being made.
struct Domain {
    name: String,
    quotas: Vec<Made>,
}

/// A quota that is being made.
struct Made {
    sentence: String,
    id: Option<String>,
    shadow: bool,
    when: Vec<String>,
    key: Vec<String>,
    absent_skips: bool,
    amount: u64,
    window: Duration,
    /// Windows of the service it is from begin on the clock, and not with a request.
    on_the_clock: bool,
    /// What it was made of.
    span: Span,
}

impl Domain {
    fn text(&self, quotas: &[&Made], windows: Windows) -> String {
        let how = match windows {
            Windows::Sliding => {
                " At most the limit passes in any window, not only in a row of windows."
            }
            Windows::Fixed => "",
        };
        let mut text = format!(
            "# Written by `mixer import`.{how}\npolicy: {}\nfor: {}\n",
            quoted(&self.name),
            quoted(&format!("rate_limit.domain == {}", literal(&self.name))),
        );
        if quotas.is_empty() {
            text.push_str("quotas: []\n");
            return text;
        }
        text.push_str("quotas:\n");
        for quota in quotas {
            text.push_str(&quota.text(windows));
        }
        text
    }

    /// Tells quotas of one sentence apart.
    fn name_apart(&mut self) {
        for at in 0..self.quotas.len() {
            let (before, rest) = self.quotas.split_at_mut(at);
            let is_taken = |name: &str| before.iter().any(|quota| quota.sentence == name);
            let plain = rest[0].sentence.clone();
            let mut number = 1;
            while is_taken(&rest[0].sentence) {
                number += 1;
                rest[0].sentence = format!("{plain} ({number})");
            }
        }
    }
}

impl Made {
    fn text(&self, windows: Windows) -> String {
        let mut text = format!("  - quota: {}\n", quoted(&self.sentence));
        if let Some(id) = &self.id {
            text.push_str(&format!("    id: {}\n", quoted(id)));
        }
        if self.shadow {
            text.push_str("    mode: shadow\n");
        }
        if !self.when.is_empty() {
            text.push_str("    when:\n");
            for line in &self.when {
                text.push_str(&format!("      - {}\n", quoted(line)));
            }
        }
        let key: Vec<String> = self.key.iter().map(|key| quoted(key)).collect();
        text.push_str(&format!("    key: [{}]\n", key.join(", ")));
        if self.absent_skips {
            text.push_str("    absent: skip\n");
        }
        let seconds = self.window.as_secs();
        let (mut is_period, fixed) = (true, windows == Windows::Fixed);
        let window = match seconds {
            1 => "second".to_owned(),
            60 => "minute".to_owned(),
            3_600 => "hour".to_owned(),
            86_400 => "day".to_owned(),
            _ => {
                is_period = false;
                format!("{seconds}s")
            }
        };
        text.push_str(&format!("    limit: {} per {window}\n", self.amount));
        if fixed {
            text.push_str("    algorithm: fixed-window\n");
        }
        if fixed && self.on_the_clock && is_period {
            text.push_str("    window: calendar\n");
        }
        text
    }
}

/// As a YAML scalar in single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// As a CEL text.
fn literal(text: &str) -> String {
    let mut literal = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => literal.extend(['\\', character]),
            control if control.is_control() => {
                literal.push_str(&format!("\\u{:04x}", control as u32))
            }
            other => literal.push(other),
        }
    }
    literal + "\""
}

/// A list of CEL texts.
fn literals<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    let texts: Vec<String> = texts.map(literal).collect();
    format!("[{}]", texts.join(", "))
}

/// Gives away what was made, if it is whole and loads.
fn finish(
    sources: Sources,
    mut domains: Vec<Domain>,
    mut problems: Problems,
    windows: Windows,
) -> Result<Imported, Diagnostics> {
    domains.iter_mut().for_each(Domain::name_apart);
    let whole = |domain: &Domain| domain.text(&domain.quotas.iter().collect::<Vec<_>>(), windows);
    let files: Vec<(String, String)> = domains
        .iter()
        .map(|domain| (domain.name.clone(), whole(domain)))
        .collect();
    if let Err(refused) = load(Sources::from_texts(files.clone())) {
        let before = problems.list.len();
        for domain in &domains {
            for quota in &domain.quotas {
                let alone = [("imported", domain.text(&[quota], windows))];
                if let Err(refused) = load(Sources::from_texts(alone)) {
                    let code = refused
                        .list
                        .first()
                        .map_or(Code::Internal, |first| first.code);
                    let why = refused.list.into_iter().map(|problem| problem.message);
                    let why = why.collect::<Vec<_>>().join("; ");
                    let message = format!("this cannot be written as a quota: {why}");
                    problems.error(code, quota.span, message);
                }
            }
        }
        if problems.list.len() == before {
            problems.list.extend(
                refused
                    .list
                    .into_iter()
                    .map(|problem| crate::Diagnostic::directory(problem.code, problem.message)),
            );
        }
    }
    let warnings = Diagnostics::new(sources, problems.list);
    if warnings.errors() > 0 {
        return Err(warnings);
    }
    Ok(Imported { files, warnings })
}
