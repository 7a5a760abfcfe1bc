//! Why a request does not pass for its token, and what its caller is told (RFC 6750 section 3).

use std::borrow::Cow;

use http::StatusCode;

use crate::reply::Reply;

/// Why a request does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It has no token, and needs one.
    Missing,
    /// It has several: who reads which?
    Several,
    /// Its token is not valid: why not.
    Invalid(&'static str),
    /// Its token names a key that is not among those of the issuer, by index.
    UnknownKey(usize),
    /// There are no keys to verify it with.
    Unavailable,
}

impl Refused {
    /// The answer; `service` is whose door this is.
    pub(crate) fn reply(self, service: Option<&str>) -> Reply {
        let realm = service.unwrap_or("mesh");
        let (error, why): (_, Cow<'static, str>) = match self {
            Self::Missing => ("", "this service needs a token".into()),
            Self::Several => (
                "invalid_request",
                "the request has more than one token".into(),
            ),
            Self::Invalid(why) => (
                "invalid_token",
                format!("the token is not valid: {why}").into(),
            ),
            Self::UnknownKey(_) => {
                let why = "the token is not valid: its issuer has no such key";
                ("invalid_token", why.into())
            }
            Self::Unavailable => {
                return Reply::no_keys("the keys of the token's issuer are not known");
            }
        };
        let challenge = match error {
            "" => format!("Bearer realm=\"{realm}\""),
            error => {
                format!("Bearer realm=\"{realm}\", error=\"{error}\", error_description=\"{why}\"")
            }
        };
        let status = match self {
            Self::Several => StatusCode::BAD_REQUEST,
            _ => StatusCode::UNAUTHORIZED,
        };
        Reply::unauthenticated(status, why, &challenge)
    }
}
