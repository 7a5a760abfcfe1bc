//! Hosts of a small network, each a network namespace: what redirects the connections of a host is tested on one that is nobody's.
//!
//! All are joined by one bridge, which has a namespace of its own. Only root can make them; `tests/servers/install` finds out
//! whether that, and what else a redirection needs, is to be had.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::binaries::{How, program};
use crate::process::Process;
use crate::servers::installed;

/// A network of hosts, until it is dropped.
#[derive(Debug)]
pub struct Network {
    switch: String,
    hosts: Vec<Host>,
}

/// One host.
#[derive(Clone, Debug)]
pub struct Host {
    namespace: String,
}

impl Network {
    /// A network of hosts with these names (eleven letters at most) and addresses (`10.77.0.1/24`).
    ///
    /// # Panics
    /// When a namespace cannot be made.
    pub fn new(hosts: &[(&str, &[&str])]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("mixer-{}-{number}", std::process::id());
        let mut network = Self {
            switch: format!("{prefix}-switch"),
            hosts: Vec::new(),
        };
        let switch = network.switch.clone();
        ip(&["netns", "add", &switch]);
        ip(&["-n", &switch, "link", "add", "bridge", "type", "bridge"]);
        ip(&["-n", &switch, "link", "set", "bridge", "up"]);
        for (name, addresses) in hosts {
            let namespace = format!("{prefix}-{name}");
            ip(&["netns", "add", &namespace]);
            network.hosts.push(Host {
                namespace: namespace.clone(),
            });
            let cable = ["link", "add", "eth0", "netns", &namespace, "type", "veth"];
            ip(&[&cable[..], &["peer", "name", name, "netns", &switch]].concat());
            ip(&["-n", &switch, "link", "set", name, "master", "bridge", "up"]);
            for interface in ["lo", "eth0"] {
                ip(&["-n", &namespace, "link", "set", interface, "up"]);
            }
            for address in *addresses {
                let add = ["-n", &namespace, "address", "add", address, "dev", "eth0"];
                // Nobody else is there who could have the address.
                let nodad: &[&str] = if address.contains(':') {
                    &["nodad"]
                } else {
                    &[]
                };
                ip(&[&add[..], nodad].concat());
            }
        }
        network
    }

    /// The hosts, in the order they were named.
    pub fn hosts<const N: usize>(&self) -> [Host; N] {
        let hosts: Result<[Host; N], _> = self.hosts.clone().try_into();
        hosts.expect("as many as were named")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let hosts = self.hosts.iter().map(|host| &host.namespace);
        for namespace in hosts.chain([&self.switch]) {
            let _ = Command::new("ip")
                .args(["netns", "delete", namespace])
                .status();
        }
    }
}

impl Host {
    /// A command that runs `program` on this host as root, with the programs of `tests/servers/install` at hand.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace])
            .arg(program);
        let installed = installed("iptables-restore");
        let mut path = vec![installed.parent().map(PathBuf::from).unwrap_or_default()];
        path.extend(std::env::split_paths(
            &std::env::var_os("PATH").unwrap_or_default(),
        ));
        command.env(
            "PATH",
            std::env::join_paths(path).expect("folders without colons"),
        );
        command
    }

    /// Starts the proxy `program` as a user and a group.
    pub fn start_proxy(
        &self,
        program: &Path,
        [user, group]: [&str; 2],
        arguments: &[&str],
    ) -> Process {
        let mut command = self.command(Path::new("setpriv"));
        command.args(["--reuid", user, "--regid", group, "--clear-groups"]);
        command.arg(program).args(arguments);
        Process::start(format!("mixer-proxy on {}", self.namespace), command)
    }

    /// Starts a program under test as root.
    pub fn start(&self, name: &str, arguments: &[&str]) -> Process {
        let mut command = self.command(program(name, How::Tested));
        command.args(arguments);
        Process::start(format!("{name} on {}", self.namespace), command)
    }

    /// Starts applications that serve, and waits until they do.
    pub async fn serve(&self, kind: &str, addresses: &[&str]) -> Process {
        let mut app = self.start("plain-app", &[&["serve", kind], addresses].concat());
        app.line("it serves", |line| (line == "serving").then_some(()))
            .await;
        app
    }

    /// What an application sees that does `arguments` once, and whether it came to an end with it.
    pub fn app(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = self.command(program("plain-app", How::Tested));
        let output = command.args(arguments).output().expect("`ip` runs");
        let said = text(&output);
        if output.status.success() {
            Ok(said)
        } else {
            Err(said)
        }
    }

    /// Runs a program that must succeed; what it wrote.
    ///
    /// # Panics
    /// When it does not.
    pub fn run(&self, program: &Path, arguments: &[&str]) -> String {
        let output = self
            .command(program)
            .args(arguments)
            .output()
            .expect("`ip` runs");
        assert!(
            output.status.success(),
            "{} {arguments:?}: {}",
            program.display(),
            text(&output)
        );
        text(&output)
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .expect("`ip` runs");
    assert!(
        output.status.success(),
        "ip {arguments:?}: {}",
        text(&output)
    );
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
}
