//! The path of a request: read, resolve, check, rewrite, pass on. One plain async function per step, nothing boxed.
//!
//! The order matters. Hop-by-hop headers and claims of identity go first, so that rules see what the server will see. The path
//! is read once, and where rules read it that reading is what the server receives. Nothing is sent before the answer is there.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use mixer_attributes::path::{self, EncodedSlash};
use mixer_attributes::{AttributeBag, host};
use mixer_client::{Answer, Asking, At, Because, DecisionSample, Scope, Verdict};
use mixer_documents::{Protocol as Declared, Service};

use crate::access_log::Entry;
use crate::attributes::{CookieView, Head, HeaderView, QueryView, client_ip};
use crate::body::{RequestBody, ResponseBody, grpc_status};
use crate::connection::{Connection, Ending};
use crate::exchange::{Destination, Exchange, Protocol, Record};
use crate::flag::Flag;
use crate::forward::{Carrying, Held, Target};
use crate::headers::{self, Malformed, X_FORWARDED_FOR, X_REQUEST_ID};
use crate::pace::Owed;
use crate::pool::Want;
use crate::probe::is_probe;
use crate::reply::Reply;
use crate::route::{self, Asked, Carried, Chosen, Replay, Routed};
use crate::routing::Routing;
use crate::target::{address, settle_host, with_path};
use crate::token::{self, Refused};
use crate::vet::vet;
use crate::{outside, rate_limit, trace, upgrade};

/// A response of the server, ready for the caller but for its body.
#[derive(Debug)]
enum Passed {
    Response(Response<Incoming>, Carrying),
    Upgraded(Response<Incoming>, OnUpgrade, Held),
}

/// Serves one request. Never fails: what goes wrong is said in the response.
pub(crate) async fn handle(
    connection: Rc<Connection>,
    mut request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let started = connection.worker.shared.clock.now();
    let protocol = if is_grpc(request.headers()) {
        Protocol::Grpc
    } else {
        Protocol::Http
    };
    let destination = match connection.at {
        At::Inbound => connection.worker.own_destination(),
        At::Outbound => Destination::Outside,
    };
    let mut exchange = Exchange::begin(&connection, destination, protocol, started);
    exchange.head_only = request.method() == Method::HEAD;
    exchange.http1 = request.version() < Version::HTTP_2;
    let caller = request
        .headers()
        .contains_key(header::UPGRADE)
        .then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let worker = &connection.worker;
    if worker.access_log.is_some() {
        exchange.entry = Some(Box::new(Entry::http(worker.shared.clock.wall(), &parts)));
    }
    Ok(match pass(&mut exchange, parts, body).await {
        Ok(Passed::Response(response, carrying)) => {
            response.map(|body| ResponseBody::upstream(body, carrying, exchange))
        }
        Ok(Passed::Upgraded(response, server, held)) => {
            if let Some(caller) = caller {
                connection.pace.upgrade();
                upgrade::join(caller, server, held, exchange);
            }
            response.map(|_| ResponseBody::detached())
        }
        Err(reply) => reply.respond(exchange),
    })
}

async fn pass(exchange: &mut Exchange, mut parts: Parts, body: Incoming) -> Result<Passed, Reply> {
    let connection = exchange.connection.clone();
    let worker = &connection.worker;
    let shared = &worker.shared;
    let at = connection.at;

    vet(&parts, shared.config.limits.headers)?;
    let authority = settle_host(&mut parts)?;
    let authority = authority
        .as_ref()
        .and_then(|authority| authority.to_str().ok());
    let host = authority.and_then(host::normalize);
    if host.is_none() && authority.is_some() {
        return Err(Malformed::BadHost.into());
    }
    let asked_upgrade =
        headers::strip_request(&mut parts.headers, parts.version == Version::HTTP_11)?;
    if at == At::Inbound {
        headers::strip_identity(&mut parts.headers);
    }
    if !parts.headers.contains_key(&X_REQUEST_ID) {
        let id = request_id(shared.random.next(), shared.random.next());
        parts.headers.insert(X_REQUEST_ID, id);
    }

    let routing = worker.routing().clone().ok_or_else(Reply::cold)?;
    let forwarding = routing.mesh.client_ip.as_ref();
    let alone = asked_upgrade.is_none() && body.is_end_stream();
    let own = routing.own.as_deref();
    if connection.is_too_plain() && !(alone && is_probe(exchange, own, &parts, forwarding)) {
        worker.counters.plaintext_refused();
        connection.end(Ending::Gracefully);
        return Err(Reply::plaintext());
    }
    if at == At::Inbound && !forwarding.is_some_and(|rule| rule.trusts(connection.peer.ip())) {
        let header = forwarding.map(|rule| &*rule.header);
        headers::strip_forwarded(&mut parts.headers, header);
    }
    if let Some(entry) = &mut exchange.entry {
        entry.settle(&parts.headers);
    }
    let token = match at {
        At::Inbound => match token::judge(shared, &parts) {
            Err(Refused::UnknownKey(issuer)) => {
                Box::pin(token::look_again(shared, &parts, issuer)).await
            }
            judged => judged,
        },
        At::Outbound => Ok(None),
    };
    if let Ok(Some(passed)) = &token {
        passed.strip(&mut parts);
    }
    let resolved = resolve(exchange, &routing, authority.zip(host.as_deref())).await;
    let destination = exchange.destination.clone();
    let service = destination.name(&shared.config);
    let scope = worker.scope(at, service);

    let keep = resolved.as_ref().is_ok_and(|resolved| {
        let service = resolved.service;
        service.is_some_and(|service| service.keep_encoded_slash)
    });
    let slash = if keep {
        EncodedSlash::Keep
    } else {
        EncodedSlash::Refuse
    };
    let read = path::normalize(parts.uri.path(), slash);
    let time = shared.clock.wall();
    let client_ip = client_ip(
        connection.peer.ip(),
        &parts.headers,
        routing.mesh.client_ip.as_ref(),
    );
    if let Some(scope) = &scope {
        exchange.standard = scope.standard_metrics;
        let trace = trace::begin(&mut parts.headers, scope.trace_sample, &shared.random);
        if scope.records || trace.is_some() {
            exchange.record = Some(Box::new(Record {
                method: parts.method.clone(),
                target: parts.uri.path_and_query().cloned(),
                path: read
                    .as_ref()
                    .ok()
                    .map(|read| read.path.clone().into_owned()),
                host: host.as_deref().map(str::to_owned),
                headers: parts.headers.clone(),
                client_ip,
                time,
                trace,
                answer: None,
                response_headers: HeaderMap::new(),
                token: token
                    .iter()
                    .flatten()
                    .map(|passed| passed.verified.clone())
                    .next(),
                claims: scope.reads_claims,
            }));
        }
    }
    let Resolved {
        mut target,
        service: declared,
        routed,
    } = resolved?;
    if let (Some(scope), Err(why)) = (&scope, &read)
        && scope.reads_path
    {
        return Err(Reply::malformed(why.to_string()));
    }

    let probe = alone && is_probe(exchange, declared, &parts, forwarding);
    let token = match token {
        Err(refused) if !probe => return Err(refused.reply(service)),
        token => token.ok().flatten(),
    };
    let head = Head {
        method: parts.method.as_str(),
        raw_path: parts.uri.path(),
        path: read.as_ref().ok().map(|read| &*read.path),
        host: host.as_deref(),
        headers: HeaderView(&parts.headers),
        query: QueryView(parts.uri.query().unwrap_or_default()),
        cookies: CookieView(&parts.headers),
        client_ip,
        time,
        token: token.as_ref().map(|passed| &*passed.verified),
    };
    let answer = match probe {
        true => {
            worker.counters.probed();
            None
        }
        false => match answer(exchange, scope.as_deref(), &head) {
            Ok(answer) => answer,
            // What is seldom needed is large, and lives elsewhere than in every request's future.
            Err(asking) => Box::pin(ask(exchange, asking, &head)).await,
        },
    };
    if let (Some(answer), Some(client)) = (&answer, &shared.client)
        && answer.because != Because::Nothing
    {
        client.reporter().decision(&DecisionSample {
            destination: service.unwrap_or_default(),
            answer,
        });
    }
    if let Some(answer) = &answer {
        exchange.in_flight = answer.in_flight.clone();
    }
    if let Some(record) = &mut exchange.record {
        record.answer.clone_from(&answer);
    }
    let chosen = routed.and_then(|routed| route::choose(exchange, &routing, routed, &head));
    if let Some(chosen) = &chosen {
        exchange.route = Some(chosen.route.clone());
        target = Target::Service(chosen.target.clone());
    }
    let hash = balanced_by(exchange, &routing, &target, &head);
    // The state may have changed while Mixer was asked: what the newest one says about paths holds.
    let reads_path = worker
        .scope(at, service)
        .or(scope)
        .is_some_and(|scope| scope.reads_path)
        || routed
            .and_then(|routed| routed.table.as_ref())
            .is_some_and(|table| table.reads_path);
    let rewrite = chosen
        .as_ref()
        .and_then(|chosen| chosen.rule.rewrite.as_ref());
    let moved = match (&read, rewrite) {
        (Ok(read), Some(rewrite)) => route::rewritten(rewrite, &read.encoded),
        _ => None,
    };
    let rewritten = match (&read, &moved) {
        (Ok(_), Some(path)) => Some(with_path(path, parts.uri.query())?),
        (Ok(read), None) if reads_path && *read.encoded != *parts.uri.path() => {
            Some(with_path(&read.encoded, parts.uri.query())?)
        }
        (Err(why), _) if reads_path => return Err(Reply::malformed(why.to_string())),
        _ => None,
    };
    drop(read);
    if let Some(answer) = &answer {
        if answer.verdict == Verdict::Deny {
            return Err(Reply::denied(answer));
        }
        headers::apply(&answer.headers, false, &mut parts.headers);
    }
    if let Some(chosen) = &chosen {
        meddle(exchange, chosen).await?;
        route::change(&chosen.rule.request_headers, &mut parts.headers);
    }

    if at == At::Inbound {
        parts
            .headers
            .append(X_FORWARDED_FOR, connection.peer_value());
    }
    let http2 = declared
        .is_some_and(|service| matches!(service.protocol, Some(Declared::Http2 | Declared::Grpc)))
        || (parts.version == Version::HTTP_2 && exchange.protocol == Protocol::Grpc);
    let asked_upgrade = asked_upgrade.filter(|_| !http2);
    let want = match http2 {
        true => Want::Http2,
        // HTTP/2 has no such upgrades, and cannot say that nobody or the server as a whole is meant.
        false if asked_upgrade.is_some() || authority.is_none() || parts.uri.path() == "*" => {
            Want::Http1
        }
        false => Want::Either,
    };
    match rewrite.and_then(|rewrite| rewrite.host.as_deref()) {
        None => address(&mut parts, http2, authority, rewritten)?,
        Some(host) => {
            let value = HeaderValue::from_str(host).map_err(|_| Malformed::BadHost)?;
            parts.headers.insert(header::HOST, value);
            // The target is written anew, with the other authority.
            let target = rewritten.or_else(|| parts.uri.path_and_query().cloned());
            address(&mut parts, http2, Some(host), target)?;
        }
    }
    if let Some(to) = &asked_upgrade {
        parts
            .headers
            .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, to.clone());
    }
    let body = if body.is_end_stream() {
        RequestBody::Empty
    } else {
        exchange.request_bytes = Rc::default();
        RequestBody::Streaming {
            body,
            count: exchange.request_bytes.clone(),
            strangers: at == At::Inbound,
            // A call of gRPC may pause for as long as it likes.
            owed: (exchange.http1 || exchange.protocol != Protocol::Grpc)
                .then(|| Owed::nothing(connection.clone())),
        }
    };
    let grpc = exchange.protocol == Protocol::Grpc;
    let kept = chosen.as_ref().filter(|chosen| {
        chosen.mirror.is_some() || chosen.retry(parts.method.as_str(), grpc).is_some()
    });
    let (body, replay) = match body {
        body if kept.is_some() && !body.is_end_stream() => {
            let replay = Replay::new(body, shared.config.limits.retry_bytes);
            (RequestBody::Kept(replay.reader()), Some(replay))
        }
        body => (body, None),
    };
    let request = Request::from_parts(parts, body);
    if let Some(to) = chosen.as_ref().and_then(|chosen| chosen.mirror.as_ref()) {
        route::mirror(worker, to, want, &request, replay.as_ref());
    }
    let sent_to = Cell::new(None);
    let sent_at = exchange.entry.is_some().then(|| shared.clock.now());
    let asked = Asked {
        target: &target,
        sent_to: &sent_to,
        hash,
        want,
        grpc,
        chosen: chosen.as_ref(),
        replay: replay.as_ref(),
        repeatable: asked_upgrade.is_none(),
    };
    let carried = route::carry(worker, asked, request).await;
    if let Some(sent_at) = sent_at {
        let took = carried.is_ok().then(|| shared.clock.now().since(sent_at));
        exchange.sent_to(sent_to.get(), took);
    }
    let Carried {
        mut response,
        carrying,
        spent,
    } = match carried {
        Ok(carried) => carried,
        Err(_) if connection.pace.is_refused() => return Err(Malformed::Framing.into()),
        Err(reply) => return Err(reply),
    };
    if spent {
        exchange.flag = Flag::RetriesSpent;
    }

    let upgraded = if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let (Some(asked), Some(to)) = (
            &asked_upgrade,
            response.headers_mut().remove(header::UPGRADE),
        ) else {
            return Err(Reply::upstream_protocol());
        };
        if !headers::list(asked).any(|asked| asked.eq_ignore_ascii_case(to.as_bytes())) {
            return Err(Reply::upstream_protocol());
        }
        Some((to, hyper::upgrade::on(&mut response)))
    } else {
        None
    };
    headers::strip_response(response.headers_mut());
    if let Some(chosen) = &chosen {
        route::change(&chosen.rule.response_headers, response.headers_mut());
    }
    if let Some(answer) = &answer {
        headers::apply(&answer.headers, true, response.headers_mut());
        if let Some(limits) = &answer.limits {
            rate_limit::tell(limits, response.headers_mut());
        }
    }
    exchange.status = response.status().as_u16();
    if exchange.protocol == Protocol::Grpc {
        exchange.grpc_status = grpc_status(response.headers());
    }
    if let Some(record) = &mut exchange.record {
        record.response_headers = response.headers().clone();
    }
    *response.version_mut() = Version::HTTP_11;
    Ok(match upgraded {
        Some((to, server)) => {
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            response.headers_mut().insert(header::UPGRADE, to);
            Passed::Upgraded(response, server, carrying.held())
        }
        None => Passed::Response(response, carrying),
    })
}

/// Where a request goes.
struct Resolved<'r> {
    target: Target,
    /// The document of its service, if it has one.
    service: Option<&'r Service>,
    /// What routes can say about it.
    routed: Option<&'r Routed>,
}

/// Has the request wait or fail, or its caller go elsewhere, where a route says so.
async fn meddle(exchange: &mut Exchange, chosen: &Chosen) -> Result<(), Reply> {
    if let (Some(location), Some(redirect)) = (&chosen.redirect, &chosen.rule.redirect) {
        return Err(Reply::redirect(redirect.status, location));
    }
    if let Some(delay) = chosen.delay {
        exchange.flag = Flag::DelayInjected;
        let worker = exchange.connection.worker.clone();
        worker.counters.delayed();
        worker.shared.clock.sleep(delay).await;
    }
    match chosen.abort {
        Some(status) => Err(Reply::aborted(status)),
        None => Ok(()),
    }
}

/// Where the request goes.
async fn resolve<'r>(
    exchange: &mut Exchange,
    routing: &'r Routing,
    asked: Option<(&str, &str)>,
) -> Result<Resolved<'r>, Reply> {
    let worker = &exchange.connection.worker;
    if exchange.connection.at == At::Inbound {
        let app = exchange.connection.application;
        return Ok(Resolved {
            target: Target::Address(app.expect("a connection without is not served")),
            service: routing.own.as_deref(),
            routed: None,
        });
    }
    let original = exchange.connection.original;
    // Whom the request names comes before where its connection went: it is sent to the one that policy was asked about.
    let named = asked.and_then(|(authority, _)| routing.resolve(authority));
    if let Some(routed) = named.or_else(|| routing.at(original?)) {
        let upstream = &routed.whole;
        exchange.destination = Destination::Service(upstream.clone());
        return Ok(Resolved {
            target: Target::Service(upstream.clone()),
            service: Some(&upstream.service),
            routed: Some(routed),
        });
    }
    let (authority, host) = match (asked, original) {
        (Some(asked), _) => asked,
        (None, Some(_)) => ("", "nothing"),
        (None, None) => return Err(Malformed::NoHost.into()),
    };
    if !routing.mesh.outbound_allow {
        return Err(Reply::no_route(host));
    }
    let addresses = match (original, outside::kept(worker, authority)) {
        (Some(original), _) => outside::direct(worker, original)?,
        (None, Some(addresses)) => addresses,
        (None, None) => Box::pin(outside::resolve(worker, authority, host)).await?,
    };
    Ok(Resolved {
        target: Target::Outside(addresses),
        service: None,
        routed: None,
    })
}

/// What is known about whether the request may pass, and `Err`: what must be asked. `Ok(None)`: there is nobody to ask or
/// nothing to ask about. Not async, so that the attributes live on the stack and not in every request's future.
fn answer(
    exchange: &Exchange,
    scope: Option<&Scope>,
    head: &Head<'_>,
) -> Result<Option<Answer>, Asking> {
    let at = exchange.connection.at;
    let shared = &exchange.connection.worker.shared;
    let Some(client) = &shared.client else {
        return Ok(None);
    };
    if at == At::Outbound && scope.is_some_and(|scope| !scope.rules && !scope.quotas) {
        return Ok(None);
    }
    let mut bag = AttributeBag::new();
    exchange.facts().fill(&mut bag);
    head.fill(exchange.protocol, &mut bag);
    client
        .answer(at, exchange.destination.name(&shared.config), &bag)
        .map(Some)
}

/// The hash of the value that the target is balanced by. Not async, as above.
fn balanced_by(
    exchange: &Exchange,
    routing: &Routing,
    target: &Target,
    head: &Head<'_>,
) -> Option<u64> {
    let Target::Service(upstream) = target else {
        return None;
    };
    let facts = exchange.facts();
    upstream.hash_for(&routing.references, |bag| {
        facts.fill(bag);
        head.fill(exchange.protocol, bag);
    })
}

/// Asks Mixer.
async fn ask(exchange: &Exchange, asking: Asking, head: &Head<'_>) -> Option<Answer> {
    let at = exchange.connection.at;
    let shared = &exchange.connection.worker.shared;
    let client = shared.client.as_ref()?;
    let mut bag = AttributeBag::new();
    let facts = exchange.facts();
    facts.fill(&mut bag);
    head.fill(exchange.protocol, &mut bag);
    Some(client.ask(asking, at, facts.service, &bag).await)
}

fn is_grpc(headers: &HeaderMap) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    headers.get_all(header::CONTENT_TYPE).iter().any(|kind| {
        kind.as_bytes()
            .get(..GRPC.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(GRPC))
    })
}

/// A random UUID (version 4).
fn request_id(high: u64, low: u64) -> HeaderValue {
    let bits = (u128::from(high) << 64 | u128::from(low)) & !(0xf << 76 | 0x3 << 62)
        | 0x4 << 76
        | 0x2 << 62;
    let mut text = [b'-'; 36];
    let mut digits = (0..32).map(|at| b"0123456789abcdef"[(bits >> (124 - 4 * at)) as usize & 15]);
    for (at, place) in text.iter_mut().enumerate() {
        if !matches!(at, 8 | 13 | 18 | 23) {
            *place = digits.next().unwrap_or(b'0');
        }
    }
    HeaderValue::from_bytes(&text).expect("hex digits and dashes are visible ASCII")
}
