//! `mixer ca ..`: the certificate authority of a mesh that has no other.

mod bundle;
mod init;
mod issue;
mod remove;
mod rotate;
mod serve;
mod token;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use mixer_ca::{
    Directory, DirectoryError, IssueError, RotateError, SigningFailed, StartError, TokenError,
};
use mixer_identity::SpiffeId;

use super::{INVALID, UNREADABLE, USAGE};

/// Somebody needed cannot be reached, or an address cannot be had (EX_UNAVAILABLE).
const UNAVAILABLE: u8 = 69;

/// Signs the certificates of a mesh, where nothing else does.
///
/// DIR holds its root and its state, readable by its owner only. It may be used by several commands at once: `serve` takes over what
/// the others change.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Init(init::Args),
    Serve(serve::Args),
    Token(token::Args),
    Remove(remove::Args),
    Issue(issue::Args),
    Bundle(bundle::Args),
    Rotate(rotate::Args),
}

/// Why a verb came to nothing.
struct Failed {
    code: u8,
    why: String,
}

/// Does what is asked.
pub(crate) fn run(args: Args) -> ExitCode {
    let done = match args.verb {
        Verb::Init(args) => init::run(args),
        Verb::Serve(args) => serve::run(args),
        Verb::Token(args) => token::run(args),
        Verb::Remove(args) => remove::run(args),
        Verb::Issue(args) => issue::run(args),
        Verb::Bundle(args) => bundle::run(args),
        Verb::Rotate(args) => rotate::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed { code, why }) => {
            eprintln!("{}", why.trim_end());
            ExitCode::from(code)
        }
    }
}

impl Failed {
    fn usage(why: impl ToString) -> Self {
        Self {
            code: USAGE,
            why: why.to_string(),
        }
    }

    fn unreadable(why: impl ToString) -> Self {
        Self {
            code: UNREADABLE,
            why: why.to_string(),
        }
    }

    fn defect(why: impl ToString) -> Self {
        Self {
            code: 1,
            why: why.to_string(),
        }
    }
}

impl From<DirectoryError> for Failed {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::Taken(_) => Self::usage(error),
            error => Self::unreadable(error),
        }
    }
}

impl From<SigningFailed> for Failed {
    fn from(error: SigningFailed) -> Self {
        Self::defect(error)
    }
}

impl From<IssueError> for Failed {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Directory(error) => error.into(),
            IssueError::Foreign(..) | IssueError::Reserved(_) => Self::usage(error),
            error => Self::defect(error),
        }
    }
}

impl From<TokenError> for Failed {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Directory(error) => error.into(),
            TokenError::Random(error) => error.into(),
        }
    }
}

impl From<RotateError> for Failed {
    fn from(error: RotateError) -> Self {
        match error {
            RotateError::TooEarly { .. } => Self::usage(format!(
                "{error}, or say --now if nobody can have missed it"
            )),
            RotateError::Directory(error) => error.into(),
            RotateError::Signing(error) => error.into(),
        }
    }
}

impl From<StartError> for Failed {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Issue(error) => error.into(),
            StartError::Entry(_) => Self {
                code: INVALID,
                why: error.to_string(),
            },
            StartError::Plaintext(_) => Self::usage(error),
            StartError::Listen { .. } => Self {
                code: UNAVAILABLE,
                why: error.to_string(),
            },
        }
    }
}

/// An id of a workload that this authority may sign.
fn own(directory: &Directory, id: &SpiffeId) -> Result<(), Failed> {
    let domain = mixer_ca::State::read(directory)?.trust_domain(directory)?;
    if id.trust_domain() == &domain && !id.path().is_empty() {
        return Ok(());
    }
    Err(Failed::usage(format!(
        "{id} is not the id of a workload of {domain}, which this authority signs for: such as spiffe://{domain}/ns/shop/sa/cart"
    )))
}

/// A text file that an operator named.
fn read(path: &Path) -> Result<String, Failed> {
    std::fs::read_to_string(path)
        .map_err(|error| Failed::unreadable(format!("cannot read {}: {error}", path.display())))
}

/// `90s`, `10m`, `24h`, `30d`.
fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("a time is a number and s, m, h or d, such as 24h, not `{text}`");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let digits = &text[..text.len() - 1];
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let most = 100 * 365 * 86_400;
    match number.checked_mul(seconds) {
        Some(0) => Err("a time of nothing".to_owned()),
        Some(span) if span <= most => Ok(Duration::from_secs(span)),
        _ => Err("more than 100 years".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        let seconds = |text| span(text).map(|span| span.as_secs()).ok();
        assert_eq!(seconds("90s"), Some(90));
        assert_eq!(seconds("10m"), Some(600));
        assert_eq!(seconds("24h"), Some(86_400));
        assert_eq!(seconds("30d"), Some(2_592_000));
        for wrong in [
            "",
            "h",
            "24",
            "-1h",
            "+1h",
            "1.5h",
            "0s",
            "1w",
            "99999999999999d",
            "24ä",
        ] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
