//! The SPIFFE Workload API: processes of this host get their certificates, and new ones in time, without knowing a secret.
//!
//! A stream lives as long as its caller. It is told a whole state at first and whenever something of it changes: a certificate has
//! lived half of its time, the roots changed, the workloads' documents did. Keys are made here and cross the socket only; they are
//! not kept. A caller that is no workload (any more) gets PERMISSION_DENIED, as the standard says.

use std::sync::Arc;
use std::time::Duration;

use mixer_identity::{Bundles, SpiffeId, Svid, TrustBundle};
use mixer_proto::spiffe::spiffe_workload_api_server::SpiffeWorkloadApi;
use mixer_proto::spiffe::{
    JwtBundlesRequest, JwtBundlesResponse, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest,
    ValidateJwtsvidResponse, X509BundlesRequest, X509BundlesResponse, X509svidRequest,
    X509svidResponse,
};
use mixer_runtime::{Random, Tasks};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::attest::Entries;
use crate::throttle::Throttle;
use crate::{Authority, Caller, IssueError, wire};

/// What every call carries.
const HEADER: &str = "workload.spiffe.io";
/// What is between two tries to sign for a caller that has a certificate still.
const RETRY: Duration = Duration::from_secs(10);

/// Answers the processes of this host.
#[derive(Clone)]
pub(crate) struct WorkloadApi {
    pub(crate) authority: Arc<Authority>,
    pub(crate) entries: watch::Receiver<Entries>,
    pub(crate) others: watch::Receiver<Arc<Bundles>>,
    pub(crate) throttle: Arc<Throttle<u32>>,
    pub(crate) random: Arc<Random>,
    pub(crate) tasks: Tasks,
}

/// One caller's certificates, and when the next are due.
struct Held {
    svid: Svid,
    /// The share of its life after which it is replaced.
    share: f64,
}

/// What may change while a stream lives.
struct News {
    entries: watch::Receiver<Entries>,
    bundle: watch::Receiver<Arc<TrustBundle>>,
    others: watch::Receiver<Arc<Bundles>>,
}

impl News {
    async fn changed(&mut self) {
        // A sender that is gone says nothing more: that its stream ends is not said here.
        let ended = tokio::select! {
            changed = self.entries.changed() => changed.is_err(),
            changed = self.bundle.changed() => changed.is_err(),
            changed = self.others.changed() => changed.is_err(),
        };
        if ended {
            std::future::pending().await
        }
    }
}

impl WorkloadApi {
    fn news(&self) -> News {
        News {
            entries: self.entries.clone(),
            bundle: self.authority.bundle(),
            others: self.others.clone(),
        }
    }

    /// Sends a caller what it has, until it goes.
    async fn follow(self, caller: Caller, answers: Answers<X509svidResponse>) {
        let (mut news, mut held, mut said) = (self.news(), Vec::<Held>::new(), None);
        loop {
            let entries = news.entries.borrow_and_update().clone();
            let bundle = news.bundle.borrow_and_update().clone();
            let others = news.others.borrow_and_update().clone();
            let ids = caller.ids(&entries);
            if ids.is_empty() {
                return answers.end(nobody(&caller)).await;
            }
            let wait = match self.renew(&caller, &ids, &mut held) {
                Ok(()) => self.until_next(&held),
                Err(status) if held.len() < ids.len() => return answers.end(status).await,
                Err(status) => {
                    tracing::warn!(%caller, "a certificate is not renewed: {}", status.message());
                    RETRY
                }
            };
            let answer = wire::svids(held.iter().map(|held| &held.svid), &bundle, &others);
            if said.as_ref() != Some(&answer) {
                if !answers.send(answer.clone()).await {
                    return;
                }
                said = Some(answer);
            }
            tokio::select! {
                () = news.changed() => {}
                () = self.authority.clock().sleep(wait) => {}
                () = answers.gone() => return,
            }
        }
    }

    /// Makes `held` what the ids say, in their order; what is there and has not lived half of its time is kept. After an error
    /// everything that is still good is there.
    fn renew(&self, caller: &Caller, ids: &[SpiffeId], held: &mut Vec<Held>) -> Result<(), Status> {
        let mut before = std::mem::take(held);
        let mut result = Ok(());
        let now = self.authority.clock().wall();
        for id in ids {
            let at = before.iter().position(|held| held.svid.id() == id);
            let known = at.map(|at| before.swap_remove(at));
            let left = known.as_ref().map(|known| known.left(now));
            let fresh = match (known, left) {
                (Some(known), Some(left)) if left > Duration::ZERO => Ok(known),
                (known, _) => self.issue(caller, id).or_else(|status| {
                    result = Err(status.clone());
                    let good = |known: &Held| known.svid.validity().check(now).is_ok();
                    known.filter(good).ok_or(status)
                }),
            };
            held.extend(fresh.ok());
        }
        result
    }

    fn issue(&self, caller: &Caller, id: &SpiffeId) -> Result<Held, Status> {
        self.throttle.take(&caller.uid).map_err(too_many)?;
        let svid = self
            .authority
            .svid(id, &caller.attested())
            .map_err(|error| failed(&error))?;
        // Half of its life, give or take a tenth of that, lest all that began together come back together.
        let share = 0.45 + 0.1 * self.random.unit();
        Ok(Held { svid, share })
    }

    fn until_next(&self, held: &[Held]) -> Duration {
        let now = self.authority.clock().wall();
        let left = held.iter().map(|held| held.left(now)).min();
        left.unwrap_or(RETRY)
    }

    /// Sends a caller the bundles, until it goes.
    async fn follow_bundles(self, caller: Caller, answers: Answers<X509BundlesResponse>) {
        let (mut news, mut said) = (self.news(), None);
        loop {
            let entries = news.entries.borrow_and_update().clone();
            let bundle = news.bundle.borrow_and_update().clone();
            let others = news.others.borrow_and_update().clone();
            if caller.ids(&entries).is_empty() {
                return answers.end(nobody(&caller)).await;
            }
            let answer = wire::bundles(&bundle, &others);
            if said.as_ref() != Some(&answer) {
                if !answers.send(answer.clone()).await {
                    return;
                }
                said = Some(answer);
            }
            tokio::select! {
                () = news.changed() => {}
                () = answers.gone() => return,
            }
        }
    }

    /// Runs what answers a stream.
    fn stream<T, F>(
        &self,
        name: &'static str,
        work: impl FnOnce(Self, Answers<T>) -> F,
    ) -> Response<ReceiverStream<Result<T, Status>>>
    where
        T: Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(1);
        self.tasks
            .spawn_until_stop(name, work(self.clone(), Answers(sender)));
        Response::new(ReceiverStream::new(receiver))
    }
}

impl Held {
    /// How long it is until this is replaced.
    fn left(&self, now: std::time::SystemTime) -> Duration {
        let validity = self.svid.validity();
        let life = validity.not_after.duration_since(validity.not_before);
        let due = validity.not_before + life.unwrap_or_default().mul_f64(self.share);
        due.duration_since(now).unwrap_or_default()
    }
}

/// The end of a stream that puts in.
struct Answers<T>(mpsc::Sender<Result<T, Status>>);

impl<T> Answers<T> {
    /// `false` when the caller is gone.
    async fn send(&self, answer: T) -> bool {
        self.0.send(Ok(answer)).await.is_ok()
    }

    async fn end(self, status: Status) {
        // The caller may be gone.
        let _ = self.0.send(Err(status)).await;
    }

    async fn gone(&self) {
        self.0.closed().await
    }
}

/// Who asks; refuses what is not a call of the Workload API.
fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let value = request.metadata().get(HEADER);
    if value.is_none_or(|value| value != "true") {
        return Err(Status::invalid_argument(
            "a call of the Workload API carries the metadata `workload.spiffe.io: true`",
        ));
    }
    let caller = request.extensions().get::<Caller>().cloned();
    caller.ok_or_else(|| Status::internal("who called is not known"))
}

fn nobody(caller: &Caller) -> Status {
    tracing::debug!(%caller, "refused: no workload is recognised by this");
    Status::permission_denied(format!(
        "no workload document is recognised by this process ({caller})"
    ))
}

pub(crate) fn too_many(wait: Duration) -> Status {
    let mut status = Status::resource_exhausted("too many certificates were asked for");
    let millis = u64::try_from(wait.as_millis())
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    if let Ok(value) = millis.to_string().parse() {
        status.metadata_mut().insert("retry-after-ms", value);
    }
    status
}

/// What a caller is told of an error that is ours; the log has the rest.
pub(crate) fn failed(error: &IssueError) -> Status {
    match error {
        IssueError::Foreign(..) | IssueError::Reserved(_) => {
            Status::permission_denied(error.to_string())
        }
        error => {
            tracing::error!("a certificate cannot be signed: {error}");
            Status::unavailable("a certificate cannot be signed now; the authority's log says why")
        }
    }
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for WorkloadApi {
    type FetchX509SVIDStream = ReceiverStream<Result<X509svidResponse, Status>>;
    type FetchX509BundlesStream = ReceiverStream<Result<X509BundlesResponse, Status>>;
    type FetchJWTBundlesStream = ReceiverStream<Result<JwtBundlesResponse, Status>>;

    async fn fetch_x509svid(
        &self,
        request: Request<X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        let caller = caller(&request)?;
        Ok(self.stream("svids", |api, answers| api.follow(caller, answers)))
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        let caller = caller(&request)?;
        Ok(self.stream("bundles", |api, answers| {
            api.follow_bundles(caller, answers)
        }))
    }

    async fn fetch_jwtsvid(
        &self,
        _: Request<JwtsvidRequest>,
    ) -> Result<Response<JwtsvidResponse>, Status> {
        Err(no_tokens())
    }

    async fn fetch_jwt_bundles(
        &self,
        _: Request<JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        Err(no_tokens())
    }

    async fn validate_jwtsvid(
        &self,
        _: Request<ValidateJwtsvidRequest>,
    ) -> Result<Response<ValidateJwtsvidResponse>, Status> {
        Err(no_tokens())
    }
}

fn no_tokens() -> Status {
    Status::unimplemented("this authority signs X.509 certificates only, no JWT-SVIDs")
}
