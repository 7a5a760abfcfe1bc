//! `mixer demo`, the first thing anybody runs: it ends by itself with good figures, and its spans are real. One at a time: each
//! takes all the machine has.

use std::process::Command;

use mixer_tests::binaries::How;
use mixer_tests::mesh::Documents;
use mixer_tests::process::Process;
use mixer_tests::servers::Zipkin;
use mixer_tests::tidy::Tree;
use serde_json::Value;
use tokio::sync::Mutex;

static ALONE: Mutex<()> = Mutex::const_new(());

/// Runs the demo to its end; the JSON it printed.
async fn demo(more: &[&str]) -> Value {
    let mut command: Command = How::Tested.command("mixer");
    command
        .args(["demo", "--for", "8s", "--json"])
        .args(more)
        .current_dir(Tree::workspace().root());
    let mut process = Process::start("mixer demo", command);
    let status = process.ended().await;
    assert!(status.success(), "{status}");
    process
        .line("figures as JSON", |line| {
            serde_json::from_str::<Value>(line)
                .ok()
                .filter(Value::is_object)
        })
        .await
}

fn figure(figures: &Value, name: &str) -> u64 {
    figures[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name} is missing: {figures}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_ends_by_itself_and_everything_happened_in_it() {
    let _alone = ALONE.lock().await;
    let figures = demo(&[]).await;
    for name in [
        "requests",
        "allowed",
        "denied",
        "limited",
        "check_rpcs",
        "cache_hits",
        "mutual_tls",
        "plaintext",
        "without_certificate_refused",
        "impostor_denied",
        "spans",
        "p50_us",
        "p99_us",
    ] {
        assert!(figure(&figures, name) > 0, "{name}: {figures}");
    }
    // None where it is run alone; here, built for tests on a machine that builds beside, a Mixer that is late may fail a few.
    assert!(
        figure(&figures, "failed") * 100 <= figure(&figures, "requests"),
        "{figures}"
    );
    let sum: u64 = ["allowed", "denied", "limited", "failed"]
        .iter()
        .map(|name| figure(&figures, name))
        .sum();
    assert_eq!(
        sum,
        figure(&figures, "requests"),
        "every request is one of them: {figures}"
    );
    // A customer's request is one of the frontend to products, and one of products to reviews.
    assert!(
        figure(&figures, "mutual_tls") >= 2 * figure(&figures, "allowed"),
        "{figures}"
    );
    assert_eq!(figure(&figures, "intruders_passed"), 0, "{figures}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_that_callers_are_known_by_their_certificates_alone() {
    let _alone = ALONE.lock().await;
    let mut command: Command = How::Tested.command("mixer");
    command
        .args(["demo", "--for", "1s"])
        .current_dir(Tree::workspace().root());
    let mut process = Process::start("mixer demo", command);
    assert!(process.ended().await.success());
    for said in [
        "closed unread: products takes mutual TLS only",
        "403 Forbidden: only the frontend reads products; you are spiffe://cluster.local/ns/shop/sa/reviews",
        "requests of each other with mutual TLS",
    ] {
        process
            .line(said, |line| line.contains(said).then_some(()))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_demo_ends_cleanly() {
    let _alone = ALONE.lock().await;
    let mut command: Command = How::Tested.command("mixer");
    command.arg("demo").current_dir(Tree::workspace().root());
    let mut process = Process::start("mixer demo", command);
    process
        .line("a line of figures", |line| {
            line.contains("p99").then_some(())
        })
        .await;
    process.signal("INT");
    let status = process.ended().await;
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_document_of_the_demos_own_is_refused_with_what_to_do() {
    let _alone = ALONE.lock().await;
    let documents = Documents::new([(
        "mine.yaml",
        "service: products.shop\nendpoints: [\"127.0.0.1:1\"]\n",
    )]);
    let mut command: Command = How::Tested.command("mixer");
    command.args(["demo", "--policies"]).arg(documents.path());
    let mut process = Process::start("mixer demo", command);
    assert_eq!(process.ended().await.code(), Some(3));
    let said = process.output().join("\n");
    assert!(
        said.contains("the service `products.shop` is there already")
            && said.contains("mine.yaml:1:10")
            && said.contains("take yours out of the policies"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs zipkin"]
async fn zipkin_shows_the_three_services_of_the_demo() {
    let _alone = ALONE.lock().await;
    let zipkin = Zipkin::start().await;
    demo(&["--zipkin", &zipkin.url()]).await;
    let mut services = zipkin
        .get("/api/v2/services")
        .await
        .as_array()
        .cloned()
        .unwrap_or_default();
    services.sort_by_key(Value::to_string);
    assert_eq!(services, ["frontend.shop", "products.shop", "reviews.shop"]);
}
