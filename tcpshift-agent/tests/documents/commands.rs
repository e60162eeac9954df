//! Every command line of `tcpshift-agent` that a document shows is one that the program takes.

use clap::error::ErrorKind;
use tcpshift_agent::cli;

use super::pages;

#[test]
fn every_command_line_is_understood() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for page in pages::all() {
        let mut in_fence = false;
        for (index, line) in page.text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                in_fence = !in_fence;
                continue;
            }
            let shown = if in_fence || line.starts_with("    ") { vec![line] } else { inline(line) };
            for words in shown.into_iter().filter_map(words) {
                count += 1;
                if let Err(why) = understood(&words) {
                    wrong.push(format!("{}:{}: {}: {why}", page.path, index + 1, words.join(" ")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 50, "only {count} command lines were found");
}

#[test]
fn a_command_line_is_found_in_what_is_shown() {
    let of = |line: &str| words(line).map(|words| words.join("|"));
    assert_eq!(of("    sudo tcpshift-agent run a b   # c"), Some("tcpshift-agent|run|a|b".to_owned()));
    assert_eq!(of("$ tcpshift-agent get -A -o yaml > x"), Some("tcpshift-agent|get|-A|-o|yaml".to_owned()));
    assert_eq!(of("cd x && tcpshift-agent get vs 'a b' | wc"), Some("tcpshift-agent|get|vs|a b".to_owned()));
    assert_eq!(of("tcpshift-agent run   from what was applied"), Some("tcpshift-agent|run".to_owned()));
    assert_eq!(of("the tcpshift-agent runs"), None);
    assert_eq!(of("tcpshift-agent run [OPTIONS] [PATH]..."), None);
    assert!(understood(&words("tcpshift-agent run --nonsense").unwrap()).is_err());
    assert_eq!(inline("`tcpshift-agent get` and `run --cgroup DIR`"), ["tcpshift-agent get"]);
}

/// What stands between backticks and is a whole command.
fn inline(line: &str) -> Vec<&str> {
    let code = line.split('`').skip(1).step_by(2);
    // `tcpshift-agent COMMAND --help` stands for all of them.
    code.filter(|code| code.starts_with("tcpshift-agent ") && !code.contains("COMMAND")).collect()
}

/// The words of the command of `tcpshift-agent` in a line, if it has one, up to a comment, a pipe, a redirection or an
/// explanation behind two blanks.
fn words(line: &str) -> Option<Vec<String>> {
    let line = line.trim().trim_start_matches("$ ");
    let line = line.rsplit_once("&& ").map_or(line, |(_, last)| last).trim_start_matches("sudo ");
    // A usage stands for any command line.
    if !line.starts_with("tcpshift-agent ") || line.contains("[OPTIONS]") {
        return None;
    }
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for letter in line.split("  ").next()?.chars() {
        match (letter, quote) {
            ('\'' | '"', None) => quote = Some(letter),
            (letter, Some(end)) if letter == end => quote = None,
            ('#' | '|' | '>' | '<' | '&' | ';', None) => break,
            (' ', None) => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
            (letter, _) => word.push(letter),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    Some(words)
}

fn understood(words: &[String]) -> Result<(), String> {
    match cli::command().try_get_matches_from(words) {
        Ok(_) => Ok(()),
        Err(error) if [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion].contains(&error.kind()) => Ok(()),
        Err(error) => Err(error.to_string().lines().next().unwrap_or_default().to_owned()),
    }
}
