//! The library that asks Mixer: check cache, quota leases, report batches.
