//! Documents that load, and what they come to.

mod cases;
mod policies;
mod quotas;

use std::time::Duration;

use super::*;
use crate::{Attest, Denials, Endpoint, MetricKind};

#[test]
fn services_mesh_adapters_and_telemetry_are_read() {
    let set = set(SHOP);
    let [products, postgres, payments] = set.services.as_slice() else {
        panic!()
    };
    assert_eq!(products.namespace.as_deref(), Some("shop"));
    assert_eq!(products.hosts, ["products", "products.shop.svc"]);
    assert_eq!(
        products.endpoints[1],
        Endpoint::Dns("products.shop".to_owned(), 15006)
    );
    assert!(products.keep_encoded_slash && !products.external && payments.external);
    assert_eq!(postgres.namespace.as_deref(), Some("data"));
    assert_eq!(set.mesh.fail.stale, Duration::from_secs(600));
    assert_eq!(
        set.mesh.client_ip.as_ref().unwrap().trusted[0],
        ("10.0.0.0".parse().unwrap(), 8)
    );
    assert_eq!(set.mesh.denials, Denials::Mesh);

    let names: Vec<(&str, &str)> = set
        .adapters
        .iter()
        .map(|adapter| (&*adapter.name, &*adapter.kind))
        .collect();
    let expected = [
        ("blocklist", "list"),
        ("shared", "memory-quota"),
        ("zipkin", "zipkin"),
        ("memory", "memory-quota"),
        ("prometheus", "prometheus"),
    ];
    assert_eq!(names, expected);
    let list = &set.adapters[0];
    let config = r#"{"entries":["10.0.0.0/8"],"refresh":"5m","ports":[80,"443"],"headers":{"authorization":{"from_env":"FEED_TOKEN"}}}"#;
    assert_eq!(list.config.to_string(), config);
    let at = |field: &str| {
        set.warnings
            .sources
            .slice(list.place(field).unwrap())
            .to_owned()
    };
    assert_eq!(at("ports.1"), "\"443\"");
    assert_eq!(at("headers.authorization.nope"), "{ from_env: FEED_TOKEN }");
    assert_eq!(at("nope"), at(""));

    let checkout = &set.telemetry[0];
    assert_eq!(
        checkout.metrics[0].kind,
        MetricKind::Histogram(vec![100.0, 1000.0])
    );
    assert_eq!(&*checkout.metrics[0].labels[0].0, "route");
    assert_eq!(checkout.traces.unwrap().sample, 0.01);
    assert_eq!(&*set.adapters[checkout.traces.unwrap().to].name, "zipkin");
}

#[test]
fn a_named_adapter_takes_the_place_of_the_one_that_is_there_by_itself() {
    let set = set("adapter: memory\ntype: redis-quota\n");
    let names: Vec<(&str, &str)> = set
        .adapters
        .iter()
        .map(|adapter| (&*adapter.name, &*adapter.kind))
        .collect();
    assert_eq!(
        names,
        [("memory", "redis-quota"), ("prometheus", "prometheus")]
    );
}

#[test]
fn canonical_documents_are_read_back_to_the_same() {
    let balanced = r#"
service: carts.shop
balance: { by: 'ring-hash(request.headers["x-user"])', panic: 0% }
circuit: { pending: 8 }
outlier: { eject: 1500ms, max_ejected: 10% }
health: { tcp: true, every: 1s, unhealthy: 1 }
probes: { paths: [/healthz, /ready/], from: [10.0.0.0/8, "::1"] }
---
service: mail.shop
balance: { by: least-request, slow_start: 30s }
health: { http: '/healthz?deep=1' }
"#;
    let set = set(&format!("{SHOP}\n---\n{balanced}"));
    let canonical: Vec<(String, String)> =
        std::iter::once(("mesh".to_owned(), set.mesh.canonical()))
            .chain(
                set.services
                    .iter()
                    .map(|service| (service.name.to_string(), service.canonical())),
            )
            .collect();
    let again = load(Sources::from_texts(canonical)).unwrap();
    assert_eq!(again.mesh, set.mesh);
    let sorted = |set: &PolicySet| {
        let mut services: Vec<_> = set
            .services
            .iter()
            .map(|service| (service.canonical(), service.namespace.clone()))
            .collect();
        services.sort();
        services
    };
    assert_eq!(sorted(&again), sorted(&set));
    assert_eq!(again.mesh.canonical(), set.mesh.canonical());
    let denying = super::set(
        "mesh: { default: deny, outbound: deny, fail: { stale: 1500ms }, denials: { show: nobody } }",
    );
    let again = load(Sources::from_texts([("m", denying.mesh.canonical())])).unwrap();
    assert_eq!(again.mesh, denying.mesh);
}

#[test]
fn a_file_with_carriage_returns_is_the_same() {
    let windows = set(&SHOP.replace('\n', "\r\n"));
    assert_eq!(windows.warnings.lines(), Vec::<String>::new());
    assert_eq!(windows.policies[0].rules.len(), 5);
    let line = "policy: p\r\nfor: always\r\nrules: [{ deny: all, when: source.prt == 1 }]\r\n";
    assert!(problems(line).lines()[0].starts_with("f.yaml:3:28: error"));
    assert!(!problems(line).render(false).contains('\r'));
}

#[test]
fn nothing_but_defaults_is_a_set_without_sources() {
    let set = load(Sources::default()).unwrap();
    assert_eq!(set.mesh, crate::Mesh::default());
    assert_eq!(
        problems("# nothing\n---\n").lines(),
        ["error[MX0002]: no documents in f.yaml"]
    );
}

#[test]
fn a_comment_behind_one_space_is_a_warning_and_behind_two_is_none() {
    let policy = |space: &str| {
        format!(
            "policy: p\nfor: always\nrules:\n  - deny: all{space}# of them\n    when: connection.mtls{space}# x\n"
        )
    };
    assert_eq!(
        problems(&policy(" ")).lines(),
        [
            "f.yaml:4:15: warning[MX0112]: ` #` begins a comment: the text ends before it",
            "f.yaml:5:27: warning[MX0112]: ` #` begins a comment: the text ends before it",
        ]
    );
    assert!(problems(&policy("  ")).lines().is_empty());
}

#[test]
fn workloads_are_read_and_are_part_of_no_revision() {
    let set = set(
        "workload: products\nid: spiffe://cluster.local/ns/shop/sa/products\nattest: { uid: 1001, path: /usr/bin/products }\n\
         ---\nworkload: its twin\nid: spiffe://cluster.local/twin\nattest: { uid: 1001, path: /usr/bin/products }\n\
         ---\napiVersion: mixer.dev/v1\nkind: Workload\nmetadata: { name: kube }\nspec: { id: spiffe://cluster.local/k, attest: { gid: 0 } }\n",
    );
    let [products, twin, kube] = set.workloads.as_slice() else {
        panic!("{:?}", set.workloads)
    };
    assert_eq!(
        (&*products.name, products.id.as_str()),
        ("products", "spiffe://cluster.local/ns/shop/sa/products")
    );
    let both = Attest {
        uid: Some(1001),
        gid: None,
        path: Some("/usr/bin/products".into()),
    };
    assert_eq!((&products.attest, &twin.attest), (&both, &both));
    assert_eq!((kube.attest.uid, kube.attest.gid), (None, Some(0)));
    let none = load(Sources::from_texts([("f.yaml", "mesh: {}")])).unwrap();
    assert_eq!(set.revision(), none.revision());
}

#[test]
fn every_example_loads_without_a_warning() {
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let folders = std::fs::read_dir(examples)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut loaded = 0;
    for folder in folders.filter(|path| path.is_dir()) {
        let set = load(Sources::read(&[folder]).unwrap())
            .unwrap_or_else(|problems| panic!("{}", problems.render(false)));
        assert_eq!(set.warnings.lines(), Vec::<String>::new());
        loaded += 1;
    }
    assert!(loaded > 0);
}
