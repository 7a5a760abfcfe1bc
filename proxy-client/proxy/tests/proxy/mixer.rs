//! A Mixer that says what a test wants, over real gRPC.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use mixer_attributes::Vocabulary;
use mixer_proto::v1::attribute::Value;
use mixer_proto::v1::mixer_server::{Mixer, MixerServer};
use mixer_proto::v1::{self, Because, Decision, Fail, Scope, Verdict, WatchResponse};
use tokio::sync::watch;
use tokio_stream::wrappers::{TcpListenerStream, WatchStream};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

/// Attributes of a request as the proxy sent them, in words.
pub(crate) type Attributes = BTreeMap<String, String>;

/// A scripted Mixer; it ends when it is dropped.
pub(crate) struct TestMixer {
    pub(crate) address: SocketAddr,
    inner: Arc<Inner>,
    // Its own, so that dropping it ends every connection.
    runtime: Option<tokio::runtime::Runtime>,
}

struct Inner {
    decide: Box<dyn Fn(&Attributes) -> Decision + Send + Sync>,
    checks: Mutex<Vec<Attributes>>,
    states: watch::Sender<WatchResponse>,
    reports: watch::Sender<Vec<v1::ReportRequest>>,
    asks: watch::Sender<Vec<v1::Ask>>,
    /// Issuers whose keys were asked for again.
    refreshed: Mutex<Vec<String>>,
    /// What the keys are when they are.
    next_keys: Mutex<Option<v1::IssuerKeys>>,
}

/// What a scope says unless a test says otherwise: rules apply.
pub(crate) fn scope() -> Scope {
    Scope {
        revision: "r1".to_owned(),
        rules: true,
        fail: Fail::Closed.into(),
        standard_metrics: true,
        ..Scope::default()
    }
}

/// A scope to which nothing applies.
pub(crate) fn nothing() -> Scope {
    Scope {
        rules: false,
        ..scope()
    }
}

/// An allow that is not kept.
pub(crate) fn allow() -> Decision {
    Decision {
        verdict: Verdict::Allow.into(),
        because: Because::Matched.into(),
        policy: "products".to_owned(),
        rule: "anybody".to_owned(),
        rule_id: "anybody".to_owned(),
        revision: "r1".to_owned(),
        valid_for: Some(v1::Time::default()),
        id: "d1".to_owned(),
        ..Decision::default()
    }
}

/// A denial that is not kept.
pub(crate) fn deny(
    because: Because,
    http_status: u32,
    grpc_status: u32,
    message: &str,
) -> Decision {
    Decision {
        verdict: Verdict::Deny.into(),
        because: because.into(),
        http_status,
        grpc_status,
        message: message.to_owned(),
        ..allow()
    }
}

impl TestMixer {
    /// Allows everything; `inbound` applies to the proxy's service, nothing on the way out.
    pub(crate) async fn allowing(inbound: Scope, documents: &[String]) -> Self {
        Self::start(inbound, documents, |_| allow()).await
    }

    pub(crate) async fn start(
        inbound: Scope,
        documents: &[String],
        decide: impl Fn(&Attributes) -> Decision + Send + Sync + 'static,
    ) -> Self {
        let state = WatchResponse {
            version: 1,
            inbound: Some(inbound),
            outbound_default: Some(nothing()),
            documents: documents.to_vec(),
            ..WatchResponse::default()
        };
        Self::with_state(state, decide).await
    }

    pub(crate) async fn with_state(
        state: WatchResponse,
        decide: impl Fn(&Attributes) -> Decision + Send + Sync + 'static,
    ) -> Self {
        let inner = Arc::new(Inner {
            decide: Box::new(decide),
            checks: Mutex::default(),
            states: watch::Sender::new(state),
            reports: watch::Sender::default(),
            asks: watch::Sender::default(),
            refreshed: Mutex::default(),
            next_keys: Mutex::default(),
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(MixerServer::new(Service(inner.clone())));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.spawn(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            server
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .unwrap();
        });
        Self {
            address,
            inner,
            runtime: Some(runtime),
        }
    }

    /// What was asked so far.
    pub(crate) fn checks(&self) -> Vec<Attributes> {
        self.inner.checks.lock().unwrap().clone()
    }

    /// Waits for reports until `enough` of them came.
    pub(crate) async fn reports(
        &self,
        enough: impl Fn(&[v1::ReportRequest]) -> bool,
    ) -> Vec<v1::ReportRequest> {
        let mut reports = self.inner.reports.subscribe();
        crate::soon(reports.wait_for(|reports| enough(reports)))
            .await
            .unwrap()
            .clone()
    }

    /// What of quotas was asked so far.
    pub(crate) fn asks(&self) -> Vec<v1::Ask> {
        self.inner.asks.borrow().clone()
    }

    /// Waits until so much of quotas was asked.
    pub(crate) async fn wait_for_asks(&self, count: usize) -> Vec<v1::Ask> {
        let mut asks = self.inner.asks.subscribe();
        crate::soon(asks.wait_for(|asks| asks.len() >= count))
            .await
            .unwrap()
            .clone()
    }

    /// The issuers whose keys were asked for again so far.
    pub(crate) fn refreshed(&self) -> Vec<String> {
        self.inner.refreshed.lock().unwrap().clone()
    }

    /// Tells these keys once they are asked for again.
    pub(crate) fn rotate(&self, keys: v1::IssuerKeys) {
        *self.inner.next_keys.lock().unwrap() = Some(keys);
    }

    /// Announces another state.
    pub(crate) fn announce(&self, change: impl FnOnce(&mut WatchResponse)) {
        self.inner.states.send_modify(|state| {
            state.version += 1;
            change(state);
        });
    }
}

impl Drop for TestMixer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn granted() -> v1::Grant {
    v1::Grant {
        outcome: v1::grant::Outcome::Granted.into(),
        ..v1::Grant::default()
    }
}

struct Service(Arc<Inner>);

#[tonic::async_trait]
impl Mixer for Service {
    async fn check(
        &self,
        request: Request<v1::CheckRequest>,
    ) -> Result<Response<v1::CheckResponse>, Status> {
        let attributes = words(&request.into_inner().attributes);
        let decision = (self.0.decide)(&attributes);
        self.0.checks.lock().unwrap().push(attributes);
        Ok(Response::new(v1::CheckResponse {
            grants: decision.charges.iter().map(|_| granted()).collect(),
            decision: Some(decision),
        }))
    }

    async fn quota(
        &self,
        request: Request<v1::QuotaRequest>,
    ) -> Result<Response<v1::QuotaResponse>, Status> {
        let asks = request.into_inner().asks;
        let grants = asks.iter().map(|_| granted()).collect();
        self.0.asks.send_modify(|asked| asked.extend(asks));
        Ok(Response::new(v1::QuotaResponse {
            grants,
            ..v1::QuotaResponse::default()
        }))
    }

    async fn report(
        &self,
        request: Request<v1::ReportRequest>,
    ) -> Result<Response<v1::ReportResponse>, Status> {
        let report = request.into_inner();
        let sequence = report.sequence;
        self.0.reports.send_modify(|reports| reports.push(report));
        Ok(Response::new(v1::ReportResponse { sequence }))
    }

    async fn refresh_keys(
        &self,
        request: Request<v1::RefreshKeysRequest>,
    ) -> Result<Response<v1::RefreshKeysResponse>, Status> {
        let issuer = request.into_inner().issuer;
        self.0.refreshed.lock().unwrap().push(issuer);
        if let Some(keys) = self.0.next_keys.lock().unwrap().take() {
            self.0.states.send_modify(|state| {
                state.version += 1;
                state.keys = vec![keys];
            });
        }
        let known = self.0.states.borrow().keys.clone();
        Ok(Response::new(v1::RefreshKeysResponse {
            digest: known
                .first()
                .map(|keys| keys.digest.clone())
                .unwrap_or_default(),
        }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        _: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(Box::pin(
            WatchStream::new(self.0.states.subscribe()).map(Ok),
        )))
    }
}

/// Attributes by name; a map's entries as `name[key]`, an ambiguous one as `?`.
fn words(attributes: &[v1::Attribute]) -> Attributes {
    let mut words = Attributes::new();
    for attribute in attributes {
        let name = Vocabulary::by_number(attribute.id)
            .map_or(attribute.name.as_str(), |known| &known.name)
            .to_owned();
        match attribute.value.as_ref().unwrap() {
            Value::String(text) => drop(words.insert(name, text.clone())),
            Value::Int(number) => drop(words.insert(name, number.to_string())),
            Value::Bool(bit) => drop(words.insert(name, bit.to_string())),
            Value::Ip(bytes) => {
                let bytes: Vec<String> = bytes.iter().map(ToString::to_string).collect();
                words.insert(name, bytes.join("."));
            }
            Value::Map(map) => {
                words.insert(name.clone(), map.entries.len().to_string());
                for entry in &map.entries {
                    let value = if entry.ambiguous {
                        "?".to_owned()
                    } else {
                        entry.value.clone()
                    };
                    words.insert(format!("{name}[{}]", entry.key), value);
                }
            }
            other => drop(words.insert(name, format!("{other:?}"))),
        }
    }
    words
}
