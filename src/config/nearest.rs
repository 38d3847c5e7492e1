//! Which word was meant.

/// The word that differs least from what was written, if it differs by no more than a third.
pub(super) fn nearest(written: &str, words: &[&'static str]) -> Option<&'static str> {
    let length = written.chars().count();
    let distance = |word: &&'static str| (edits(&written.to_lowercase(), word), *word);
    // No word is much longer than this, and the table of distances must stay small.
    let (edits, word) = words.iter().filter(|_| length <= 64).map(distance).min()?;
    (edits <= (length.max(word.len()) / 3).max(1)).then_some(word)
}

/// How many characters must be inserted, removed, replaced or exchanged with their neighbour (optimal string alignment).
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut least = replaced.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    least = least.min(table[i - 2][j - 2] + 1);
                }
                least
            };
        }
    }
    table[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_hand_find_the_word_that_was_meant() {
        let words = ["listen", "public_url", "admin_listen", "origins"];
        for (written, meant) in
            [("lisetn", "listen"), ("Listen", "listen"), ("publicurl", "public_url"), ("public-url", "public_url")]
        {
            assert_eq!(nearest(written, &words), Some(meant), "{written}");
        }
        for written in ["", "x", "certificate", "ünïcödé", &"listen".repeat(1000)] {
            assert_eq!(nearest(written, &words), None, "{written}");
        }
    }

    #[test]
    fn edits_are_counted() {
        for (a, b, count) in
            [("", "", 0), ("abc", "", 3), ("abc", "abd", 1), ("abc", "acb", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!((edits(a, b), edits(b, a)), (count, count), "{a} {b}");
        }
    }
}
