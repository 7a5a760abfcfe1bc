//! Which adapters there are. Registration is explicit: `builtin().with::<Mine>()`.

use std::collections::BTreeMap;

use crate::{Adapter, Env, Handler, Inputs, Invalid};

/// The adapters a Mixer knows, by `type`.
#[derive(Clone, Default)]
pub struct Registry {
    known: BTreeMap<&'static str, Built>,
}

/// How to build one type of adapter from its JSON configuration.
#[derive(Clone, Copy)]
pub struct Built {
    build: fn(serde_json::Value, &Inputs, &Env) -> Result<Handler, Invalid>,
    schema: fn() -> serde_json::Value,
}

impl Registry {
    /// Knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Knows `A` too, replacing an adapter of the same name.
    pub fn with<A: Adapter>(mut self) -> Self {
        self.known.insert(
            A::NAME,
            Built {
                build: build::<A>,
                schema: schema::<A>,
            },
        );
        self
    }

    /// The adapter of that `type`.
    pub fn by_type(&self, kind: &str) -> Option<&Built> {
        self.known.get(kind)
    }

    /// Every `type`.
    pub fn types(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.known.keys().copied()
    }
}

impl Built {
    /// Builds a handler; a configuration that does not have the right form is a problem of the field it is in.
    pub fn build(
        &self,
        config: serde_json::Value,
        inputs: &Inputs,
        env: &Env,
    ) -> Result<Handler, Invalid> {
        (self.build)(config, inputs, env)
    }

    /// JSON schema of the configuration.
    pub fn schema(&self) -> serde_json::Value {
        (self.schema)()
    }
}

fn build<A: Adapter>(
    config: serde_json::Value,
    inputs: &Inputs,
    env: &Env,
) -> Result<Handler, Invalid> {
    let config = match config {
        serde_json::Value::Null => serde_json::Value::Object(serde_json::Map::new()),
        serde_json::Value::Object(given) => serde_json::Value::Object(given),
        _ => return Err(Invalid::one("", "must be a map of keys and values")),
    };
    let config = serde_path_to_error::deserialize(config).map_err(|error| {
        // `.` is what the whole configuration is called there.
        let path = error.path().to_string();
        let field = if path == "." {
            String::new()
        } else {
            path.replace('[', ".").replace(']', "")
        };
        Invalid::one(field, error.into_inner().to_string())
    })?;
    A::build(config, inputs, env)
}

fn schema<A: Adapter>() -> serde_json::Value {
    schemars::schema_for!(A::Config).to_value()
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.known.keys()).finish()
    }
}

impl std::fmt::Debug for Built {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Built").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::conformance;

    struct Picky;

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct PickyConfig {
        #[serde(default)]
        outer: BTreeMap<String, Vec<u8>>,
    }

    impl Adapter for Picky {
        const NAME: &'static str = "picky";
        type Config = PickyConfig;

        fn build(_: PickyConfig, _: &Inputs, _: &Env) -> Result<Handler, Invalid> {
            Ok(Handler::new())
        }
    }

    #[tokio::test]
    async fn a_problem_of_form_names_its_field() {
        let (env, _hand) = conformance::manual_env("picky");
        let registry = Registry::new().with::<Picky>();
        let built = registry.by_type("picky").unwrap();
        let field = |config| {
            built
                .build(config, &Inputs::default(), &env)
                .unwrap_err()
                .problems[0]
                .field
                .clone()
        };
        assert_eq!(
            field(json!({"outer": {"inner": [1, 700]}})),
            "outer.inner.1"
        );
        assert_eq!(field(json!({"outer": 1})), "outer");
        assert_eq!(field(json!([])), "");
        assert!(
            built
                .build(serde_json::Value::Null, &Inputs::default(), &env)
                .is_ok()
        );
    }
}
