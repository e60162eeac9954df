//! Words that are nearly those that are known.

/// The known word that differs least from a written one; none if it is too different.
pub fn closest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if written.len() > 64 {
        return None;
    }
    let written = written.to_lowercase();
    let near =
        known.map(|word| (distance(&written, &word.to_lowercase()), word)).min_by_key(|(distance, _)| *distance)?;
    (near.0 <= 1 + near.1.len() / 4).then_some(near.1)
}

/// Letters to change, insert or remove to make one word of the other (Levenshtein).
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}
