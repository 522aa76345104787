//! Lists and names in sentences: bounded, whatever a traced program has made of them.

use super::{shorten, units};

/// How many items of a list are named. The others are counted.
const MOST_NAMED: usize = 4;
/// The most columns of one name in a sentence. Longer paths are in the objects of the report, uncut.
const LONGEST_NAME: usize = 256;

/// A name or a path in a sentence: on one line, and cut if it is long.
#[must_use]
pub fn name(text: &str) -> String {
    shorten(text, LONGEST_NAME)
}

/// A list in words, with `between` between its items: `a, b, c, d and 41,896 more`. Each item is on one line
/// and cut if it is longer than a name with a few words. Every list that becomes a part of a sentence is written by this
/// function or by [`list_of`].
#[must_use]
pub fn list<T: AsRef<str>>(items: impl IntoIterator<Item = T>, between: &str) -> String {
    list_of(items, MOST_NAMED, between)
}

/// The same with at most `most` named items.
#[must_use]
pub fn list_of<T: AsRef<str>>(
    items: impl IntoIterator<Item = T>,
    most: usize,
    between: &str,
) -> String {
    let mut items = items.into_iter();
    let named = items.by_ref().take(most).map(|item| shorten(item.as_ref(), 2 * LONGEST_NAME));
    let named = named.collect::<Vec<_>>().join(between);
    match items.count() as u64 {
        0 => named,
        more => format!("{named} and {} more", units::grouped(more)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut_and_its_rest_is_counted() {
        assert_eq!(list(["a"; 0], ", "), "");
        assert_eq!(list(["a", "b"], " and "), "a and b");
        assert_eq!(list(["a"; 4], ", "), "a, a, a, a");
        assert_eq!(list(std::iter::repeat_n("a", 41_900), ", "), "a, a, a, a and 41,896 more");
    }

    #[test]
    fn a_long_item_is_cut_and_stays_on_its_line() {
        let shown = list(["one\ntwo".to_owned(), "x".repeat(5_000)], ", ");
        assert!(shown.starts_with("one\\ntwo, xxx") && shown.ends_with('…'), "{shown}");
        assert!(shown.chars().count() < 3 * LONGEST_NAME);
    }
}
