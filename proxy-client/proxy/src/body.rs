//! Bodies on their way through: counted, never gathered. Back pressure is hyper's own: a frame is read when it can be written.
//!
//! Data of no bytes are not passed on. They say nothing, and an HTTP/2 peer takes more than a few for abuse: the library ends a
//! connection after a hundred.

use std::cell::Cell;
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::exchange::Exchange;
use crate::flag::Flag;
use crate::forward::Carrying;
use crate::headers::{strip_forwarded, strip_identity};
use crate::pace::Owed;
use crate::route::Reader;
use crate::vet::strip_trailers;

/// Why a request's body ends before its end: the server must not take what it has for all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cut {
    #[error("the caller's body broke off: {0}")]
    Caller(#[from] hyper::Error),
    #[error("another try has taken the place of this one")]
    Superseded,
}

/// A request's body, to the server.
#[derive(Debug)]
pub(crate) enum RequestBody {
    Empty,
    Streaming {
        body: Incoming,
        /// The count of its bytes.
        count: Rc<Cell<u64>>,
        /// Its trailers may claim no identity.
        strangers: bool,
        /// What the caller owes of it; `None`: nothing, however long it takes.
        owed: Option<Owed>,
    },
    /// Kept while it passes.
    Kept(Reader),
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let (body, count, strangers, owed) = match self.get_mut() {
            RequestBody::Empty => return Poll::Ready(None),
            RequestBody::Kept(reader) => return Pin::new(reader).poll_frame(context),
            RequestBody::Streaming {
                body,
                count,
                strangers,
                owed,
            } => (body, count, strangers, owed),
        };
        let polled = next(body, context);
        if let Some(owed) = owed {
            owed.set(polled.is_pending());
            owed.moved();
            // Of HTTP/1 nothing more can be read: it broke the framing, or broke off.
            if let Poll::Ready(Some(Err(error))) = &polled
                && !error
                    .source()
                    .is_some_and(|source| source.is::<h2::Error>())
            {
                owed.refuse();
            }
        }
        let mut frame = ready!(polled);
        if let Some(Ok(frame)) = &mut frame {
            if let Some(data) = frame.data_ref() {
                count.set(count.get() + data.len() as u64);
            } else if let Some(trailers) = frame.trailers_mut() {
                strip_trailers(trailers);
                if *strangers {
                    strip_identity(trailers);
                    strip_forwarded(trailers, None);
                }
            }
        }
        Poll::Ready(frame.map(|frame| Ok(frame?)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Streaming { body, .. } => body.is_end_stream(),
            RequestBody::Kept(reader) => reader.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Streaming { body, .. } => body.size_hint(),
            RequestBody::Kept(reader) => reader.size_hint(),
        }
    }
}

/// The next frame that says something.
fn next(
    body: &mut Incoming,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
    loop {
        let polled = Pin::new(&mut *body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) if frame.data_ref().is_some_and(Bytes::is_empty) => {}
            _ => return polled,
        }
    }
}

/// A response's body, to the caller. Its end ends the exchange and gives the connection back.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    content: Content,
    exchange: Option<Exchange>,
    /// Whether the caller has to take what it was given before it gets more.
    owed: Option<Owed>,
}

#[derive(Debug)]
enum Content {
    Done,
    Text(Bytes),
    Upstream(Incoming, Carrying),
}

impl ResponseBody {
    pub(crate) fn text(text: Bytes, exchange: Exchange) -> Self {
        Self {
            content: if text.is_empty() {
                Content::Done
            } else {
                Content::Text(text)
            },
            exchange: Some(exchange),
            owed: None,
        }
    }

    pub(crate) fn upstream(body: Incoming, carrying: Carrying, exchange: Exchange) -> Self {
        let mut body = Self {
            content: Content::Upstream(body, carrying),
            owed: Some(Owed::nothing(exchange.connection.clone())),
            exchange: Some(exchange),
        };
        if body.is_end_stream() {
            body.finish(None);
        }
        body
    }

    /// Nothing follows the head, and the exchange goes on elsewhere (after an upgrade).
    pub(crate) fn detached() -> Self {
        Self {
            content: Content::Done,
            exchange: None,
            owed: None,
        }
    }

    /// The response is over: wholly sent, or cut short for the reason of `flag`.
    fn finish(&mut self, cut: Option<Flag>) {
        self.owed = None;
        if let Content::Upstream(body, carrying) =
            std::mem::replace(&mut self.content, Content::Done)
            && cut.is_none()
        {
            drop(body);
            carrying.give_back();
        }
        if let Some(mut exchange) = self.exchange.take()
            && let Some(flag) = cut
        {
            exchange.flag = flag;
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let frame = match &mut this.content {
            Content::Done => None,
            Content::Text(text) => {
                let text = std::mem::take(text);
                this.content = Content::Done;
                Some(Ok(Frame::data(text)))
            }
            Content::Upstream(body, _) => {
                let polled = next(body, context);
                if let Some(owed) = &mut this.owed {
                    owed.set(polled.is_ready());
                    owed.moved();
                }
                ready!(polled)
            }
        };
        match &frame {
            None => this.finish(None),
            Some(Err(_)) => this.finish(Some(Flag::UpstreamTermination)),
            Some(Ok(frame)) => {
                if let Some(exchange) = &mut this.exchange {
                    if let Some(data) = frame.data_ref() {
                        exchange.response_bytes += data.len() as u64;
                    } else if let Some(trailers) = frame.trailers_ref() {
                        exchange.grpc_status = grpc_status(trailers).or(exchange.grpc_status);
                    }
                }
                if this.is_end_stream() {
                    this.finish(None);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Done => true,
            Content::Text(_) => false,
            Content::Upstream(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Done => SizeHint::with_exact(0),
            Content::Text(text) => SizeHint::with_exact(text.len() as u64),
            Content::Upstream(body, _) => body.size_hint(),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let over = self.is_end_stream() || matches!(self.content, Content::Text(_));
        let cut = self.exchange.as_ref().filter(|_| !over);
        let cut = cut.map(|exchange| exchange.connection.broken_off());
        self.finish(cut);
    }
}

/// `grpc-status` of trailers, or of the headers of a response that is nothing but trailers.
pub(crate) fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
