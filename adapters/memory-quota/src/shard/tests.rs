//! A shard against a map, while keys come and go.

use std::collections::HashMap;
use std::hash::BuildHasher;

use super::*;
use crate::gcra::Bucket;
use crate::window::{Slot, Spent};

#[test]
fn keys_that_come_and_go_keep_their_counters_and_leave_nothing_behind() {
    let hasher = foldhash::fast::FixedState::default();
    let hash = |key: &[u8]| hasher.hash_one(key);
    let (mut shard, mut model) = (Shard::default(), HashMap::new());
    let mut state = 7u64;
    let mut most = 0;
    for step in 0..60_000u64 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let number = (state >> 33) % 500;
        let name = [format!("{number:0width$}", width = (number % 90) as usize)];
        let key = Key::new((number % 7) as u32, &name);
        let at = hash(key.encoded());
        let counter = Counter::Window(Spent::One(Slot {
            at: step,
            tokens: 1,
        }));
        match state >> 60 {
            // More come, then more go.
            0..4 => assert_eq!(
                shard.remove(at, &key),
                model.remove(key.encoded()).is_some()
            ),
            4 if step % 1_000 == 0 => {
                let meant = |key: &[u8]| family_of(key) == 3;
                let before = model.len();
                model.retain(|key: &Vec<u8>, _| !meant(key));
                assert_eq!(shard.remove_all(meant), before - model.len());
            }
            _ if shard.find(at, &key).is_none() => {
                shard.insert(at, &key, counter.clone(), hash, |_, _| false);
                model.insert(key.encoded().to_vec(), counter);
            }
            _ => *shard.find_mut(at, &key).unwrap() = model[key.encoded()].clone(),
        }
        assert_eq!(shard.len(), model.len());
        most = most.max(shard.keys.allocation_size());
        if step % 500 == 0 {
            assert!(shard.iter().all(|(key, counter)| model[key] == *counter));
            assert_eq!(shard.iter().count(), model.len());
        }
    }
    // 500 keys of at most 96 bytes, as much again of those that went, and room for an eighth.
    assert!(most < 500 * 96 * 2 * 9 / 8, "{most} bytes");
    let gone = shard.sweep(hash, |_, _| true);
    assert_eq!((gone, shard.len()), (model.len(), 0));
    assert_eq!(shard.keys.allocation_size(), 0);
    let key = Key::new(1, &["again".into()]);
    let full = Counter::Gcra(Bucket::FULL);
    shard.insert(hash(key.encoded()), &key, full.clone(), hash, |_, _| false);
    assert_eq!(shard.find(hash(key.encoded()), &key), Some(&full));
}
