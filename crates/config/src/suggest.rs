//! "Did you mean": the known word that a mistyped one is nearest to.

/// Longest word that is compared, in characters; what is longer is no typing error.
const WORD_MAX: usize = 40;

/// Help with the nearest of `known`, if one is near.
pub(crate) fn did_you_mean<'a>(
    text: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    if text.chars().count() > WORD_MAX {
        return None;
    }
    let near = known
        .into_iter()
        .map(|word| {
            (
                distance(text, word).min(distance_to_singular(text, word)),
                word,
            )
        })
        .filter(|(distance, word)| *distance <= limit(text.len().max(word.len())))
        .min_by_key(|(distance, _)| *distance);
    near.map(|(_, word)| format!("did you mean `{word}`?"))
}

/// `policy` is three letters away from `policies`, but one thought.
fn distance_to_singular(text: &str, word: &str) -> usize {
    let stem = word.strip_suffix("ies");
    stem.map_or(usize::MAX, |stem| {
        distance(text, &format!("{stem}y")).saturating_add(1)
    })
}

/// A third of a word may be wrong.
fn limit(length: usize) -> usize {
    (length / 3).max(1)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words
/// (optimal string alignment).
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().flat_map(char::to_lowercase).collect();
    let to: Vec<char> = to.chars().flat_map(char::to_lowercase).collect();
    let mut before_last = vec![0; to.len().saturating_add(1)];
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, a) in from.iter().enumerate() {
        let mut current = vec![row.saturating_add(1)];
        for (column, b) in to.iter().enumerate() {
            let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX);
            let left = at(&current, column).saturating_add(1);
            let above = at(&last, column.saturating_add(1)).saturating_add(1);
            let diagonal = at(&last, column).saturating_add(usize::from(a != b));
            let is_swap = row > 0
                && column > 0
                && from.get(row.saturating_sub(1)) == Some(b)
                && to.get(column.saturating_sub(1)) == Some(a);
            let swap = if is_swap {
                at(&before_last, column.saturating_sub(1)).saturating_add(1)
            } else {
                usize::MAX
            };
            current.push(left.min(above).min(diagonal).min(swap));
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_and_only_if_it_is_near() {
        let known = ["target", "targets", "hosts", "match", "policies"];
        let meant = |text| did_you_mean(text, known);
        assert_eq!(meant("tagret").as_deref(), Some("did you mean `target`?"));
        assert_eq!(meant("Host").as_deref(), Some("did you mean `hosts`?"));
        assert_eq!(meant("mtach").as_deref(), Some("did you mean `match`?"));
        assert_eq!(meant("policy").as_deref(), Some("did you mean `policies`?"));
        assert_eq!(meant("Polcy").as_deref(), Some("did you mean `policies`?"));
        assert_eq!(meant("upstreams"), None);
        assert_eq!(meant(&"x".repeat(100_000)), None);
    }

    #[test]
    fn distances_are_symmetric() {
        for (a, b, expected) in [("", "abc", 3), ("ab", "ba", 1), ("kitten", "sitting", 3)] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }
}
