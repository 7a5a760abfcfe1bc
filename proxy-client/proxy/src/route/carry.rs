//! Sending a request as a route says: within its time, again where that is admitted.
//!
//! A response's head that has been passed on is final; until then a failure that `retry` names may be followed by another try, at
//! another endpoint if there is one, after a wait with jitter. gRPC: <https://grpc.github.io/proposal/A6-client-retries>: a server
//! may push back, and is told how many tries came before.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use mixer_documents::{Retry, RetryOn};
use mixer_runtime::{Backoff, Instant};

use super::{Chosen, Replay};
use crate::body::{RequestBody, grpc_status};
use crate::flag::Flag;
use crate::forward::{Carrying, Sending, Target, forward};
use crate::pool::Want;
use crate::reply::Reply;
use crate::worker::{Worker, spawn};

/// The wait before the second try is up to the first, doubled each time up to the second: as Envoy does.
const WAITS: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(250));
/// Of an answer that nobody gets, so much is read to keep the connection.
const DISCARDED: usize = 1 << 20;
const DISCARDED_WITHIN: Duration = Duration::from_secs(5);
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

/// What is sent, and how.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) target: &'a Target,
    /// Where it was sent the last time.
    pub(crate) sent_to: &'a Cell<Option<SocketAddr>>,
    /// Of the value the service is balanced by.
    pub(crate) hash: Option<u64>,
    pub(crate) want: Want,
    pub(crate) grpc: bool,
    pub(crate) chosen: Option<&'a Chosen>,
    /// `None`: it has no body, or is not sent again.
    pub(crate) replay: Option<&'a Replay>,
    /// It can be sent again at all.
    pub(crate) repeatable: bool,
}

/// A response's head.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) response: Response<Incoming>,
    pub(crate) carrying: Carrying,
    /// It would have been tried again, but the tries or the budget are spent.
    pub(crate) spent: bool,
}

/// Whether and when another try is wanted.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    None,
    Soon,
    /// The server says when.
    After(Duration),
}

/// The head of the response to `request`.
pub(crate) async fn carry(
    worker: &Rc<Worker>,
    asked: Asked<'_>,
    mut request: Request<RequestBody>,
) -> Result<Carried, Reply> {
    let shared = &worker.shared;
    let began = shared.clock.now();
    let rule = asked.chosen.map(|chosen| &chosen.rule);
    let timeout = rule.and_then(|rule| rule.timeout);
    let deadline = timeout.map(|timeout| began + limit(timeout, asked.grpc, request.headers_mut()));
    let retry = asked
        .chosen
        .filter(|_| asked.repeatable)
        .and_then(|chosen| Some((chosen, chosen.retry(request.method().as_str(), asked.grpc)?)));
    if let Some((chosen, _)) = retry {
        chosen.budget.request(began);
    }
    let mut waits = Backoff::new(WAITS.0, WAITS.1);
    let mut tried = Vec::new();
    let mut before: u8 = 0;
    loop {
        let head = retry.map(|_| same_head(&request));
        let per_try = retry.and_then(|(_, retry)| retry.per_try);
        let per_try = per_try.map(|per_try| shared.clock.now() + per_try);
        let sending = Sending {
            hash: asked.hash,
            want: asked.want,
            tried: &mut tried,
            sent_to: asked.sent_to,
            until: deadline.into_iter().chain(per_try).min(),
        };
        let done = forward(worker, asked.target, sending, request).await;
        let (Some((chosen, retry)), Some(head)) = (retry, head) else {
            return finish(done, false);
        };
        let now = shared.clock.now();
        let late = |wait: Duration| deadline.is_some_and(|deadline| now + wait >= deadline);
        let wish = wish(retry, &done, asked.grpc);
        if wish == Wish::None || late(Duration::ZERO) {
            return finish(done, false);
        }
        let wait = match wish {
            Wish::After(wait) => wait,
            Wish::Soon | Wish::None => waits.next(&shared.random),
        };
        // Too much has passed to be sent once more, or there is no time for it.
        if asked.replay.is_some_and(|replay| !replay.is_there()) || late(wait) {
            return finish(done, false);
        }
        let spent = before == retry.extra;
        if spent || !chosen.budget.admit(now, retry.budget, retry.floor) {
            worker.counters.retry_refused();
            return finish(done, true);
        }
        if let Ok((response, carrying)) = done {
            tried.extend(carrying.address());
            discard(worker, response, carrying);
        }
        shared.clock.sleep(wait).await;
        before += 1;
        worker.counters.route_retried();
        let body = match asked.replay {
            Some(replay) => RequestBody::Kept(replay.reader()),
            None => RequestBody::Empty,
        };
        request = head.map(|()| body);
        if asked.grpc {
            let previous = HeaderValue::from(u16::from(before));
            request.headers_mut().insert(PREVIOUS_ATTEMPTS, previous);
        }
    }
}

fn finish(
    done: Result<(Response<Incoming>, Carrying), Reply>,
    spent: bool,
) -> Result<Carried, Reply> {
    match done {
        Ok((response, carrying)) => Ok(Carried {
            response,
            carrying,
            spent,
        }),
        Err(reply) if spent => Err(Reply {
            flag: Flag::RetriesSpent,
            ..reply
        }),
        Err(reply) => Err(reply),
    }
}

/// The time a request has: the route's, or the caller's own if that is less. The server is told it.
fn limit(timeout: Duration, grpc: bool, headers: &mut HeaderMap) -> Duration {
    if !grpc {
        return timeout;
    }
    let own = headers.get(&GRPC_TIMEOUT).and_then(grpc_timeout);
    if let Some(own) = own.filter(|own| *own <= timeout) {
        return own;
    }
    // gRPC over HTTP/2: at most eight digits.
    let millis = timeout.as_millis();
    let text = if millis < 100_000_000 {
        format!("{millis}m")
    } else {
        format!("{}S", timeout.as_secs())
    };
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(GRPC_TIMEOUT, value);
    }
    timeout
}

/// gRPC over HTTP/2, "Requests": up to eight digits and a unit.
fn grpc_timeout(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| plain)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Whether what came of a try is to be followed by another.
fn wish(retry: &Retry, done: &Result<(Response<Incoming>, Carrying), Reply>, grpc: bool) -> Wish {
    let response = match done {
        Err(reply) => return after_none(retry, reply.flag),
        Ok((response, _)) => response,
    };
    let status = response.status().as_u16();
    let code = grpc_status(response.headers()).filter(|_| grpc);
    let wanted = retry.when.iter().any(|one| match *one {
        RetryOn::Retriable4xx => status == 409,
        RetryOn::GatewayError => matches!(status, 502..=504),
        RetryOn::ServerError => status >= 500,
        RetryOn::Status(wanted) => status == wanted,
        RetryOn::Grpc(wanted) => code == Some(wanted.into()),
        RetryOn::ConnectFailure | RetryOn::Reset | RetryOn::RefusedStream => false,
    });
    if !wanted {
        return Wish::None;
    }
    let push_back = response.headers().get("grpc-retry-pushback-ms");
    match push_back.filter(|_| grpc) {
        None => Wish::Soon,
        // What is no number, or less than none, means: not again.
        Some(value) => match value.to_str().ok().and_then(|text| text.parse().ok()) {
            Some(millis) => Wish::After(Duration::from_millis(u32::into(millis))),
            None => Wish::None,
        },
    }
}

/// The same where there was no response.
fn after_none(retry: &Retry, flag: Flag) -> Wish {
    let named: &[RetryOn] = match flag {
        Flag::UpstreamFailure => &[RetryOn::ConnectFailure],
        Flag::UpstreamReset => &[RetryOn::RefusedStream, RetryOn::Reset],
        Flag::UpstreamTermination | Flag::UpstreamTimeout => &[RetryOn::Reset],
        _ => return Wish::None,
    };
    let any = [RetryOn::GatewayError, RetryOn::ServerError];
    if named.iter().chain(&any).any(|one| retry.when.contains(one)) {
        Wish::Soon
    } else {
        Wish::None
    }
}

/// The head of a request once more.
pub(crate) fn same_head(request: &Request<RequestBody>) -> Request<()> {
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    *head.uri_mut() = request.uri().clone();
    *head.version_mut() = request.version();
    *head.headers_mut() = request.headers().clone();
    head
}

/// Reads a response that nobody gets, so that its connection can be used again.
pub(super) fn discard(worker: &Worker, response: Response<Incoming>, carrying: Carrying) {
    let mut body = response.into_body();
    if body.is_end_stream() {
        carrying.give_back();
        return;
    }
    let clock = worker.shared.clock.clone();
    spawn(async move {
        let mut read = 0;
        let whole = async {
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return false };
                read += frame.data_ref().map_or(0, bytes::Bytes::len);
                if read > DISCARDED {
                    return false;
                }
            }
            true
        };
        if clock.within(DISCARDED_WITHIN, whole).await == Some(true) {
            carrying.give_back();
        }
    });
}

/// Waits until then; without a time, for good.
pub(crate) async fn elapse(worker: &Worker, until: Option<Instant>) {
    let clock = &worker.shared.clock;
    match until {
        Some(until) => clock.sleep(until.since(clock.now())).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts_are_read_and_the_shorter_one_is_kept() {
        let read = |text: &'static str| grpc_timeout(&HeaderValue::from_static(text));
        assert_eq!(read("100m"), Some(Duration::from_millis(100)));
        assert_eq!(read("2S"), Some(Duration::from_secs(2)));
        assert_eq!(read("1H"), Some(Duration::from_secs(3_600)));
        for text in ["", "m", "100", "-1m", "+1m", "123456789m", "1x"] {
            assert_eq!(read(text), None, "{text}");
        }
        let told = |own: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(own) = own {
                headers.insert(GRPC_TIMEOUT, HeaderValue::from_static(own));
            }
            let limit = limit(Duration::from_millis(500), true, &mut headers);
            (
                limit.as_millis(),
                headers[GRPC_TIMEOUT].to_str().unwrap().to_owned(),
            )
        };
        assert_eq!(told(Some("100m")), (100, "100m".to_owned()));
        assert_eq!(told(Some("2S")), (500, "500m".to_owned()));
        assert_eq!(told(None), (500, "500m".to_owned()));
    }
}
