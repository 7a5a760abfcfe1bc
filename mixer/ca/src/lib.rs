//! The certificate authority of a mesh that has no other: it signs workloads' certificates and rotates its own.
