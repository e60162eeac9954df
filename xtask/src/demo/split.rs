//! The split that clients see: many connections, who answered, and how sure that makes us.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How often progress is told.
const PROGRESS: u32 = 250;

/// Connections counted by who answered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Split {
    one: u32,
    two: u32,
}

/// Sends one line over one new connection, and returns the line that is answered.
pub(super) fn ask(port: u16) -> io::Result<String> {
    let patience = Duration::from_secs(10);
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"hello\n")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer"));
    }
    Ok(answer.trim_end().to_owned())
}

impl Split {
    /// Sends connections one after the other and counts who answers.
    pub(super) fn measure(port: u16, connections: u32) -> Result<Self> {
        let mut split = Self::default();
        for number in 1..=connections {
            let answer = ask(port).with_context(|| format!("connection {number} of {connections}"))?;
            match answer.split(' ').next() {
                Some("one") => split.one += 1,
                Some("two") => split.two += 1,
                _ => bail!("connection {number} was answered by nobody we know: {answer}"),
            }
            if number % PROGRESS == 0 || number == connections {
                println!("{number} of {connections} connections: {} one, {} two", split.one, split.two);
            }
        }
        Ok(split)
    }

    fn count(self) -> f64 {
        f64::from(self.one + self.two)
    }

    /// The share of v2.
    pub(super) fn share(self) -> f64 {
        f64::from(self.two) / self.count()
    }

    /// Whether the share is as near to the one asked for as chance makes it, in standard deviations.
    pub(super) fn within(self, asked: f64, sigmas: f64) -> bool {
        let deviation = (asked * (1.0 - asked) / self.count()).sqrt();
        (self.share() - asked).abs() <= sigmas * deviation + 0.5 / self.count()
    }

    /// The score interval of 95 % (Wilson 1927) for a share `p` of these connections.
    fn interval(self, p: f64) -> (f64, f64) {
        let (z, n) = (1.959_963_984_540_054_f64, self.count());
        let middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
        let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
        (middle - half, middle + half)
    }

    /// Asked for and measured, side by side.
    pub(super) fn table(self, asked: f64) -> String {
        let mut table = format!(
            "{:<8} {:>9} {:>9} {:>16} {:>12}\n",
            "VERSION", "ASKED", "MEASURED", "95 % INTERVAL", "CONNECTIONS"
        );
        for (name, asked, share, count) in
            [("v1", 1.0 - asked, 1.0 - self.share(), self.one), ("v2", asked, self.share(), self.two)]
        {
            let (low, high) = self.interval(share);
            let interval = format!("{:.1} to {:.1} %", low * 100.0, high * 100.0);
            writeln!(table, "{name:<8} {:>7.1} % {:>7.1} % {interval:>16} {count:>12}", asked * 100.0, share * 100.0)
                .expect("a string takes all");
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_told_from_error() {
        assert!(Split { one: 800, two: 200 }.within(0.2, 5.0));
        assert!(Split { one: 760, two: 240 }.within(0.2, 5.0));
        assert!(!Split { one: 700, two: 300 }.within(0.2, 5.0));
        let (low, high) = Split { one: 800, two: 200 }.interval(0.2);
        assert!((low - 0.1764).abs() < 0.001 && (high - 0.2259).abs() < 0.001, "{low} {high}");
    }
}
