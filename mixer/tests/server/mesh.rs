//! A Mixer over a temporary directory, a client, and a gate: an adapter that answers when the test says so.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mixer::serve::{Config, Limits, Running, Server, StartError};
use mixer_adapter::{
    Adapter, Answer, Check, Env, Handler, Inputs, Instance, Invalid, Unavailable, ValidFor,
};
use mixer_attributes::AttributeId;
use mixer_attributes::vocabulary as v;
use mixer_proto::v1;
use mixer_proto::v1::attribute::Value;
use mixer_proto::v1::mixer_client::MixerClient;
use mixer_runtime::{Clock, Random};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tonic::transport::Channel;

/// Longer than anything a test waits for; a test that is right never does.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const PRODUCTS: &str = r#"
policy: products
for: destination.service == "products.shop"
rules:
  - deny: nobody from the sandbox
    when: source.namespace == "sandbox"
"#;

pub(crate) const SERVICE: &str = "
service: products.shop
hosts: [products]
endpoints: [\"127.0.0.1:1\"]
";

pub(crate) struct Mesh {
    pub(crate) mixer: Running,
    pub(crate) client: MixerClient<Channel>,
    pub(crate) directory: TempDir,
}

/// Files of a fresh directory.
pub(crate) fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

/// On free ports.
pub(crate) fn config(directory: &Path) -> Config {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    Config {
        grpc: free,
        admin: free,
        registry: mixer_adapters::builtin().with::<Gate>(),
        ..Config::new(vec![directory.to_owned()])
    }
}

pub(crate) async fn start(config: Config) -> Result<Running, StartError> {
    Server::start(config, Clock::system(), Arc::new(Random::from_seed(1))).await
}

impl Mesh {
    pub(crate) async fn new(files: &[(&str, &str)]) -> Self {
        Self::with_limits(files, Limits::default()).await
    }

    pub(crate) async fn with_limits(files: &[(&str, &str)], limits: Limits) -> Self {
        let directory = directory(files);
        let mixer = start(Config {
            limits,
            ..config(directory.path())
        })
        .await
        .unwrap();
        let client = MixerClient::connect(format!("http://{}", mixer.grpc()))
            .await
            .unwrap();
        Self {
            mixer,
            client,
            directory,
        }
    }

    /// Replaces a file at once, as an editor does.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let beside = self.directory.path().join(format!(".{name}.new"));
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, self.directory.path().join(name)).unwrap();
    }

    pub(crate) async fn check(&mut self, attributes: Vec<v1::Attribute>) -> v1::Decision {
        let request = v1::CheckRequest {
            attributes,
            ..v1::CheckRequest::default()
        };
        self.client
            .check(request)
            .await
            .unwrap()
            .into_inner()
            .decision
            .unwrap()
    }

    pub(crate) async fn page(&self, path: &str) -> Page {
        page(self.mixer.admin(), path, "").await
    }

    /// The value of a sample of `/metrics`, by its whole name with labels.
    pub(crate) async fn metric(&self, sample: &str) -> Option<f64> {
        let page = self.page("/metrics").await;
        page.body
            .lines()
            .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
    }

    /// Reads the page until it says `text`.
    pub(crate) async fn until_page_says(&self, path: &str, text: &str) -> Page {
        let read = async {
            loop {
                let page = self.page(path).await;
                if page.body.contains(text) {
                    return page;
                }
            }
        };
        Clock::system()
            .within(PATIENCE, read)
            .await
            .unwrap_or_else(|| panic!("{path} does not say {text}"))
    }
}

/// An answer of the admin pages.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

pub(crate) async fn page(admin: SocketAddr, path: &str, accept: &str) -> Page {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: mixer\r\naccept: {accept}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let content_type = head
        .lines()
        .find_map(|line| line.strip_prefix("content-type: "))
        .unwrap_or_default()
        .to_owned();
    Page {
        status,
        content_type,
        body: body.to_owned(),
    }
}

pub(crate) fn text(id: AttributeId, value: &str) -> v1::Attribute {
    v1::Attribute {
        id: id.number().into(),
        name: String::new(),
        value: Some(Value::String(value.to_owned())),
    }
}

/// A request to products.shop from `namespace`.
pub(crate) fn request_from(namespace: &str) -> Vec<v1::Attribute> {
    vec![
        text(v::CONTEXT_REPORTER, "destination"),
        text(v::DESTINATION_SERVICE, "products.shop"),
        text(v::DESTINATION_NAMESPACE, "shop"),
        text(v::SOURCE_NAMESPACE, namespace),
        text(v::REQUEST_METHOD, "GET"),
    ]
}

pub(crate) fn watch_products(client: &str) -> v1::WatchRequest {
    let inbound = vec![
        text(v::DESTINATION_SERVICE, "products.shop"),
        text(v::DESTINATION_NAMESPACE, "shop"),
    ];
    v1::WatchRequest {
        client: client.to_owned(),
        inbound,
    }
}

/// Asked, it says so and waits until it may answer "no match".
pub(crate) struct Gate;

pub(crate) static ASKED: Semaphore = Semaphore::const_new(0);
pub(crate) static OPEN: Semaphore = Semaphore::const_new(0);

/// Takes nothing.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

impl Adapter for Gate {
    const NAME: &'static str = "gate";
    type Config = Nothing;

    fn build(_: Nothing, _: &Inputs, _: &Env) -> Result<Handler, Invalid> {
        Ok(Handler::new().with_check(Arc::new(Gate)))
    }
}

impl Check for Gate {
    async fn check(&self, _: &Instance<'_>) -> Result<Answer, Unavailable> {
        ASKED.add_permits(1);
        OPEN.acquire().await.unwrap().forget();
        Ok(Answer {
            matched: false,
            status: None,
            message: None,
            headers: Vec::new(),
            valid_for: ValidFor::Once,
        })
    }
}
