//! `mixer schema`: what documents may hold, for editors.

use std::process::ExitCode;

use super::USAGE;
use super::output::say;

/// Prints the JSON Schema (draft 2020-12) of documents.
///
/// Give it to an editor: `mixer schema > mixer.schema.json`, and as the first line of a file
/// `# yaml-language-server: $schema=mixer.schema.json`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only documents of this kind: policy, adapter, mesh, service, route, telemetry, attributes or workload.
    #[arg(value_name = "KIND")]
    kind: Option<String>,
}

/// Prints the schema.
pub(crate) fn run(args: Args) -> ExitCode {
    let registry = mixer_adapters::builtin();
    let adapters = registry
        .types()
        .filter_map(|kind| Some((kind, registry.by_type(kind)?.schema())));
    match mixer_documents::schema(args.kind.as_deref(), adapters) {
        Some(schema) => {
            say(format_args!("{schema:#}\n"));
            ExitCode::SUCCESS
        }
        None => {
            let kinds: Vec<&str> = mixer_documents::schema_kinds().collect();
            eprintln!("a kind of document is one of {}", kinds.join(", "));
            ExitCode::from(USAGE)
        }
    }
}
