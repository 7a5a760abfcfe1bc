//! `mixer serve` as a process on free ports, and requests that spend.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mixer_attributes::vocabulary as v;
use mixer_proto::v1;
use mixer_proto::v1::attribute::Value;
use mixer_proto::v1::mixer_client::MixerClient;

/// A process that is ended with the test.
pub(crate) struct Serving {
    child: Child,
    pub(crate) grpc: String,
    pub(crate) admin: String,
}

impl Serving {
    /// Serves in `directory`, once it says that it does.
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mixer"))
            .arg("serve")
            .args(arguments)
            .args(["--grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .current_dir(directory)
            .env_remove("MIXER_LOG")
            .env_remove("MIXER_ADMIN_TOKEN_FILE")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let line = lines.by_ref().map_while(Result::ok).find(|line| {
            said.push_str(line);
            line.contains("serving")
        });
        let line = line.unwrap_or_else(|| panic!("it does not serve: {said}"));
        // What it says later is nobody's, and must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let address = |name: &str| {
            let (_, rest) = line.split_once(name).unwrap();
            rest.split(' ').next().unwrap().to_owned()
        };
        Self {
            grpc: address("grpc="),
            admin: address("admin="),
            child,
        }
    }

    /// Ends it as an operator does; once it has ended.
    #[allow(
        dead_code,
        reason = "one of the two tests that have this module restarts nothing"
    )]
    pub(crate) fn terminate(mut self) {
        let id = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(told.success());
        assert!(self.child.wait().unwrap().success(), "it ended well");
    }

    /// Asks so many times for products.shop as the service account of that namespace; how many were granted.
    pub(crate) fn spend(&self, namespace: &str, account: &str, times: usize) -> usize {
        self.spend_as(account, (namespace, account), times)
    }

    /// The same with the principal of another service account of the namespace.
    pub(crate) fn spend_as(
        &self,
        principal: &str,
        (namespace, account): (&str, &str),
        times: usize,
    ) -> usize {
        let text = |id: mixer_attributes::AttributeId, value: &str| v1::Attribute {
            id: id.number().into(),
            name: String::new(),
            value: Some(Value::String(value.to_owned())),
        };
        let principal = format!("spiffe://cluster.local/ns/{namespace}/sa/{principal}");
        let attributes = vec![
            text(v::CONTEXT_REPORTER, "destination"),
            text(v::DESTINATION_SERVICE, "products.shop"),
            text(v::SOURCE_NAMESPACE, namespace),
            text(v::SOURCE_PRINCIPAL, &principal),
            text(v::SOURCE_SERVICE_ACCOUNT, account),
            text(v::REQUEST_METHOD, "GET"),
        ];
        let request = v1::CheckRequest {
            attributes,
            take: true,
            client: "a proxy".to_owned(),
            ..v1::CheckRequest::default()
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let address = format!("http://{}", self.grpc);
            let mut client = MixerClient::connect(address).await.unwrap();
            let mut granted = 0;
            for _ in 0..times {
                let answer = client.check(request.clone()).await.unwrap().into_inner();
                let grant = answer.grants.first().unwrap();
                granted += usize::from(grant.outcome() == v1::grant::Outcome::Granted);
            }
            granted
        })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
