//! What a machine's scenarios came to, held against what is expected of its kernel.

use anyhow::{Context, Result};
use serde_json::Value;

use super::exceptions::{EXCEPTIONS, Exception};
use super::version::Version;

/// What one scenario came to, as `scenarios run` says it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ScenarioVerdict {
    pub(crate) scenario: String,
    pub(crate) is_right: bool,
    pub(crate) seconds: f64,
    /// What was measured, or what went wrong.
    pub(crate) said: String,
}

/// A line that `scenarios run` prints.
#[derive(Debug)]
pub(crate) enum ScenarioLine {
    Verdict(ScenarioVerdict),
    /// What `doctor -o json` prints.
    Doctor(Value),
}

impl ScenarioLine {
    pub(crate) fn read(text: &str) -> Result<Self> {
        let mut line: Value = serde_json::from_str(text).with_context(|| format!("it says, and is no JSON: {text}"))?;
        if let Some(report) = line.get_mut("doctor") {
            return Ok(Self::Doctor(report.take()));
        }
        let text =
            |name: &str| line[name].as_str().map(str::to_owned).with_context(|| format!("a verdict has no {name}"));
        Ok(Self::Verdict(ScenarioVerdict {
            scenario: text("scenario")?,
            is_right: text("verdict")? == "right",
            seconds: line["seconds"].as_f64().context("a verdict has no seconds")?,
            said: text("said")?,
        }))
    }
}

/// A verdict, beside what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// It was to be right, and is.
    Right,
    /// It cannot be right on this kernel, and fails for the reason that is known.
    Expected(&'static str),
    /// It is wrong, and nothing is known of it.
    Wrong,
    /// It is listed as one that cannot be right, and is.
    RightAgain(&'static str),
    /// It is wrong for another reason than the one that is listed.
    Otherwise(&'static str),
}

impl Judged {
    /// Whether it is as it was expected.
    pub(crate) fn is_well(self) -> bool {
        matches!(self, Self::Right | Self::Expected(_))
    }
}

/// Holds a verdict against the list.
pub(crate) fn judge(kernel: Version, verdict: &ScenarioVerdict) -> Judged {
    judge_by(&EXCEPTIONS, kernel, verdict)
}

fn judge_by(exceptions: &[Exception], kernel: Version, verdict: &ScenarioVerdict) -> Judged {
    let listed: Vec<&Exception> =
        exceptions.iter().filter(|exception| exception.covers(kernel, &verdict.scenario)).collect();
    match listed[..] {
        [] if verdict.is_right => Judged::Right,
        [] => Judged::Wrong,
        [first, ..] if verdict.is_right => Judged::RightAgain(first.why),
        [first, ..] => match listed.iter().find(|exception| verdict.said.contains(exception.said)) {
            Some(exception) => Judged::Expected(exception.why),
            None => Judged::Otherwise(first.why),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: [Exception; 1] = [Exception {
        until: Version::new(5, 11, 999),
        scenarios: &["walk lookup *", "doctor"],
        said: "uses reserved fields",
        why: "atomics",
    }];

    fn verdict(scenario: &str, is_right: bool, said: &str) -> ScenarioVerdict {
        ScenarioVerdict { scenario: scenario.to_owned(), is_right, seconds: 1.0, said: said.to_owned() }
    }

    #[test]
    fn the_list_is_wrong_either_way() {
        let (old, new) = (Version::new(5, 10, 262), Version::new(6, 1, 192));
        let judged = |kernel, scenario, is_right, said| judge_by(&LIST, kernel, &verdict(scenario, is_right, said));
        assert_eq!(judged(new, "walk lookup v4", true, ""), Judged::Right);
        assert_eq!(judged(new, "walk lookup v4", false, "uses reserved fields"), Judged::Wrong);
        assert_eq!(judged(old, "walk proxy v4", false, "uses reserved fields"), Judged::Wrong);
        for scenario in ["walk lookup v4", "walk lookup v6", "doctor"] {
            assert_eq!(judged(old, scenario, false, "it uses reserved fields"), Judged::Expected("atomics"));
            assert_eq!(judged(old, scenario, true, ""), Judged::RightAgain("atomics"));
            assert_eq!(judged(old, scenario, false, "no memory"), Judged::Otherwise("atomics"));
        }
        assert_eq!(judged(old, "doctor short", false, "uses reserved fields"), Judged::Wrong);
    }

    #[test]
    fn lines_are_read() {
        let line = r#"{"scenario":"auto","verdict":"late","seconds":60.5,"said":"why"}"#;
        let ScenarioLine::Verdict(found) = ScenarioLine::read(line).unwrap() else { panic!("{line}") };
        assert_eq!(found, ScenarioVerdict { seconds: 60.5, ..verdict("auto", false, "why") });
        assert!(
            matches!(ScenarioLine::read(r#"{"doctor":{"works":true}}"#).unwrap(), ScenarioLine::Doctor(report) if report["works"] == true)
        );
        assert!(ScenarioLine::read("[  12.3] a line of the kernel").is_err());
    }
}
