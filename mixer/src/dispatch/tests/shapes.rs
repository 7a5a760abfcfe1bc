//! How many different lists of reads the decisions of one destination have. A proxy keeps 32 a destination and tries each, so
//! policies as people write them must stay far below.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mixer_attributes::{AttributeId, OwnedBag, OwnedValue, vocabulary};
use mixer_documents::Sources;
use mixer_runtime::{Clock, Random};

use super::fixture::LEFT;
use crate::dispatch::Dispatcher;
use crate::snapshot::{Snapshot, Surroundings};

/// What a proxy keeps per destination.
const MOST: usize = 32;
const REQUESTS: usize = 3_000;

/// `cargo test -p mixer --lib shapes -- --nocapture` prints the table.
#[tokio::test]
async fn the_decisions_of_a_destination_read_few_different_things() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let mut folders: Vec<_> = std::fs::read_dir(examples)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    println!(
        "{:<28} {:<28} {:>8} {:>6}",
        "folder", "destination", "requests", "shapes"
    );
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let handle = tokio::runtime::Handle::current();
        let surroundings = Surroundings::new(Clock::manual().0, Random::from_seed(7), handle);
        let sources = Sources::read(&[folder]).unwrap();
        let snapshot = Snapshot::build(sources, &mixer_adapters::builtin(), &surroundings);
        let snapshot = snapshot.unwrap_or_else(|problems| panic!("{}", problems.render(false)));
        let values = values(&snapshot);
        let dispatcher = Dispatcher::new(snapshot.into(), &surroundings);
        let destinations = values.get(&vocabulary::DESTINATION_SERVICE);
        for destination in destinations.into_iter().flatten() {
            let mut shapes = BTreeSet::new();
            for _ in 0..REQUESTS {
                let mut request = OwnedBag::new();
                for (attribute, values) in &values {
                    let choice = surroundings.random.next() as usize % (values.len() + 1);
                    if let Some(value) = values.get(choice) {
                        request.set(*attribute, value.clone());
                    }
                }
                request.set(vocabulary::DESTINATION_SERVICE, destination.clone());
                let decision = dispatcher.check(&request.bag(), LEFT).await;
                let read = decision.referenced.into_iter();
                shapes.insert(read.map(|(reference, _)| reference).collect::<Vec<_>>());
            }
            let destination = destination.borrow().to_string();
            println!(
                "{name:<28} {destination:<28} {REQUESTS:>8} {:>6}",
                shapes.len()
            );
            assert!(
                shapes.len() <= MOST,
                "{name}, {destination}: {}",
                shapes.len()
            );
        }
    }
}

/// What the tests beside the policies give, by attribute: requests as the authors think of them, mixed.
fn values(snapshot: &Snapshot) -> BTreeMap<AttributeId, Vec<OwnedValue>> {
    let mut values: BTreeMap<AttributeId, Vec<OwnedValue>> = BTreeMap::new();
    let tests = snapshot
        .set
        .policies
        .iter()
        .flat_map(|policy| &policy.tests);
    for test in tests {
        let bag = test.given.bag();
        for (attribute, _) in bag.iter() {
            let value = test.given.value(attribute).unwrap();
            let known = values.entry(attribute).or_default();
            if !known.contains(value) {
                known.push(value.clone());
            }
        }
    }
    for service in &snapshot.set.services {
        let name = OwnedValue::String(service.name.to_string());
        let known = values.entry(vocabulary::DESTINATION_SERVICE).or_default();
        if !known.contains(&name) {
            known.push(name);
        }
    }
    values
}
