//! `mixer repl`: expressions, line by line, over a request that is changed between them.

mod session;

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use session::{Reply, Session};

use super::UNREADABLE;

/// Evaluates CEL expressions line by line.
///
/// A line is an expression, or a command that begins with a colon; `:help` lists them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Sets one attribute, or one key of a map.
    #[arg(short = 'a', long = "attribute", value_name = "NAME=VALUE")]
    attributes: Vec<String>,
    /// The request to begin with.
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
}

/// Reads lines until there are no more. What is answered, errors too, goes to standard output.
pub(crate) fn run(args: Args) -> ExitCode {
    let mut session = match Session::new(args.request, args.attributes) {
        Ok(session) => session,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(UNREADABLE);
        }
    };
    let prompt = if io::stdin().is_terminal() { "> " } else { "" };
    match converse(
        &mut session,
        prompt,
        io::stdin().lock(),
        io::stdout().lock(),
    ) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot read standard input: {error}");
            ExitCode::from(UNREADABLE)
        }
    }
}

fn converse(
    session: &mut Session,
    prompt: &str,
    mut lines: impl BufRead,
    mut out: impl Write,
) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        write!(out, "{prompt}")?;
        out.flush()?;
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        match session.line(&String::from_utf8_lossy(&line)) {
            Reply::Text(text) => out.write_all(text.as_bytes())?,
            Reply::Quit => return Ok(()),
        }
    }
}
