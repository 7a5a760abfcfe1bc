//! Changes of heads: headers, the path, the host.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use mixer_documents::{HeaderChanges, Rewrite};

/// Takes off, sets, adds. Names and values were checked at load.
pub(crate) fn change(changes: &HeaderChanges, headers: &mut HeaderMap) {
    for name in &changes.remove {
        headers.remove(&**name);
    }
    let pair = |(name, value): &(std::sync::Arc<str>, std::sync::Arc<str>)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value).ok()?))
    };
    for (name, value) in changes.set.iter().filter_map(pair) {
        headers.insert(name, value);
    }
    for (name, value) in changes.add.iter().filter_map(pair) {
        headers.append(name, value);
    }
}

/// The path with another beginning; `None`: it does not begin so.
pub(crate) fn rewritten(rewrite: &Rewrite, path: &str) -> Option<String> {
    let (from, prefix) = rewrite.prefix.as_ref()?;
    let from = from.trim_end_matches('/');
    let rest = path.strip_prefix(from)?;
    if !rest.is_empty() && !rest.starts_with('/') {
        return None;
    }
    let path = format!("{}{rest}", prefix.trim_end_matches('/'));
    Some(if path.is_empty() {
        "/".to_owned()
    } else {
        path
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_replaced_in_whole_segments() {
        for (from, prefix, path, expected) in [
            ("/api", "/v2", "/api/x", Some("/v2/x")),
            ("/api", "/v2", "/api", Some("/v2")),
            ("/api", "/v2", "/apis", None),
            ("/api", "/", "/api/x", Some("/x")),
            ("/api", "/", "/api", Some("/")),
            ("/", "/v2", "/x", Some("/v2/x")),
            ("/", "/v2", "/", Some("/v2/")),
            ("/", "/", "/x", Some("/x")),
        ] {
            let rewrite = Rewrite {
                prefix: Some((from.into(), prefix.into())),
                host: None,
            };
            assert_eq!(
                rewritten(&rewrite, path).as_deref(),
                expected,
                "{from} {prefix} {path}"
            );
        }
    }

    #[test]
    fn headers_are_taken_off_then_set_then_added() {
        let changes = HeaderChanges {
            remove: vec!["x-a".into(), "x-b".into()],
            set: vec![("x-b".into(), "1".into()), ("x-c".into(), "2".into())],
            add: vec![("x-c".into(), "3".into())],
        };
        let mut headers = HeaderMap::new();
        for name in ["x-a", "x-b", "x-c", "x-d"] {
            headers.insert(name, HeaderValue::from_static("0"));
        }
        change(&changes, &mut headers);
        let all: Vec<_> = headers.get_all("x-c").iter().collect();
        assert_eq!(all, ["2", "3"]);
        assert_eq!(headers.get("x-a"), None);
        assert_eq!(
            (&headers["x-b"], &headers["x-d"]),
            (&"1".parse().unwrap(), &"0".parse().unwrap())
        );
    }
}
