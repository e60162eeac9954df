//! The commands that documents show, run as they stand there; what they print is what is shown.
//!
//! Of README.md, docs/operations.md and docs/bpf.md every fence of the language `console` is run in order. A line that begins with `$ `
//! is a command, the lines below it are what it prints: each is found, in this order, `…` standing for anything.

use std::path::PathBuf;
use std::process::Command;

use tcpshift_tests::agent::{Agent, socket_word};
use tcpshift_tests::client::{ENTRANCE, refused};
use tcpshift_tests::echo::both_versions;
use tcpshift_tests::example::example_file;
use tcpshift_tests::process::{built, grouped, run};
use tcpshift_tests::until::seconds;
use tcpshift_tests::world::World;

/// As an agent is by default, where the kernel can decide.
const USUAL: [&str; 4] = ["--assign", "kernel", "--datapath", "auto"];

/// A command, and what it prints.
#[derive(Debug, Default)]
struct Shown {
    line: usize,
    command: String,
    printed: Vec<String>,
}

#[test]
fn the_task_of_the_readme_goes_as_it_is_written() {
    let world = World::new();
    let _versions = both_versions(&world);
    let _agent = Agent::start(&world, &USUAL);
    let count = walk(&world, "README.md");
    assert!(count >= 10, "README.md shows only {count} commands");
    assert!(refused(ENTRANCE), "all is deleted, and the port is open");
}

#[test]
fn operations_print_what_the_documents_show() {
    let world = World::new();
    let _versions = both_versions(&world);
    let _agent = Agent::start(&world, &USUAL);
    assert!(walk(&world, "docs/operations.md") >= 5);
}

#[test]
fn bpftool_prints_what_the_documents_show() {
    let world = World::new();
    let _versions = both_versions(&world);
    let agent = Agent::start(&world, &USUAL);
    for file in ["services.yaml", "workload-entries.yaml", "all-v1.yaml", "20-v2.yaml"] {
        agent.apply_file(&example_file(file));
    }
    assert!(walk(&world, "docs/bpf.md") >= 2);
}

#[test]
fn the_service_of_docs_datapaths_is_reached_by_its_address() {
    let world = World::new();
    let _versions = both_versions(&world);
    let mesh = root().join("examples/mesh");
    let arguments = [mesh.as_os_str(), "--cgroup".as_ref(), world.cgroup().as_os_str()];
    let usual = USUAL.map(AsRef::as_ref);
    let _agent = Agent::start(&world, &[&arguments[..], &usual[..]].concat());
    let hosts = run(shell(&world, "tcpshift-agent hosts"), b"", seconds(20)).expect(0);
    assert!(hosts.stdout.contains("240.0.0.10 echo.example.com"), "{}", hosts.stdout);
    for _ in 0..10 {
        let client = grouped(world.cgroup(), &shell(&world, "date | nc -N 240.0.0.10 9000"));
        let answer = run(client, b"", seconds(20)).expect(0).stdout;
        assert!(answer.starts_with("one ") || answer.starts_with("two "), "{answer:?}");
    }
}

/// Runs all commands of a document, and returns how many there are.
#[track_caller]
fn walk(world: &World, path: &str) -> usize {
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    let all = shown(&text);
    for one in &all {
        let output = run(shell(world, &one.command), b"", seconds(60));
        assert_eq!(output.status, 0, "{path}:{}: {}: {output:?}", one.line, one.command);
        if let Err(missing) = printed(&one.printed, &output.stdout) {
            panic!("{path}:{}: `{}` does not print {missing:?}, but:\n{}", one.line, one.command, output.stdout);
        }
    }
    all.len()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A line as a person types it in the folder of the repository, with the agent's programs in PATH.
fn shell(world: &World, line: &str) -> Command {
    let programs = built("tcpshift-agent").parent().unwrap().to_owned();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    // The tests are root already, and sudo need not be there.
    command.args(["-c", line.trim_start_matches("sudo ")]).current_dir(root());
    command.env("PATH", path).env("TCPSHIFT_ADMIN", socket_word(world, "agent"));
    command
}

/// The commands of all fences of the language `console`.
fn shown(text: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    let mut is_console = false;
    for (index, line) in text.lines().enumerate() {
        let goes_on = all.last().is_some_and(|last| last.command.ends_with('\\'));
        if let Some(language) = line.strip_prefix("```") {
            is_console = language == "console";
        } else if !is_console {
        } else if let Some(command) = line.strip_prefix("$ ") {
            all.push(Shown { line: index + 1, command: command.to_owned(), printed: Vec::new() });
        } else if let Some(last) = all.last_mut() {
            if goes_on {
                last.command.pop();
                last.command.push_str(line.trim_start());
            } else {
                last.printed.push(line.to_owned());
            }
        }
    }
    all
}

/// Whether lines are found in a text in their order; else the first that is not.
fn printed<'a>(lines: &'a [String], text: &str) -> Result<(), &'a str> {
    let mut left = text.lines();
    for line in lines {
        if !left.any(|printed| fits(line, printed)) {
            return Err(line);
        }
    }
    Ok(())
}

/// Whether a line is what is shown, however wide its blanks are, with anything in the place of `…`.
fn fits(shown: &str, printed: &str) -> bool {
    let narrow = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (shown, printed) = (narrow(shown), narrow(printed));
    let mut parts = shown.split('…');
    let Some(mut rest) = printed.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    rest.is_empty() || last.is_some_and(|last| last.is_empty() || printed.ends_with(last))
}

#[test]
fn what_is_shown_is_told_from_what_is_printed() {
    let all = shown("```console\n$ a \\\n    b\nc …\n$ d\n```\n```sh\n$ e\n```\n");
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!((all[0].command.as_str(), all[0].printed.as_slice()), ("a b", &["c …".to_owned()][..]));
    for (pattern, line, is_so) in [
        ("one …", "one Tue Nov 24", true),
        ("… one", "     80 one", true),
        ("… one", "     80 one two", false),
        ("a …/v1 80", "a  b/v1   80", true),
        ("…", "", true),
        ("a", "a b", false),
    ] {
        assert_eq!(fits(pattern, line), is_so, "{pattern:?} {line:?}");
    }
    let lines = ["a".to_owned(), "c".to_owned()];
    assert_eq!(printed(&lines, "a\nb\nc\n"), Ok(()));
    assert_eq!(printed(&lines, "c\na\n"), Err("c"));
}
