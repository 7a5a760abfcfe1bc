//! The least that any proxy does: bytes from one socket to another as epoll says they are there. It reads no request, has one
//! connection to the application for each of a caller's, and stops caring when either side closes.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// Both ends of what is carried, and what one end was not ready to take.
struct Pair {
    ends: [TcpStream; 2],
    waiting: [Vec<u8>; 2],
}

/// Serves on the address in the first argument, in front of the one in the second, until it is killed.
pub(crate) fn serve(arguments: impl Iterator<Item = String>) {
    let addrs: Vec<SocketAddr> = arguments.filter_map(|addr| addr.parse().ok()).collect();
    let [addr, upstream] = addrs[..] else {
        panic!("serve-epoll ADDR UPSTREAM")
    };
    let mut poll = Poll::new().expect("there is epoll");
    let mut listener = TcpListener::bind(addr).expect("the port is free");
    let listening = Token(usize::MAX - 1);
    let registry = poll.registry().try_clone().expect("it can be shared");
    registry
        .register(&mut listener, listening, Interest::READABLE)
        .expect("it can be waited for");
    println!("listening");
    let mut events = Events::with_capacity(1_024);
    let mut pairs: HashMap<usize, Pair> = HashMap::new();
    let mut next = 0;
    let mut bytes = vec![0; 64 << 10];
    loop {
        if let Err(error) = poll.poll(&mut events, None) {
            assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
        }
        for event in &events {
            if event.token() == listening {
                while let Ok((caller, _)) = listener.accept() {
                    let server = TcpStream::connect(upstream).expect("the application listens");
                    let mut ends = [caller, server];
                    for (side, end) in ends.iter_mut().enumerate() {
                        let _ = end.set_nodelay(true);
                        let interest = Interest::READABLE | Interest::WRITABLE;
                        registry
                            .register(end, Token(next * 2 + side), interest)
                            .expect("it can be waited for");
                    }
                    let waiting = [Vec::new(), Vec::new()];
                    pairs.insert(next, Pair { ends, waiting });
                    next += 1;
                }
                continue;
            }
            let (number, side) = (event.token().0 / 2, event.token().0 % 2);
            let Some(pair) = pairs.get_mut(&number) else {
                continue;
            };
            let open = (!event.is_writable() || pair.flush(side))
                && (!event.is_readable() || pair.carry(side, &mut bytes));
            if !open {
                pairs.remove(&number);
            }
        }
    }
}

impl Pair {
    /// Carries what `from` has; whether both ends are open.
    fn carry(&mut self, from: usize, bytes: &mut [u8]) -> bool {
        loop {
            match self.ends[from].read(bytes) {
                Ok(0) => return false,
                Ok(count) => {
                    self.waiting[1 - from].extend_from_slice(&bytes[..count]);
                    if !self.flush(1 - from) {
                        return false;
                    }
                    // Less than there is room for: there is no more.
                    if count < bytes.len() {
                        return true;
                    }
                }
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    /// Writes what waits for `to`; whether it is open.
    fn flush(&mut self, to: usize) -> bool {
        while !self.waiting[to].is_empty() {
            match self.ends[to].write(&self.waiting[to]) {
                Ok(count) => drop(self.waiting[to].drain(..count)),
                Err(error) => {
                    return matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::NotConnected
                    );
                }
            }
        }
        true
    }
}
