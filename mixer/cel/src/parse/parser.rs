//! The thread that runs the grammar.
//!
//! It has a stack made for the deepest text that passes the bounds, and lives as long as the compiler that owns it: starting a
//! thread for each expression costs several times what parsing one does. A compiler parses one text at a time, so there is one
//! thread and no pool, and nothing is shared that two compilers could wait for. A panic of the grammar ends the thread and is a
//! problem of the text; the next text gets a new thread.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use cel::Env;

use super::{STACK, parse_here, problem, tokens::Token};
use crate::Problem;
use crate::tree::Ast;

/// What runs on the thread.
type Grammar = fn(&Env, &str, &[Token]) -> Result<Ast, Problem>;

/// Texts that are remembered with their trees are at most this long, and at most so many: sets of documents repeat their
/// short conditions a thousand times, and what the grammar makes of one is the greater part of loading it.
const SHORT: usize = 256;
const REMEMBERED: usize = 1024;

/// Parses texts, one after the other, on a thread of its own. The thread starts with the first text.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    running: Option<Running>,
    trees: HashMap<String, Ast>,
}

#[derive(Debug)]
struct Running {
    texts: Sender<(String, Vec<Token>)>,
    trees: Receiver<Result<Ast, Problem>>,
    thread: JoinHandle<()>,
}

impl Parser {
    /// The tree of a text that was parsed before.
    pub(super) fn remembered(&self, source: &str) -> Option<Ast> {
        self.trees.get(source).cloned()
    }

    pub(super) fn parse(&mut self, source: &str, tokens: Vec<Token>) -> Result<Ast, Problem> {
        let parsed = self.parse_anew(source, tokens);
        if let Ok(tree) = &parsed
            && source.len() <= SHORT
        {
            if self.trees.len() == REMEMBERED {
                self.trees.clear();
            }
            self.trees.insert(source.to_owned(), tree.clone());
        }
        parsed
    }

    fn parse_anew(&mut self, source: &str, tokens: Vec<Token>) -> Result<Ast, Problem> {
        let whole = 0..source.len();
        let running = match self.running.take() {
            Some(running) => running,
            None => Running::start(parse_here).map_err(|error| {
                problem(whole.clone(), format!("no thread to parse on: {error}"))
            })?,
        };
        let sent = running.texts.send((source.to_owned(), tokens));
        match sent.ok().and_then(|()| running.trees.recv().ok()) {
            Some(parsed) => {
                self.running = Some(running);
                parsed
            }
            None => {
                running.end();
                let message = "the parser failed on this expression".to_owned();
                Err(problem(whole, message))
            }
        }
    }
}

impl Drop for Parser {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.end();
        }
    }
}

impl Running {
    fn start(grammar: Grammar) -> std::io::Result<Self> {
        let (texts, jobs) = channel::<(String, Vec<Token>)>();
        let (answers, trees) = channel();
        let run = move || {
            let env = Env::default();
            for (source, tokens) in jobs {
                if answers.send(grammar(&env, &source, &tokens)).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("cel-parser".to_owned());
        Ok(Self {
            texts,
            trees,
            thread: thread.stack_size(STACK).spawn(run)?,
        })
    }

    /// Without texts to come the thread ends.
    fn end(self) {
        drop(self.texts);
        // That it panicked was reported with the text it did so on.
        let _ = self.thread.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{parse, tokens::tokens};

    #[test]
    fn a_panic_costs_one_text_its_tree_and_no_other() {
        let panics = Running::start(|_, source, _| panic!("on purpose: {source}")).unwrap();
        let mut parser = Parser::default();
        parser.running = Some(panics);
        let problem = parser.parse("a", tokens("a").unwrap()).unwrap_err();
        assert_eq!(problem.message, "the parser failed on this expression");
        assert!(parse(&mut parser, "a && b").is_ok());
        assert!(parse(&mut parser, "a &&").is_err());
        assert!(parse(&mut parser, "a || b").is_ok());
    }

    #[test]
    fn a_text_has_the_same_tree_again_and_again() {
        let mut parser = Parser::default();
        let shown = |tree: Result<Ast, Vec<Problem>>| format!("{tree:?}");
        for at in 0..2 * REMEMBERED + 10 {
            let source = format!("a.b == {}", at % (REMEMBERED + 5));
            let tree = shown(parse(&mut parser, &source));
            assert_eq!(shown(parse(&mut parser, &source)), tree, "{source}");
            assert!(parser.trees.len() <= REMEMBERED);
        }
        let long = format!("a == '{}'", "b".repeat(SHORT));
        assert!(parse(&mut parser, &long).is_ok());
        assert!(parser.remembered(&long).is_none());
        assert!(parse(&mut parser, "a ==").is_err());
        assert!(parser.remembered("a ==").is_none());
    }

    #[test]
    fn many_threads_parse_at_once() {
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let mut parser = Parser::default();
                    for at in 0..20 {
                        let source = format!("a.b == 'c{at}' || d");
                        assert!(parse(&mut parser, &source).is_ok());
                    }
                });
            }
        });
    }
}
