//! Go's duration texts, as Istio writes them: `10s`, `1m30s`, `250ms`.

use std::time::Duration;

/// Parses a duration that is not negative; a unit is required, but for `0`.
pub fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut nanos = 0f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let unit =
            rest[number..].find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(rest.len() - number);
        let value: f64 = rest[..number].parse().ok()?;
        let scale = match &rest[number..number + unit] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        nanos += value * scale;
        rest = &rest[number + unit..];
    }
    // Go holds 63 bits of nanoseconds.
    (nanos < 9.2e18).then(|| Duration::from_nanos(nanos.round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_parsed() {
        for (text, millis) in
            [("10s", 10_000), ("1m30s", 90_000), ("250ms", 250), ("1.5h", 5_400_000), ("0", 0), ("0s", 0)]
        {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "10", "s", "-1s", "1d", "1 s", ".s", "1e3s", "10 s", "99999999999h", "µ"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
