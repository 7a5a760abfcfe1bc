//! Quotas: how much may be spent, by whom, in what time.

use std::sync::Arc;
use std::time::Duration;

use mixer_cel::Expression;

use crate::{Calendar, Condition, Mode, Reply, Span, Until};

/// A checked and compiled quota.
#[derive(Clone, Debug)]
pub struct Quota {
    /// Its name in messages, logs and tests.
    pub sentence: Arc<str>,
    /// Names the counter: `id:`, else `policy/sentence`.
    pub id: Arc<str>,
    /// When it applies; undecidable means it does.
    pub when: Condition,
    /// Each value of the key has a counter; none: one counter for all.
    pub key: Vec<Expression>,
    /// A key that is absent.
    pub absent: Absent,
    /// How much.
    pub limit: LimitTable,
    /// What a request costs; `None` is 1.
    pub cost: Option<Expression>,
    /// How it is counted.
    pub algorithm: Algorithm,
    /// Whether a refused request counts.
    pub denied: Denied,
    /// Where: index into [`crate::PolicySet::adapters`].
    pub store: usize,
    /// How much a proxy may hold in advance.
    pub lease: LeaseLimit,
    /// When the store, or Mixer with the check cached, cannot be asked.
    pub on_error: QuotaOnError,
    /// Whether it is enforced.
    pub mode: Mode,
    /// How long it is meant to be in shadow.
    pub until: Option<Until>,
    /// Which headers tell callers what is left.
    pub tell: Tell,
    /// What a caller is told who is over the limit.
    pub reply: Reply,
    /// It reads `request.*`: it does not apply to services declared tcp.
    pub reads_request: bool,
    /// It reads `request.path`.
    pub reads_path: bool,
    /// Its sentence in the file.
    pub span: Span,
}

/// At most `amount` in `window`; with [`Algorithm::Concurrency`] at most `amount` at once, and the window is the hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Tokens.
    pub amount: u64,
    /// Time.
    pub window: Duration,
}

/// A limit, or a table of them. The counter does not depend on the row.
#[derive(Clone, Debug)]
pub struct LimitTable {
    /// Yields the row's name.
    pub by: Option<Expression>,
    /// Rows by name.
    pub table: Vec<(Arc<str>, Limit)>,
    /// When no row is named so, or the expression has no value.
    pub otherwise: Limit,
}

impl LimitTable {
    /// The limit of row `name`; the `otherwise` for a name it has not.
    pub fn row(&self, name: &str) -> Limit {
        self.table
            .iter()
            .find(|(row, _)| &**row == name)
            .map_or(self.otherwise, |(_, limit)| *limit)
    }
}

/// A key that is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Absent {
    /// Shares one counter with all others that lack it (the default).
    Share,
    /// Denies, as undetermined.
    Deny,
    /// The quota does not apply.
    Skip,
}

/// How spending is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// At most `amount` in any window.
    SlidingWindow,
    /// A bucket of `burst` tokens (default: the amount) that refills evenly.
    Gcra {
        /// Tokens that may be spent at once.
        burst: u64,
    },
    /// At most `amount` in each of a row of windows that do not overlap. All rows of the limit have one window.
    FixedWindow {
        /// The calendar's; `None`: a window opens with the first token spent after the one before.
        calendar: Option<Calendar>,
    },
    /// At most `amount` held at once; what is taken is freed when the request is over, at the latest after the hold.
    Concurrency {
        /// How long a request is counted that nobody says is over.
        hold: Duration,
    },
}

/// Whether a refused request counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denied {
    /// It consumes nothing (the default).
    Free,
    /// It counts like one that passed: who goes on asking stays refused.
    Counts,
}

/// Which headers of a response tell the caller of a limit, and what is left under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tell {
    /// None (the default).
    Nothing,
    /// `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers.
    RateLimit,
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`, as many APIs and Envoy have them.
    XRateLimit,
    /// All of these.
    Both,
}

impl Tell {
    /// Each, in the words of documents.
    pub(crate) const WORDS: [(&'static str, Self); 4] = [
        ("nothing", Self::Nothing),
        ("RateLimit", Self::RateLimit),
        ("X-RateLimit", Self::XRateLimit),
        ("both", Self::Both),
    ];

    /// As documents say it.
    pub fn word(self) -> &'static str {
        Self::WORDS[self as usize].0
    }
}

/// How much a proxy may hold in advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaseLimit {
    /// By rate and number of clients (the default).
    Auto,
    /// At most this; 0: always ask.
    AtMost(u64),
}

/// When the count cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuotaOnError {
    /// Requests pass (the default).
    Allow,
    /// Requests are refused with 503.
    Deny,
    /// Each proxy counts alone up to this percentage of the limit.
    Local(u8),
}
