//! The codes of problems: what scripts, searches and `mixer validate --explain` go by.
//!
//! A code is for good: messages may be worded better, a code never changes its meaning and is never used again. What each
//! means, with a document that has the problem and one that has it no more, is written in `codes.md` beside this crate's
//! README, and nowhere else: `--explain` prints it, tests load its documents.

use mixer_cel::ProblemKind;

/// The pages of the codes.
const PAGES: &str = include_str!("../../codes.md");

macro_rules! codes {
    ($($name:ident = $id:literal,)*) => {
        /// What a problem is, in six characters that stay the same.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs)]
        pub enum Code {
            $($name,)*
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// Such as `MX1004`.
            pub const fn id(self) -> &'static str {
                match self {
                    $(Code::$name => $id,)*
                }
            }
        }
    };
}

codes! {
    // Reading.
    Unreadable = "MX0001",
    NoDocuments = "MX0002",
    TooMuch = "MX0003",
    Internal = "MX0004",
    // YAML.
    NotYaml = "MX0101",
    Indentation = "MX0102",
    Tab = "MX0103",
    Unclosed = "MX0104",
    Unquoted = "MX0105",
    CutShort = "MX0106",
    Tag = "MX0107",
    YamlFeature = "MX0108",
    KeyTwice = "MX0109",
    KeyNotText = "MX0110",
    TooDeep = "MX0111",
    CommentTrap = "MX0112",
    // The shape of documents.
    UnknownKind = "MX1001",
    TwoKinds = "MX1002",
    ApiVersion = "MX1003",
    UnknownKey = "MX1004",
    MissingKey = "MX1005",
    TwoKeys = "MX1006",
    NoMeaning = "MX1007",
    NotSupportedYet = "MX1008",
    NameTaken = "MX1009",
    WrongShape = "MX1010",
    Empty = "MX1011",
    Name = "MX1012",
    UnknownWord = "MX1013",
    Boolean = "MX1014",
    Number = "MX1015",
    Time = "MX1016",
    Share = "MX1017",
    // Expressions.
    CelParse = "MX2001",
    CelUnknownName = "MX2002",
    CelTooLate = "MX2003",
    CelUnsupported = "MX2004",
    CelType = "MX2005",
    CelCall = "MX2006",
    CelLiteral = "MX2007",
    CelLimit = "MX2008",
    CelTemplate = "MX2009",
    CelSelector = "MX2010",
    UnguardedKey = "MX2011",
    // Policies and rules.
    OtherwiseMissing = "MX3001",
    SentenceTaken = "MX3002",
    ReservedSentence = "MX3003",
    NoDemand = "MX3004",
    Status = "MX3005",
    EmptyPolicy = "MX3006",
    NeverAsked = "MX3007",
    GrpcStatus = "MX3008",
    ReplyHeader = "MX3009",
    ReplyBody = "MX3010",
    TrialOver = "MX3011",
    // Quotas.
    Limit = "MX4001",
    LimitTable = "MX4002",
    CounterTaken = "MX4003",
    // Adapters.
    UnknownAdapter = "MX5001",
    UnknownAdapterType = "MX5002",
    AdapterConfig = "MX5003",
    AdapterCannot = "MX5004",
    InputsDiffer = "MX5005",
    AdapterInput = "MX5006",
    AdapterNumber = "MX5007",
    // Services, the mesh, attributes, telemetry.
    ServiceName = "MX6001",
    Host = "MX6002",
    HostTaken = "MX6003",
    Endpoint = "MX6004",
    SpiffeId = "MX6005",
    IdentityMissing = "MX6006",
    ProbePath = "MX6007",
    SecondMesh = "MX6101",
    TrustDomain = "MX6102",
    HeaderName = "MX6103",
    Network = "MX6104",
    AttributeName = "MX6201",
    AttributeTaken = "MX6202",
    TooManyAttributes = "MX6203",
    Constant = "MX6204",
    MetricName = "MX6301",
    MetricTaken = "MX6302",
    Buckets = "MX6303",
    LabelName = "MX6304",
    MetricRefused = "MX6305",
    // Routes.
    Weights = "MX6401",
    SubsetUnknown = "MX6402",
    RetryCondition = "MX6403",
    RouteHeader = "MX6404",
    RoutePath = "MX6405",
    // Workloads.
    ForeignId = "MX6501",
    ExecutablePath = "MX6502",
    // Tokens.
    KeysAddress = "MX6601",
    KeysDropped = "MX6602",
    KeysFile = "MX6603",
    KeysInPlaintext = "MX6604",
    // Tests.
    GivenUnknown = "MX7001",
    GivenValue = "MX7002",
    GivenComputed = "MX7003",
    LikeUnknown = "MX7004",
    LikeItself = "MX7005",
    TestTaken = "MX7006",
    TestOfLimit = "MX7007",
    SecondRequest = "MX7008",
    TestOfRoute = "MX7009",
    // What loads and is hardly meant.
    RuleUnreachable = "MX9001",
    RuleShadowed = "MX9002",
    OtherwiseUnreachable = "MX9003",
    OtherwiseDefeated = "MX9004",
    QuotaTwice = "MX9005",
    NeverTrue = "MX9101",
    LiteralNeverHad = "MX9102",
    AbsentBranch = "MX9201",
    AbsentDiffers = "MX9202",
    ForUnknown = "MX9301",
    RuleOfTcp = "MX9302",
    ProbesOfAll = "MX9303",
    AnyIssuer = "MX9304",
    LabelUnbounded = "MX9401",
    CacheDefeated = "MX9402",
    RetryTwice = "MX9501",
    ShareOfNone = "MX9502",
}

impl Code {
    /// The code written so, in any case of letters.
    pub fn find(id: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|code| code.id().eq_ignore_ascii_case(id))
            .copied()
    }

    /// That of a problem with an expression.
    pub fn of_expression(kind: ProblemKind) -> Self {
        match kind {
            ProblemKind::Parse => Code::CelParse,
            ProblemKind::Limit => Code::CelLimit,
            ProblemKind::Unsupported => Code::CelUnsupported,
            ProblemKind::UnknownName => Code::CelUnknownName,
            ProblemKind::TooLate => Code::CelTooLate,
            ProblemKind::Type => Code::CelType,
            ProblemKind::Call => Code::CelCall,
            ProblemKind::Literal => Code::CelLiteral,
            ProblemKind::Template => Code::CelTemplate,
            ProblemKind::Selector => Code::CelSelector,
        }
    }

    /// What it is, in a few words.
    pub fn title(self) -> &'static str {
        self.page().split_once('\n').map_or("", |(title, _)| title)
    }

    /// What it means and what to do about it, as Markdown.
    pub fn explanation(self) -> &'static str {
        self.page()
            .split_once('\n')
            .map_or("", |(_, text)| text.trim())
    }

    /// From behind the code in its heading to the next heading.
    fn page(self) -> &'static str {
        let heading = format!("\n### {} ", self.id());
        let Some((_, page)) = PAGES.split_once(&heading) else {
            return "";
        };
        let end = ["\n### ", "\n## "]
            .iter()
            .filter_map(|next| page.find(next))
            .min();
        &page[..end.unwrap_or(page.len())]
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.id())
    }
}

#[cfg(test)]
mod tests;
