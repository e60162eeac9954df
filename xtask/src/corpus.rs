//! `cargo xtask corpus`: makes documents in every style, and writes down what kubectl takes them for.
//!
//! The reader of route files is held against these answers by a test that needs no kubectl. The documents come from a
//! fixed seed: the command makes the same file again, as far as kubectl is the same.

mod generate;
mod style;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Args;
use generate::Generator;
use serde_json::{Value, json};

use crate::step;

/// Where the test looks for it.
const CORPUS: &str = "tcpshift-agent/tests/corpus/kubectl.jsonl";
const DOCUMENTS: usize = 2_000;
const SEED: u64 = 14;

/// What answers.
#[derive(Args)]
pub(crate) struct Corpus {
    /// The kubectl that is asked
    #[arg(long, default_value = "kubectl")]
    kubectl: String,
}

impl Corpus {
    /// Makes the documents, asks kubectl for each, and writes the file; it takes some minutes.
    pub(crate) fn run(&self) -> Result<()> {
        let version = Command::new(&self.kubectl).args(["version", "--client", "-o", "json"]).output();
        let version: Value = serde_json::from_slice(&version.context("kubectl cannot be run")?.stdout)?;
        let version = &version["clientVersion"]["gitVersion"];
        step(&format!("{DOCUMENTS} documents, kubectl {version}"));
        let mut lines =
            vec![json!({"kubectl": version, "command": "kubectl annotate --local -f - x=y -o json", "seed": SEED})];
        let mut generator = Generator::new(SEED);
        let mut refused = 0;
        for _ in 0..DOCUMENTS {
            let text = generator.text();
            let answer = self.ask(&text)?;
            let values = values(&answer);
            refused += usize::from(values.is_none());
            lines.push(match values {
                Some(values) => json!({"text": text, "values": values}),
                None => json!({"text": text, "refused": reason(&answer)}),
            });
        }
        ensure!(lines.len() == DOCUMENTS + 1, "documents are missing");
        let lines: Vec<String> = lines.iter().map(|line| ascii(&line.to_string())).collect();
        if let Some(folder) = Path::new(CORPUS).parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(CORPUS, lines.join("\n") + "\n")?;
        println!("{CORPUS}: {} are taken, {refused} refused", DOCUMENTS - refused);
        Ok(())
    }

    fn ask(&self, text: &str) -> Result<Output> {
        let mut command = Command::new(&self.kubectl);
        command.args(["annotate", "--local", "-f", "-", "x=y", "-o", "json"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        // It may refuse the text before it has read all of it.
        drop(child.stdin.take().context("no standard input")?.write_all(text.as_bytes()));
        Ok(child.wait_with_output()?)
    }
}

/// JSON without a character that an editor could hide or break lines at.
fn ascii(json: &str) -> String {
    let escaped = |unit: &u16| format!("\\u{unit:04x}");
    let letter = |letter: char| match letter {
        ' '..='~' => letter.to_string(),
        _ => letter.encode_utf16(&mut [0; 2]).iter().map(escaped).collect(),
    };
    json.chars().map(letter).collect()
}

/// What is below `spec` in each object, if all were taken.
fn values(answer: &Output) -> Option<Vec<Value>> {
    if !answer.status.success() {
        return None;
    }
    let objects = serde_json::Deserializer::from_slice(&answer.stdout).into_iter::<Value>();
    let objects: Vec<Value> = objects.collect::<Result<_, _>>().ok()?;
    let items = objects.into_iter().flat_map(|object| match object {
        Value::Object(mut list) if list.get("kind") == Some(&json!("List")) => match list.remove("items") {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        other => vec![other],
    });
    Some(items.map(|mut object| object["spec"].take()).collect())
}

/// The first line of what was said, without the name of the file.
fn reason(answer: &Output) -> String {
    let said = String::from_utf8_lossy(&answer.stderr);
    let line = said.lines().next().unwrap_or_default();
    line.replace("error: ", "").replace("error parsing STDIN: ", "").replace("error converting YAML to JSON: ", "")
}
