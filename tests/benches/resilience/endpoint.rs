//! An endpoint of a service, as a process that can be killed: it answers after a time, with a status, and counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mixer_runtime::{Clock, Tasks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The path that is answered at once with how many other requests there were.
pub(crate) const COUNT: &str = "/count";

/// Serves on ADDR until it is killed. Arguments: ADDR, its number, milliseconds, status. Requests must have no body.
pub(crate) fn serve(arguments: impl Iterator<Item = String>) {
    let arguments: Vec<String> = arguments.collect();
    let [addr, number, millis, status] = &arguments[..] else {
        panic!("serve-endpoint ADDR NUMBER MILLIS STATUS");
    };
    let wait = Duration::from_millis(millis.parse().expect("milliseconds"));
    let head = format!("HTTP/1.1 {status} Said\r\nendpoint: {number}\r\n");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be had");
    runtime.block_on(async {
        let listener = TcpListener::bind(addr).await.expect("the port is free");
        println!("listening");
        let (tasks, count, clock) = (Tasks::new(), Arc::new(AtomicU64::new(0)), Clock::system());
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let (head, count, clock) = (head.clone(), count.clone(), clock.clone());
            tasks.spawn("connection", async move {
                answer(stream, &head, wait, &count, &clock).await;
            });
        }
    });
}

/// Answers one request after the other.
async fn answer(
    mut stream: TcpStream,
    head: &str,
    wait: Duration,
    count: &AtomicU64,
    clock: &Clock,
) {
    let (mut read, mut held) = ([0; 4 << 10], Vec::new());
    loop {
        match stream.read(&mut read).await {
            Ok(0) | Err(_) => return,
            Ok(more) => held.extend_from_slice(&read[..more]),
        }
        if !held.ends_with(b"\r\n\r\n") {
            continue;
        }
        let body = if held.starts_with(format!("GET {COUNT} ").as_bytes()) {
            count.load(Ordering::Relaxed).to_string()
        } else {
            count.fetch_add(1, Ordering::Relaxed);
            clock.sleep(wait).await;
            "x".repeat(128)
        };
        held.clear();
        let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
