//! An application that knows of no mesh: it connects where it wants to and says what it sees. Plain blocking sockets, so that
//! nothing is in it but what any application does.
//!
//! `serve greeter|http|echo ADDR...` until it is killed; `greet ADDR`, `get ADDR HOST PATH` and `ask ADDR` once.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// A client that waits longer says so.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["serve", kind, addresses @ ..] => serve(kind, addresses),
        ["greet", address] => greet(address),
        ["get", address, host, path] => get(address, host, path),
        ["ask", address] => ask(address),
        _ => Err(io::Error::other(
            "serve KIND ADDR... | greet ADDR | get ADDR HOST PATH | ask ADDR",
        )),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(kind: &str, addresses: &[&str]) -> io::Result<()> {
    let mut servers = Vec::new();
    for address in addresses {
        if kind == "echo" {
            let socket = UdpSocket::bind(address)?;
            servers.push(thread::spawn(move || echoes(&socket)));
            continue;
        }
        let talk = if kind == "http" { answer } else { say };
        let listener = TcpListener::bind(address)?;
        servers.push(thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A caller who goes away is no concern of the others.
                thread::spawn(move || drop(talk(stream)));
            }
        }));
    }
    println!("serving");
    for server in servers {
        let _ = server.join();
    }
    Ok(())
}

/// Speaks first, then echoes line by line.
fn say(mut stream: TcpStream) -> io::Result<()> {
    let (here, peer) = (plain(stream.local_addr()?), plain(stream.peer_addr()?));
    writeln!(stream, "220 here is {here} you are {peer}")?;
    let lines = BufReader::new(stream.try_clone()?).lines();
    for line in lines {
        writeln!(stream, "{}", line?)?;
    }
    Ok(())
}

/// Answers every request of a connection with where it arrived and from whom.
fn answer(mut stream: TcpStream) -> io::Result<()> {
    let (here, peer) = (plain(stream.local_addr()?), plain(stream.peer_addr()?));
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    loop {
        let mut head = Vec::new();
        loop {
            match lines.next().transpose()? {
                None => return Ok(()),
                Some(line) if line.is_empty() => break,
                Some(line) => head.push(line),
            }
        }
        let host = head
            .iter()
            .find(|line| line.to_ascii_lowercase().starts_with("host:"));
        let body = format!(
            "here is {here} you are {peer} {}\n",
            host.map_or("", String::as_str)
        );
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )?;
    }
}

/// Sends datagrams back with the address they came from.
fn echoes(socket: &UdpSocket) {
    let mut datagram = [0; 512];
    while let Ok((count, peer)) = socket.recv_from(&mut datagram) {
        let said = String::from_utf8_lossy(&datagram[..count]).into_owned();
        let _ = socket.send_to(format!("{said} you are {peer}").as_bytes(), peer);
    }
}

/// Waits for the server's word, says one, and shows both.
fn greet(address: &str) -> io::Result<()> {
    let mut stream = connect(address)?;
    println!("I am {}", stream.local_addr()?);
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let ended = || io::Error::other("it ended");
    println!("{}", lines.next().ok_or_else(ended)??);
    writeln!(stream, "hello")?;
    println!("{}", lines.next().ok_or_else(ended)??);
    Ok(())
}

fn get(address: &str, host: &str, path: &str) -> io::Result<()> {
    let mut stream = connect(address)?;
    println!("I am {}", stream.local_addr()?);
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    )?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    println!("{response}");
    Ok(())
}

fn ask(address: &str) -> io::Result<()> {
    let server: SocketAddr = address.parse().map_err(io::Error::other)?;
    let any: IpAddr = match server {
        SocketAddr::V4(_) => IpAddr::from([0, 0, 0, 0]),
        SocketAddr::V6(_) => IpAddr::from([0u16; 8]),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(server)?;
    println!("I am {}", socket.local_addr()?);
    socket.send(b"hello")?;
    let mut datagram = [0; 512];
    let count = socket.recv(&mut datagram)?;
    println!("{}", String::from_utf8_lossy(&datagram[..count]));
    Ok(())
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
