//! docs/cli.md, made from the command line.

use std::fmt::Write as _;
use std::fs;

use clap::builder::StyledStr;
use clap::{Arg, Command};
use tcpshift_agent::cli;

use super::pages;

const PAGE: &str = "docs/cli.md";

const HEAD: &str = "\
# Command line

Made from the program by `cargo xtask docs`; `tcpshift-agent COMMAND --help` says the same.
[operations.md](operations.md) says how the commands are used together.

";

#[test]
fn the_page_is_what_the_command_line_is() {
    let path = pages::root().join(PAGE);
    let new = page();
    if std::env::var_os("WRITE_DOCS").is_some() {
        fs::write(path, new).unwrap();
        return;
    }
    let old = fs::read_to_string(path).unwrap_or_default();
    let differs = old.lines().zip(new.lines()).find(|(old, new)| old != new);
    assert!(old == new, "{PAGE} is not up to date, `cargo xtask docs` writes it: {differs:#?}");
}

fn page() -> String {
    let mut command = cli::command();
    command.build();
    let commands = commands(&command);
    let mut text = HEAD.to_owned();
    text.push_str("| command | |\n|---|---|\n");
    for (name, one) in &commands {
        let anchor = name.replace(' ', "-");
        writeln!(text, "| [`{name}`](#tcpshift-agent-{anchor}) | {} |", cell(one.get_about())).unwrap();
    }
    text.push_str("\n## tcpshift-agent\n\n");
    body(&mut text, &command, |_| true);
    for (name, one) in commands {
        write!(text, "## tcpshift-agent {name}\n\n").unwrap();
        body(&mut text, one, |argument| !argument.is_global_set());
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// Every command with its name, and those of a command behind it: `connections`, `connections close`.
pub(crate) fn commands(command: &Command) -> Vec<(String, &Command)> {
    let mut found = Vec::new();
    for one in command.get_subcommands().filter(|one| one.get_name() != "help") {
        found.push((one.get_name().to_owned(), one));
        let inside = commands(one).into_iter();
        found.extend(inside.map(|(name, inner)| (format!("{} {name}", one.get_name()), inner)));
    }
    found
}

/// What a command does, its usage, its arguments, and what stands below them.
fn body(text: &mut String, command: &Command, wanted: impl Fn(&Arg) -> bool) {
    let about = command.get_long_about().or(command.get_about()).map(StyledStr::to_string).unwrap_or_default();
    write!(text, "{}\n\n", sentence(&about)).unwrap();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    write!(text, "```text\n{usage}\n```\n\n").unwrap();
    let is_shown = |one: &&Arg| !one.is_hide_set() && one.get_id() != "help" && wanted(one);
    let mut arguments: Vec<&Arg> = command.get_arguments().filter(is_shown).collect();
    arguments.sort_by_key(|one| !one.is_positional());
    if !arguments.is_empty() {
        text.push_str("| | |\n|---|---|\n");
        for one in arguments {
            writeln!(text, "| {} | {} |", name(one), meaning(one)).unwrap();
        }
        text.push('\n');
    }
    if let Some(after) = command.get_after_long_help().or(command.get_after_help()) {
        write!(text, "```text\n{}\n```\n\n", after.to_string().trim_end()).unwrap();
    }
}

/// `-o`, `--output <FORMAT>`
fn name(argument: &Arg) -> String {
    let value = argument.get_value_names().filter(|_| argument.get_action().takes_values());
    let value = value.map(|names| names.iter().map(|name| format!("<{name}>")).collect::<Vec<_>>().join(" "));
    let value = value.unwrap_or_default();
    if argument.is_positional() {
        return format!("`{value}`");
    }
    let short = argument.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    let long = argument.get_long().unwrap_or_default();
    format!("{short}`{}`", format!("--{long} {value}").trim_end())
}

fn meaning(argument: &Arg) -> String {
    let mut said = vec![cell(argument.get_long_help().or(argument.get_help()))];
    let values = argument.get_possible_values();
    let has_values = argument.get_action().takes_values() && !argument.is_hide_possible_values_set();
    let values = values.iter().filter(|value| has_values && !value.is_hide_set());
    let values: Vec<String> = values
        .map(|value| match value.get_help() {
            Some(help) => format!("`{}`: {}", value.get_name(), cell(Some(help))),
            None => format!("`{}`", value.get_name()),
        })
        .collect();
    said.extend((!values.is_empty()).then(|| values.join("<br>")));
    let defaults: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if !defaults.is_empty() && argument.get_action().takes_values() && !argument.is_hide_default_value_set() {
        said.push(format!("Default: `{}`", defaults.join(" ")));
    }
    let variable = argument.get_env().map(|name| format!("Environment: `{}`", name.to_string_lossy()));
    said.extend(variable);
    said.join("<br>")
}

/// Text in a cell of a table.
fn cell(text: Option<&StyledStr>) -> String {
    let text = text.map(StyledStr::to_string).unwrap_or_default();
    text.trim().replace('|', "\\|").replace("\n\n", "<br>").replace('\n', " ")
}

/// An about of one line has no full stop at its end.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
}
