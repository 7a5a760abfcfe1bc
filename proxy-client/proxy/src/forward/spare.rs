//! What of a request is kept while it is sent, so that it can be sent once more.

use std::error::Error;

use http::Request;
use hyper::body::Body;

use super::Target;
use crate::body::RequestBody;
use crate::pool::Lease;
use crate::route::{Replay, same_head};

/// What it takes to send a request once more.
pub(super) struct Spare {
    head: Request<()>,
    /// `None`: it has none.
    body: Option<Replay>,
    /// The body is kept for this alone.
    own: bool,
    /// Sending it twice does no harm, and the connection was used before.
    pub(super) harmless: bool,
}

impl Spare {
    /// Of a request that is about to be sent to `target` over `lease`, for the first time or not; up to `most` bytes of its body are
    /// kept.
    pub(super) fn of(
        request: &mut Request<RequestBody>,
        target: &Target,
        lease: &Lease,
        first: bool,
        most: usize,
    ) -> Option<Self> {
        let bare = request.body().is_end_stream();
        let harmless = first && lease.reused() && bare && request.method().is_idempotent();
        // HTTP/1 servers do not say what they did not look at. The application is nowhere else.
        let elsewhere = lease.is_http2() && matches!(target, Target::Service(_));
        if !harmless && !elsewhere {
            return None;
        }
        let head = same_head(request);
        let (body, own) = match request.body_mut() {
            _ if bare => (None, false),
            RequestBody::Kept(reader) => (Some(reader.replay()), false),
            body => {
                let replay = Replay::new(std::mem::replace(body, RequestBody::Empty), most);
                *body = RequestBody::Kept(replay.reader());
                (Some(replay), true)
            }
        };
        Some(Self {
            head,
            body,
            own,
            harmless,
        })
    }

    /// The request again; `None`: too much of its body has passed.
    pub(super) fn request(self) -> Option<Request<RequestBody>> {
        let body = match self.body {
            None => RequestBody::Empty,
            Some(replay) if replay.is_there() => RequestBody::Kept(replay.reader()),
            Some(_) => return None,
        };
        Some(self.head.map(|()| body))
    }

    /// It will not be needed.
    pub(super) fn forget(&mut self) {
        if self.own
            && let Some(replay) = &self.body
        {
            replay.forget();
        }
    }
}

/// Whether the server ended the connection and did not look at the request (RFC 9113 section 6.8). The library says so of streams
/// beyond the last that the server names, and of no others.
pub(super) fn is_unseen(error: &hyper::Error) -> bool {
    let source = error.source();
    let source = source.and_then(|source| source.downcast_ref::<h2::Error>());
    source.is_some_and(|error| {
        error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
    })
}
