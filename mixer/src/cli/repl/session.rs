//! What a line comes to, and the request it is about.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use mixer_attributes::{OwnedBag, Vocabulary};

use crate::cli::eval::asked::Asked;
use crate::cli::eval::caret;
use crate::cli::request;

const HELP: &str = "\
EXPRESSION           its value for the request
:explain EXPRESSION  what each part of it comes to
:type EXPRESSION     its type
:set NAME=VALUE      sets an attribute, or a key of one that is a map
:unset NAME          takes it away
:request FILE        takes the request from a file; what was set before is forgotten
:attributes [WORD]   the attributes there are
:referenced          what the last expression read
:help                this
:quit                ends
";

/// A request, and what was last asked of it.
pub(super) struct Session {
    vocabulary: Vocabulary,
    request: OwnedBag,
    referenced: Vec<String>,
}

/// What a line comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Lines to show.
    Text(String),
    /// The end.
    Quit,
}

impl Session {
    /// Over the request in `file`, with `attributes` set.
    pub(super) fn new(file: Option<PathBuf>, attributes: Vec<String>) -> Result<Self, String> {
        let vocabulary = Vocabulary::new();
        Ok(Self {
            request: request::read(file.as_deref(), &attributes, &vocabulary)?,
            vocabulary,
            referenced: Vec::new(),
        })
    }

    /// Does what a line says.
    pub(super) fn line(&mut self, line: &str) -> Reply {
        let line = line.trim();
        let Some(command) = line.strip_prefix(':') else {
            return Reply::Text(match line {
                "" => String::new(),
                expression => self.evaluate(expression),
            });
        };
        let (command, rest) = command
            .split_once(char::is_whitespace)
            .unwrap_or((command, ""));
        let done = match (command, rest.trim()) {
            ("quit" | "q", _) => return Reply::Quit,
            ("help", _) => Ok(HELP.to_owned()),
            ("attributes", word) => Ok(self.attributes(word)),
            ("referenced", _) => Ok(self
                .referenced
                .iter()
                .map(|line| format!("{line}\n"))
                .collect()),
            ("set", attribute) => self.set(attribute),
            ("unset", name) => self.unset(name),
            ("request", file) => self.read(Path::new(file)),
            ("type", expression) => self.compiled(expression).map(|asked| asked.kind() + "\n"),
            ("explain", expression) => self
                .compiled(expression)
                .map(|asked| asked.explanation(&self.request.bag())),
            (other, _) => Err(format!(
                "there is no `:{other}`; `:help` lists what there is\n"
            )),
        };
        Reply::Text(done.unwrap_or_else(|problem| problem))
    }

    fn compiled(&self, expression: &str) -> Result<Asked, String> {
        Asked::compile(expression, self.vocabulary.clone())
            .map_err(|problems| caret::shown(expression, &problems))
    }

    fn evaluate(&mut self, expression: &str) -> String {
        let asked = match self.compiled(expression) {
            Ok(asked) => asked,
            Err(problems) => return problems,
        };
        let answer = asked.answer(&self.request.bag());
        self.referenced = answer.referenced;
        match answer.value {
            Ok(value) => value + "\n",
            Err(error) => format!("error: {error}\n"),
        }
    }

    fn set(&mut self, attribute: &str) -> Result<String, String> {
        request::set(&mut self.request, attribute, &self.vocabulary)
            .map(|()| String::new())
            .map_err(|problem| problem + "\n")
    }

    fn unset(&mut self, name: &str) -> Result<String, String> {
        match self.vocabulary.by_name(name) {
            Some(attribute) => {
                self.request.unset(attribute.id);
                Ok(String::new())
            }
            None => Err(format!("there is no attribute `{name}`\n")),
        }
    }

    fn read(&mut self, file: &Path) -> Result<String, String> {
        if file == Path::new("-") || file == Path::new("") {
            return Err("`:request` takes the name of a file\n".to_owned());
        }
        self.request =
            request::read(Some(file), &[], &self.vocabulary).map_err(|problem| problem + "\n")?;
        Ok(String::new())
    }

    fn attributes(&self, word: &str) -> String {
        let mut text = String::new();
        for attribute in self
            .vocabulary
            .iter()
            .filter(|held| held.name.contains(word))
        {
            let kind = mixer_cel::Kind::from(attribute.kind).to_string();
            let _ = writeln!(
                text,
                "{:32} {kind:20} {}",
                attribute.name, attribute.meaning
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(lines: &[&str]) -> Vec<String> {
        let mut session = Session::new(None, vec!["source.namespace=shop".to_owned()]).unwrap();
        let mut texts = Vec::new();
        for line in lines {
            match session.line(line) {
                Reply::Text(text) => texts.push(text),
                Reply::Quit => texts.push("bye".to_owned()),
            }
        }
        texts
    }

    #[test]
    fn a_request_is_changed_between_expressions() {
        let lines = [
            "source.namespace",
            ":set source.namespace=till",
            "source.namespace == 'till' && request.method == 'GET'",
            ":referenced",
            ":set request.headers.x=1",
            "request.headers.x + request.headers['x']",
            ":unset source.namespace",
            "has(source.namespace)",
            ":type request.headers",
            ":q",
        ];
        assert_eq!(
            replies(&lines),
            [
                "\"shop\"\n",
                "",
                "error: request.method is not known\n",
                "source.namespace = \"till\"\nrequest.method (absent)\n",
                "",
                "\"11\"\n",
                "",
                "false\n",
                "map(string, string)\n",
                "bye",
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_shown_and_changes_nothing() {
        let replies = replies(&[
            "source.namspace",
            "1 +",
            ":set source.namespace",
            ":set connection.mtls=perhaps",
            ":unset nothing",
            ":request /nowhere/at.all",
            ":what",
            "",
            "source.namespace",
        ]);
        assert!(
            replies[0].contains("\n1 | source.namspace\n  | ^^^^^^^^^^^^^^^\n"),
            "{}",
            replies[0]
        );
        assert!(replies[1].contains("ends too early"), "{}", replies[1]);
        for (reply, said) in
            replies[2..7]
                .iter()
                .zip(["NAME=VALUE", "perhaps", "nothing", "nowhere", ":what"])
        {
            assert!(
                reply.contains(said) && reply.ends_with('\n'),
                "{reply:?} lacks {said}"
            );
        }
        assert_eq!(replies[7..], ["", "\"shop\"\n"]);
    }
}
