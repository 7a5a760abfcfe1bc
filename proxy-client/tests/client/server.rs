//! A Mixer whose decisions a test scripts: a real tonic server on a real socket, so that what is faked is what Mixer
//! thinks, not how it is asked.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mixer_proto::v1::mixer_server::{Mixer, MixerServer};
use mixer_proto::v1::{self, Scope};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_stream::wrappers::{TcpListenerStream, WatchStream};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

/// Runs until it is dropped; then its sockets are closed at once.
pub(crate) struct Server {
    pub address: SocketAddr,
    pub script: Arc<Script>,
    runtime: Option<Runtime>,
}

/// What is answered, and what was asked.
pub(crate) struct Script {
    pub checks: Method<v1::CheckRequest, v1::CheckResponse>,
    pub quotas: Method<v1::QuotaRequest, v1::QuotaResponse>,
    pub reports: Method<v1::ReportRequest, v1::ReportResponse>,
    pub watches: watch::Sender<Vec<v1::WatchRequest>>,
    told: watch::Sender<Told>,
}

#[derive(Clone)]
enum Told {
    Nothing,
    State(Box<v1::WatchResponse>),
    Broken,
}

/// What one method of the service does.
pub(crate) struct Method<Q, A> {
    /// Answers for the next questions; then `usual`.
    next: Mutex<VecDeque<Reply<A>>>,
    #[allow(clippy::type_complexity)]
    usual: Mutex<Box<dyn FnMut(&Q) -> Reply<A> + Send>>,
    /// What was asked, with the grpc-timeout it came with.
    asked: watch::Sender<Vec<(Q, Option<String>)>>,
}

#[derive(Clone)]
pub(crate) enum Reply<A> {
    Answer(A),
    Fail(Status),
    Silence,
}

impl Server {
    /// Tells no state yet.
    pub(crate) fn start() -> Self {
        Self::on("127.0.0.1:0".parse().unwrap())
    }

    pub(crate) fn on(address: SocketAddr) -> Self {
        let script = Arc::new(Script {
            checks: Method::new(|_| Reply::Fail(Status::unimplemented("not scripted"))),
            quotas: Method::new(|_| Reply::Fail(Status::unimplemented("not scripted"))),
            reports: Method::new(|request: &v1::ReportRequest| {
                Reply::Answer(v1::ReportResponse {
                    sequence: request.sequence,
                })
            }),
            watches: watch::Sender::new(Vec::new()),
            told: watch::Sender::new(Told::Nothing),
        });
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let service = MixerServer::new(Scripted(script.clone()));
        runtime.spawn(async move {
            let incoming =
                TcpListenerStream::new(tokio::net::TcpListener::from_std(listener).unwrap());
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming)
                .await
        });
        Self {
            address,
            script,
            runtime: Some(runtime),
        }
    }

    /// Announces `revision`, with rules and quotas, for requests to the proxy's own service.
    pub(crate) fn announce(&self, revision: &str) {
        self.announce_scope(scope(revision));
    }

    pub(crate) fn announce_scope(&self, inbound: Scope) {
        let outbound_default = Some(Scope {
            revision: "none".into(),
            ..Default::default()
        });
        let mesh = r#"{"mesh":{"fail":{"stale":"60s"}}}"#.to_owned();
        let documents = vec![mesh];
        self.tell(v1::WatchResponse {
            inbound: Some(inbound),
            outbound_default,
            documents,
            ..Default::default()
        });
    }

    pub(crate) fn tell(&self, state: v1::WatchResponse) {
        self.script.told.send_replace(Told::State(Box::new(state)));
    }

    /// Ends Watch streams, and refuses new ones until something is told.
    pub(crate) fn break_watch(&self) {
        self.script.told.send_replace(Told::Broken);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl<Q: Clone + Send + Sync + 'static, A: Send + 'static> Method<Q, A> {
    fn new(usual: impl FnMut(&Q) -> Reply<A> + Send + 'static) -> Self {
        Self {
            next: Mutex::default(),
            usual: Mutex::new(Box::new(usual)),
            asked: watch::Sender::new(Vec::new()),
        }
    }

    /// Answers every question so, from now on.
    pub(crate) fn usually(&self, answer: impl FnMut(&Q) -> Reply<A> + Send + 'static) {
        *self.usual.lock().unwrap() = Box::new(answer);
    }

    /// Answers one more of the next questions so.
    pub(crate) fn then(&self, reply: Reply<A>) {
        self.next.lock().unwrap().push_back(reply);
    }

    /// What was asked until now.
    pub(crate) fn asked(&self) -> Vec<Q> {
        self.asked
            .borrow()
            .iter()
            .map(|(question, _)| question.clone())
            .collect()
    }

    /// The grpc-timeout of each question.
    pub(crate) fn timeouts(&self) -> Vec<Option<String>> {
        self.asked
            .borrow()
            .iter()
            .map(|(_, timeout)| timeout.clone())
            .collect()
    }

    /// Waits until `count` questions were asked.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Q> {
        let mut asked = self.asked.subscribe();
        in_time(asked.wait_for(|asked| asked.len() >= count))
            .await
            .unwrap();
        self.asked()
    }

    /// Whether `count` questions come within a moment.
    pub(crate) async fn comes(&self, count: usize) -> bool {
        let mut asked = self.asked.subscribe();
        let moment = Duration::from_millis(200);
        tokio::time::timeout(moment, asked.wait_for(|asked| asked.len() >= count))
            .await
            .is_ok()
    }

    async fn call(&self, request: Request<Q>) -> Result<Response<A>, Status> {
        let timeout = request
            .metadata()
            .get("grpc-timeout")
            .map(|text| text.to_str().unwrap().to_owned());
        let question = request.into_inner();
        let scripted = self.next.lock().unwrap().pop_front();
        let reply = scripted.unwrap_or_else(|| (self.usual.lock().unwrap())(&question));
        self.asked
            .send_modify(|asked| asked.push((question, timeout)));
        match reply {
            Reply::Answer(answer) => Ok(Response::new(answer)),
            Reply::Fail(status) => Err(status),
            Reply::Silence => std::future::pending().await,
        }
    }
}

/// Fails the test instead of waiting for ever.
pub(crate) async fn in_time<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), work)
        .await
        .expect("nothing happened for a minute")
}

/// Rules and quotas apply; fails closed.
pub(crate) fn scope(revision: &str) -> Scope {
    Scope {
        revision: revision.into(),
        rules: true,
        quotas: true,
        ..Default::default()
    }
}

struct Scripted(Arc<Script>);

#[tonic::async_trait]
impl Mixer for Scripted {
    async fn check(
        &self,
        request: Request<v1::CheckRequest>,
    ) -> Result<Response<v1::CheckResponse>, Status> {
        self.0.checks.call(request).await
    }

    async fn quota(
        &self,
        request: Request<v1::QuotaRequest>,
    ) -> Result<Response<v1::QuotaResponse>, Status> {
        self.0.quotas.call(request).await
    }

    async fn report(
        &self,
        request: Request<v1::ReportRequest>,
    ) -> Result<Response<v1::ReportResponse>, Status> {
        self.0.reports.call(request).await
    }

    async fn refresh_keys(
        &self,
        request: Request<v1::RefreshKeysRequest>,
    ) -> Result<Response<v1::RefreshKeysResponse>, Status> {
        let digest = match &*request.into_inner().issuer {
            "known" => "d1".to_owned(),
            "unknown" => String::new(),
            _ => return Err(Status::unavailable("not now")),
        };
        Ok(Response::new(v1::RefreshKeysResponse { digest }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.0
            .watches
            .send_modify(|watches| watches.push(request.into_inner()));
        let states = WatchStream::new(self.0.told.subscribe()).filter_map(|told| match told {
            Told::Nothing => None,
            Told::State(state) => Some(Ok(*state)),
            Told::Broken => Some(Err(Status::unavailable("broken by the test"))),
        });
        Ok(Response::new(Box::pin(states)))
    }
}
