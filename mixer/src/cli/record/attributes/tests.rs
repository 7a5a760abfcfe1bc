//! What records of each origin say, and what they leave open.

use mixer_cel::Reference;
use mixer_documents::Sources;

use super::*;

fn reader(documents: &str) -> Reader {
    let set = mixer_documents::load(Sources::from_texts([("d.yaml", documents)]));
    Reader::new(&set.unwrap_or_else(|problems| panic!("{}", problems.render(false))))
}

const PLAIN: &str = "service: products.shop\nhosts: [products]\n";

fn request(documents: &str, line: &str) -> Request {
    let record = Record::read(line).unwrap();
    reader(documents)
        .request(&record)
        .unwrap_or_else(|problem| panic!("{problem}: {line}"))
}

#[track_caller]
fn is(request: &Request, expected: &str) {
    let expected = mixer_documents::request("expected", expected, &v::Vocabulary::new()).unwrap();
    for (id, value) in expected.iter() {
        let empty = matches!(value, OwnedValue::Map(map) if map.is_empty());
        assert!(
            empty || request.attributes.value(id) == Some(value),
            "{value:?} is not in {request:?}"
        );
    }
}

fn knows(request: &Request, attribute: AttributeId) -> bool {
    let key = None;
    request.knows(&Reference { attribute, key })
}

#[test]
fn a_line_of_the_log_adapter_says_all_it_knows() {
    let line = r#"{"time":"2026-01-01T00:00:00.123456Z","reporter":"destination","source_principal":"spiffe://cluster.local/ns/shop/sa/web","downstream_remote_address":"10.0.0.9","client_ip":"10.1.1.1","destination_service":"products.shop","method":"GET","authority":"products","path":"/a b","protocol":"http","response_code":200,"decision":"allow"}"#;
    let read = request(PLAIN, line);
    is(
        &read,
        "source: { principal: 'spiffe://cluster.local/ns/shop/sa/web', namespace: shop, service_account: web, ip: 10.0.0.9 }
connection: { mtls: true }
destination: { service: products.shop, namespace: shop }
request: { method: GET, host: products, path: '/a b', client_ip: 10.1.1.1, time: '2026-01-01T00:00:00.123456Z' }
context: { reporter: destination }
api: { protocol: http }",
    );
    assert!(!knows(&read, v::REQUEST_HEADERS) && !knows(&read, v::REQUEST_QUERY));

    let nobody = request(
        PLAIN,
        r#"{"reporter":"destination","destination_service":"products.shop"}"#,
    );
    is(&nobody, "connection: { mtls: false }");
    assert!(knows(&nobody, v::SOURCE_NAMESPACE));
}

#[test]
fn a_line_of_istio_is_read_by_its_field_names_and_knows_no_caller() {
    let line = r#"{"start_time":"2026-01-01T00:00:00.123Z","method":"GET","path":"/products/1?x=1","protocol":"HTTP/1.1","response_code":200,"response_flags":"-","authority":"products:8080","upstream_cluster":"outbound|8080|v1|products.shop.svc.cluster.local","downstream_remote_address":"10.0.0.9:4711","x_forwarded_for":null,"requested_server_name":null,"request_id":"7","user_agent":"curl","route_name":"default"}"#;
    let read = request(PLAIN, line);
    is(
        &read,
        "source: { ip: 10.0.0.9, port: 4711 }
destination: { service: products.shop, namespace: shop }
request: { method: GET, host: products, path: /products/1, raw_path: /products/1, query: { x: '1' }, client_ip: 10.0.0.9, useragent: curl, id: '7' }
context: { route: default, reporter: destination }
api: { protocol: http }",
    );
    assert!(!knows(&read, v::SOURCE_NAMESPACE) && !knows(&read, v::AUTH_CLAIMS));
    assert!(knows(&read, v::CONNECTION_REQUESTED_SERVER_NAME));
}

#[test]
fn a_line_of_the_proxys_own_access_log_names_the_service() {
    let line = r#"{"start_time":"2026-01-01T00:00:00.250Z","reporter":"destination","method":"GET","path":"/products/1","protocol":"HTTP/1.1","response_code":403,"grpc_status":null,"response_flags":"UAEX","authority":"shop.example","upstream_cluster":"products.shop","downstream_remote_address":"10.0.0.9:4711","request_id":"7","user_agent":"curl"}"#;
    let read = request(PLAIN, line);
    is(
        &read,
        "source: { ip: 10.0.0.9, port: 4711 }
destination: { service: products.shop, namespace: shop }
request: { method: GET, host: shop.example, path: /products/1, raw_path: /products/1, client_ip: 10.0.0.9, useragent: curl, id: '7' }
context: { reporter: destination }
api: { protocol: http }",
    );
    // What an Envoy calls its cluster is no service's name.
    let line =
        r#"{"method":"GET","path":"/","authority":"products:8080","upstream_cluster":"backend"}"#;
    is(
        &request(PLAIN, line),
        "destination: { service: products.shop, namespace: shop }
request: { method: GET, host: products, path: /, raw_path: / }",
    );
}

#[test]
fn attributes_may_have_their_own_names_nested_dotted_or_with_underscores() {
    let read = request(
        PLAIN,
        r#"{"source":{"namespace":"shop"},"request.method":"PUT","request_path":"/x","auth":{"claims":{"groups":["a"]}},"request.headers.x-tester":"yes","destination.labels":{"v":"1"}}"#,
    );
    is(
        &read,
        "source: { namespace: shop }
request: { method: PUT, path: /x, headers: { x-tester: 'yes' } }
auth: { claims: { groups: [a] } }
destination: { labels: { v: '1' } }",
    );
    let header = |key: &str| Reference {
        attribute: v::REQUEST_HEADERS,
        key: Some(key.into()),
    };
    assert!(read.knows(&header("x-tester")) && !read.knows(&header("x-other")));
    assert!(!knows(&read, v::REQUEST_HEADERS) && knows(&read, v::DESTINATION_LABELS));
}

#[test]
fn the_client_is_found_behind_proxies_that_the_mesh_trusts() {
    let mesh = "mesh: { client_ip: { header: x-forwarded-for, trusted: [10.0.0.0/8] } }\n";
    for (peer, forwarded, client) in [
        ("10.0.0.1:1", "1.1.1.1, 2.2.2.2", "2.2.2.2"),
        ("10.0.0.1:1", "1.1.1.1, 10.0.0.2", "1.1.1.1"),
        ("9.0.0.1:1", "1.1.1.1", "9.0.0.1"),
        ("10.0.0.1:1", "", "10.0.0.1"),
    ] {
        let line =
            format!(r#"{{"downstream_remote_address":"{peer}","x_forwarded_for":"{forwarded}"}}"#);
        is(
            &request(mesh, &line),
            &format!("request.client_ip: {client}"),
        );
    }
}

#[test]
fn a_field_that_makes_no_sense_is_named() {
    let reader = reader(PLAIN);
    for (line, says) in [
        (
            r#"{"downstream_remote_address":"here"}"#,
            "the peer `here` is no address",
        ),
        (r#"{"client_ip":"here"}"#, "the client `here`"),
        (r#"{"path":"/a%2fb"}"#, "encoded slash"),
        (r#"{"request.size":"big"}"#, "`request.size` is int"),
        (
            r#"{"request.headers":"x"}"#,
            "`request.headers` is map(string, string)",
        ),
    ] {
        let problem = reader.request(&Record::read(line).unwrap()).unwrap_err();
        assert!(problem.contains(says), "{line}: {problem}");
    }
    for line in ["", "[1]", "{", "7", "nonsense"] {
        assert!(Record::read(line).is_err(), "{line}");
    }
}
