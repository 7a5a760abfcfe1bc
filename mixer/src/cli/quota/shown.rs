//! Quotas and counters for people. Keys are what callers sent: they are shown so that a shell takes them back, and nothing in
//! them reaches the terminal as a command.

use std::fmt::Write;

use serde_json::Value;

use super::ABSENT;

/// The quotas in force.
pub(super) fn quotas(answer: &Value) -> String {
    let rows = list(&answer["quotas"]).iter().map(|quota| {
        let key = list(&quota["key"]).iter().map(text);
        let tiers = quota["tiers"].as_object().map_or(0, |tiers| tiers.len());
        let mut limit = limit(quota);
        if tiers > 0 {
            let _ = write!(limit, ", {tiers} others");
        }
        let mode = if quota["mode"] == "shadow" {
            " (shadow)"
        } else {
            ""
        };
        [
            plain(text(&quota["quota"])),
            limit,
            format!("{}{mode}", text(&quota["algorithm"])),
            text(&quota["store"]).to_owned(),
            key.collect::<Vec<_>>().join(" "),
        ]
    });
    table(["QUOTA", "LIMIT", "ALGORITHM", "STORE", "KEY"], rows)
}

/// The counters of a quota.
pub(super) fn counters(answer: &Value) -> String {
    let rows = list(&answer["counters"]).iter().map(|counter| {
        [
            key(counter),
            number(&counter["spent"]),
            number(&counter["left"]),
            next(counter),
            span(counter["free_in_seconds"].as_f64()),
        ]
    });
    table(["KEY", "SPENT", "LEFT", "NEXT", "FREE AGAIN"], rows)
}

/// One counter of a page.
pub(super) fn counter(page: &Value, counter: &Value) -> String {
    let (spent, left) = (number(&counter["spent"]), number(&counter["left"]));
    let mut line = format!("{spent} spent, {left} left of {}", limit(page));
    if counter["left"] == 0 {
        let _ = write!(line, ", next {}", next(counter));
    }
    if counter["spent"] != 0 {
        let _ = write!(
            line,
            ", free again {}",
            span(counter["free_in_seconds"].as_f64())
        );
    }
    line + "\n"
}

/// What a grant changed.
pub(super) fn granted(answer: &Value) -> String {
    let of = |when: &str| number(&answer[when]["spent"]);
    let left = number(&answer["after"]["left"]);
    format!(
        "{} spent before, {} now; {left} left\n",
        of("before"),
        of("after")
    )
}

/// What a reset changed.
pub(super) fn reset(answer: &Value) -> String {
    match answer["reset"].as_u64() {
        Some(0) => "no counter had spent anything\n".to_owned(),
        Some(1) => "1 counter is as new\n".to_owned(),
        _ => format!("{} counters are as new\n", number(&answer["reset"])),
    }
}

/// Tells of counters that may be of the quota.
pub(super) fn tell_unnamed(unnamed: u64, what: &str) {
    if unnamed > 0 {
        eprintln!(
            "{unnamed} counters of this policy with long keys {what}: the store cannot tell whose they are; name their keys"
        );
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> String {
    value
        .as_u64()
        .map_or("?".to_owned(), |number| number.to_string())
}

fn limit(of: &Value) -> String {
    let (amount, window) = (
        number(&of["limit"]["amount"]),
        &of["limit"]["window_seconds"],
    );
    if of["algorithm"] == "concurrency" {
        return format!("{amount} at once");
    }
    let seconds = window.as_f64().unwrap_or_default();
    format!("{amount} in {}", words(seconds))
}

fn next(counter: &Value) -> String {
    match counter["next_in_seconds"].as_f64() {
        None => "never".to_owned(),
        seconds => span(seconds),
    }
}

fn span(seconds: Option<f64>) -> String {
    match seconds.unwrap_or_default() {
        0.0 => "now".to_owned(),
        seconds => format!("in {}", words(seconds)),
    }
}

/// `1d 2h`, `3m 20s`, `59s`, `200ms`: the two largest units, rounded up.
fn words(seconds: f64) -> String {
    if seconds < 1.0 {
        return format!("{}ms", (seconds * 1000.0).ceil());
    }
    let whole = seconds.ceil() as u64;
    let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let first = units.iter().position(|(_, unit)| whole >= *unit);
    let first = first.unwrap_or(units.len() - 1);
    let (name, unit) = units[first];
    match units.get(first + 1) {
        // What is left of a smaller unit makes one more of it.
        Some((smaller, of)) if !(whole % unit).is_multiple_of(unit) => {
            let rest = (whole % unit).div_ceil(*of);
            if rest * of == unit {
                format!("{}{name}", whole / unit + 1)
            } else {
                format!("{}{name} {rest}{smaller}", whole / unit)
            }
        }
        _ => format!("{}{name}", whole / unit),
    }
}

fn key(counter: &Value) -> String {
    if let Some(digest) = counter["digest"].as_str() {
        return format!("(digest of a long key: {digest})");
    }
    if counter["overflow"] == true {
        return "(all that found no room)".to_owned();
    }
    let values = list(&counter["key"]);
    if values.is_empty() {
        return "(no key)".to_owned();
    }
    let words = values.iter().map(|value| match value.as_str() {
        Some(value) => word(value),
        None => word(ABSENT),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A word of a shell.
fn word(value: &str) -> String {
    let harmless =
        |character: char| character.is_ascii_alphanumeric() || "-_./:@%+=,".contains(character);
    if !value.is_empty() && value.chars().all(harmless) {
        return value.to_owned();
    }
    format!("'{}'", plain(value).replace('\'', r"'\''"))
}

/// Without what a terminal obeys.
fn plain(value: &str) -> String {
    let is_plain = |character: char| !character.is_control() && !is_reordering(character);
    value.chars().fold(String::new(), |mut shown, character| {
        if is_plain(character) {
            shown.push(character);
        } else {
            shown.extend(character.escape_unicode());
        }
        shown
    })
}

/// Marks that turn the direction of writing, and hide what is written.
fn is_reordering(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let head = head.map(str::to_owned);
    let rows: Vec<[String; N]> = std::iter::once(head).chain(rows).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut shown = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        let _ = writeln!(shown, "{}", line.join("  ").trim_end());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_two_units_and_rounded_up() {
        for (seconds, told) in [
            (0.0004, "1ms"),
            (0.25, "250ms"),
            (1.0, "1s"),
            (59.2, "1m"),
            (60.0, "1m"),
            (61.0, "1m 1s"),
            (3_599.5, "1h"),
            (3_600.0, "1h"),
            (3_661.0, "1h 2m"),
            (7_199.0, "2h"),
            (86_400.0, "1d"),
            (90_000.0, "1d 1h"),
            (31_536_000.0, "365d"),
        ] {
            assert_eq!(words(seconds), told, "{seconds}");
        }
    }

    #[test]
    fn a_key_goes_back_into_a_shell_and_commands_no_terminal() {
        for (value, shown) in [
            ("c-17", "c-17"),
            ("spiffe://td/ns/shop/sa/x", "spiffe://td/ns/shop/sa/x"),
            ("", "''"),
            ("two words", "'two words'"),
            ("it's", r"'it'\''s'"),
            ("$(reboot)", "'$(reboot)'"),
            ("\u{1b}[2J\n", r"'\u{1b}[2J\u{a}'"),
            ("\u{202e}x", r"'\u{202e}x'"),
        ] {
            assert_eq!(word(value), shown);
        }
    }
}
