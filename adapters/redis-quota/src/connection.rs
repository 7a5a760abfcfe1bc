//! A connection to wherever the counters are. Made in background work only: it reads secrets and talks to servers.

use mixer_adapter::Secret;
use redis::aio::MultiplexedConnection;
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo,
    RedisResult, TlsMode, Value,
};

use crate::config::{Address, Login, Servers, Target, certificates};

/// A connection; clones share it, and each carries any number of calls at once.
#[derive(Clone)]
pub(crate) enum Connection {
    /// To one server.
    One(MultiplexedConnection),
    /// To all nodes of a Cluster.
    Cluster(ClusterConnection),
}

/// How often a call is sent again when a Cluster says that the slot has moved.
const REDIRECTIONS: u32 = 3;

impl Connection {
    /// Connects and logs in. The reason of a failure names no secret.
    pub(crate) async fn open(target: &Target) -> Result<Self, String> {
        let login = revealed(&target.login, target).await?;
        match &target.servers {
            Servers::One(address) => one(address, login, target).await,
            Servers::Watched {
                sentinels,
                master,
                login: to_sentinels,
            } => {
                let to_sentinels = revealed(to_sentinels, target).await?;
                watched(sentinels, master, login, to_sentinels, target).await
            }
            Servers::Cluster(nodes) => cluster(nodes, login, target).await,
        }
        .map_err(|error| error.to_string())
    }

    pub(crate) async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Connection::One(connection) => command.query_async(connection).await,
            Connection::Cluster(connection) => command.query_async(connection).await,
        }
    }

    /// Whether it learns by itself of nodes that come and go.
    pub(crate) fn heals(&self) -> bool {
        matches!(self, Connection::Cluster(_))
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Connection::One(_) => "Connection::One",
            Connection::Cluster(_) => "Connection::Cluster",
        })
    }
}

/// A login with its password read.
struct Revealed {
    username: Option<String>,
    password: Option<String>,
}

async fn revealed(login: &Login, target: &Target) -> Result<Revealed, String> {
    let username = login.username.clone();
    let Some(password) = login.password.clone() else {
        return Ok(Revealed {
            username,
            password: None,
        });
    };
    let directory = target.directory.clone();
    // A secret may be in a file.
    let reading = tokio::task::spawn_blocking(move || Secret::reveal(&password, &directory));
    let password = reading.await.map_err(|error| error.to_string())?;
    Ok(Revealed {
        username,
        password: Some(password.map_err(|error| format!("password: {error}"))?),
    })
}

impl Address {
    fn info(&self) -> RedisResult<ConnectionInfo> {
        let settings = RedisConnectionInfo::default().set_db(self.database);
        Ok(self
            .place
            .clone()
            .into_connection_info()?
            .set_redis_settings(settings))
    }
}

/// Every wait is bounded by who waits; the client adds none of its own.
fn unhurried() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
}

async fn one(address: &Address, login: Revealed, target: &Target) -> RedisResult<Connection> {
    let info = address.info()?;
    let mut settings = info.redis_settings().clone();
    if let Some(username) = login.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = login.password {
        settings = settings.set_password(password);
    }
    let info = info.set_redis_settings(settings);
    let client = match &target.roots {
        Some(roots) => redis::Client::build_with_tls(info, certificates(roots))?,
        None => redis::Client::open(info)?,
    };
    let unhurried = unhurried();
    let connection = client.get_multiplexed_async_connection_with_config(&unhurried);
    Ok(Connection::One(connection.await?))
}

async fn watched(
    sentinels: &[Address],
    master: &str,
    login: Revealed,
    to_sentinels: Revealed,
    target: &Target,
) -> RedisResult<Connection> {
    let places = sentinels.iter().map(|address| address.place.clone());
    let mut builder = SentinelClientBuilder::new(places, master, SentinelServerType::Master)?;
    if target.servers.are_secure() {
        builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
        if let Some(roots) = &target.roots {
            builder = builder
                .set_client_to_redis_certificates(certificates(roots))
                .set_client_to_sentinel_certificates(certificates(roots));
        }
    }
    if let Some(username) = login.username {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = login.password {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(username) = to_sentinels.username {
        builder = builder.set_client_to_sentinel_username(username);
    }
    if let Some(password) = to_sentinels.password {
        builder = builder.set_client_to_sentinel_password(password);
    }
    let mut client = builder.build()?;
    let unhurried = unhurried();
    let connection = client.get_async_connection_with_config(&unhurried);
    Ok(Connection::One(connection.await?))
}

async fn cluster(nodes: &[Address], login: Revealed, target: &Target) -> RedisResult<Connection> {
    let nodes: RedisResult<Vec<ConnectionInfo>> = nodes.iter().map(Address::info).collect();
    let mut builder: ClusterClientBuilder = ClusterClient::builder(nodes?)
        .retries(REDIRECTIONS)
        .min_retry_wait(1)
        .max_retry_wait(10);
    if let Some(roots) = &target.roots {
        builder = builder.certs(certificates(roots));
    }
    if let Some(username) = login.username {
        builder = builder.username(username);
    }
    if let Some(password) = login.password {
        builder = builder.password(password);
    }
    let connection = builder.build()?.get_async_connection().await?;
    Ok(Connection::Cluster(connection))
}
