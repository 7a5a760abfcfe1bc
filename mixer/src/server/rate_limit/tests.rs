//! Messages of the rate limit service: what is refused, and what is read.

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::{
    Entry, RateLimitOverride,
};
use envoy_types::pb::google::protobuf::UInt64Value;
use mixer_attributes::{Entry as Found, Value, vocabulary};

use super::*;
use crate::dispatch::{Hits, What};

fn descriptor(entries: &[(&str, &str)]) -> RateLimitDescriptor {
    let entry = |(key, value): &(&str, &str)| Entry {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    };
    RateLimitDescriptor {
        entries: entries.iter().map(entry).collect(),
        ..RateLimitDescriptor::default()
    }
}

fn request(descriptors: Vec<RateLimitDescriptor>) -> RateLimitRequest {
    RateLimitRequest {
        domain: "edge".to_owned(),
        descriptors,
        hits_addend: 0,
    }
}

#[test]
fn what_breaks_the_protocol_is_refused_by_field() {
    let user = || descriptor(&[("user", "ann")]);
    let with_unit = |unit| RateLimitDescriptor {
        limit: Some(RateLimitOverride {
            requests_per_unit: 5,
            unit,
        }),
        ..user()
    };
    let no_domain = RateLimitRequest {
        domain: String::new(),
        ..request(vec![user()])
    };
    for (request, complaint) in [
        (no_domain, "domain: is empty"),
        (request(vec![]), "descriptors: there is none"),
        (
            request(vec![user(); 257]),
            "descriptors: are 257, at most 256",
        ),
        (
            request(vec![user(), descriptor(&[])]),
            "descriptors[1].entries: there is none",
        ),
        (
            request(vec![descriptor(&[("", "x")])]),
            "descriptors[0].entries: a key is empty",
        ),
        (
            request(vec![descriptor(&[("k", "x"); 65])]),
            "descriptors[0].entries: are 65, at most 64",
        ),
        (
            request(vec![with_unit(0)]),
            "descriptors[0].limit.unit: 0 is no unit of time",
        ),
        (
            request(vec![with_unit(99)]),
            "descriptors[0].limit.unit: 99 is no unit of time",
        ),
    ] {
        assert_eq!(Asked::read(request).unwrap_err().to_string(), complaint);
    }
}

#[test]
fn hits_are_those_of_the_descriptor_else_of_the_request_else_one() {
    let of = |own: Option<u64>, negative| RateLimitDescriptor {
        hits_addend: own.map(|value| UInt64Value { value }),
        is_negative_hits: negative,
        ..descriptor(&[("user", "ann")])
    };
    for (whole, own, negative, hits, what) in [
        (0, None, false, 1, What::Take),
        (3, None, false, 3, What::Take),
        (3, Some(5), false, 5, What::Take),
        (3, Some(0), false, 0, What::Ask),
        (0, Some(4), true, 4, What::GiveBack),
        (0, Some(u64::MAX), false, i64::MAX, What::Take),
    ] {
        let asked = Asked::read(RateLimitRequest {
            hits_addend: whole,
            ..request(vec![of(own, negative)])
        });
        let asked = asked.unwrap();
        let bag = asked.descriptors[0].bag(&asked.domain);
        assert_eq!(
            bag.value(vocabulary::RATE_LIMIT_HITS),
            Some(Value::Int(hits))
        );
        let Hits { what: read, limit } = asked.descriptors[0].hits();
        assert_eq!((read, limit), (what, None));
    }
}

#[test]
fn a_key_given_twice_is_ambiguous_and_both_stay_in_the_lists() {
    let asked = Asked::read(request(vec![descriptor(&[
        ("generic_key", "a"),
        ("user", "ann"),
        ("generic_key", "b"),
    ])]));
    let asked = asked.unwrap();
    let bag = asked.descriptors[0].bag(&asked.domain);
    let Some(Value::Map(map)) = bag.value(vocabulary::RATE_LIMIT_DESCRIPTOR) else {
        panic!("the descriptor is a map");
    };
    assert_eq!(map.lookup("generic_key"), Found::Ambiguous);
    assert_eq!(map.lookup("user"), Found::Value("ann".into()));
    assert_eq!(map.lookup("other"), Found::Absent);
    let keys: Vec<_> = map
        .entries()
        .into_iter()
        .map(|(key, _)| key.into_owned())
        .collect();
    assert_eq!(keys, ["generic_key", "user"]);
    let Some(Value::List(values)) = bag.value(vocabulary::RATE_LIMIT_VALUES) else {
        panic!("the values are a list");
    };
    assert_eq!(values, ["a", "ann", "b"]);
}
