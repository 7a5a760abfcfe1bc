//! The body of a request that may have to be sent again: kept while it passes, up to a bound.
//!
//! It is not gathered first: the server may answer before the caller has sent it all. What has passed is kept, and a second try
//! gets that before what is still to come. Beyond the bound nothing is kept, and there is no second try.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;

use crate::body::{Cut, RequestBody};

/// A whole body.
pub(crate) type Whole = (Vec<Bytes>, Option<HeaderMap>);

/// A body and what of it has passed.
#[derive(Clone, Debug)]
pub(crate) struct Replay(Rc<RefCell<Kept>>);

#[derive(Debug)]
struct Kept {
    source: RequestBody,
    frames: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    bytes: usize,
    most: usize,
    /// All of it has passed.
    ended: bool,
    /// It cannot be had again: there was too much, or the caller went away.
    lost: bool,
    /// Which reader may go on. What an earlier try still reads would be missing in the next.
    reader: u32,
    /// Of the reader that waits for more.
    waiting: Option<Waker>,
    /// Who wants it whole.
    copy: Option<oneshot::Sender<Whole>>,
}

/// The body, as one try sends it.
#[derive(Debug)]
pub(crate) struct Reader {
    replay: Replay,
    number: u32,
    at: usize,
    told_trailers: bool,
}

impl Replay {
    /// Of `source`, up to `most` bytes.
    pub(crate) fn new(source: RequestBody, most: usize) -> Self {
        Self(Rc::new(RefCell::new(Kept {
            source,
            frames: Vec::new(),
            trailers: None,
            bytes: 0,
            most,
            ended: false,
            lost: false,
            reader: 0,
            waiting: None,
            copy: None,
        })))
    }

    /// A body that is there already.
    pub(crate) fn whole((frames, trailers): Whole) -> Self {
        let replay = Self::new(RequestBody::Empty, usize::MAX);
        {
            let mut kept = replay.0.borrow_mut();
            kept.bytes = frames.iter().map(Bytes::len).sum();
            (kept.frames, kept.trailers, kept.ended) = (frames, trailers, true);
        }
        replay
    }

    /// From its beginning; whoever reads it now is cut off.
    pub(crate) fn reader(&self) -> Reader {
        let mut kept = self.0.borrow_mut();
        kept.reader += 1;
        if let Some(waiting) = kept.waiting.take() {
            waiting.wake();
        }
        Reader {
            replay: self.clone(),
            number: kept.reader,
            at: 0,
            told_trailers: false,
        }
    }

    /// It will not be read once more: what its reader has passed on need not be kept.
    pub(crate) fn forget(&self) {
        self.0.borrow_mut().lost = true;
    }

    /// Whether it can be read once more.
    pub(crate) fn is_there(&self) -> bool {
        !self.0.borrow().lost
    }

    /// All of it once it has passed; an error if it will not be had.
    pub(crate) fn copy(&self) -> oneshot::Receiver<Whole> {
        let (sender, receiver) = oneshot::channel();
        self.0.borrow_mut().copy = Some(sender);
        receiver
    }
}

impl Kept {
    fn keep(&mut self, data: &Bytes) {
        if self.lost {
            return;
        }
        self.bytes += data.len();
        if self.bytes > self.most {
            self.lose();
        } else {
            self.frames.push(data.clone());
        }
    }

    fn lose(&mut self) {
        self.lost = true;
        self.frames = Vec::new();
        self.copy = None;
    }

    fn end(&mut self) {
        self.ended = true;
        if let Some(copy) = self.copy.take() {
            // Who wanted it may be gone.
            let _ = copy.send((self.frames.clone(), self.trailers.clone()));
        }
    }
}

impl Reader {
    /// What it reads.
    pub(crate) fn replay(&self) -> Replay {
        self.replay.clone()
    }
}

impl Body for Reader {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        let mut kept = this.replay.0.borrow_mut();
        if kept.reader != this.number {
            return Poll::Ready(Some(Err(Cut::Superseded)));
        }
        if kept.lost && this.at >= kept.frames.len() {
            (kept.frames, this.at) = (Vec::new(), 0);
        }
        if let Some(data) = kept.frames.get(this.at) {
            this.at += 1;
            return Poll::Ready(Some(Ok(Frame::data(data.clone()))));
        }
        if kept.ended {
            let trailers = kept.trailers.clone().filter(|_| !this.told_trailers);
            this.told_trailers = true;
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let Poll::Ready(frame) = Pin::new(&mut kept.source).poll_frame(context) else {
            kept.waiting = Some(context.waker().clone());
            return Poll::Pending;
        };
        match &frame {
            None => kept.end(),
            Some(Err(_)) => kept.lose(),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    kept.keep(data);
                    this.at = kept.frames.len();
                } else if let Some(trailers) = frame.trailers_ref() {
                    kept.trailers = Some(trailers.clone());
                    this.told_trailers = true;
                }
                if kept.source.is_end_stream() {
                    kept.end();
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let kept = self.replay.0.borrow();
        kept.reader == self.number
            && kept.ended
            && self.at >= kept.frames.len()
            && (self.told_trailers || kept.trailers.is_none())
    }

    fn size_hint(&self) -> SizeHint {
        let kept = self.replay.0.borrow();
        let there: usize = kept.frames.iter().skip(self.at).map(Bytes::len).sum();
        let there = there as u64;
        if kept.ended {
            return SizeHint::with_exact(there);
        }
        let rest = kept.source.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + there);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + there);
        }
        hint
    }
}
