//! The command: what it refuses, and how it ends.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mixer-proxy"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn wrong_flags_are_all_named_and_exit_64() {
    let table: [(&[&str], &[&str]); 13] = [
        (&["--no-such-flag"], &["--no-such-flag"]),
        (&[], &["one of --mixer and --documents is needed"]),
        (
            &["--mixer", "127.0.0.1:9091"],
            &["neither --inbound nor --outbound"],
        ),
        (
            &["--mixer", "127.0.0.1:9091", "--inbound", "127.0.0.1:0"],
            &["needs --service", "needs --app"],
        ),
        (
            &["--mixer", "a:1,b:1", "--outbound", "127.0.0.1:0"],
            &["more than one address is not supported yet"],
        ),
        (
            &["--mixer", "nowhere", "--outbound", "nonsense"],
            &["--outbound nonsense: not an address"],
        ),
        (
            &[
                "--mixer",
                "a:1",
                "--outbound",
                "127.0.0.1:0",
                "--metrics",
                "local",
            ],
            &["--metrics local: not supported yet"],
        ),
        (
            &[
                "--mixer",
                "a:1",
                "--outbound",
                "127.0.0.1:0",
                "--access-log-format",
                "json",
            ],
            &["--access-log"],
        ),
        (
            &[
                "--mixer",
                "a:1",
                "--outbound",
                "127.0.0.1:0",
                "--admin-token-file",
                "token",
            ],
            &["--admin-token-file needs --admin"],
        ),
        (
            &[
                "--mixer",
                "a:1",
                "--outbound",
                "127.0.0.1:0",
                "--admin",
                "127.0.0.1:0",
                "--admin-token-file",
                "/nowhere/token",
            ],
            &["--admin-token-file /nowhere/token:"],
        ),
        (
            &["iptables", "print", "--offset", "60000"],
            &["--offset 60000: there is no such port"],
        ),
        (
            &[
                "iptables",
                "apply",
                "--exclude-outbound-ranges",
                "10.0.0.0/8,nowhere",
            ],
            &["nowhere: not a range"],
        ),
        (
            &["iptables", "clean", "--include-inbound-ports", "80,http"],
            &["http: invalid digit"],
        ),
    ];
    for (arguments, said) in table {
        let output = run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {error}");
        for said in said {
            assert!(error.contains(said), "{arguments:?}: {error}");
        }
    }
}

#[test]
fn wrong_documents_exit_3_and_a_taken_port_1() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("services.yaml");
    let path = directory.path().to_str().unwrap();
    std::fs::write(&file, "service: reviews.shop\nendpointz: []\n").unwrap();
    let output = run(&["--documents", path, "--outbound", "127.0.0.1:0"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(
        error.contains("services.yaml:2:1") && error.contains("endpoints"),
        "{error}"
    );

    std::fs::write(&file, "service: reviews.shop\n").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["--documents", path, "--outbound", &address]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains(&address), "{error}");
}

#[test]
fn rules_are_printed_without_any_privilege_and_not_applied_without_the_programs() {
    let output = run(&["iptables", "print", "--offset", "1"]);
    assert_eq!(output.status.code(), Some(0));
    let rules = String::from_utf8(output.stdout).unwrap();
    assert!(
        rules.contains("-A MIXER_1_OUTPUT -p tcp -j REDIRECT --to-ports 15002"),
        "{rules}"
    );
    let nowhere = tempfile::tempdir().unwrap();
    for (tool, program) in [("iptables", "iptables-save"), ("nft", "nft")] {
        let output = Command::new(env!("CARGO_BIN_EXE_mixer-proxy"))
            .args(["iptables", "apply", "--tool", tool])
            .env("PATH", nowhere.path())
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.contains(program) && error.contains("--tool"),
            "{error}"
        );
    }
}

#[test]
fn a_signal_ends_it_gracefully() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("s.yaml"), "service: a.b\n").unwrap();
    for signal in ["TERM", "INT"] {
        let mut proxy = Command::new(env!("CARGO_BIN_EXE_mixer-proxy"))
            .args(["--outbound", "127.0.0.1:0", "--documents"])
            .arg(directory.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(proxy.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("ready") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it ended by itself");
        }
        let sent = Command::new("kill")
            .args(["-s", signal, &proxy.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
        let mut rest = String::new();
        log.read_to_string(&mut rest).unwrap();
        assert_eq!(proxy.wait().unwrap().code(), Some(0), "{rest}");
        assert!(rest.contains("ended"), "{rest}");
    }
}
