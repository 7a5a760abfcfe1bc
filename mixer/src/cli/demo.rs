//! `mixer demo`: the whole mesh in one process, on real sockets.
//!
//! An authority, Mixer with the quickstart policies, three services each behind a proxy of its own, and clients that send real
//! requests. The proxies find Mixer and each other as they would anywhere: they join the authority and get certificates, the demo
//! writes their addresses and ids as `service` documents, and Mixer's reload brings them to the proxies.

mod authority;
mod collector;
mod count;
mod intruders;
mod listen;
mod load;
mod scrape;
mod shop;
mod town;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use mixer_runtime::{Clock, Tasks};

use self::count::{Counts, Latencies, Totals};
use self::intruders::Intruders;
use self::load::LoadClient;
use self::town::Town;

/// The address on the quickstart's list of blocked addresses.
const BLOCKED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 66, 3, 1));
/// The address with a limit of its own in the quickstart.
const GREEDY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 66, 4, 1));
/// Clients that send one request after the other without a rest.
const BUSY: usize = 8;
/// The rest of the blocked and the greedy client between two requests.
const REST: Duration = Duration::from_millis(100);

/// Runs Mixer, three services behind their proxies, and clients, on free ports of this machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The policies to run; edit them meanwhile.
    #[arg(long, value_name = "DIR", default_value = "policies/quickstart")]
    policies: PathBuf,
    /// Send spans to this Zipkin (such as http://127.0.0.1:9411/api/v2/spans) instead of collecting them here.
    #[arg(long, value_name = "URL")]
    zipkin: Option<String>,
    /// End after this time (10s, 2m); else Ctrl-C ends it.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    duration: Option<Duration>,
    /// Print the figures as JSON at the end, on standard output; everything else goes to standard error.
    #[arg(long)]
    json: bool,
    /// How many different products (hence paths) the clients ask for.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    products: u64,
}

/// Runs the demo.
pub(crate) fn run(args: Args) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start threads: {error}")),
    };
    match runtime.block_on(story(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            error.code
        }
    }
}

async fn story(args: &Args) -> Result<(), town::Failed> {
    let clock = Clock::system();
    let town = Town::build(&args.policies, args.zipkin.as_deref(), clock.clone()).await?;
    introduce(args, &town).await;

    let counts = Arc::new(Counts::default());
    let clients = Tasks::new();
    let next = Arc::new(AtomicU64::new(0));
    let client = |from, rest| LoadClient {
        from,
        to: town.door(),
        rest,
        products: args.products,
        next: next.clone(),
    };
    for _ in 0..BUSY {
        client(Ipv4Addr::LOCALHOST.into(), Duration::ZERO).start(
            clock.clone(),
            counts.clone(),
            &clients,
        );
    }
    client(BLOCKED, REST).start(clock.clone(), counts.clone(), &clients);
    client(GREEDY, REST).start(clock.clone(), counts.clone(), &clients);
    town.intruders().start(REST, &clock, &clients);

    tokio::select! {
        () = report_each_second(&clock, &counts, &town) => {}
        () = town::interrupted() => say("ending: clients stop, proxies and Mixer drain"),
        () = async { clock.sleep(args.duration.unwrap_or_default()).await }, if args.duration.is_some() => {}
    }

    let _ = clients.shutdown(&clock, Duration::from_secs(5)).await;
    let (totals, latencies) = (counts.totals(), counts.latencies());
    let tries = town.intruders().tries();
    let end = town.end().await;
    for line in &end.trace {
        say(line);
    }
    say(&end.how_secured(totals.sent()));
    say(&format!(
        "refused {} connections without a certificate, denied {} requests of an impostor, let {} pass",
        tries.refused, tries.denied, tries.passed
    ));
    if args.json {
        println!(
            "{}",
            serde_json::json!({
                "requests": totals.sent(),
                "allowed": totals.allowed,
                "denied": totals.denied,
                "limited": totals.limited,
                "failed": totals.failed,
                "check_rpcs": end.check_rpcs,
                "cache_hits": end.cache_hits,
                "mutual_tls": end.secured.map(|secured| secured.mutual_tls),
                "plaintext": end.secured.map(|secured| secured.plaintext),
                "without_certificate_refused": tries.refused,
                "impostor_denied": tries.denied,
                "intruders_passed": tries.passed,
                "spans": end.spans,
                "p50_us": latencies.quantile(0.5),
                "p99_us": latencies.quantile(0.99),
            })
        );
    }
    Ok(())
}

/// What runs where, one denied call, and what to try.
async fn introduce(args: &Args, town: &Town) {
    let door = town.door();
    say(
        "Mixer demo: frontend -> products -> reviews, each behind its own proxy, with mutual TLS between them",
    );
    say(&format!("  call it    curl -i http://{door}/products/1"));
    if let Ok((status, text)) = load::ask_once(BLOCKED, door).await {
        say(&format!(
            "  denied     curl -i --interface {BLOCKED} http://{door}/products/1"
        ));
        say(&format!("             {status}: {text}"));
    }
    introduce_intruders(town.intruders()).await;
    say(&format!(
        "  policies   {}: edit a file and watch the next lines change",
        args.policies.display()
    ));
    say(&format!(
        "  metrics    curl http://{}/stats/prometheus",
        town.admin()
    ));
    say(&format!(
        "  state      curl http://{}/config_dump",
        town.admin()
    ));
    match &args.zipkin {
        Some(url) => say(&format!("  traces     {url}")),
        None => say(
            "  traces     collected here, one is shown at the end (--zipkin URL sends them to yours)",
        ),
    }
}

/// Who calls products otherwise than through the frontend.
async fn introduce_intruders(intruders: &Intruders) {
    let [stranger, impostor] = intruders.commands();
    say(&format!("  no cert    {stranger}"));
    say(&match intruders.stranger().await {
        None => "             closed unread: products takes mutual TLS only".to_owned(),
        Some((status, text)) => format!("             {status}: {text}"),
    });
    say(&format!("  impostor   {impostor}"));
    if let Some((status, text)) = intruders.impostor().await {
        say(&format!("             {status}: {text}"));
    }
}

async fn report_each_second(clock: &Clock, counts: &Counts, town: &Town) {
    let (mut totals, mut latencies, mut hits) =
        (Totals::default(), Latencies::default(), town.cache_hits());
    loop {
        clock.sleep(Duration::from_secs(1)).await;
        let (now, now_latencies, now_hits) =
            (counts.totals(), counts.latencies(), town.cache_hits());
        let (second, took) = (now.since(&totals), now_latencies.since(&latencies));
        say(&format!(
            "sent {:>6}  allowed {:>6}  denied {:>5}  limited {:>4}  failed {:>3}  p50 {:>6} us  p99 {:>6} us  cache hits {:>6}{}",
            second.sent(),
            second.allowed,
            second.denied,
            second.limited,
            second.failed,
            took.quantile(0.5),
            took.quantile(0.99),
            now_hits - hits,
            town.complaint().map_or(String::new(), |why| format!(
                "\n  policies not taken: {why}"
            )),
        ));
        (totals, latencies, hits) = (now, now_latencies, now_hits);
    }
}

fn say(line: &str) {
    eprintln!("{line}");
}

fn fail(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::FAILURE
}

fn time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits
        .parse()
        .map_err(|_| "a number and a unit, such as 10s or 2m".to_owned())?;
    match &text[digits.len()..] {
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(60 * number)),
        "h" => Ok(Duration::from_secs(3_600 * number)),
        "ms" => Ok(Duration::from_millis(number)),
        _ => Err("a number and a unit, such as 10s or 2m".to_owned()),
    }
}
