//! Paths: the table of hostile ones, and what must hold for all.

use proptest::prelude::*;

use super::*;

/// Rows of the table: sent, what the server receives or why not, what rules see.
fn hostile() -> impl Iterator<
    Item = (
        &'static str,
        Result<&'static str, &'static str>,
        &'static str,
    ),
> {
    include_str!("hostile.txt")
        .lines()
        .filter(|line| !line.starts_with("# "))
        .map(|line| {
            let mut cells = line.split(" | ");
            let sent = cells.next().unwrap();
            let receives = cells.next().unwrap();
            let seen = cells.next().unwrap_or(receives);
            (
                sent,
                receives.strip_prefix("400 ").map_or(Ok(receives), Err),
                seen,
            )
        })
}

#[test]
fn hostile_paths_have_one_reading_or_none() {
    let mut rows = 0;
    for (sent, receives, seen) in hostile() {
        rows += 1;
        match (normalize(sent, EncodedSlash::Refuse), receives) {
            (Ok(read), Ok(receives)) => {
                assert_eq!((&*read.path, &*read.encoded), (seen, receives), "{sent}");
            }
            (Err(why), Err(expected)) => {
                assert!(why.to_string().contains(expected), "{sent}: {why}")
            }
            (read, _) => panic!("{sent}: {read:?}, expected {receives:?}"),
        }
    }
    assert!(rows >= 60, "{rows}");
}

#[test]
fn a_kept_slash_stays_encoded_and_makes_no_segment() {
    for (sent, path) in [
        ("/a%2fb", "/a%2Fb"),
        ("/a/..%2f..%2fb", "/a/..%2F..%2Fb"),
        ("/%2F", "/%2F"),
        ("/x/../a%2Fb", "/a%2Fb"),
    ] {
        let read = normalize(sent, EncodedSlash::Keep).unwrap();
        assert_eq!((&*read.path, &*read.encoded), (path, path), "{sent}");
    }
    assert_eq!(
        normalize("/a%5cb%2fc", EncodedSlash::Keep),
        Err(Ambiguous::Backslash)
    );
}

#[test]
fn forms_that_are_no_paths() {
    let read = |raw| normalize(raw, EncodedSlash::Refuse);
    assert_eq!(&*read("*").unwrap().path, "*");
    assert_eq!(&*read("").unwrap().encoded, "/");
    assert_eq!(read("products"), Err(Ambiguous::NotAbsolute));
    assert_eq!(read("http://x/"), Err(Ambiguous::NotAbsolute));
    assert_eq!(read("/a?b"), Err(Ambiguous::Delimiter));
    assert_eq!(read("/a#b"), Err(Ambiguous::Delimiter));
    assert_eq!(read("/a\\b"), Err(Ambiguous::Backslash));
    assert_eq!(&*read("/é").unwrap().encoded, "/%C3%A9");
}

#[test]
fn a_normal_path_is_borrowed() {
    for raw in ["/", "/products/1", "/a/b/", "/x:1/@me,you=1"] {
        let read = normalize(raw, EncodedSlash::Refuse).unwrap();
        assert!(
            matches!(
                (read.path, read.encoded),
                (Cow::Borrowed(_), Cow::Borrowed(_))
            ),
            "{raw}"
        );
    }
}

#[test]
fn the_query_is_what_follows_the_first_question_mark() {
    assert_eq!(split_query("/a?b?c"), ("/a", Some("b?c")));
    assert_eq!(split_query("/a?"), ("/a", Some("")));
    assert_eq!(split_query("/a"), ("/a", None));
}

fn paths() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/"),
        Just("."),
        Just(".."),
        Just("%2e"),
        Just("%2E"),
        Just("%"),
        Just("%2"),
        Just("%2f"),
        Just("%5c"),
        Just(";"),
        Just("%25"),
        Just("a"),
        Just("admin"),
        Just("%61"),
        Just("é"),
        Just("%c3%a9"),
        Just("%c3"),
        Just("%00"),
        Just(" "),
        Just("%20"),
        Just("2e"),
        Just("\\"),
        Just("\"")
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #[test]
    fn what_the_server_receives_means_the_same_again(raw in paths(), keep in any::<bool>()) {
        let slash = if keep { EncodedSlash::Keep } else { EncodedSlash::Refuse };
        if let Ok(read) = normalize(&raw, slash) {
            let again = normalize(&read.encoded, slash).unwrap();
            prop_assert_eq!(&again.encoded, &read.encoded);
            prop_assert_eq!(&again.path, &read.path);
        }
    }

    #[test]
    fn what_rules_see_has_no_dot_segment_and_no_double_slash(raw in paths()) {
        if let Ok(read) = normalize(&raw, EncodedSlash::Refuse) {
            prop_assert!(read.path.starts_with('/'));
            prop_assert!(!read.path.contains("//"));
            prop_assert!(read.path.split('/').all(|segment| segment != "." && segment != ".."));
            prop_assert!(read.encoded.bytes().all(|byte| byte == b'/' || byte == b'%' || stands_for_itself(byte)));
        }
    }
}
