//! The sidecar: asks Mixer, enforces, carries the traffic.
