//! `--cases`: a line of JSON in, a line of JSON out, in order, each written before the next is read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::ExitCode;

use mixer_cel::cases;

use crate::cli::UNREADABLE;

/// Answers every line of `file` (`-`: standard input).
pub(super) fn run(file: &Path, referenced: bool) -> ExitCode {
    let answered = if file == Path::new("-") {
        answer(io::stdin().lock(), io::stdout().lock(), referenced)
    } else {
        match File::open(file) {
            Ok(lines) => answer(BufReader::new(lines), io::stdout().lock(), referenced),
            Err(error) => Err(error),
        }
    };
    match answered {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever asked has heard enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot read {}: {error}", file.display());
            ExitCode::from(UNREADABLE)
        }
    }
}

fn answer(mut lines: impl BufRead, mut out: impl Write, referenced: bool) -> io::Result<()> {
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        let answer = cases::answer_line(&line).to_json(referenced);
        writeln!(out, "{answer}")?;
        out.flush()?;
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_its_answer() {
        let lines = b"{\"expr\": \"1 + 1\"}\n\nno JSON\n\xff\n{\"expr\": \"'\\n'\"}\r\n{\"expr\": \"'a' + 'b'\"}";
        let mut out = Vec::new();
        answer(&lines[..], &mut out, false).unwrap();
        let out = String::from_utf8(out).unwrap();
        let answers: Vec<serde_json::Value> = out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let kinds: Vec<&serde_json::Value> = answers.iter().map(|answer| &answer["kind"]).collect();
        assert_eq!(answers.len(), 6);
        assert_eq!(answers[0]["value"]["v"], "2");
        assert_eq!(kinds[1..5], ["parse", "parse", "parse", "parse"]);
        assert_eq!(answers[5]["value"]["v"], "ab");
    }
}
