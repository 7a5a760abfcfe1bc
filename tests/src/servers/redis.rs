//! Redis: one server, three that are a Cluster, or a master, its replica and the Sentinels that watch over them.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::installed;
use crate::process::Process;
use crate::{ports, wait};

/// The program that is started unless another is asked for.
const SERVER: &str = "redis-server";

/// A running server.
#[derive(Debug)]
pub struct Redis {
    /// Where it is asked.
    pub addr: SocketAddr,
    program: &'static str,
    options: Vec<String>,
    login: Vec<String>,
    process: Process,
    folder: TempDir,
}

/// Three masters that share the slots.
#[derive(Debug)]
pub struct RedisCluster {
    /// The nodes.
    pub nodes: Vec<Redis>,
}

/// A master, a replica, and three Sentinels that call the master `mixer`.
#[derive(Debug)]
pub struct RedisWatched {
    /// The one that is master at first, and its replica.
    pub servers: [Redis; 2],
    /// The Sentinels.
    pub sentinels: Vec<Redis>,
}

impl Redis {
    /// Starts a server that keeps nothing on disk.
    pub async fn start() -> Self {
        Self::with(&[], &[]).await
    }

    /// Starts a Valkey that keeps nothing on disk: another server of the same protocol.
    pub async fn valkey() -> Self {
        Self::run_as("valkey-server", &[], &[]).await
    }

    /// Starts one with more options (`--name value`); `login` are the options that `redis-cli` then needs.
    pub async fn with(options: &[&str], login: &[&str]) -> Self {
        Self::run_as(SERVER, options, login).await
    }

    async fn run_as(program: &'static str, options: &[&str], login: &[&str]) -> Self {
        let addr = ports::free();
        let mut all = own(&["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]);
        if !options.contains(&"--port") {
            all.extend(own(&["--port", &addr.port().to_string()]));
        }
        all.extend(own(options));
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        Self::run(program, addr, all, own(login), folder).await
    }

    async fn run(
        program: &'static str,
        addr: SocketAddr,
        options: Vec<String>,
        login: Vec<String>,
        folder: TempDir,
    ) -> Self {
        let process = Process::start("redis", command(program, &options, &folder));
        let redis = Self {
            addr,
            program,
            options,
            login,
            process,
            folder,
        };
        redis.ready().await;
        redis
    }

    async fn ready(&self) {
        wait::until("redis is ready", async || {
            self.ask(&["ping"]).filter(|answer| answer == "PONG")
        })
        .await;
    }

    /// Where it is, as a client is told.
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it at once; what it held is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends its process a signal, named as `kill` names it.
    pub fn signal(&self, signal: &str) {
        self.process.signal(signal);
    }

    /// Starts it again after [`Redis::kill`], at the same address.
    pub async fn restart(&mut self) {
        self.process = Process::start("redis", command(self.program, &self.options, &self.folder));
        self.ready().await;
    }

    /// What it answers to a command, as `redis-cli` shows it; none while it cannot be asked.
    pub fn ask(&self, command: &[&str]) -> Option<String> {
        let output = Command::new(installed("redis-cli"))
            .args(["-h", "127.0.0.1", "-p", &self.addr.port().to_string()])
            .args(&self.login)
            .args(command)
            .stdin(Stdio::null())
            .output()
            .expect("redis-cli is installed");
        let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(answer)
    }
}

impl RedisCluster {
    /// Starts three masters, a third of the slots each, and waits until they are one.
    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            let bus = ports::free().port().to_string();
            let options = ["--cluster-enabled", "yes", "--cluster-port", &bus];
            nodes.push((Redis::with(&options, &[]).await, bus));
        }
        let (first, bus) = (&nodes[0].0, &nodes[0].1);
        for ((node, _), slots) in nodes.iter().zip(["0 5460", "5461 10922", "10923 16383"]) {
            let (from, to) = slots.split_once(' ').expect("written so above");
            let added = node.ask(&["cluster", "addslotsrange", from, to]);
            assert_eq!(added.as_deref(), Some("OK"));
            if node.addr != first.addr {
                let port = first.addr.port().to_string();
                let met = node.ask(&["cluster", "meet", "127.0.0.1", &port, bus]);
                assert_eq!(met.as_deref(), Some("OK"));
            }
        }
        let cluster = Self {
            nodes: nodes.into_iter().map(|(node, _)| node).collect(),
        };
        for node in &cluster.nodes {
            wait::until("the nodes are one cluster", async || {
                let info = node.ask(&["cluster", "info"])?;
                let whole = info.contains("cluster_state:ok")
                    && info.contains("cluster_known_nodes:3")
                    && info.contains("cluster_slots_ok:16384");
                whole.then_some(())
            })
            .await;
        }
        cluster
    }
}

impl RedisWatched {
    /// Starts them and waits until every Sentinel knows of the replica and of the others.
    pub async fn start() -> Self {
        let master = Redis::start().await;
        let port = master.addr.port().to_string();
        let replica = Redis::with(&["--replicaof", &format!("127.0.0.1 {port}")], &[]).await;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(sentinel(&port).await);
        }
        for sentinel in &sentinels {
            wait::until("the sentinels know of all", async || {
                let known = sentinel.ask(&["sentinel", "master", "mixer"])?;
                let lines: Vec<&str> = known.lines().collect();
                let of = |name: &str| {
                    let at = lines.iter().position(|line| *line == name)?;
                    lines.get(at + 1).copied()
                };
                (of("num-slaves") == Some("1") && of("num-other-sentinels") == Some("2"))
                    .then_some(())
            })
            .await;
        }
        Self {
            servers: [master, replica],
            sentinels,
        }
    }
}

async fn sentinel(master: &str) -> Redis {
    let addr = ports::free();
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    // A Sentinel writes what it learns into its file.
    let file = folder.path().join("sentinel.conf");
    let text = format!(
        "port {}\nbind 127.0.0.1\nsentinel monitor mixer 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds mixer 500\nsentinel failover-timeout mixer 2000\n",
        addr.port()
    );
    fs::write(&file, text).expect("the temporary directory can be written to");
    let options = own(&[&file.display().to_string(), "--sentinel"]);
    Redis::run(SERVER, addr, options, Vec::new(), folder).await
}

fn command(program: &str, options: &[String], folder: &TempDir) -> Command {
    let mut command = Command::new(installed(program));
    command.args(options).current_dir(folder.path());
    command
}

fn own(options: &[&str]) -> Vec<String> {
    options.iter().map(|option| (*option).to_owned()).collect()
}
