//! Who services are, how they are reached, and who may ask Mixer.

use super::*;
use crate::{Clients, Originate, Roots, Tls};

#[test]
fn identity_and_tls_are_read_and_read_back() {
    let set = set("mesh:
  tls: strict
  clients: { check: [spiffe://cluster.local/ns/shop/*], watch: [spiffe://b/x] }
---
service: a
identity: spiffe://cluster.local/ns/shop/sa/a
---
service: b
tls: permissive
---
service: c
external: true
originate: { roots: { file: /etc/partner.pem }, sni: c.example }
---
service: d
external: true
originate: {}
");
    let [a, b, c, d] = set.services.as_slice() else {
        panic!()
    };
    assert_eq!(
        (a.tls(&set.mesh), b.tls(&set.mesh)),
        (Tls::Strict, Tls::Permissive)
    );
    assert_eq!(
        a.identity.as_deref(),
        Some("spiffe://cluster.local/ns/shop/sa/a")
    );
    let originate = |roots, sni: Option<&str>| {
        let sni = sni.map(str::to_owned);
        Some(Originate { roots, sni })
    };
    assert_eq!(
        (c.originate.clone(), d.originate.clone()),
        (
            originate(Roots::File("/etc/partner.pem".into()), Some("c.example")),
            originate(Roots::System, None)
        )
    );
    let expected = Clients {
        check: Some(vec!["spiffe://cluster.local/ns/shop/*".into()]),
        report: None,
        watch: Some(vec!["spiffe://b/x".into()]),
    };
    assert_eq!(set.mesh.clients, expected);
    let texts = set.services.iter().map(|service| service.canonical());
    let again = [set.mesh.canonical()].into_iter().chain(texts);
    let again = super::set(&again.collect::<Vec<_>>().join("\n---\n"));
    assert_eq!(again.mesh, set.mesh);
    for (again, service) in again.services.iter().zip(&set.services) {
        assert_eq!(again.canonical(), service.canonical());
    }
}
