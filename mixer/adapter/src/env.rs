//! What surrounds a handler.

use std::any::Any;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use mixer_runtime::{Clock, Random, Tasks};

use crate::{HttpClient, Invalid};

/// What an adapter may use: time, randomness, tasks that are ended for it, files of its directory, HTTP, and what it kept from
/// before a reload.
#[derive(Clone, Debug)]
pub struct Env {
    /// The adapter document's name.
    pub name: Arc<str>,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub random: Arc<Random>,
    /// Background work of this handler, stopped when its set is replaced. Only [`crate::Handler::on_start`] may spawn.
    pub tasks: Tasks,
    /// Directory of the document's file.
    pub directory: PathBuf,
    /// HTTP with deadlines and bounded bodies.
    pub http: HttpClient,
    /// State that survives a reload.
    pub keep: Keep,
}

/// State that survives a reload, by adapter name and type.
#[derive(Clone, Debug, Default)]
pub struct Keep(Arc<Mutex<HashMap<String, Arc<dyn Any + Send + Sync>>>>);

impl Env {
    /// A file of the documents' directory; `field` is blamed when it cannot be read.
    pub fn read(&self, field: &str, path: &str) -> Result<String, Invalid> {
        let path = self.directory.join(path);
        std::fs::read_to_string(&path).map_err(|error| {
            Invalid::one(field, format!("cannot read {}: {error}", path.display()))
        })
    }

    /// The state of type `T` that a handler of this name left before the reload, or what `make` gives.
    pub fn keep<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let key = format!("{}\0{}", self.name, std::any::type_name::<T>());
        let mut kept = self.keep.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = kept
            .get(&key)
            .and_then(|held| held.clone().downcast::<T>().ok());
        held.unwrap_or_else(|| {
            let made = Arc::new(make());
            kept.insert(key, made.clone());
            made
        })
    }
}
