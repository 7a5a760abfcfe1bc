//! Envoy as a proxy in front of one HTTP/1.1 upstream: with the role-based access control and access log that a mesh has it
//! do, with a filter that asks Mixer, or without.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use http::Version;
use tempfile::TempDir;

use super::installed;
use crate::binaries::pinned;
use crate::http::fetch;
use crate::issuer::Files;
use crate::process::Process;
use crate::{ports, wait};

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    /// Where it takes requests.
    pub addr: SocketAddr,
    process: Process,
    _folder: TempDir,
}

/// What the proxy does beside passing requests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duties {
    /// Nothing.
    None,
    /// Ten access rules for requests of this method, the last of which allows paths that begin with `/products`, and one line
    /// of access log per request.
    AccessControlAndLog(&'static str),
    /// Asks the gRPC authorization service there about every request, and writes one line of access log for each.
    ExternalAuthorization(SocketAddr),
}

impl Envoy {
    /// Starts it in front of `upstream`, with one worker thread; with `core`, on that core alone.
    pub async fn start(upstream: SocketAddr, duties: Duties, core: Option<usize>) -> Self {
        Self::start_for(upstream, Version::HTTP_11, duties, core).await
    }

    /// [`Envoy::start`], with an upstream that speaks `version`.
    pub async fn start_for(
        upstream: SocketAddr,
        version: Version,
        duties: Duties,
        core: Option<usize>,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let log = folder.path().join("access.log");
        let mut parts = match duties {
            Duties::None => Parts::default(),
            Duties::AccessControlAndLog(method) => Parts {
                filters: access_control(method),
                logs: access_log(&log.to_string_lossy()),
                ..Parts::default()
            },
            Duties::ExternalAuthorization(service) => Parts {
                filters: external_authorization(),
                logs: access_log(&log.to_string_lossy()),
                clusters: http2_cluster("authorizer", service),
                ..Parts::default()
            },
        };
        if version == Version::HTTP_2 {
            parts.upstream = HTTP2.to_owned();
        }
        Self::run(upstream, &parts, core, folder).await
    }

    /// Starts it in front of `upstream` with the rate limit filter for the domain `edge`, which asks `limiter`. Descriptors are
    /// `(user: x-user)`, where the request has that header, and `(path: :path)`. `options` are more fields of the filter, as
    /// members of a YAML flow map.
    pub async fn rate_limited(upstream: SocketAddr, limiter: SocketAddr, options: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        Self::run(upstream, &rate_limit(limiter, options), None, folder).await
    }

    /// Starts it in front of `upstream` with one more HTTP filter, YAML as a list of one, whose cluster `mixer` is `mixer`.
    pub async fn filtering(upstream: SocketAddr, mixer: SocketAddr, filter: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let filters = filter.lines().map(|line| format!("          {line}\n"));
        let parts = Parts {
            filters: filters.collect(),
            clusters: http2_cluster("mixer", mixer),
            ..Parts::default()
        };
        Self::run(upstream, &parts, None, folder).await
    }

    async fn run(
        upstream: SocketAddr,
        parts: &Parts,
        core: Option<usize>,
        folder: TempDir,
    ) -> Self {
        let (addr, admin) = (ports::free(), ports::free());
        let config = config(addr, admin, upstream, parts);
        Self::launch(addr, admin, &config, core, folder).await
    }

    /// Starts it with listeners and clusters as given: YAML, the value of `static_resources`, indented below it. `addr` is that of
    /// the listener a test asks at.
    pub async fn configured(addr: SocketAddr, resources: &str, core: Option<usize>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let admin = ports::free();
        let config = format!(
            "admin: {{address: {}}}\nstatic_resources:\n{resources}",
            address(admin)
        );
        Self::launch(addr, admin, &config, core, folder).await
    }

    async fn launch(
        addr: SocketAddr,
        admin: SocketAddr,
        config: &str,
        core: Option<usize>,
        folder: TempDir,
    ) -> Self {
        let file = folder.path().join("envoy.yaml");
        fs::write(&file, config).expect("the temporary directory can be written to");
        let program = installed("envoy");
        let mut command =
            core.map_or_else(|| Command::new(&program), |core| pinned(core, &program));
        command.arg("-c").arg(&file).args([
            "--concurrency",
            "1",
            "--log-level",
            "warn",
            "--disable-hot-restart",
        ]);
        let mut process = Process::start("envoy", command);
        wait::until("envoy is ready", async || {
            assert!(
                process.has_ended().is_none(),
                "envoy ended: {}",
                process.output().join("\n")
            );
            fetch(admin, "/ready")
                .await
                .ok()
                .filter(|answer| answer.status.is_success())
        })
        .await;
        Self {
            addr,
            process,
            _folder: folder,
        }
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// Fields of a cluster whose endpoints speak HTTP/2.
pub const HTTP2: &str = r#"    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
"#;

/// What a configuration has beside the way to the upstream.
#[derive(Default)]
struct Parts {
    /// Before the router.
    filters: String,
    logs: String,
    /// More fields of the route.
    route: String,
    /// More fields of the application's cluster.
    upstream: String,
    /// Beside the application.
    clusters: String,
}

fn config(addr: SocketAddr, admin: SocketAddr, upstream: SocketAddr, parts: &Parts) -> String {
    let Parts {
        filters,
        logs,
        route,
        upstream: speaks,
        clusters,
    } = parts;
    format!(
        r#"admin: {{address: {admin}}}
static_resources:
  listeners:
  - name: inbound
    address: {addr}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: inbound
          codec_type: AUTO
{logs}          http_filters:
{filters}          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - name: app
              domains: ["*"]
              routes: [{{match: {{prefix: "/"}}, route: {{cluster: app{route}}}}}]
  clusters:
  - name: app
    type: STATIC
    connect_timeout: 1s
{speaks}    load_assignment:
      cluster_name: app
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {upstream}}}}}]}}]
{clusters}"#,
        admin = address(admin),
        addr = address(addr),
        upstream = address(upstream),
    )
}

/// A TLS context that shows the certificate `own`, takes TLS 1.3 alone, and verifies peers of `cluster.local` with Envoy's SPIFFE
/// validator against the bundle in the file `authority`.
pub fn spiffe_tls(own: &Files, authority: &Path) -> String {
    format!(
        r#"common_tls_context: {{
          tls_params: {{tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}},
          tls_certificates: [{{certificate_chain: {{filename: "{}"}}, private_key: {{filename: "{}"}}}}],
          validation_context: {{
            custom_validator_config: {{
              name: envoy.tls.cert_validator.spiffe,
              typed_config: {{
                "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig,
                trust_domains: [{{name: cluster.local, trust_bundle: {{filename: "{}"}}}}]}}}}}}}}"#,
        own.chain.display(),
        own.key.display(),
        authority.display()
    )
}

/// An address as its configuration writes it.
pub fn address(addr: SocketAddr) -> String {
    format!(
        "{{socket_address: {{address: {}, port_value: {}}}}}",
        addr.ip(),
        addr.port()
    )
}

fn rate_limit(limiter: SocketAddr, options: &str) -> Parts {
    Parts {
        filters: format!(
            r#"          - name: envoy.filters.http.ratelimit
            typed_config: {{
              "@type": type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit,
              domain: edge, timeout: 10s, {options}
              rate_limit_service: {{transport_api_version: V3, grpc_service: {{envoy_grpc: {{cluster_name: limiter}}}}}}}}
"#
        ),
        route: r#", rate_limits: [
                {actions: [{request_headers: {header_name: "x-user", descriptor_key: user}}]},
                {actions: [{request_headers: {header_name: ":path", descriptor_key: path}}]}]"#
            .to_owned(),
        clusters: http2_cluster("limiter", limiter),
        ..Parts::default()
    }
}

/// A cluster of one endpoint that speaks HTTP/2.
fn http2_cluster(name: &str, endpoint: SocketAddr) -> String {
    format!(
        r#"  - name: {name}
    type: STATIC
    connect_timeout: 1s
{HTTP2}    load_assignment:
      cluster_name: {name}
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {endpoint}}}}}]}}]
"#,
        endpoint = address(endpoint),
    )
}

fn external_authorization() -> String {
    r#"          - name: envoy.filters.http.ext_authz
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
              transport_api_version: V3
              grpc_service: {envoy_grpc: {cluster_name: authorizer}, timeout: 10s}
"#
    .to_owned()
}

fn access_control(method: &str) -> String {
    let policies: String = (0..10)
        .map(|number| {
            let path = if number == 9 {
                "/products".to_owned()
            } else {
                format!("/service{number}")
            };
            format!(
                r#"                  rule{number}:
                    permissions:
                    - and_rules:
                        rules:
                        - header: {{name: ":method", string_match: {{exact: {method}}}}}
                        - url_path: {{path: {{prefix: "{path}"}}}}
                    principals: [{{any: true}}]
"#
            )
        })
        .collect();
    format!(
        r#"          - name: envoy.filters.http.rbac
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
              rules:
                action: ALLOW
                policies:
{policies}"#
    )
}

fn access_log(path: &str) -> String {
    format!(
        r#"          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: "{path}"
"#
    )
}
