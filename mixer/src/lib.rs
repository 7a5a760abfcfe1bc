//! Mixer: the policy and telemetry service of a service mesh.
