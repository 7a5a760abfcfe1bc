//! Connections that are not HTTP: checked once when they open, then carried unread.
//!
//! Where rules or quotas apply, only a service that is declared `protocol: tcp` gets them: a rule that looks whether a request
//! has something (`has(..)`, `[?..]`) would pass what it was never shown.

use std::rc::Rc;

use mixer_attributes::AttributeBag;
use mixer_attributes::vocabulary::REQUEST_TIME;
use mixer_client::{At, Because, DecisionSample, Verdict};
use mixer_documents::Protocol as Declared;
use tokio::io::copy_bidirectional;

use crate::connection::Connection;
use crate::detect::Prefixed;
use crate::exchange::{Destination, Exchange, Protocol};
use crate::flag::Flag;
use crate::reply::Reply;

/// Carries `io` to the application. On the way out nobody knows where an opaque connection wants to go, so it is closed.
pub(crate) async fn carry(connection: Rc<Connection>, mut io: Prefixed) {
    let worker = connection.worker.clone();
    let shared = &worker.shared;
    let destination = match connection.at {
        At::Inbound => worker.own_destination(),
        At::Outbound => Destination::Outside,
    };
    let mut exchange = Exchange::begin(&connection, destination, Protocol::Tcp, shared.clock.now());
    let (At::Inbound, Some(app)) = (connection.at, shared.config.app) else {
        exchange.flag = Flag::NoRoute;
        return;
    };
    let service = shared.config.service.as_deref();
    let declared = worker
        .routing()
        .as_ref()
        .and_then(|routing| routing.own.as_ref()?.protocol);
    let scope = worker.scope(At::Inbound, service);
    if declared != Some(Declared::Tcp)
        && shared.client.is_some()
        && scope.is_none_or(|scope| scope.rules || scope.quotas)
    {
        tracing::debug!(peer = %connection.peer, "bytes that are no HTTP, for a service with rules that is not declared tcp");
        exchange.flag = Flag::Denied;
        return;
    }
    if let Some(client) = &shared.client {
        let mut bag = AttributeBag::new();
        exchange.facts().fill(&mut bag);
        bag.set(
            REQUEST_TIME,
            mixer_attributes::Value::Timestamp(shared.clock.wall().into()),
        );
        let answer = client.check(At::Inbound, service, &bag).await;
        if answer.because != Because::Nothing {
            client.reporter().decision(&DecisionSample {
                destination: service.unwrap_or_default(),
                answer: &answer,
            });
        }
        exchange.in_flight = answer.in_flight.clone();
        if answer.verdict == Verdict::Deny {
            exchange.flag = Reply::denied(&answer).flag;
            return;
        }
    }
    exchange.standard = worker
        .scope(At::Inbound, service)
        .is_none_or(|scope| scope.standard_metrics);
    match worker.pool.connect(app, None).await {
        Ok((mut server, _)) => {
            if let Ok((sent, received)) = copy_bidirectional(&mut io, &mut server).await {
                exchange.carried(sent, received);
            }
        }
        Err(error) => {
            tracing::debug!("{error}");
            exchange.flag = Flag::UpstreamFailure;
        }
    }
}
