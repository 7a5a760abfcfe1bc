//! Answers whether a value is on a list: written in the document, in a file beside it, or fetched from an address.
//!
//! An answer holds until the list's content changes: its digest is the handler's version and so part of every revision, on
//! every Mixer the same. A list that cannot be had is unavailable, never empty: what was not asked did not say no.

mod config;
mod entries;
mod networks;
mod remote;

pub use config::{Config, Kind};

use std::sync::Arc;

use mixer_adapter::{
    Adapter, Answer, Check, Env, Expose, Exposition, Handler, Inputs, Instance, Invalid, Slot,
    Unavailable, ValidFor,
};
use mixer_attributes::{OwnedValue, Type};
use tokio::sync::watch;

use crate::config::Source;
use crate::entries::Entries;
use crate::remote::{Kept, Remote};

/// The adapter `list`.
#[derive(Clone, Copy, Debug)]
pub struct List;

impl Adapter for List {
    const NAME: &'static str = "list";
    type Config = Config;

    fn build(config: Config, inputs: &Inputs, env: &Env) -> Result<Handler, Invalid> {
        inputs.allow_only(&["value"])?;
        let value = inputs.require("value", &[Type::String, Type::Ip])?;
        let is_ip = inputs
            .declared
            .iter()
            .any(|(name, kind)| name == "value" && *kind == Some(Type::Ip));
        let reading = config.reading(is_ip)?;
        match config.source()? {
            Source::Entries(given) => Ok(fixed(Entries::given(&given, reading)?, value, env)),
            Source::File(path) => {
                let text = env.read("file", &path)?;
                let entries = Entries::read(&text, reading, true);
                Ok(fixed(
                    entries.map_err(|wrong| Invalid::one("file", wrong))?,
                    value,
                    env,
                ))
            }
            Source::Address(address) => {
                let kept = env.keep(Kept::default);
                let remote = Arc::new(Remote::after(&kept, address, reading, env)?);
                let (asked, started) = (remote.clone(), remote.clone());
                let list = Arc::new(Lookup {
                    entries: Held::Remote(asked),
                    value,
                    name: env.name.clone(),
                });
                Ok(Handler::new()
                    .with_version(remote.version())
                    .with_check(list.clone())
                    .with_expose(list)
                    .on_start(move |env| started.start(&kept, env)))
            }
        }
    }
}

fn fixed(entries: Entries, value: Slot, env: &Env) -> Handler {
    let version = watch::Sender::new(entries.digest());
    let list = Arc::new(Lookup {
        entries: Held::Fixed(entries),
        value,
        name: env.name.clone(),
    });
    Handler::new()
        .with_version(version.subscribe())
        .with_check(list.clone())
        .with_expose(list)
}

/// The list and where the value to look up is.
#[derive(Debug)]
struct Lookup {
    entries: Held,
    value: Slot,
    name: Arc<str>,
}

#[derive(Debug)]
enum Held {
    Fixed(Entries),
    Remote(Arc<Remote>),
}

impl Check for Lookup {
    async fn check(&self, instance: &Instance<'_>) -> Result<Answer, Unavailable> {
        let value = instance.value(self.value);
        let matched = match &self.entries {
            Held::Fixed(entries) => entries.contain(value)?,
            Held::Remote(remote) => remote.entries()?.contain(value)?,
        };
        Ok(Answer {
            matched,
            status: None,
            message: None,
            headers: Vec::new(),
            valid_for: ValidFor::Version,
        })
    }
}

impl Expose for Lookup {
    fn expose(&self, page: &mut Exposition) {
        let labels = [("adapter", &*self.name)];
        let count = match &self.entries {
            Held::Fixed(entries) => entries.count(),
            Held::Remote(remote) => {
                remote.expose(page, &labels);
                remote.entries().map_or(0, |entries| entries.count())
            }
        };
        page.gauge(
            "mixer_list_entries",
            "Entries of the list in use; 0 when it is unavailable.",
            &labels,
            count as f64,
        );
    }
}

/// What an entry may be, for messages.
fn not_an_address(value: &OwnedValue) -> Unavailable {
    Unavailable {
        reason: format!(
            "a {} that is no IP address cannot be looked up among networks",
            value.kind()
        )
        .into(),
        retry: false,
    }
}

#[cfg(test)]
mod tests;
