//! Callers that prove who they are: who may ask, and for which service.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use mixer::serve::{Config, Running};
use mixer_attributes::{OwnedBag, OwnedValue, vocabulary as v};
use mixer_ca::{Attested, Authority, LEAF_LIFE, ROOT_LIFE, Root};
use mixer_client::{At, Client, Verdict};
use mixer_identity::{
    Bundles, Expected, Identity, Source, SpiffeId, TrustBundle, TrustDomain, client_config,
};
use mixer_proto::v1;
use mixer_proto::v1::mixer_client::MixerClient;
use mixer_runtime::{Clock, Random, Tasks};
use rustls_pki_types::ServerName;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::mesh::{PATIENCE, PRODUCTS, config, directory, request_from, start, watch_products};

const MIXER: &str = "spiffe://cluster.local/ns/mixer/sa/mixer";
const PRODUCTS_ID: &str = "spiffe://cluster.local/ns/shop/sa/products";
const CART: &str = "spiffe://cluster.local/ns/shop/sa/cart";
const SERVICES: &str = "
service: products.shop
identity: spiffe://cluster.local/ns/shop/sa/products
---
service: cart.shop
";

/// Who signs for a trust domain.
struct Issuer {
    authority: Authority,
    _folder: TempDir,
}

impl Issuer {
    fn new(domain: &str) -> Self {
        let (folder, clock) = (TempDir::new().unwrap(), Clock::system());
        let domain = TrustDomain::parse(domain).unwrap();
        let root = Root::generate(&domain, clock.wall(), ROOT_LIFE).unwrap();
        let path = folder.path().join("ca");
        let directory = Authority::create(&path, &domain, &root, clock.wall()).unwrap();
        Self {
            authority: Authority::open(directory, LEAF_LIFE, clock).unwrap(),
            _folder: folder,
        }
    }

    fn bundle(&self) -> TrustBundle {
        TrustBundle::clone(&self.authority.bundle().borrow())
    }

    /// An identity that trusts these.
    fn source(&self, id: &str, trusts: &[&Issuer]) -> Source {
        let id = SpiffeId::parse(id).unwrap();
        let svid = self.authority.svid(&id, &Attested::Operator).unwrap();
        let bundles: Bundles = trusts.iter().map(|issuer| issuer.bundle()).collect();
        Source::fixed(Identity::new(svid, bundles))
    }
}

async fn mixer(place: &TempDir, identity: Source) -> Running {
    let identity = Some(identity);
    start(Config {
        identity,
        ..config(place.path())
    })
    .await
    .unwrap()
}

async fn dial(
    address: SocketAddr,
    source: &Source,
) -> Result<MixerClient<Channel>, tonic::transport::Error> {
    let expected = Expected::Id(SpiffeId::parse(MIXER).unwrap());
    let tls = TlsConnector::from(Arc::new(client_config(source, expected, &[b"h2"])));
    let connect = tower::service_fn(move |_| {
        let tls = tls.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            let name = ServerName::try_from("mixer").map_err(std::io::Error::other)?;
            tls.connect(name, stream).await.map(TokioIo::new)
        }
    });
    let endpoint = Endpoint::from_static("http://mixer");
    endpoint
        .connect_with_connector(connect)
        .await
        .map(MixerClient::new)
}

async fn check(client: &mut MixerClient<Channel>) -> Result<v1::Decision, Status> {
    let request = v1::CheckRequest {
        attributes: request_from("shop"),
        ..v1::CheckRequest::default()
    };
    let answer = client.check(request).await?.into_inner();
    Ok(answer.decision.unwrap())
}

async fn watch(client: &mut MixerClient<Channel>) -> Result<(), Status> {
    let mut states = client.watch(watch_products("p")).await?.into_inner();
    states.message().await.map(drop)
}

async fn report(client: &mut MixerClient<Channel>, name: &str) -> Result<(), Status> {
    let request = v1::ReportRequest {
        client: name.to_owned(),
        sequence: 1,
        ..v1::ReportRequest::default()
    };
    client.report(request).await.map(drop)
}

fn code<T>(answer: Result<T, Status>) -> Code {
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[tokio::test]
async fn a_proxy_that_proves_who_it_is_asks_for_its_own_service_and_no_other() {
    let issuer = Issuer::new("cluster.local");
    let place = directory(&[("products.yaml", PRODUCTS), ("services.yaml", SERVICES)]);
    let mixer = mixer(&place, issuer.source(MIXER, &[&issuer])).await;
    let products = issuer.source(PRODUCTS_ID, &[&issuer]);
    let mut products = dial(mixer.grpc(), &products).await.unwrap();
    let decision = check(&mut products).await.unwrap();
    assert_eq!(decision.verdict(), v1::Verdict::Allow);
    assert_eq!(code(watch(&mut products).await), Code::Ok);
    assert_eq!(code(report(&mut products, "p").await), Code::Ok);

    let cart = issuer.source(CART, &[&issuer]);
    let mut cart = dial(mixer.grpc(), &cart).await.unwrap();
    let refused = check(&mut cart).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(
        refused
            .message()
            .contains("which the service \"products.shop\" says it is"),
        "{refused}"
    );
    assert_eq!(code(watch(&mut cart).await), Code::PermissionDenied);
    // Nor under the name of a proxy of that service: what it reported and holds is its own.
    assert_eq!(code(report(&mut cart, "p").await), Code::PermissionDenied);
    let give_back = v1::QuotaRequest {
        client: "p".to_owned(),
        ..v1::QuotaRequest::default()
    };
    assert_eq!(
        code(cart.quota(give_back.clone()).await),
        Code::PermissionDenied
    );
    assert_eq!(code(products.quota(give_back).await), Code::Ok);
    assert_eq!(code(report(&mut cart, "c").await), Code::Ok);
}

#[tokio::test]
async fn who_proves_nothing_or_is_of_another_trust_domain_is_not_heard() {
    let (issuer, partner, forger) = (
        Issuer::new("cluster.local"),
        Issuer::new("partner"),
        Issuer::new("cluster.local"),
    );
    let place = directory(&[("products.yaml", PRODUCTS)]);
    let mixer = mixer(&place, issuer.source(MIXER, &[&issuer, &partner])).await;
    let mut plain = MixerClient::connect(format!("http://{}", mixer.grpc()))
        .await
        .unwrap();
    assert!(check(&mut plain).await.is_err());
    let forged = forger.source(PRODUCTS_ID, &[&issuer]);
    let answer = match dial(mixer.grpc(), &forged).await {
        Ok(mut client) => check(&mut client).await.map(drop).map_err(|_| ()),
        Err(_) => Err(()),
    };
    assert!(answer.is_err());
    // Trusted to be who it is, and not to ask.
    let theirs = partner.source("spiffe://partner/a", &[&issuer]);
    let mut theirs = dial(mixer.grpc(), &theirs).await.unwrap();
    let refused = check(&mut theirs).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(
        refused.message().contains("another trust domain"),
        "{refused}"
    );
    // Nor does a caller speak to another than Mixer.
    let place = directory(&[("products.yaml", PRODUCTS)]);
    let other = self::mixer(&place, issuer.source(CART, &[&issuer])).await;
    let products = issuer.source(PRODUCTS_ID, &[&issuer]);
    let error = dial(other.grpc(), &products).await.unwrap_err();
    let error = format!("{error:?}");
    assert!(error.contains("Unexpected"), "{error}");
}

#[tokio::test]
async fn the_lists_of_the_mesh_say_who_may_do_what() {
    let issuer = Issuer::new("cluster.local");
    let mesh = "mesh: { clients: { check: [spiffe://cluster.local/ns/shop/*], report: [], watch: [spiffe://cluster.local/ns/shop/sa/cart] } }";
    let place = directory(&[("products.yaml", PRODUCTS), ("mesh.yaml", mesh)]);
    let mixer = mixer(&place, issuer.source(MIXER, &[&issuer])).await;
    let products = issuer.source(PRODUCTS_ID, &[&issuer]);
    let mut products = dial(mixer.grpc(), &products).await.unwrap();
    let codes = [
        code(check(&mut products).await),
        code(report(&mut products, "p").await),
        code(watch(&mut products).await),
    ];
    let denied = Code::PermissionDenied;
    assert_eq!(codes, [Code::Ok, denied, denied]);
    let refused = watch(&mut products).await.unwrap_err();
    assert!(
        refused
            .message()
            .contains("`mesh.clients.watch` does not name"),
        "{refused}"
    );
    // A changed list is in force on connections that stand.
    std::fs::write(place.path().join("mesh.yaml"), "mesh: {}").unwrap();
    let changed = async {
        while code(report(&mut products, "p").await) != Code::Ok {
            Clock::system()
                .sleep(std::time::Duration::from_millis(10))
                .await;
        }
    };
    assert!(Clock::system().within(PATIENCE, changed).await.is_some());
}

#[tokio::test]
async fn who_is_trusted_no_longer_is_cut_off() {
    let (issuer, next) = (Issuer::new("cluster.local"), Issuer::new("cluster.local"));
    let place = directory(&[("products.yaml", PRODUCTS)]);
    let (publisher, source) = Source::updated();
    let publish = |trusts: &Issuer| {
        let identity = issuer.source(MIXER, &[trusts]).current().unwrap();
        publisher.publish(Identity::clone(&identity));
    };
    publish(&issuer);
    let mixer = mixer(&place, source).await;
    let products = issuer.source(PRODUCTS_ID, &[&issuer]);
    let mut products = dial(mixer.grpc(), &products).await.unwrap();
    let mut states = products
        .watch(watch_products("p"))
        .await
        .unwrap()
        .into_inner();
    assert!(states.message().await.unwrap().is_some());
    publish(&next);
    let ended = Clock::system().within(PATIENCE, states.message()).await;
    assert!(!matches!(ended, None | Some(Ok(Some(_)))), "{ended:?}");
}

#[tokio::test]
async fn the_client_library_asks_over_tls() {
    let issuer = Issuer::new("cluster.local");
    let place = directory(&[("products.yaml", PRODUCTS), ("services.yaml", SERVICES)]);
    let mixer = mixer(&place, issuer.source(MIXER, &[&issuer])).await;
    let mut inbound = OwnedBag::new();
    let name = OwnedValue::String("products.shop".to_owned());
    inbound.set(v::DESTINATION_SERVICE, name.clone());
    let config = mixer_client::Config {
        inbound,
        tls: Some(mixer_client::Tls {
            identity: issuer.source(PRODUCTS_ID, &[&issuer]),
            mixer: SpiffeId::parse(MIXER).unwrap(),
        }),
        try_timeout: PATIENCE,
        total_timeout: PATIENCE,
        ..mixer_client::Config::new(mixer.grpc().to_string(), "p")
    };
    let (tasks, random) = (Tasks::new(), Arc::new(Random::from_seed(3)));
    let client = Client::start(config, Clock::system(), random, &tasks);
    let mut states = client.state();
    let told = states.wait_for(Option::is_some);
    let told = Clock::system().within(PATIENCE, told).await;
    told.expect("a first state comes").unwrap();
    for (namespace, verdict) in [("shop", Verdict::Allow), ("sandbox", Verdict::Deny)] {
        let mut bag = OwnedBag::new();
        bag.set(v::DESTINATION_SERVICE, name.clone())
            .set(
                v::CONTEXT_REPORTER,
                OwnedValue::String("destination".to_owned()),
            )
            .set(
                v::SOURCE_NAMESPACE,
                OwnedValue::String(namespace.to_owned()),
            );
        let answer = client
            .check(At::Inbound, Some("products.shop"), &bag.bag())
            .await;
        assert_eq!(answer.verdict, verdict, "{answer:?}");
    }
}

#[tokio::test]
async fn with_an_identity_a_mixer_listens_everywhere() {
    let issuer = Issuer::new("cluster.local");
    let place = directory(&[("products.yaml", PRODUCTS)]);
    let everywhere = Config {
        grpc: SocketAddr::from(([0, 0, 0, 0], 0)),
        identity: Some(issuer.source(MIXER, &[&issuer])),
        ..config(place.path())
    };
    let running = start(everywhere).await.unwrap();
    let local = SocketAddr::from(([127, 0, 0, 1], running.grpc().port()));
    let products = issuer.source(PRODUCTS_ID, &[&issuer]);
    let mut client = dial(local, &products).await.unwrap();
    assert_eq!(code(check(&mut client).await), Code::Ok);
}
