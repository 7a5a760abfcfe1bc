//! One expression of Limitador: its text in our names, and what it reads.
//!
//! It is read word by word and not parsed: what is replaced is one word with its index, texts in quotes are left alone, and
//! the result is parsed and type-checked when it is loaded.

/// An expression in our names.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) text: String,
    /// Literal keys that fail it when they are absent; each once.
    pub(super) keys: Vec<String>,
    /// Descriptors it reads.
    pub(super) indices: Vec<u64>,
    /// It has `||`, `? :`, or a negation of several terms: it may hold though a part of it fails.
    branches: bool,
    /// It asks whether a key is there.
    asks_presence: bool,
    /// A function or operator that fails on some values.
    fails: Option<&'static str>,
}

const FAILING: [&str; 6] = ["int", "uint", "double", "bool", "timestamp", "duration"];

impl Read {
    pub(super) fn of(source: &str) -> Result<Self, String> {
        let mut read = Read {
            text: String::new(),
            keys: Vec::new(),
            indices: Vec::new(),
            branches: false,
            asks_presence: false,
            fails: None,
        };
        let mut rest = source;
        let mut negates = false;
        let mut conjoins = false;
        let mut has = false;
        while let Some(first) = rest.chars().next() {
            let length = match first {
                '"' | '\'' => quote(rest)?,
                _ if first.is_alphabetic() || first == '_' => word(rest),
                _ if first.is_ascii_digit() => rest
                    .find(|c: char| !c.is_ascii_alphanumeric())
                    .unwrap_or(rest.len()),
                _ => first.len_utf8(),
            };
            let (token, after) = rest.split_at(length);
            let member = read.text.trim_end().ends_with('.');
            match token {
                "descriptors" if !member => {
                    let (index, after) = subscript(after).ok_or(
                        "only `descriptors[N]` can be taken over: each descriptor is judged on its own here",
                    )?;
                    if !read.indices.contains(&index) {
                        read.indices.push(index);
                    }
                    let presence = std::mem::take(&mut has) || read.ends_in_in();
                    read.asks_presence |= presence;
                    if !presence {
                        let key = key(after).ok_or(
                            "`descriptors[N]` must be followed by a literal key, or stand behind `in` or in `has()`",
                        )?;
                        if let Some(key) = key
                            && !read.keys.contains(&key)
                        {
                            read.keys.push(key);
                        }
                    }
                    read.text.push_str("rate_limit.descriptor");
                    rest = after;
                    continue;
                }
                "limit" if !member && after.trim_start().starts_with('.') => {
                    return Err("`limit` is not known to an expression here".to_owned());
                }
                "has" if !member => has = true,
                "|" | "?" => read.branches |= !(token == "?" && read.ends_in_access()),
                "&" => conjoins = true,
                "!" if after.trim_start().starts_with('(') => negates = true,
                "/" | "%" => read.fails = Some("division"),
                _ => {
                    if let Some(function) = FAILING.iter().find(|name| **name == token)
                        && !member
                        && after.trim_start().starts_with('(')
                    {
                        read.fails = Some(function);
                    }
                }
            }
            read.text.push_str(token);
            rest = after;
        }
        read.branches |= negates && conjoins;
        Ok(read)
    }

    /// The keys that must be there for a condition to hold.
    pub(super) fn guards(&self) -> Result<&[String], String> {
        if let Some(why) = self.may_fail() {
            return Err(why);
        }
        if self.branches && (self.keys.len() > 1 || self.asks_presence && !self.keys.is_empty()) {
            return Err(format!(
                "this condition may hold without {}, and Limitador takes a part that cannot be evaluated for false: write one limit for each case",
                self.keys.join(" or ")
            ));
        }
        Ok(&self.keys)
    }

    /// What makes it fail on a value that is there.
    pub(super) fn may_fail(&self) -> Option<String> {
        let function = self.fails?;
        Some(format!(
            "{function} fails on some values: Limitador then passes the limit by, and a quota would not"
        ))
    }

    fn ends_in_in(&self) -> bool {
        let before = self.text.trim_end();
        before
            .strip_suffix("in")
            .is_some_and(|rest| rest.ends_with(char::is_whitespace))
    }

    /// What stands before `?` makes it `[?` or `.?`.
    fn ends_in_access(&self) -> bool {
        self.text.ends_with(['[', '.'])
    }
}

fn word(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len())
}

/// The length of the text in quotes that `text` begins with.
fn quote(text: &str) -> Result<usize, String> {
    let mark = &text[..1];
    let mark = match text.starts_with(&mark.repeat(3)) {
        true => mark.repeat(3),
        false => mark.to_owned(),
    };
    let mut at = mark.len();
    while at < text.len() {
        if text[at..].starts_with(&mark) {
            return Ok(at + mark.len());
        }
        let mut characters = text[at..].chars();
        let escaped = characters.next() == Some('\\');
        at += text[at..].chars().next().map_or(1, char::len_utf8);
        if escaped {
            at += characters.next().map_or(0, char::len_utf8);
        }
    }
    Err("a text in quotes does not end".to_owned())
}

/// `[N]` at the beginning of `text`, and what follows.
fn subscript(text: &str) -> Option<(u64, &str)> {
    let inner = text.trim_start().strip_prefix('[')?;
    let (number, after) = inner.split_once(']')?;
    Some((number.trim().parse().ok()?, after))
}

/// The literal key that is read of a descriptor: `Some(None)` for one that is optional. `None`: another use.
fn key(text: &str) -> Option<Option<String>> {
    if let Some(member) = text.strip_prefix('.') {
        if member.starts_with('?') {
            return Some(None);
        }
        let length = word(member);
        return (length > 0).then(|| Some(member[..length].to_owned()));
    }
    let inner = text.strip_prefix('[')?.trim_start();
    if inner.starts_with('?') {
        return Some(None);
    }
    let length = inner
        .starts_with(['"', '\''])
        .then(|| quote(inner).ok())??;
    let key = &inner[1..length - 1];
    let plain = !key.contains(['\\', '"', '\'']);
    (plain && inner[length..].trim_start().starts_with(']')).then(|| Some(key.to_owned()))
}
