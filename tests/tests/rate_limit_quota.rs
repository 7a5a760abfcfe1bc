//! A real Envoy streams to Mixer's rate limit quota service: how many of its callers' requests pass. Its filter is the one that
//! `policies/rate-limit/README.md` shows.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use mixer_tests::http::{Client, get, with};
use mixer_tests::mesh::{Documents, Mixer, counter};
use mixer_tests::servers::Envoy;
use mixer_tests::service::Service;
use mixer_tests::tidy::Tree;
use mixer_tests::wait;

fn edge(limit: &str) -> String {
    format!(
        r#"
policy: edge
for: rate_limit.domain == "edge"
quotas:
  - quota: so many for each user
    when: 'rate_limit.keys == ["user"]'
    key: ['rate_limit.descriptor["user"]']
    limit: {limit}
"#
    )
}

/// The filter that the README shows.
fn filter() -> String {
    let page = Tree::workspace()
        .root()
        .join("policies/rate-limit/README.md");
    let page = std::fs::read_to_string(page).unwrap();
    let from = page
        .find("- name: envoy.filters.http.rate_limit_quota")
        .unwrap();
    let (filter, _) = page[from..].split_once("```").unwrap();
    filter.to_owned()
}

async fn envoy(app: &Service, mixer: &Mixer) -> Envoy {
    Envoy::filtering(app.addr, mixer.grpc, &filter()).await
}

/// Requests of `user` through an Envoy.
struct Caller {
    client: Client,
    user: &'static str,
    passed: u64,
}

impl Caller {
    async fn new(envoy: SocketAddr, user: &'static str) -> Self {
        Self {
            client: Client::http1(envoy).await.unwrap(),
            user,
            passed: 0,
        }
    }

    async fn passes(&mut self) -> bool {
        let request = with(get("app", "/"), "x-user", self.user);
        let status = self.client.send(request).await.unwrap().status.as_u16();
        assert!(matches!(status, 200 | 429), "{status}");
        self.passed += u64::from(status == 200);
        status == 200
    }

    /// Asks until it has passed so often in all.
    async fn until_passed(&mut self, times: u64) {
        wait::until("so many passed", async || {
            while self.passes().await {}
            (self.passed >= times).then_some(())
        })
        .await;
    }
}

async fn denials(mixer: &Mixer) -> f64 {
    let page = mixer.admin("/metrics").await.text();
    let name = "mixer_rate_limit_quota_denials_total";
    counter(&page, name, &[("because", "quota")])
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy"]
async fn envoy_lets_pass_what_it_is_assigned_and_no_more() {
    let documents = Documents::new([("edge.yaml", edge("20 per day"))]);
    let mixer = Mixer::serve(&documents).await;
    let app = Service::echo("app").await;
    let envoy = envoy(&app, &mixer).await;
    let mut ann = Caller::new(envoy.addr, "ann").await;
    ann.until_passed(20).await;
    wait::until("Mixer has nothing more", async || {
        assert!(!ann.passes().await);
        (denials(&mixer).await >= 2.0).then_some(())
    })
    .await;
    assert_eq!(ann.passed, 20);
    let mut bob = Caller::new(envoy.addr, "bob").await;
    bob.until_passed(1).await;

    // The limit is raised.
    documents.write("edge.yaml", &edge("25 per day"));
    ann.until_passed(25).await;
    let before = denials(&mixer).await;
    wait::until("Mixer has nothing more", async || {
        assert!(!ann.passes().await);
        (denials(&mixer).await >= before + 2.0).then_some(())
    })
    .await;
    assert_eq!(ann.passed, 25);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy"]
async fn two_envoys_share_a_bucket() {
    let documents = Documents::new([("edge.yaml", edge("40 per day"))]);
    let mixer = Mixer::serve(&documents).await;
    let app = Service::echo("app").await;
    let (one, other) = tokio::join!(envoy(&app, &mixer), envoy(&app, &mixer),);
    let (mut a, mut b) = (
        Caller::new(one.addr, "ann").await,
        Caller::new(other.addr, "ann").await,
    );
    wait::until("all passed", async || {
        while a.passes().await {}
        while b.passes().await {}
        (a.passed + b.passed >= 40).then_some(())
    })
    .await;
    let before = denials(&mixer).await;
    wait::until("Mixer has nothing more", async || {
        assert!(!a.passes().await && !b.passes().await);
        (denials(&mixer).await >= before + 2.0).then_some(())
    })
    .await;
    assert_eq!(a.passed + b.passed, 40);
    assert!(
        a.passed > 0 && b.passed > 0,
        "{} and {}",
        a.passed,
        b.passed
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy"]
async fn envoy_falls_back_while_mixer_is_gone_and_is_assigned_anew_when_it_is_back() {
    let documents = Documents::new([("edge.yaml", edge("1000 per minute"))]);
    let mut mixer = Mixer::serve(&documents).await;
    let app = Service::echo("app").await;
    let envoy = envoy(&app, &mixer).await;
    let mut ann = Caller::new(envoy.addr, "ann").await;
    ann.until_passed(5).await;
    mixer.process().kill();
    wait::until("the assignment is over", async || {
        (!ann.passes().await).then_some(())
    })
    .await;
    mixer.restart().await;
    let passed = ann.passed;
    ann.until_passed(passed + 5).await;
}
