//! Texts by how they begin, or by how they end.
//!
//! The affixes of a text form a chain: each is an affix of the next longer one. So they are kept sorted, each with its
//! longest proper affix; the greatest that is not above the text is an affix of it or has, up its chain, every one that is.

use super::Node;

#[derive(Debug, Default)]
pub(super) struct Affixes {
    /// They are ends, compared from behind.
    ends: bool,
    sorted: Box<[Affix]>,
}

#[derive(Debug)]
struct Affix {
    text: Box<str>,
    /// The longest other that it begins (or ends) with.
    longest: Option<u32>,
    node: Node,
}

impl Affixes {
    /// Each text once.
    pub(super) fn new(ends: bool, mut texts: Vec<(Box<str>, Node)>) -> Self {
        texts.sort_by(|(a, _), (b, _)| order(ends, a, b));
        let mut sorted: Vec<Affix> = Vec::with_capacity(texts.len());
        for (text, node) in texts {
            let mut longest = sorted.len().checked_sub(1);
            while let Some(at) = longest
                && !is_affix(ends, &sorted[at].text, &text)
            {
                longest = sorted[at].longest.map(|at| at as usize);
            }
            sorted.push(Affix {
                text,
                longest: longest.map(|at| at as u32),
                node,
            });
        }
        Self {
            ends,
            sorted: sorted.into(),
        }
    }

    /// What stands at the affixes of `text`.
    pub(super) fn of<'i>(&'i self, text: &str, visit: &mut impl FnMut(&'i Node)) {
        let above = self
            .sorted
            .partition_point(|affix| order(self.ends, &affix.text, text).is_le());
        let mut next = above.checked_sub(1);
        while let Some(at) = next {
            let affix = &self.sorted[at];
            if is_affix(self.ends, &affix.text, text) {
                visit(&affix.node);
            }
            next = affix.longest.map(|at| at as usize);
        }
    }
}

fn order(ends: bool, a: &str, b: &str) -> std::cmp::Ordering {
    match ends {
        false => a.cmp(b),
        true => a.bytes().rev().cmp(b.bytes().rev()),
    }
}

fn is_affix(ends: bool, affix: &str, text: &str) -> bool {
    match ends {
        false => text.starts_with(affix),
        true => text.ends_with(affix),
    }
}
