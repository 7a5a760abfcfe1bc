//! The application behind the proxies: answers each request head with 128 bytes, and reads nothing of it but its end.

use std::net::SocketAddr;

use mixer_runtime::Tasks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Serves on the address in the first argument until it is killed. Requests must have no body.
pub(crate) fn serve(mut arguments: impl Iterator<Item = String>) {
    let addr: SocketAddr = arguments
        .next()
        .and_then(|addr| addr.parse().ok())
        .expect("serve-backend ADDR");
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 128\r\n\r\n{}",
        "x".repeat(128)
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be had");
    runtime.block_on(async {
        let listener = TcpListener::bind(addr).await.expect("the port is free");
        println!("listening");
        let tasks = Tasks::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tasks.spawn("connection", async move {
                let _ = stream.set_nodelay(true);
                let mut read = vec![0; 16 << 10];
                let mut matched = 0;
                loop {
                    let count = match stream.read(&mut read).await {
                        Ok(0) | Err(_) => return,
                        Ok(count) => count,
                    };
                    for byte in &read[..count] {
                        matched = if *byte == b"\r\n\r\n"[matched] {
                            matched + 1
                        } else {
                            usize::from(*byte == b'\r')
                        };
                        if matched == 4 {
                            matched = 0;
                            if stream.write_all(answer.as_bytes()).await.is_err() {
                                return;
                            }
                        }
                    }
                }
            });
        }
    });
}
