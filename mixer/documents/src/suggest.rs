//! "Did you mean": the known name nearest to an unknown one.

/// The candidate nearest to `given`, if one is near enough to be what was meant.
pub fn nearest<'c>(given: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let given: Vec<char> = given.chars().take(64).collect();
    let most = (given.len() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .filter(|candidate| candidate.chars().count().abs_diff(given.len()) <= most)
        .map(|candidate| {
            (
                distance(&given, &candidate.chars().collect::<Vec<_>>()),
                candidate,
            )
        })
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Whether only one candidate is near, so that nothing else can have been meant.
pub(crate) fn is_clear<'c>(given: &str, candidates: impl IntoIterator<Item = &'c str>) -> bool {
    let near = candidates
        .into_iter()
        .filter(|candidate| nearest(given, [*candidate]).is_some());
    near.count() == 1
}

/// Insertions, deletions, changes and swaps of neighbours (optimal string alignment), ignoring case.
fn distance(a: &[char], b: &[char]) -> usize {
    let same = |x: char, y: char| x.eq_ignore_ascii_case(&y);
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = last[j - 1] + usize::from(!same(a[i - 1], b[j - 1]));
            let mut least = change.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]) {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_name_and_another_word_does_not() {
        let known = ["when", "that", "with", "message", "otherwise"];
        for (given, expected) in [
            ("wehn", Some("when")),
            ("When", Some("when")),
            ("mesage", Some("message")),
            ("otherwize", Some("otherwise")),
            ("foo", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, known), expected, "{given}");
        }
    }
}
