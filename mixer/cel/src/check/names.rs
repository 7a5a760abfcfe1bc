//! What a wrong name was probably meant to be.

/// The candidate closest to `wrong`, when it is close enough to be a slip.
pub(crate) fn closest<'c>(
    wrong: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    let near = candidates.filter_map(|candidate| {
        // What both begin with says nothing about the rest being the same slip.
        let shared = shared_parts(wrong, candidate);
        let allowed = (wrong[shared..].chars().count() / 3).clamp(1, 3);
        let distance = distance(&wrong[shared..], &candidate[shared..]);
        (distance <= allowed).then_some((distance, candidate))
    });
    near.min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Bytes of the dotted parts that both begin with.
fn shared_parts(a: &str, b: &str) -> usize {
    let shared = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    a.as_bytes()[..shared]
        .iter()
        .rposition(|byte| *byte == b'.')
        .map_or(0, |dot| dot + 1)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one into the other; case counts for nothing.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().map(|c| c.to_ascii_lowercase()).collect();
    let b: Vec<char> = b.chars().map(|c| c.to_ascii_lowercase()).collect();
    if a.len().abs_diff(b.len()) > 3 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(x != y);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_their_name_and_others_do_not() {
        let names = ["source.namespace", "request.method", "request.path"];
        let found = |wrong| closest(wrong, names.into_iter());
        assert_eq!(found("source.namspace"), Some("source.namespace"));
        assert_eq!(found("request.mehtod"), Some("request.method"));
        assert_eq!(found("Request.Path"), Some("request.path"));
        assert_eq!(found("auth.claims"), None);
        assert_eq!(found("source.kind"), None);
    }
}
