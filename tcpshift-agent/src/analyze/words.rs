//! Lists of names in sentences, none of them long.

use std::fmt::Display;

/// Names in a list, at most; one more where it is the last.
const MOST: usize = 4;

/// `a`, `a and b`, `a, b and c`; of a long list the first names and the number of the others.
pub(super) fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let mut items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.len() > MOST + 1 {
        let others = items.len() - MOST;
        items.truncate(MOST);
        items.push(format!("{others} others"));
    }
    match items.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut() {
        assert_eq!(list::<&str>([]), "");
        assert_eq!(list(["a"]), "a");
        assert_eq!(list(["a", "b", "c"]), "a, b and c");
        assert_eq!(list(1..=5), "1, 2, 3, 4 and 5");
        assert_eq!(list(1..=16), "1, 2, 3, 4 and 12 others");
    }
}
