//! The standard metrics: names and labels of Istio's, so that existing dashboards and alerts keep working.
//!
//! Proxies count them per label set and send increments; Mixer rolls them up. Both sides take the order of labels and the
//! bucket bounds from here.

/// Labels of every standard metric, in the order aggregates carry their values.
pub const LABELS: [&str; 12] = [
    "reporter",
    "source_workload",
    "source_workload_namespace",
    "source_principal",
    "destination_service",
    "destination_service_name",
    "destination_service_namespace",
    "request_protocol",
    "response_code",
    "grpc_response_status",
    "response_flags",
    "connection_security_policy",
];

/// What a label without a value says, as in Istio.
pub const UNKNOWN: &str = "unknown";

/// Upper bounds of `istio_request_duration_milliseconds`, in milliseconds; +Inf follows.
pub const DURATION_MS_BUCKETS: [f64; 20] = [
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1_000.0,
    2_500.0,
    5_000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// Upper bounds of `istio_request_bytes` and `istio_response_bytes`; +Inf follows.
pub const BYTES_BUCKETS: [f64; 9] = [
    1.0,
    10.0,
    100.0,
    1_000.0,
    10_000.0,
    100_000.0,
    1_000_000.0,
    10_000_000.0,
    100_000_000.0,
];

/// The bucket of `bounds` that `value` falls into: the first bound that is not below it, or one past the last.
pub fn bucket(bounds: &[f64], value: f64) -> usize {
    bounds.partition_point(|bound| *bound < value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_belongs_below_it() {
        assert_eq!(bucket(&BYTES_BUCKETS, 10.0), 1);
        assert_eq!(bucket(&BYTES_BUCKETS, 10.5), 2);
        assert_eq!(bucket(&BYTES_BUCKETS, f64::MAX), BYTES_BUCKETS.len());
    }
}
