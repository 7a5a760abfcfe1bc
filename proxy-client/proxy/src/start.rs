//! Starting and ending a proxy.
//!
//! One thread for control (listening, Watch, reports, names, admin) and one per worker, each with its own runtime. Everything is
//! parsed and every port bound before the first thread starts. Several proxies may live in one process.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use mixer_attributes::{OwnedBag, OwnedValue, vocabulary as name};
use mixer_client::{At, Client};
use mixer_documents::{Diagnostics, Mode, PolicySet, Sources};
use mixer_identity::Files;
use mixer_runtime::{Clock, Guard, Random, Tasks};
use tokio::runtime::{Builder, Handle, LocalOptions, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::access_log::{Lines, Log};
use crate::config::{Config, Control, IdentityFrom};
use crate::shared::Shared;
use crate::tls::Own;
use crate::upstream::Resolver;
use crate::{accept, admin, routing, worker};

/// Connections on their way to one worker.
const HANDED_OVER: usize = 1_024;
/// For leases and reports when the proxy ends.
const FINISH: Duration = Duration::from_secs(2);
/// For background tasks when the proxy ends.
const JOIN: Duration = Duration::from_secs(1);

/// The sidecar; see [`Proxy::start`].
#[derive(Debug)]
pub struct Proxy;

/// Why a proxy did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration contradicts itself; every problem.
    #[error("{}", .0.join("\n"))]
    Config(Vec<String>),
    /// The documents of `--documents` cannot be used.
    #[error("{}", .0.lines().join("\n"))]
    Documents(Diagnostics),
    /// The documents of `--documents` hold what only a Mixer can decide.
    #[error("{0} needs --mixer: with --documents alone nobody could enforce it")]
    NeedsMixer(String),
    /// The files of `--identity-files` cannot be used.
    #[error("--identity-files: {0}")]
    Identity(#[from] mixer_identity::InvalidFiles),
    /// The authority of `--identity-join` gives no certificate.
    #[error("--identity-join: {0}")]
    Join(#[from] mixer_identity::JoinError),
    /// A port cannot be had.
    #[error("cannot listen on {address} ({purpose}): {error}")]
    #[allow(missing_docs)]
    Listen {
        purpose: &'static str,
        address: SocketAddr,
        error: std::io::Error,
    },
    /// The access log's file cannot be opened.
    #[error("cannot write the access log {path}: {error}")]
    #[allow(missing_docs)]
    AccessLog { path: String, error: std::io::Error },
    /// The system gives no thread or no event queue.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// A proxy that runs. Dropping it ends it at once; [`Running::shutdown`] ends it gracefully.
#[derive(Debug)]
pub struct Running {
    inbound: Option<SocketAddr>,
    outbound: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    shared: Arc<Shared>,
    ending: Ending,
    threads: Vec<JoinHandle<()>>,
    log: Option<Log>,
    ended: Option<oneshot::Receiver<usize>>,
}

/// How the control thread is told to end.
#[derive(Clone, Debug, Default)]
struct Ending {
    gracefully: CancellationToken,
    at_once: CancellationToken,
}

impl Proxy {
    /// Parses everything, binds every port, then starts the threads.
    pub fn start(config: Config, clock: Clock, random: Arc<Random>) -> Result<Running, StartError> {
        let problems = config.validate();
        if !problems.is_empty() {
            return Err(StartError::Config(problems));
        }
        let guard = config
            .admin
            .map(|admin| Guard::new(config.admin_token.clone(), admin))
            .transpose()
            .map_err(|problem| StartError::Config(vec![problem]))?;
        let documents = match &config.control {
            Control::Mixer(_) => None,
            Control::Documents(paths) => Some(read(paths)?),
        };
        let inbound = listen("inbound", config.inbound, config.transparent)?;
        let outbound = listen("outbound", config.outbound, config.transparent)?;
        let admin = listen("admin", config.admin, false)?;
        let addresses = |listeners: &[TcpListener]| -> Vec<SocketAddr> {
            let addresses = listeners.iter().map(TcpListener::local_addr);
            addresses.filter_map(Result::ok).collect()
        };
        let bound = [addresses(&inbound), addresses(&outbound)];
        let [inbound_at, outbound_at] = [&bound[0], &bound[1]].map(|bound| bound.first().copied());
        let admin_at = addresses(&admin).first().copied();

        let mut threads = Vec::new();
        let mut log = None;
        if let Some(config) = &config.access_log {
            let (started, thread) = Log::start(config).map_err(|error| StartError::AccessLog {
                path: config.to.to_string(),
                error,
            })?;
            log = Some(started);
            threads.push(thread);
        }

        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let tasks = Tasks::on(runtime.handle().clone());
        let own = match start_identity(&config, &clock, &random, &tasks, &runtime) {
            Ok(own) => own,
            Err(error) => {
                // It may not be waited for where the caller is on a runtime of its own.
                runtime.shutdown_background();
                return Err(error);
            }
        };
        let client = start_client(
            &config,
            own.as_ref(),
            &clock,
            &random,
            &tasks,
            runtime.handle(),
        );
        let workers = match config.workers {
            0 => std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            workers => workers,
        };
        let logged = log.as_ref().map(|log| log.tally.clone());
        let shared = Shared::new(config, clock, random, client, own, logged, workers);
        let shared = Arc::new(shared);
        let _ = shared.bound.set(bound.concat());

        let ending = Ending::default();
        let stop = CancellationToken::new();
        let mut handed = Vec::new();
        for number in 0..workers {
            let (sender, receiver) = mpsc::channel(HANDED_OVER);
            handed.push(sender);
            let lines = log.as_ref().map(|log| log.lines(&shared.clock));
            threads.push(start_worker(number, &shared, receiver, lines, &stop)?);
        }
        let (tell, ended) = oneshot::channel();
        let listeners = [(At::Inbound, inbound), (At::Outbound, outbound)]
            .into_iter()
            .flat_map(|(at, listeners)| listeners.into_iter().map(move |listener| (at, listener)))
            .collect();
        let control = ControlThread {
            shared: shared.clone(),
            tasks,
            listeners,
            handed,
            admin: admin.into_iter().next().zip(guard),
            documents,
            ending: ending.clone(),
            stop,
        };
        let thread = std::thread::Builder::new().name("proxy-control".to_owned());
        threads.push(
            thread
                .spawn(move || control.run(runtime, tell))
                .map_err(StartError::Thread)?,
        );
        Ok(Running {
            inbound: inbound_at,
            outbound: outbound_at,
            admin: admin_at,
            shared,
            ending,
            threads,
            log,
            ended: Some(ended),
        })
    }
}

impl Running {
    /// Where requests to the service are taken.
    pub fn inbound(&self) -> Option<SocketAddr> {
        self.inbound
    }

    /// Where the application's own requests are taken.
    pub fn outbound(&self) -> Option<SocketAddr> {
        self.outbound
    }

    /// Where health, metrics and the configuration are shown.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Whether requests can be decided and routed.
    pub fn ready(&self) -> bool {
        self.shared.ready()
    }

    /// Waits until [`Running::ready`], however long that takes.
    pub async fn until_ready(&self) {
        let mut routed = self.shared.routed.subscribe();
        // The sender lives as long as `shared`.
        let _ = routed.wait_for(|routed| *routed).await;
    }

    /// Waits until it was told to end through its admin listener; [`Running::shutdown`] then waits for the end.
    pub async fn until_ending(&self) {
        self.ending.gracefully.cancelled().await;
    }

    /// Opens the file of the access log anew, after it was moved away.
    pub fn reopen_access_log(&self) {
        if let Some(log) = &self.log {
            log.reopen();
        }
    }

    /// The client's counts; `None` with [`Control::Documents`].
    pub fn stats(&self) -> Option<mixer_client::Stats> {
        self.shared.client.as_ref().map(Client::stats)
    }

    /// Ends it: accepts no more, lets requests in flight finish (at most `limits.drain`), gives leases back, sends the last
    /// reports. How many connections had to be cut.
    pub async fn shutdown(mut self) -> usize {
        self.ending.gracefully.cancel();
        let cut = match self.ended.take() {
            Some(ended) => ended.await.unwrap_or(0),
            None => 0,
        };
        drop(self.log.take());
        for thread in self.threads.drain(..) {
            // They have nothing left to do but return.
            let _ = thread.join();
        }
        cut
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ending.at_once.cancel();
    }
}

/// Listens at `address`, if there is one; `beside`: at the same one of IPv6 too.
fn listen(
    purpose: &'static str,
    address: Option<SocketAddr>,
    beside: bool,
) -> Result<Vec<TcpListener>, StartError> {
    let Some(address) = address else {
        return Ok(Vec::new());
    };
    let failed = |address| {
        move |error| StartError::Listen {
            purpose,
            address,
            error,
        }
    };
    let listener = accept::bind(address).map_err(failed(address))?;
    let taken = listener.local_addr().map_err(failed(address))?;
    let mut listeners = vec![listener];
    if beside {
        match accept::bind_beside(taken) {
            Some((_, Ok(listener))) => listeners.push(listener),
            Some((other, Err(error))) if error.kind() == std::io::ErrorKind::AddrInUse => {
                return Err(failed(other)(error));
            }
            Some((other, Err(error))) => {
                tracing::warn!("no connections over IPv6 are taken: {other}: {error}");
            }
            None => {}
        }
    }
    Ok(listeners)
}

fn read(paths: &[std::path::PathBuf]) -> Result<PolicySet, StartError> {
    let set = Sources::read(paths)
        .and_then(mixer_documents::load)
        .map_err(StartError::Documents)?;
    let enforced = set
        .policies
        .iter()
        .find(|policy| policy.mode == Mode::Enforce);
    if let Some(jwt) = set.jwts.first() {
        return Err(StartError::NeedsMixer(format!(
            "the jwt document {:?}",
            &*jwt.name
        )));
    }
    match enforced {
        Some(policy) => Err(StartError::NeedsMixer(format!(
            "the policy {:?}",
            &*policy.name
        ))),
        None if !set.mesh.default_allow => Err(StartError::NeedsMixer(
            "`mesh: { default: deny }`".to_owned(),
        )),
        None => Ok(set),
    }
}

fn start_client(
    config: &Config,
    own: Option<&Own>,
    clock: &Clock,
    random: &Arc<Random>,
    tasks: &Tasks,
    runtime: &Handle,
) -> Option<Client> {
    let Control::Mixer(mixer) = &config.control else {
        return None;
    };
    let instance = format!(
        "{}-{:016x}",
        config.service.as_deref().unwrap_or("outbound"),
        random.next()
    );
    let mut client = mixer_client::Config::new(mixer.clone(), instance);
    client.tls = config
        .mixer_id
        .clone()
        .zip(own)
        .map(|(mixer, own)| mixer_client::Tls {
            identity: own.source.clone(),
            mixer,
        });
    if client.tls.is_none() && !is_local(mixer) {
        tracing::warn!(
            "Mixer at {mixer} is asked in plaintext, and nothing proves who it is: with an identity and --mixer-id, both are proved"
        );
    }
    // Two tries, and what the second needs to fail in time to say so.
    (client.total_timeout, client.try_timeout) =
        (config.limits.check, config.limits.check.mul_f64(0.4));
    if let Some(service) = &config.service {
        client.inbound.set(
            name::DESTINATION_SERVICE,
            OwnedValue::String(service.clone()),
        );
        set_if(
            &mut client.inbound,
            name::DESTINATION_NAMESPACE,
            config
                .own_namespace()
                .map(|n| OwnedValue::String(n.to_owned())),
        );
        let labels = (!config.labels.is_empty()).then(|| OwnedValue::Map(config.labels.clone()));
        set_if(&mut client.inbound, name::DESTINATION_LABELS, labels);
    }
    let _entered = runtime.enter();
    Some(Client::start(client, clock.clone(), random.clone(), tasks))
}

/// Whether an address is of this machine, as far as it says so itself.
fn is_local(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

/// This proxy's own identity, where it is to have one. A kind of source that is added is begun here.
fn start_identity(
    config: &Config,
    clock: &Clock,
    random: &Arc<Random>,
    tasks: &Tasks,
    runtime: &Runtime,
) -> Result<Option<Own>, StartError> {
    let source = match &config.identity {
        IdentityFrom::Nowhere => return Ok(None),
        IdentityFrom::Published(source) => source.clone(),
        IdentityFrom::Files(directory) => wait(runtime, Files::new(directory).watch(tasks, clock))?,
        IdentityFrom::WorkloadApi(api) => api.clone().follow(tasks, clock, random.clone()),
        IdentityFrom::Join(join) => {
            let joined = join.as_ref().clone().follow(tasks, clock, random.clone());
            wait(runtime, joined)?
        }
    };
    Ok(Some(Own::new(source)))
}

/// Waits for what is done on `runtime`. Who starts a proxy may be on a runtime of its own, where nothing else may be waited for.
fn wait<T: Send>(runtime: &Runtime, work: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| runtime.block_on(work));
        waiting.join().expect("reading and joining do not panic")
    })
}

fn set_if(bag: &mut OwnedBag, id: mixer_attributes::AttributeId, value: Option<OwnedValue>) {
    if let Some(value) = value {
        bag.set(id, value);
    }
}

fn start_worker(
    number: usize,
    shared: &Arc<Shared>,
    accepted: mpsc::Receiver<worker::Accepted>,
    lines: Option<Lines>,
    stop: &CancellationToken,
) -> Result<JoinHandle<()>, StartError> {
    let (shared, counters, stop) = (
        shared.clone(),
        shared.counters[number].clone(),
        stop.clone(),
    );
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let work = move || {
        // A local runtime cannot be made elsewhere and moved here.
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => {
                let _ = tell.send(Ok(()));
                worker::run(&runtime, shared, counters, accepted, lines, stop);
            }
            Err(error) => drop(tell.send(Err(error))),
        }
    };
    let thread = std::thread::Builder::new()
        .name(format!("proxy-{number}"))
        .spawn(work)
        .map_err(StartError::Thread)?;
    match told.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => Err(StartError::Thread(error)),
        Err(_) => Err(StartError::Thread(std::io::Error::other(
            "the thread ended at once",
        ))),
    }
}

/// What the control thread does.
struct ControlThread {
    shared: Arc<Shared>,
    tasks: Tasks,
    listeners: Vec<(At, TcpListener)>,
    handed: Vec<mpsc::Sender<worker::Accepted>>,
    admin: Option<(TcpListener, Guard)>,
    documents: Option<PolicySet>,
    ending: Ending,
    stop: CancellationToken,
}

impl ControlThread {
    fn run(self, runtime: Runtime, ended: oneshot::Sender<usize>) {
        let _stop_workers = self.stop.clone().drop_guard();
        runtime.block_on(async {
            let at_once = self.ending.at_once.clone();
            tokio::select! {
                cut = self.control() => drop(ended.send(cut)),
                () = at_once.cancelled() => {}
            }
        });
    }

    async fn control(self) -> usize {
        let Self {
            shared,
            tasks,
            listeners,
            handed,
            admin,
            documents,
            ending,
            stop,
        } = self;
        let clock = shared.clock.clone();
        let _ = shared.resolver.set(Resolver::new(shared.config.dns));
        if let Some(set) = documents {
            routing::adopt(&shared, &set).await;
        }
        if shared.client.is_some() {
            tasks.spawn_until_stop("follow watch", routing::follow(shared.clone()));
        }
        tasks.spawn_until_stop("upstreams", routing::keep_upstreams(shared.clone()));
        if let Some((listener, guard)) = admin {
            let admin = admin::Admin {
                shared: shared.clone(),
                guard,
                end: ending.gracefully.clone(),
            };
            tasks.spawn_until_stop("admin", admin::serve(listener, admin));
        }
        let accepting = Tasks::new();
        for (at, listener) in listeners {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => {
                    accepting.spawn_until_stop(
                        "accept",
                        accept::run(listener, at, shared.clone(), handed.clone()),
                    );
                }
                Err(error) => tracing::error!("cannot wait for connections: {error}"),
            }
        }
        drop(handed);

        ending.gracefully.cancelled().await;
        let _ = accepting.shutdown(&clock, JOIN).await;
        let cut = shared
            .drain
            .finish(&clock, shared.config.limits.drain)
            .await;
        if cut > 0 {
            tracing::warn!(
                connections = cut,
                "cut after {:?}",
                shared.config.limits.drain
            );
        }
        stop.cancel();
        if let Some(client) = &shared.client {
            client.finish(FINISH).await;
        }
        if let Err(unfinished) = tasks.shutdown(&clock, JOIN).await {
            tracing::debug!("tasks that did not end by themselves: {:?}", unfinished.0);
        }
        cut
    }
}
