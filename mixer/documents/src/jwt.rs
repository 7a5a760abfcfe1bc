//! `jwt` documents: whose tokens are believed at a destination, and where requests carry them.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mixer_attributes::AttributeBag;
use mixer_cel::Selector;
use serde_json::json;

use crate::Span;
use crate::scalar::span_text;

/// One issuer of tokens, for some destinations. The proxy at the destination enforces it; Mixer fetches the keys.
#[derive(Clone, Debug)]
pub struct Jwt {
    /// Its name, which is `auth.issuer`.
    pub name: Arc<str>,
    /// Which destinations.
    pub selector: Selector,
    /// The `for` as it was written.
    pub selected: Arc<str>,
    /// What `iss` must be.
    pub issuer: String,
    /// What `aud` must have one of; never empty.
    pub audiences: Vec<String>,
    /// Where its keys come from.
    pub keys: KeySource,
    /// Where requests carry tokens; never empty.
    pub from: Vec<TokenPlace>,
    /// `missing: deny`: a request without a token gets 401.
    pub missing_denied: bool,
    /// `token: strip`: the application does not see it.
    pub strip: bool,
    /// Directory of the document's file.
    pub directory: PathBuf,
    /// Its name in the file.
    pub span: Span,
    /// Where `jwks` says the address or the file.
    pub keys_span: Span,
}

/// `jwks`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// An http or https address that Mixer fetches.
    Url {
        /// The address.
        url: String,
        /// How often.
        refresh: Duration,
        /// How long keys are used after the last fetch that succeeded.
        keep: Duration,
    },
    /// A file beside the documents.
    File(String),
}

/// A place in a request where a token is looked for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum TokenPlace {
    /// A header, by its lower-case name; the token is what follows the prefix, whose letters may be of either case.
    #[allow(missing_docs)]
    Header { name: String, prefix: String },
    /// A cookie.
    Cookie(String),
    /// A parameter of the query.
    Query(String),
}

impl KeySource {
    /// How often keys are fetched when nobody says.
    pub const REFRESH: Duration = Duration::from_secs(600);
    /// How long they are kept when nobody says.
    pub const KEEP: Duration = Duration::from_secs(24 * 3600);
}

impl TokenPlace {
    /// Where tokens are when nobody says (RFC 6750 section 2.1).
    pub fn usual() -> Self {
        Self::Header {
            name: "authorization".to_owned(),
            prefix: "Bearer ".to_owned(),
        }
    }

    fn canonical(&self) -> serde_json::Value {
        match self {
            Self::Header { name, prefix } => json!({ "header": name, "prefix": prefix }),
            Self::Cookie(name) => json!({ "cookie": name }),
            Self::Query(name) => json!({ "query": name }),
        }
    }
}

/// As problems and logs name it.
impl fmt::Display for TokenPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header { name, .. } => write!(f, "the header `{name}`"),
            Self::Cookie(name) => write!(f, "the cookie `{name}`"),
            Self::Query(name) => write!(f, "the query's `{name}`"),
        }
    }
}

impl fmt::Debug for TokenPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Jwt {
    /// Whether it is about the destination that `bag` describes by its service, namespace and labels.
    pub fn applies(&self, bag: &AttributeBag<'_>) -> bool {
        self.selector.selects(bag)
    }

    /// The document as canonical JSON, as Watch carries it; [`crate::load`] reads it back to the same value (but for its place, and
    /// the query of an address: it may hold a token, and proxies call nobody).
    pub fn canonical(&self) -> String {
        let jwks = match &self.keys {
            KeySource::Url { url, refresh, keep } => {
                let url = url.split('?').next().unwrap_or_default();
                json!({ "url": url, "refresh": span_text(*refresh), "keep": span_text(*keep) })
            }
            KeySource::File(path) => json!({ "file": path }),
        };
        json!({
            "jwt": &*self.name,
            "for": &*self.selected,
            "issuer": self.issuer,
            "audiences": self.audiences,
            "jwks": jwks,
            "from": self.from.iter().map(TokenPlace::canonical).collect::<Vec<_>>(),
            "missing": if self.missing_denied { "deny" } else { "pass" },
            "token": if self.strip { "strip" } else { "forward" },
        })
        .to_string()
    }
}
