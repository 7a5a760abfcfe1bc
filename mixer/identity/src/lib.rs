//! Who a workload is: SPIFFE ids, the certificates that prove them, and the rustls configurations that check a peer's.
