//! What `config:` of a `redis-quota` holds, and what it says once it is checked.

use std::path::PathBuf;
use std::time::Duration;

use mixer_adapter::{Env, Invalid, Period, Problem, Secret};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates};
use schemars::JsonSchema;
use serde::Deserialize;

/// Mixer waits no longer for a store.
const LONGEST: Duration = Duration::from_millis(50);

/// Configuration of a `redis-quota`: exactly one of `url`, `sentinel` and `cluster`.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// One server: `redis://host:6379`, `rediss://host:6379` (TLS) or `unix:///path/of/socket`; `/2` behind it chooses a
    /// database.
    pub url: Option<String>,
    /// Servers that Sentinels watch over; counted at the master.
    pub sentinel: Option<Sentinel>,
    /// A Cluster.
    pub cluster: Option<Cluster>,
    /// Who Mixer is to the servers. Default: the server's default user.
    pub username: Option<String>,
    /// The password for the servers. Default: none.
    pub password: Option<Secret>,
    /// How servers with `rediss` addresses are verified.
    pub tls: Tls,
    /// What the name of every key begins with. Default `mixer`.
    pub prefix: Option<String>,
    /// How long an answer is waited for. Default 40ms.
    pub timeout: Option<Period>,
    /// How many connections are kept (each carries any number of calls at once). Default 2.
    #[schemars(range(min = 1, max = 64))]
    pub connections: Option<usize>,
}

/// Servers that Sentinels watch over.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sentinel {
    /// The Sentinels: `redis://host:26379` or `rediss://host:26379`; the master is then asked with TLS too.
    pub addresses: Vec<String>,
    /// The name of the master in their configuration.
    pub master: String,
    /// Who Mixer is to the Sentinels. Default: the default user.
    #[serde(default)]
    pub username: Option<String>,
    /// The password for the Sentinels. Default: none.
    #[serde(default)]
    pub password: Option<Secret>,
}

/// A Cluster.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Some of its nodes, from which the others are learned: `redis://host:6379` or `rediss://host:6379`.
    pub addresses: Vec<String>,
    /// Over how many groups the counters of one policy are spread; each group lives on one node. Default 1.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1024))]
    pub spread: Option<u64>,
}

/// How servers are verified.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// A file of PEM certificates beside the document: whom to trust. Default: the system's roots, or those that
    /// `SSL_CERT_FILE` names.
    pub roots: Option<String>,
}

/// A configuration that was checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) target: Target,
    pub(crate) prefix: String,
    pub(crate) spread: u64,
    pub(crate) timeout: Duration,
}

/// Where the counters are and how to get there. Two that are equal need no new connection.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) servers: Servers,
    pub(crate) login: Login,
    /// PEM certificates.
    pub(crate) roots: Option<String>,
    /// Where the files of secrets are.
    pub(crate) directory: PathBuf,
    pub(crate) connections: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Servers {
    One(Address),
    Watched {
        sentinels: Vec<Address>,
        master: String,
        login: Login,
    },
    Cluster(Vec<Address>),
}

/// Who Mixer is; a password is read when it is needed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Login {
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
}

/// An address without credentials.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Address {
    pub(crate) place: ConnectionAddr,
    pub(crate) database: i64,
}

impl Config {
    /// Everything checked, all problems at once.
    pub(crate) fn settings(self, env: &Env) -> Result<Settings, Invalid> {
        let mut problems = Problems::default();
        let given = [
            self.url.is_some(),
            self.sentinel.is_some(),
            self.cluster.is_some(),
        ];
        if given.into_iter().filter(|given| *given).count() != 1 {
            problems.add("", "needs exactly one of `url`, `sentinel` and `cluster`");
        }
        let spread = self.cluster.as_ref().and_then(|cluster| cluster.spread);
        let servers = match (self.url, self.sentinel, self.cluster) {
            (Some(url), _, _) => Address::parse("url", &url, &mut problems).map(Servers::One),
            (_, Some(sentinel), _) => Some(sentinel.servers(&mut problems)),
            (_, _, Some(cluster)) => {
                let field = "cluster.addresses";
                Some(Servers::Cluster(addresses(
                    field,
                    &cluster.addresses,
                    &mut problems,
                )))
            }
            _ => None,
        };
        let roots = self.tls.roots.and_then(|path| {
            let read = env.read("tls.roots", &path);
            read.map_err(|invalid| problems.0.extend(invalid.problems))
                .ok()
        });
        if roots.is_some()
            && servers
                .as_ref()
                .is_some_and(|servers| !servers.are_secure())
        {
            problems.add("tls.roots", "is for `rediss` addresses; these are plain");
        }
        if let Some(roots) = &roots
            && let Err(why) = verifiable(roots)
        {
            problems.add("tls.roots", &why);
        }
        let login = Login::checked("", self.username, self.password, &mut problems);
        let timeout = self
            .timeout
            .map_or(Duration::from_millis(40), |period| period.0);
        if timeout.is_zero() || timeout > LONGEST {
            problems.add(
                "timeout",
                "must be from 1ms to 50ms: Mixer waits no longer for a store",
            );
        }
        let connections = self.connections.unwrap_or(2);
        if !(1..=64).contains(&connections) {
            problems.add("connections", "must be from 1 to 64");
        }
        let spread = spread.unwrap_or(1);
        if !(1..=1024).contains(&spread) {
            problems.add("cluster.spread", "must be from 1 to 1024");
        }
        let prefix = self.prefix.unwrap_or_else(|| "mixer".to_owned());
        if prefix.is_empty() || prefix.len() > 64 || prefix.contains(['{', '}']) {
            let message = "must have 1 to 64 characters, none of them a brace: braces say which keys of a Cluster go together";
            problems.add("prefix", message);
        }
        match servers {
            Some(servers) if problems.0.is_empty() => Ok(Settings {
                target: Target {
                    servers,
                    login,
                    roots,
                    directory: env.directory.clone(),
                    connections,
                },
                prefix,
                spread,
                timeout,
            }),
            _ => Err(Invalid {
                problems: problems.0,
            }),
        }
    }
}

impl Sentinel {
    fn servers(self, problems: &mut Problems) -> Servers {
        if self.master.is_empty() {
            let message =
                "is the name the Sentinels know the master by (`sentinel monitor NAME ..`)";
            problems.add("sentinel.master", message);
        }
        Servers::Watched {
            sentinels: addresses("sentinel.addresses", &self.addresses, problems),
            master: self.master,
            login: Login::checked("sentinel.", self.username, self.password, problems),
        }
    }
}

impl Servers {
    /// Whether they are asked with TLS.
    pub(crate) fn are_secure(&self) -> bool {
        match self {
            Servers::One(address) => address.is_secure(),
            Servers::Watched {
                sentinels: addresses,
                ..
            }
            | Servers::Cluster(addresses) => addresses.iter().any(Address::is_secure),
        }
    }
}

impl Login {
    fn checked(
        at: &str,
        username: Option<String>,
        password: Option<Secret>,
        problems: &mut Problems,
    ) -> Self {
        if username.is_some() && password.is_none() {
            problems.add(&format!("{at}username"), "needs a `password`");
        }
        Self { username, password }
    }
}

impl Address {
    fn parse(field: &str, url: &str, problems: &mut Problems) -> Option<Self> {
        let Ok(info) = url.into_connection_info() else {
            // Not shown: it may hold a password.
            let message = "is no address; write redis://host:6379, rediss://host:6379 or unix:///path/of/socket";
            problems.add(field, message);
            return None;
        };
        let settings = info.redis_settings();
        if settings.password().is_some() || settings.username().is_some() {
            problems.add(
                field,
                "may be read by anyone who reads documents: write `username` and `password` beside it",
            );
            return None;
        }
        if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
            let message =
                "cannot be asked without verifying it; give its certificate in `tls.roots`";
            problems.add(field, message);
            return None;
        }
        Some(Self {
            place: info.addr().clone(),
            database: settings.db(),
        })
    }

    pub(crate) fn is_secure(&self) -> bool {
        matches!(self.place, ConnectionAddr::TcpTls { .. })
    }
}

/// Several addresses, none of them a socket or with a database: those of Sentinels and of a Cluster.
fn addresses(field: &str, urls: &[String], problems: &mut Problems) -> Vec<Address> {
    if urls.is_empty() {
        problems.add(field, "needs at least one address");
    }
    let mut parsed: Vec<Address> = Vec::new();
    for (at, url) in urls.iter().enumerate() {
        let field = format!("{field}.{at}");
        let Some(address) = Address::parse(&field, url, problems) else {
            continue;
        };
        if matches!(address.place, ConnectionAddr::Unix(_)) {
            problems.add(&field, "cannot be a socket: write redis://host:port");
        } else if address.database != 0 {
            problems.add(&field, "cannot choose a database");
        } else if parsed
            .first()
            .is_some_and(|first| first.is_secure() != address.is_secure())
        {
            problems.add(
                &field,
                "must be `rediss` where the others are, and `redis` where they are",
            );
        }
        parsed.push(address);
    }
    parsed
}

fn verifiable(roots: &str) -> Result<(), String> {
    if !roots.contains("-----BEGIN CERTIFICATE-----") {
        return Err("has no PEM certificate in it".to_owned());
    }
    let somewhere: ConnectionInfo = "rediss://localhost"
        .into_connection_info()
        .expect("a constant that is an address");
    redis::Client::build_with_tls(somewhere, certificates(roots))
        .map(drop)
        .map_err(|error| format!("cannot be used: {error}"))
}

/// What to trust, as the client takes it.
pub(crate) fn certificates(roots: &str) -> TlsCertificates {
    TlsCertificates {
        client_tls: None,
        root_cert: Some(roots.as_bytes().to_vec()),
    }
}

#[derive(Debug, Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, field: &str, message: &str) {
        self.0.push(Problem {
            field: field.to_owned(),
            message: message.to_owned(),
        });
    }
}

/// Without addresses: somebody may have written a password into one.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Sentinel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sentinel")
            .field("master", &self.master)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("spread", &self.spread)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("roots", &self.roots).finish()
    }
}

#[cfg(test)]
mod tests;
