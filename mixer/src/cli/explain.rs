//! `mixer explain`: what a request would meet, rule by rule, with the values that were read.

mod story;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use mixer_runtime::Clock;

use super::loaded::Loaded;
use super::{UNREADABLE, request};
use crate::dispatch::{Dispatcher, side};

/// Explains how a request would be decided.
///
/// The request is a YAML or JSON document of the form that tests have under `given`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directories of documents (or files).
    #[arg(required = true, value_name = "DIR")]
    paths: Vec<PathBuf>,
    /// The request; - is standard input.
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// Sets one attribute, or one key of a map (`request.headers.x-tester=yes`), after the request was read.
    #[arg(short = 'a', long = "attribute", value_name = "NAME=VALUE")]
    attributes: Vec<String>,
}

/// Explains.
pub(crate) fn run(args: Args) -> ExitCode {
    let loaded = match Loaded::from(&args.paths, Clock::system()) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let given = match request::read(
        args.request.as_deref(),
        &args.attributes,
        &loaded.snapshot.set.vocabulary,
    ) {
        Ok(given) => given,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(UNREADABLE);
        }
    };
    let Loaded {
        mut snapshot,
        surroundings,
        runtime,
        ..
    } = loaded;
    {
        let _inside = runtime.enter();
        snapshot.start();
    }
    let at = side(&given.bag());
    let request = crate::testing::request(&given, at);
    let dispatcher = Dispatcher::new(Arc::new(snapshot), &surroundings);
    print!(
        "{}",
        runtime.block_on(story::story(&dispatcher, at, &request.bag()))
    );
    ExitCode::SUCCESS
}
