//! A small mutator: the same seed gives the same texts on any machine.

/// Values that are where rules begin and end.
const ODD: [&str; 24] = [
    "0",
    "1",
    "-1",
    "100",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "18446744073709551616",
    "1e3",
    "0.5",
    "~",
    "''",
    "'*'",
    "\"\\0\"",
    "[]",
    "{}",
    "yes",
    "::",
    "10.0.0.0/8",
    "a.b",
    "*.a.b",
    "&a [*a]",
    "!!int 3",
];

/// Random words, and texts made of other texts by them (xorshift64*, Vigna 2016).
#[derive(Debug)]
pub(crate) struct Mutator {
    state: u64,
}

impl Mutator {
    /// A mutator of its own sequence.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    /// A number below a bound; 0 if the bound is.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let word = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        (word as usize).checked_rem(bound).unwrap_or(0)
    }

    /// One of several.
    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// A text made of one of the corpus by a few steps, with pieces of others.
    pub(crate) fn text(&mut self, corpus: &[String]) -> String {
        let mut text = self.pick(corpus).clone();
        for _ in 0..=self.below(4) {
            text = self.step(&text, corpus);
        }
        text
    }

    fn step(&mut self, text: &str, corpus: &[String]) -> String {
        let lines: Vec<&str> = text.lines().collect();
        let at = self.below(lines.len());
        match self.below(9) {
            // A value is another one, or a word of another text.
            0..=2 => {
                let value = (*self.pick(&ODD)).to_owned();
                self.with_value(&lines, at, &value)
            }
            3 => {
                let other = self.pick(corpus).clone();
                let words: Vec<&str> = other.split_whitespace().collect();
                let value = if words.is_empty() { "x" } else { *self.pick(&words) };
                self.with_value(&lines, at, value)
            }
            // A line goes, comes twice, or comes from elsewhere.
            4 => {
                let (before, after) = lines.split_at(at);
                [before, after.get(1..).unwrap_or_default()].concat().join("\n")
            }
            5 => {
                let other = self.pick(corpus).clone();
                let others: Vec<&str> = other.lines().collect();
                let new = if others.is_empty() { "" } else { *self.pick(&others) };
                let (before, after) = lines.split_at(at);
                [before, &[new], after].concat().join("\n")
            }
            6 => {
                let (before, after) = lines.split_at(at);
                [before, &after[..1.min(after.len())], after].concat().join("\n")
            }
            // Two texts are one.
            7 => format!("{text}\n---\n{}", self.pick(corpus)),
            // A character is another one.
            _ => {
                let mut letters: Vec<char> = text.chars().collect();
                let index = self.below(letters.len());
                let letter =
                    *self.pick(&['\0', ' ', '\t', '\n', ':', '-', '{', '"', '#', '\u{1f600}', 'a', '9', '\u{85}']);
                if let Some(old) = letters.get_mut(index) {
                    *old = letter;
                }
                letters.into_iter().collect()
            }
        }
    }

    /// The lines with what stands behind the colon of one of them replaced.
    fn with_value(&mut self, lines: &[&str], at: usize, value: &str) -> String {
        let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let Some(line) = lines.get_mut(at) else { return value.to_owned() };
        let colons: Vec<usize> = line.match_indices(": ").map(|(index, _)| index).collect();
        if !colons.is_empty() {
            let colon = *self.pick(&colons);
            // Within a flow mapping only one value is replaced.
            let rest = &line[colon + 2..];
            let end = rest.find([',', '}', ']']).unwrap_or(rest.len());
            *line = format!("{}: {value}{}", &line[..colon], &rest[end..]);
        }
        lines.join("\n")
    }
}
