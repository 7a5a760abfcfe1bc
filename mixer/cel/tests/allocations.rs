//! A condition that builds no value allocates nothing, absences and errors that are absorbed included.

use std::collections::BTreeMap;

use mixer_attributes::vocabulary::{self as v, Producer};
use mixer_attributes::{Dynamic, OwnedBag, OwnedValue, Vocabulary};
use mixer_cel::{Compiler, Evaluation, Expect, Kind};

#[test]
fn conditions_that_build_no_value_do_not_allocate() {
    let groups = ["staff", "admins"].map(|group| Dynamic::String(group.to_owned()));
    let claims = Dynamic::Map(vec![("groups".to_owned(), Dynamic::List(groups.into()))]);
    let headers = BTreeMap::from([("x-tester".to_owned(), "yes".to_owned())]);
    let mut request = OwnedBag::new();
    request
        .set(v::SOURCE_NAMESPACE, OwnedValue::String("shop".into()))
        .set(v::REQUEST_METHOD, OwnedValue::String("GET".into()))
        .set(v::REQUEST_PATH, OwnedValue::String("/products/17".into()))
        .set(v::REQUEST_SIZE, OwnedValue::Int(7))
        .set(
            v::REQUEST_CLIENT_IP,
            OwnedValue::Ip("10.1.1.1".parse().unwrap()),
        )
        .set(v::REQUEST_HEADERS, OwnedValue::Map(headers))
        .set(v::AUTH_CLAIMS, OwnedValue::Dynamic(claims));
    let bag = request.bag();
    for source in [
        r#"source.namespace == "shop" && request.method in ["GET", "HEAD"] && request.path.startsWith("/products")"#,
        r#""x-tester" in request.headers && request.headers["x-tester"] == "yes""#,
        r#"request.headers[?"x-other"].orValue("") == """#,
        r#"request.headers[?"x-tester"].orValue("") == "yes""#,
        r#"request.headers.?y.hasValue() || true"#,
        r#"request.path.matches("^/products/[0-9]+$")"#,
        r#"auth.claims.groups.exists(g, g == "admins")"#,
        r#""admins" in auth.claims.groups"#,
        r#"auth.claims.?address.?city.orValue("") == """#,
        r#"source.principal == "x" || request.headers["x-other"] == "y" || request.size > 5"#,
        r#"request.size * 2 + 1 == 15 && !(request.size > 9)"#,
        r#"request.client_ip == "10.1.1.1" && cidr("10.0.0.0/8").containsIP(request.client_ip)"#,
        r#"request.path.substring(1, 9) == "products" && size(request.path) == 12"#,
        r#"has(source.namespace) && !has(source.principal) && !has(auth.claims.a.b)"#,
    ] {
        let mut compiler = Compiler::new(Vocabulary::new());
        let expression = compiler
            .expression(source, Producer::Check, Expect::Kind(Kind::Bool))
            .unwrap();
        let references = compiler.finish();
        let run = || {
            let mut evaluation = Evaluation::new(&bag, &references);
            assert_eq!(expression.test(&mut evaluation), Ok(true), "{source}");
        };
        // A pattern makes room for its search once per thread.
        run();
        assert_eq!(allocation_counter::measure(run).count_total, 0, "{source}");
    }
}
