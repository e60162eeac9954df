//! Quantities as texts: shares, durations, sizes, seeds, ages.

use std::time::Duration;

use jiff::Timestamp;

use crate::route::duration;

/// A number of things: `1 listener`, `2 listeners`.
pub(super) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Reads a share in percent, `30`, `12.5` or `0.01%`, as slots: hundredths of a percent.
pub(super) fn share(text: &str) -> Result<u32, String> {
    let malformed = || format!("`{text}` is no share: write a percentage from 0 to 100, as 20, 12.5 or 0.01");
    let number = text.strip_suffix('%').unwrap_or(text);
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return Err(malformed());
    }
    if part.len() > 2 {
        return Err(format!("`{text}` is finer than tcpshift divides: a share has two decimals at most"));
    }
    let whole: u32 = whole.parse().map_err(|_| malformed())?;
    let part: u32 = format!("{part:0<2}").parse().map_err(|_| malformed())?;
    whole
        .checked_mul(100)
        .and_then(|slots| slots.checked_add(part))
        .filter(|slots| *slots <= 10_000)
        .ok_or_else(malformed)
}

/// Writes slots as a percentage, `20 %` or `12.5 %`.
pub(super) fn percent(slots: u32) -> String {
    let (whole, part) = (slots / 100, slots % 100);
    match part {
        0 => format!("{whole} %"),
        part if part % 10 == 0 => format!("{whole}.{} %", part / 10),
        part => format!("{whole}.{part:02} %"),
    }
}

/// Reads a duration, as `10s`, `1m30s` or `500ms`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    duration::parse(text)
        .ok_or_else(|| format!("`{text}` is no duration: write it with units (h, m, s, ms), as 10s, 1m30s or 500ms"))
}

/// Reads a number of bytes, as `256MiB` or `1G`: suffixes are powers of 1,024, with and without `iB`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let malformed = || format!("`{text}` is no size: write bytes, or with a unit (K, M, G, T), as 256M or 1GiB");
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text[digits.len()..].strip_suffix("iB").unwrap_or(&text[digits.len()..]) {
        "" if text.len() == digits.len() => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(malformed()),
    };
    if digits.starts_with('+') {
        return Err(malformed());
    }
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)).ok_or_else(malformed)
}

/// A number of bytes in three digits or four: `999`, `1.5K`, `23M`; units are powers of 1,024.
pub(super) fn bytes(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "");
    for next in ["K", "M", "G", "T", "P", "E"] {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit.is_empty() || value >= 9.95 { format!("{value:.0}{unit}") } else { format!("{value:.1}{unit}") }
}

/// Reads a seed, decimal or hexadecimal behind `0x`.
pub(super) fn seed(text: &str) -> Result<u64, String> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if digits.starts_with('+') => None,
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None if text.starts_with('+') => None,
        None => text.parse().ok(),
    }
    .ok_or_else(|| format!("`{text}` is no seed: write a number below 2^64, decimal or as 0x1f"))
}

/// How long ago a moment was, as kubectl writes it; `<unknown>` if it is not known.
pub(super) fn age(since: Option<&str>, now: Timestamp) -> String {
    let Some(since) = since.and_then(|since| since.parse::<Timestamp>().ok()) else { return "<unknown>".to_owned() };
    let seconds = now.duration_since(since).as_secs();
    match u64::try_from(seconds) {
        Ok(seconds) => short(seconds),
        // Clocks differ a little.
        Err(_) if seconds >= -1 => "0s".to_owned(),
        Err(_) => "<invalid>".to_owned(),
    }
}

/// A number of seconds in one or two units, fewer the longer it is: `90s`, `5m10s`, `3h20m`, `2d3h`, `4y12d`.
pub(super) fn short(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let two = |large: u64, unit: char, small: u64, small_unit: char| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small}{small_unit}"),
    };
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        two(minutes, 'm', seconds % 60, 's')
    } else if hours < 3 {
        format!("{minutes}m")
    } else if hours < 8 {
        two(hours, 'h', minutes % 60, 'm')
    } else if days < 2 {
        format!("{hours}h")
    } else if days < 8 {
        two(days, 'd', hours % 24, 'h')
    } else if years < 2 {
        format!("{days}d")
    } else if years < 8 {
        two(years, 'y', days % 365, 'd')
    } else {
        format!("{years}y")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        let read = ["0", "4096", "2K", "256MiB", "1G", "1TiB"].map(|text| size(text).unwrap());
        assert_eq!(read, [0, 4096, 2048, 256 << 20, 1 << 30, 1 << 40]);
        for malformed in ["", "M", "iB", "1iB", "1MB", "1m", "+1M", "-1", "1.5G", "99999999T", "1 M", "１M"] {
            assert!(size(malformed).is_err(), "{malformed}");
        }
    }

    #[test]
    fn bytes_are_written_short() {
        let written = [0, 999, 1000, 1024, 1536, 10_240, 1 << 20, 1_048_575, 5 << 40, u64::MAX].map(bytes);
        assert_eq!(written, ["0", "999", "1.0K", "1.0K", "1.5K", "10K", "1.0M", "1.0M", "5.0T", "16E"]);
    }

    #[test]
    fn shares_are_read_exactly() {
        let read =
            ["30", "30%", "0.5", "0.01", "12.25%", "100", "100.00", "0", "007.5"].map(|text| share(text).unwrap());
        assert_eq!(read, [3000, 3000, 50, 1, 1225, 10_000, 10_000, 0, 750]);
        for malformed in
            ["", "%", "-1", "+1", "101", "100.01", "1.234", "1,5", "1.", ".5", "1e1", "v2", "99999999999", "１"]
        {
            assert!(share(malformed).is_err(), "{malformed}");
        }
    }

    #[test]
    fn shares_are_written_short() {
        assert_eq!([0, 1, 50, 1225, 8000, 10_000].map(percent), ["0 %", "0.01 %", "0.5 %", "12.25 %", "80 %", "100 %"]);
    }

    #[test]
    fn one_thing_is_not_several() {
        assert_eq!([0, 1, 2].map(|number| count(number, "object")), ["0 objects", "1 object", "2 objects"]);
    }

    #[test]
    fn durations_have_units() {
        let read = ["10s", "1m30s", "500ms", "0s", "2h"].map(|text| duration(text).unwrap().as_millis());
        assert_eq!(read, [10_000, 90_000, 500, 0, 7_200_000]);
        for malformed in ["", "30", "s", "-1s", "PT30S", "1d", "10 s ago", "99999999999999999999h"] {
            assert!(duration(malformed).is_err(), "{malformed}");
        }
    }

    #[test]
    fn seeds_are_decimal_or_hexadecimal() {
        assert_eq!(["0", "42", "0x1F", "18446744073709551615"].map(|text| seed(text).unwrap()), [0, 42, 31, u64::MAX]);
        for malformed in ["", "0x", "+1", "0x+1", "-1", "1f", "18446744073709551616"] {
            assert!(seed(malformed).is_err(), "{malformed}");
        }
    }

    #[test]
    fn ages_are_kubectls() {
        let (minute, hour, day) = (60, 3600, 86_400);
        let cases = [
            (0, "0s"),
            (119, "119s"),
            (2 * minute, "2m"),
            (2 * minute + 1, "2m1s"),
            (10 * minute + 59, "10m"),
            (179 * minute, "179m"),
            (3 * hour, "3h"),
            (7 * hour + 59 * minute, "7h59m"),
            (8 * hour + 59 * minute, "8h"),
            (47 * hour, "47h"),
            (2 * day, "2d"),
            (7 * day + 23 * hour, "7d23h"),
            (8 * day + hour, "8d"),
            (729 * day, "729d"),
            (730 * day, "2y"),
            (731 * day, "2y1d"),
            (8 * 365 * day + day, "8y"),
        ];
        for (seconds, written) in cases {
            assert_eq!(short(seconds), written);
        }
        let now: Timestamp = "2024-08-01T12:00:00Z".parse().unwrap();
        assert_eq!(age(Some("2024-08-01T11:59:00Z"), now), "60s");
        assert_eq!(age(Some("2024-08-01T12:00:01Z"), now), "0s");
        assert_eq!(age(Some("2024-08-01T13:00:00Z"), now), "<invalid>");
        assert_eq!(age(Some("yesterday"), now), "<unknown>");
        assert_eq!(age(None, now), "<unknown>");
    }
}
