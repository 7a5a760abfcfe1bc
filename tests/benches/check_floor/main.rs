//! Check over gRPC against its floor: a tonic server that decodes the same request and answers a constant of the same size.
//!
//! `cargo bench -p mixer-tests --bench check_floor [-- --rounds 5 --seconds 3]`, after `tests/servers/install`. The server has
//! core 0, h2load has core 1; rounds are interleaved. Before anything is measured, Mixer's answer is read and must be the
//! decision that the policies say; afterwards Mixer must have counted as many of them as h2load got answers.

mod floor;
mod request;

use std::io::Write;
use std::path::PathBuf;

use mixer_proto::v1::mixer_client::MixerClient;
use mixer_proto::v1::{Because, CheckResponse, Verdict};
use mixer_tests::binaries::{How, pinned};
use mixer_tests::measure::{SERVER, Table, argument, h2load, memory, round};
use mixer_tests::mesh::{Documents, Mixer, counter};
use mixer_tests::process::Process;
use mixer_tests::{ports, wait};
use prost::Message;
use tempfile::NamedTempFile;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const METHOD: &str = "/mixer.v1.Mixer/Check";

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("serve-floor") {
        return floor::serve(arguments);
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be had");
    runtime.block_on(measure(argument("--rounds", 5), argument("--seconds", 3)));
}

/// One server under measurement.
struct Candidate {
    addr: std::net::SocketAddr,
    process: u32,
}

async fn measure(rounds: u32, seconds: u32) {
    let names = [
        "floor",
        "1 policy",
        "1,000 policies, one each",
        "1,000 policies of one service",
    ];
    println!(
        "cargo bench -p mixer-tests --bench check_floor -- --rounds {rounds} --seconds {seconds}"
    );
    let framed = framed_request();

    let sets = [
        documents(1, false),
        documents(1_000, false),
        documents(1_000, true),
    ];
    let mut mixers = Vec::new();
    let mut answers = Vec::new();
    for set in &sets {
        let mixer = Mixer::serve_as(How::Measured { core: SERVER }, set).await;
        answers.push(checked(&mixer).await);
        mixers.push(mixer);
    }
    let size = answers[1].encoded_len();
    println!(
        "request {} B, answer {size} B",
        request::check().encoded_len()
    );

    let addr = ports::free();
    let mut command = pinned(
        SERVER,
        &std::env::current_exe().expect("this program has a path"),
    );
    command.args(["serve-floor", &addr.to_string(), &size.to_string()]);
    let mut floor = Process::start("floor", command);
    floor
        .line("it listens", |line| (line == "listening").then_some(()))
        .await;
    let reply = MixerClient::connect(format!("http://{addr}"))
        .await
        .expect("the floor listens")
        .check(request::check())
        .await;
    assert_eq!(
        reply.expect("the floor answers").into_inner().encoded_len(),
        size
    );

    let mut candidates = vec![Candidate {
        addr,
        process: floor.id(),
    }];
    for mixer in &mut mixers {
        candidates.push(Candidate {
            addr: mixer.grpc,
            process: mixer.process().id(),
        });
    }
    let mut table = Table::new(&names);
    for candidate in &candidates {
        h2load(candidate.addr, METHOD, &framed.1, 1);
    }
    for _ in 0..rounds {
        for (index, candidate) in candidates.iter().enumerate() {
            table.add(
                index,
                round(&[candidate.process], || {
                    h2load(candidate.addr, METHOD, &framed.1, seconds)
                }),
            );
        }
    }
    println!("{}", table.compared_with(0));
    for (name, candidate) in names.iter().zip(&candidates) {
        println!("{name}: {:.1} MiB in use", memory(candidate.process));
    }
    for mixer in &mixers {
        let metrics = mixer.admin("/metrics").await.text();
        let allowed = counter(
            &metrics,
            "mixer_check_total",
            &[("verdict", "allow"), ("because", "matched")],
        );
        assert!(
            allowed > 1_000.0 && allowed == counter(&metrics, "mixer_check_total", &[]),
            "{metrics}"
        );
    }
}

/// The request as h2load posts it: a gRPC frame in a file.
fn framed_request() -> (NamedTempFile, PathBuf) {
    let message = request::check().encode_to_vec();
    let mut file = NamedTempFile::new().expect("a temporary file can be made");
    let length = u32::try_from(message.len())
        .expect("a request is small")
        .to_be_bytes();
    let frame = [&[0u8], &length[..], &message].concat();
    file.write_all(&frame)
        .and_then(|()| file.flush())
        .expect("the temporary file can be written");
    let path = file.path().to_owned();
    (file, path)
}

/// What Mixer decides on the request; it must be what the policies say.
async fn checked(mixer: &Mixer) -> CheckResponse {
    let url = format!("http://{}", mixer.grpc);
    let mut client = wait::until("mixer takes calls", async || {
        MixerClient::connect(url.clone()).await.ok()
    })
    .await;
    let answer = client
        .check(request::check())
        .await
        .expect("mixer decides")
        .into_inner();
    let decision = answer.decision.clone().unwrap_or_default();
    assert_eq!(
        (decision.verdict(), decision.because()),
        (Verdict::Allow, Because::Matched),
        "{decision:?}"
    );
    answer
}

/// `count` policies with two rules each: one for every service, or all for the service that is asked about.
fn documents(count: usize, one_service: bool) -> Documents {
    let policies: Vec<String> = (0..count)
        .map(|number| {
            let (service, path) = match (number, one_service) {
                (0, _) => ("products.shop".to_owned(), "/products".to_owned()),
                (_, true) => ("products.shop".to_owned(), format!("/part{number}")),
                (_, false) => (format!("service{number}.shop"), "/products".to_owned()),
            };
            format!(
                r#"policy: policy{number}
for: destination.service == "{service}"
rules:
  - deny: nobody deletes below {path}
    when:
      - request.method == "DELETE"
      - request.path.startsWith("{path}/")
  - allow: reading below {path}
    when:
      - request.method == "GET"
      - request.path.startsWith("{path}/")
otherwise: {{ deny: nothing else below {path} }}
"#
            )
        })
        .collect();
    Documents::new([("policies.yaml", policies.join("---\n"))])
}
