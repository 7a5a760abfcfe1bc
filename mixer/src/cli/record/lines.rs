//! A file line by line, however large it and its lines are.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// The longest line that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// Lines of a file or of standard input. One is held at a time.
pub(in crate::cli) struct Lines {
    input: Box<dyn BufRead>,
    number: u64,
}

/// One line that is not blank.
pub(in crate::cli) struct Line {
    /// Counting from 1.
    pub(in crate::cli) number: u64,
    /// Without its end; or why it is no text.
    pub(in crate::cli) text: Result<String, String>,
}

impl Lines {
    /// Of `file`; `-` is standard input.
    pub(in crate::cli) fn open(file: &Path) -> Result<Self, String> {
        let input: Box<dyn BufRead> = if file == Path::new("-") {
            Box::new(BufReader::new(std::io::stdin()))
        } else {
            let opened = std::fs::File::open(file);
            let opened =
                opened.map_err(|error| format!("cannot read {}: {error}", file.display()))?;
            Box::new(BufReader::new(opened))
        };
        Ok(Self { input, number: 0 })
    }

    /// The next line that is not blank.
    pub(in crate::cli) fn next(&mut self) -> Result<Option<Line>, String> {
        let cannot = |error: std::io::Error| format!("cannot read on: {error}");
        loop {
            let mut bytes = Vec::new();
            let mut limited = (&mut self.input).take(LONGEST + 1);
            limited.read_until(b'\n', &mut bytes).map_err(cannot)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            self.number += 1;
            let number = self.number;
            if bytes.len() as u64 > LONGEST && bytes.last() != Some(&b'\n') {
                self.skip_line().map_err(cannot)?;
                let text = Err(format!("it is longer than {} KiB", LONGEST >> 10));
                return Ok(Some(Line { number, text }));
            }
            let text = match String::from_utf8(bytes) {
                Ok(text) if text.trim().is_empty() => continue,
                Ok(text) => Ok(text.trim().to_owned()),
                Err(_) => Err("it is not UTF-8".to_owned()),
            };
            return Ok(Some(Line { number, text }));
        }
    }

    fn skip_line(&mut self) -> std::io::Result<()> {
        loop {
            let held = self.input.fill_buf()?;
            let (used, ended) = match held.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (held.len(), held.is_empty()),
            };
            self.input.consume(used);
            if ended {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_count_long_ones_are_passed_over_and_the_last_needs_no_end() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("log");
        let long = "x".repeat(3 << 20);
        let mut text = format!("one\n\n{long}\nfour\r\n").into_bytes();
        text.extend(b"\xff\nsix");
        std::fs::write(&file, text).unwrap();
        let mut lines = Lines::open(&file).unwrap();
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push((line.number, line.text));
        }
        assert_eq!(
            all,
            [
                (1, Ok("one".to_owned())),
                (3, Err("it is longer than 1024 KiB".to_owned())),
                (4, Ok("four".to_owned())),
                (5, Err("it is not UTF-8".to_owned())),
                (6, Ok("six".to_owned())),
            ]
        );
        assert!(Lines::open(&directory.path().join("gone")).is_err());
    }
}
