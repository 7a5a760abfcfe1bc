//! Measuring a server that has one core to itself, as ratios within one run: machines drift, and what was compared a minute apart
//! was not compared.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Output};

use mixer_runtime::Clock;

use crate::binaries::pinned;
use crate::servers::installed;

/// The core of what is measured.
pub const SERVER: usize = 0;

/// The core of what loads it, and of what it needs.
pub const CLIENT: usize = 1;

/// One round against one server.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Finished requests a second.
    pub rate: f64,
    /// Microseconds the server's process was on a core, per finished request.
    pub cpu_us: f64,
    /// Share of the round that the server's process was on a core.
    pub busy: f64,
}

/// What a load generator says of its round.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    finished: f64,
    rate: f64,
}

impl Load {
    /// So many finished requests, at so many a second.
    pub fn new(finished: f64, rate: f64) -> Self {
        Self { finished, rate }
    }
}

/// Runs `load` against the processes `servers`, which share a core: their time on it is added.
///
/// # Panics
/// When a process has gone.
pub fn round(servers: &[u32], load: impl FnOnce() -> Load) -> Round {
    let clock = Clock::system();
    let on_core = || servers.iter().map(|server| on_core(*server)).sum::<f64>();
    let (start, before) = (clock.now(), on_core());
    let load = load();
    let (cpu, wall) = (on_core() - before, clock.now().since(start).as_secs_f64());
    Round {
        rate: load.rate,
        cpu_us: cpu * 1e6 / load.finished,
        busy: cpu / wall,
    }
}

/// Seconds the threads of a process were on a core.
fn on_core(process: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{process}/task"))
        .unwrap_or_else(|error| panic!("process {process}: {error}"));
    let nanos = tasks.filter_map(|task| {
        let schedstat = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        schedstat.split(' ').next()?.parse::<u64>().ok()
    });
    nanos.sum::<u64>() as f64 / 1e9
}

/// Mebibytes of memory a process has in use.
pub fn memory(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let kilobytes = status.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?
            .trim()
            .strip_suffix(" kB")?
            .parse::<f64>()
            .ok()
    });
    kilobytes.unwrap_or(f64::NAN) / 1024.0
}

/// A closed loop of unary gRPC calls, all of one message: 4 connections, 32 streams each.
///
/// # Panics
/// When h2load does not run, or a call fails.
pub fn h2load(to: SocketAddr, method: &str, framed: &std::path::Path, seconds: u32) -> Load {
    let mut command = pinned(CLIENT, &installed("h2load"));
    command
        .args([
            "-c",
            "4",
            "-m",
            "32",
            "-t",
            "1",
            "--duration",
            &seconds.to_string(),
        ])
        .arg("-d")
        .arg(framed);
    command.args([
        "-H",
        "content-type: application/grpc",
        "-H",
        "te: trailers",
        &format!("http://{to}{method}"),
    ]);
    finished(&mut command, seconds)
}

/// What h2load finished in so many seconds.
fn finished(command: &mut Command, seconds: u32) -> Load {
    let output = said(command);
    let number =
        |from: &str, to: &str| between(&output, from, to).and_then(|text| text.parse::<f64>().ok());
    let succeeded = between(&output, "requests: ", " succeeded")
        .and_then(|text| text.rsplit(' ').next()?.parse::<f64>().ok());
    let failed = number("succeeded, ", " failed");
    match (succeeded, failed) {
        (Some(finished), Some(0.0)) if finished > 0.0 => Load {
            finished,
            rate: finished / f64::from(seconds),
        },
        _ => panic!("{command:?}:\n{output}"),
    }
}

/// A closed loop of GET requests over HTTP/2: 4 connections, 16 streams each.
///
/// # Panics
/// When h2load does not run, or a request fails.
pub fn h2load_get(to: SocketAddr, path: &str, headers: &[(&str, &str)], seconds: u32) -> Load {
    let mut command = pinned(CLIENT, &installed("h2load"));
    command.args(["-c", "4", "-m", "16", "-t", "1"]);
    command.args(["--duration", &seconds.to_string()]);
    for (name, value) in headers {
        command.arg("-H").arg(format!("{name}: {value}"));
    }
    command.arg(format!("http://{to}{path}"));
    finished(&mut command, seconds)
}

/// HTTP/1.1 requests at `rate` a second over 20 connections, whatever the answers take; and how long these took, in
/// microseconds, the shortest first.
///
/// # Panics
/// When h2load does not run, or a request fails.
pub fn paced(
    to: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    rate: u32,
    seconds: u32,
) -> (Load, Vec<u64>) {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let log = folder.path().join("times");
    let mut command = pinned(CLIENT, &installed("h2load"));
    command.args(["--h1", "-c", "20", "-t", "1"]);
    command.args(["--rps", &rate.div_ceil(20).to_string()]);
    command.args(["--duration", &seconds.to_string()]);
    command.arg("--log-file").arg(&log);
    for (name, value) in headers {
        command.arg("-H").arg(format!("{name}: {value}"));
    }
    command.arg(format!("http://{to}{path}"));
    let load = finished(&mut command, seconds);
    let log = fs::read_to_string(&log).expect("h2load writes its log");
    let third = |line: &str| line.split('\t').nth(2)?.trim().parse::<u64>().ok();
    let mut times: Vec<u64> = log.lines().filter_map(third).collect();
    times.sort_unstable();
    (load, times)
}

/// A closed loop of HTTP/1.1 requests over 50 connections.
///
/// # Panics
/// When wrk does not run, or a request fails.
pub fn wrk(to: SocketAddr, path: &str, headers: &[(&str, &str)], seconds: u32) -> Load {
    let mut command = pinned(CLIENT, &installed("wrk"));
    command.args(["-t", "1", "-c", "50", "-d", &format!("{seconds}s")]);
    for (name, value) in headers {
        command.arg("-H").arg(format!("{name}: {value}"));
    }
    command.arg(format!("http://{to}{path}"));
    let output = said(&mut command);
    let finished = output.lines().find_map(|line| {
        line.trim()
            .split_once(" requests in ")?
            .0
            .parse::<f64>()
            .ok()
    });
    let rate =
        between(&output, "Requests/sec:", "\n").and_then(|text| text.trim().parse::<f64>().ok());
    let clean = !output.contains("Non-2xx") && !output.contains("Socket errors");
    match (finished, rate) {
        (Some(finished), Some(rate)) if clean => Load { finished, rate },
        _ => panic!("{command:?}:\n{output}"),
    }
}

fn said(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (stdout, stderr) = (
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr),
    );
    assert!(status.success(), "{command:?}: {status}\n{stdout}{stderr}");
    stdout.into_owned()
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let rest = &text[text.find(from)? + from.len()..];
    Some(&rest[..rest.find(to)?])
}

/// Rounds of several servers, interleaved; the first is what the others are compared with.
#[derive(Debug)]
pub struct Table {
    names: Vec<String>,
    rounds: Vec<Vec<Round>>,
}

impl Table {
    /// No rounds yet.
    pub fn new(names: &[&str]) -> Self {
        Self {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            rounds: vec![Vec::new(); names.len()],
        }
    }

    /// Adds a round of the server at `index`.
    pub fn add(&mut self, index: usize, round: Round) {
        self.rounds[index].push(round);
    }

    /// Medians, and medians of the ratios to the server at `base` within each round.
    pub fn compared_with(&self, base: usize) -> String {
        let mut text = String::from(
            "| | req/s | CPU us/req | busy | req/s ratio | CPU ratio |\n| --- | --- | --- | --- | --- | --- |\n",
        );
        for (name, rounds) in self.names.iter().zip(&self.rounds) {
            let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value));
            let ratio = |value: fn(&Round) -> f64| {
                median(
                    rounds
                        .iter()
                        .zip(&self.rounds[base])
                        .map(|(round, base)| value(round) / value(base)),
                )
            };
            let (rate, cpu) = (|round: &Round| round.rate, |round: &Round| round.cpu_us);
            let busy = of(|round| round.busy) * 100.0;
            // Rates compare only where both cores were full; the CPU per request compares always.
            let _ = writeln!(
                text,
                "| {name} | {:.0} | {:.2} | {busy:.0} % | {:.2} | {:.2} |",
                of(rate),
                of(cpu),
                ratio(rate),
                ratio(cpu)
            );
        }
        let _ = writeln!(
            text,
            "(medians of {} rounds; ratios to {}, per round)",
            self.rounds[base].len(),
            self.names[base]
        );
        text
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[odd / 2],
        even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
    }
}

/// An argument `--NAME N` of a bench, or its default.
pub fn argument(name: &str, default: u32) -> u32 {
    let mut arguments = std::env::args();
    let found = arguments.by_ref().any(|argument| argument == name);
    found
        .then(|| arguments.next()?.parse().ok())
        .flatten()
        .unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let round = |rate: f64| Round {
            rate,
            cpu_us: 1.0,
            busy: 1.0,
        };
        let mut table = Table::new(&["floor", "ours"]);
        for (floor, ours) in [(100.0, 50.0), (200.0, 100.0), (1000.0, 900.0)] {
            table.add(0, round(floor));
            table.add(1, round(ours));
        }
        let text = table.compared_with(0);
        assert!(
            text.contains("| ours | 100 | 1.00 | 100 % | 0.50 | 1.00 |"),
            "{text}"
        );
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median([4.0, 1.0, 3.0, 2.0].into_iter()), 2.5);
        assert_eq!(median([2.0, 9.0, 1.0].into_iter()), 2.0);
    }
}
