//! The adapters that come with Mixer, each behind a feature of its own: the only place that knows which are compiled in.

use mixer_adapter::Registry;

/// Every adapter that was compiled in, by `type`.
pub fn builtin() -> Registry {
    let registry = Registry::new();
    #[cfg(feature = "memory-quota")]
    let registry = registry.with::<mixer_memory_quota::MemoryQuota>();
    #[cfg(feature = "prometheus")]
    let registry = registry.with::<mixer_prometheus::Prometheus>();
    registry
}
