//! `mixer attributes`: the vocabulary, as a table.

use std::process::ExitCode;

use mixer_attributes::vocabulary::{Attribute, Producer, Trust, Vocabulary};
use mixer_runtime::Clock;
use serde::Serialize;

use super::USAGE;
use super::loaded::Loaded;
use super::output::{say, say_json};
use super::policies::Policies;

/// Shows the attributes that policies may use: type, when they are known, who vouches for them, meaning.
///
/// With --policies (or MIXER_POLICIES) those that the documents declare are among them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this attribute, or those of this family (`source`).
    #[arg(value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    policies: Policies,
    /// How it is shown.
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Form,
}

/// How the table is shown.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For pages.
    Markdown,
}

#[derive(Serialize)]
struct Row {
    name: String,
    r#type: String,
    when: &'static str,
    trust: &'static str,
    meaning: String,
}

/// Shows.
pub(crate) fn run(args: Args) -> ExitCode {
    let vocabulary = match args.policies.named() {
        None => Vocabulary::new(),
        Some(paths) => match Loaded::from(&paths, Clock::system()) {
            Ok(loaded) => loaded.snapshot.set.vocabulary.clone(),
            Err(code) => return code,
        },
    };
    let is_meant = |attribute: &&Attribute| {
        args.name.as_deref().is_none_or(|name| {
            let rest = attribute.name.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    let rows: Vec<Row> = vocabulary.iter().filter(is_meant).map(row).collect();
    if rows.is_empty() {
        let name = args.name.unwrap_or_default();
        let names = vocabulary.iter().map(|attribute| attribute.name.as_str());
        let near = mixer_documents::nearest(&name, names);
        let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        eprintln!("no attribute is called `{name}`{near}");
        return ExitCode::from(USAGE);
    }
    match args.output {
        Form::Json => say_json(&rows),
        Form::Text => say(text(&rows)),
        Form::Markdown => say(markdown(&rows)),
    }
    ExitCode::SUCCESS
}

fn row(attribute: &Attribute) -> Row {
    Row {
        name: attribute.name.clone(),
        r#type: attribute.kind.to_string(),
        when: match attribute.producer {
            Producer::Check => "check",
            Producer::Report => "report",
        },
        trust: match attribute.trust {
            Trust::Verified => "verified",
            Trust::Configured => "configured",
            Trust::Client => "client",
        },
        meaning: attribute.meaning.clone(),
    }
}

fn text(rows: &[Row]) -> String {
    let width = |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).len()).max().unwrap_or(0);
    let (name, kind) = (
        width(|row| &row.name).max(4),
        width(|row| &row.r#type).max(4),
    );
    let line = |row: [&str; 5]| {
        let [called, typed, when, trust, meaning] = row;
        let line = format!("{called:name$}  {typed:kind$}  {when:6}  {trust:10}  {meaning}");
        format!("{}\n", line.trim_end())
    };
    let head = line(["NAME", "TYPE", "WHEN", "TRUST", "MEANING"]);
    let cells = rows
        .iter()
        .map(|row| line([&row.name, &row.r#type, row.when, row.trust, &row.meaning]));
    std::iter::once(head).chain(cells).collect()
}

fn markdown(rows: &[Row]) -> String {
    let head = "| name | type | when | trust | meaning |\n| --- | --- | --- | --- | --- |\n";
    let cells = rows.iter().map(|row| {
        let meaning = row.meaning.replace('|', "\\|");
        format!(
            "| `{}` | {} | {} | {} | {meaning} |\n",
            row.name, row.r#type, row.when, row.trust
        )
    });
    std::iter::once(head.to_owned()).chain(cells).collect()
}
