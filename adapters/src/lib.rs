//! The adapters that come with Mixer: one crate each, put together here and nowhere else.
//!
//! Each is a cargo feature of its name, all on by default; this is the only place where features are asked about.

use mixer_adapter::Registry;

/// Every adapter that was built in.
#[must_use]
pub fn builtin() -> Registry {
    let registry = Registry::new();
    #[cfg(feature = "list")]
    let registry = registry.with::<mixer_list::List>();
    #[cfg(feature = "log")]
    let registry = registry.with::<mixer_log::Log>();
    #[cfg(feature = "memory-quota")]
    let registry = registry.with::<mixer_memory_quota::MemoryQuota>();
    #[cfg(feature = "prometheus")]
    let registry = registry.with::<mixer_prometheus::Prometheus>();
    #[cfg(feature = "redis-quota")]
    let registry = registry.with::<mixer_redis_quota::RedisQuota>();
    #[cfg(feature = "zipkin")]
    let registry = registry.with::<mixer_zipkin::Zipkin>();
    registry
}

#[cfg(test)]
mod tests;
