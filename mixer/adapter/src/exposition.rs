//! Metrics as text, in both formats that Prometheus reads.
//!
//! Several adapters show metrics on one page, and a page may name a metric only once: so they write into one [`Exposition`],
//! which keeps the samples of a family together, rather than each appending text of its own. It is an encoder of our own
//! because `prometheus-client` writes OpenMetrics only, and because series whose labels are rendered once, when they appear,
//! are copied here instead of being encoded on each scrape.

use std::collections::BTreeMap;
use std::fmt::Write;

/// A text format that Prometheus reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// The Prometheus text format 0.0.4.
    Text,
}

/// What a family of samples is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum FamilyKind {
    Counter,
    Gauge,
    Histogram,
}

/// A page of metrics in the making.
#[derive(Debug)]
pub struct Exposition {
    format: Format,
    families: BTreeMap<String, Family>,
}

#[derive(Debug)]
struct Family {
    kind: FamilyKind,
    text: String,
}

/// Where the samples of one family are written.
#[derive(Debug)]
pub struct Samples<'a> {
    format: Format,
    name: &'a str,
    kind: FamilyKind,
    text: &'a mut String,
}

impl Format {
    /// The format a scraper wants, by its `Accept` header; curl and browsers get [`Format::Text`].
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Format::OpenMetrics
        } else {
            Format::Text
        }
    }

    /// The `Content-Type` of a page in this format.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

impl Exposition {
    /// An empty page.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            families: BTreeMap::new(),
        }
    }

    /// Its format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The family `name` (without `_total`), to be written to; samples of a family that is already there are added to it.
    /// `None` when it is there as another kind, since a page cannot show both: the first one stays.
    pub fn family<'a>(
        &'a mut self,
        name: &'a str,
        help: &str,
        kind: FamilyKind,
    ) -> Option<Samples<'a>> {
        let format = self.format;
        let family = self.families.entry(name.to_owned()).or_insert_with(|| {
            let mut text = String::new();
            head(&mut text, format, name, help, kind);
            Family { kind, text }
        });
        (family.kind == kind).then_some(Samples {
            format,
            name,
            kind,
            text: &mut family.text,
        })
    }

    /// One sample of a counter.
    pub fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.one(name, help, FamilyKind::Counter, labels, value);
    }

    /// One sample of a gauge.
    pub fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.one(name, help, FamilyKind::Gauge, labels, value);
    }

    fn one(
        &mut self,
        name: &str,
        help: &str,
        kind: FamilyKind,
        labels: &[(&str, &str)],
        value: f64,
    ) {
        if let Some(mut samples) = self.family(name, help, kind) {
            samples.value(&rendered(labels), value);
        }
    }

    /// The page, families sorted by name; OpenMetrics pages get their `# EOF`.
    pub fn finish(self) -> String {
        let mut page = String::with_capacity(
            16 + self
                .families
                .values()
                .map(|family| family.text.len())
                .sum::<usize>(),
        );
        for family in self.families.values() {
            page.push_str(&family.text);
        }
        if self.format == Format::OpenMetrics {
            page.push_str("# EOF\n");
        }
        page
    }
}

impl Samples<'_> {
    /// The value of a counter or gauge. `labels` come from [`rendered`].
    pub fn value(&mut self, labels: &str, value: f64) {
        let suffix = if self.kind == FamilyKind::Counter {
            "_total"
        } else {
            ""
        };
        self.line(suffix, labels, None, value);
    }

    /// A histogram: `counts` per bucket (not cumulative, one more than `bounds`, the last for +Inf) and the sum.
    pub fn histogram(&mut self, labels: &str, bounds: &[f64], counts: &[u64], sum: f64) {
        let mut total = 0u64;
        for (at, count) in counts.iter().enumerate() {
            total += count;
            let bound = bounds.get(at).copied().unwrap_or(f64::INFINITY);
            self.line("_bucket", labels, Some(bound), total as f64);
        }
        self.line("_count", labels, None, total as f64);
        self.line("_sum", labels, None, sum);
    }

    fn line(&mut self, suffix: &str, labels: &str, bound: Option<f64>, value: f64) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        if !labels.is_empty() || bound.is_some() {
            self.text.push('{');
            self.text.push_str(labels);
            if let Some(bound) = bound {
                if !labels.is_empty() {
                    self.text.push(',');
                }
                self.text.push_str("le=\"");
                number(self.text, bound, self.format == Format::OpenMetrics);
                self.text.push('"');
            }
            self.text.push('}');
        }
        self.text.push(' ');
        number(self.text, value, false);
        self.text.push('\n');
    }
}

/// Labels as a sample carries them, without the braces: `code="200",method="GET"`.
pub fn rendered(labels: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        render_label(&mut text, name, value);
    }
    text
}

/// Appends one label, after a comma if it is not the first. The value is escaped, the name must be a label name.
pub fn render_label(into: &mut String, name: &str, value: &str) {
    if !into.is_empty() {
        into.push(',');
    }
    into.push_str(name);
    into.push_str("=\"");
    for character in value.chars() {
        match character {
            '\\' => into.push_str("\\\\"),
            '"' => into.push_str("\\\""),
            '\n' => into.push_str("\\n"),
            other => into.push(other),
        }
    }
    into.push('"');
}

fn head(into: &mut String, format: Format, name: &str, help: &str, kind: FamilyKind) {
    // The text format names a counter with its suffix, OpenMetrics without.
    let suffix = match (format, kind) {
        (Format::Text, FamilyKind::Counter) => "_total",
        _ => "",
    };
    into.push_str("# HELP ");
    into.push_str(name);
    into.push_str(suffix);
    into.push(' ');
    for character in help.chars() {
        match character {
            '\\' => into.push_str("\\\\"),
            '\n' => into.push_str("\\n"),
            '"' if format == Format::OpenMetrics => into.push_str("\\\""),
            other => into.push(other),
        }
    }
    into.push_str("\n# TYPE ");
    into.push_str(name);
    into.push_str(suffix);
    into.push_str(match kind {
        FamilyKind::Counter => " counter\n",
        FamilyKind::Gauge => " gauge\n",
        FamilyKind::Histogram => " histogram\n",
    });
}

/// OpenMetrics wants bounds to look like floating point numbers (`1.0`), the text format has them as short as can be.
fn number(into: &mut String, value: f64, with_point: bool) {
    let written = if value == f64::INFINITY {
        into.write_str("+Inf")
    } else if value == f64::NEG_INFINITY {
        into.write_str("-Inf")
    } else if value.is_nan() {
        into.write_str("NaN")
    } else if with_point {
        write!(into, "{value:?}")
    } else {
        write!(into, "{value}")
    };
    written.expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(format: Format) -> String {
        let mut page = Exposition::new(format);
        page.counter(
            "requests",
            "Requests \\ \"all\"\nof them",
            &[("path", "a\"b\\c\nd")],
            3.0,
        );
        page.gauge("depth", "Depth", &[], 0.5);
        page.counter("requests", "ignored", &[("path", "e")], 1e21);
        if let Some(mut samples) = page.family("seconds", "Time", FamilyKind::Histogram) {
            samples.histogram("a=\"b\"", &[0.5, 1.0], &[1, 2, 3], 7.25);
        }
        assert!(page.family("depth", "Depth", FamilyKind::Counter).is_none());
        page.finish()
    }

    #[test]
    fn openmetrics_is_written_as_its_specification_says() {
        assert_eq!(
            page(Format::OpenMetrics),
            r##"# HELP depth Depth
# TYPE depth gauge
depth 0.5
# HELP requests Requests \\ \"all\"\nof them
# TYPE requests counter
requests_total{path="a\"b\\c\nd"} 3
requests_total{path="e"} 1000000000000000000000
# HELP seconds Time
# TYPE seconds histogram
seconds_bucket{a="b",le="0.5"} 1
seconds_bucket{a="b",le="1.0"} 3
seconds_bucket{a="b",le="+Inf"} 6
seconds_count{a="b"} 6
seconds_sum{a="b"} 7.25
# EOF
"##
        );
    }

    #[test]
    fn the_text_format_is_written_as_its_specification_says() {
        let text = page(Format::Text);
        assert!(text.contains("# HELP requests_total Requests \\\\ \"all\"\\nof them\n"));
        assert!(text.contains("# TYPE requests_total counter\nrequests_total{path=\"a"));
        assert!(text.contains("seconds_bucket{a=\"b\",le=\"1\"} 3\n"));
        assert!(!text.contains("EOF"));
    }

    #[test]
    fn a_scraper_gets_the_format_it_accepts() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        assert_eq!(Format::accepted("*/*"), Format::Text);
    }
}
