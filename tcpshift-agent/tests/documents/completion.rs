//! `tcpshift-agent completions SHELL` as a shell uses it.

use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tcpshift-agent");

fn script(shell: &str) -> String {
    let output = Command::new(PROGRAM).args(["completions", shell]).output().unwrap();
    assert!(output.status.success(), "{shell}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What bash offers for the last of these words, by the function that the script has registered.
fn offered(words: &[&str]) -> Vec<String> {
    let ask = format!(
        "{}\nCOMP_WORDS=({}); COMP_CWORD={}\n\
         $(complete -p tcpshift-agent | grep -o -e '-F [^ ]*' | cut -c4-) tcpshift-agent '{}' '{}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script("bash"),
        words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
        words.len() - 1,
        words[words.len() - 1],
        words[words.len() - 2],
    );
    let output = Command::new("bash").args(["-c", &ask]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_their_values() {
    assert_eq!(offered(&["tcpshift-agent", "shi"]), ["shift"]);
    assert_eq!(offered(&["tcpshift-agent", "run", "--on-ag"]), ["--on-agent-loss"]);
    assert_eq!(offered(&["tcpshift-agent", "run", "--on-agent-loss", ""]), ["keep", "first", "refuse"]);
}

#[test]
fn every_shell_has_a_script_with_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = script(shell);
        for command in tcpshift_agent::cli::command().get_subcommands() {
            assert!(script.contains(command.get_name()), "{shell} does not know {}", command.get_name());
        }
    }
}

#[test]
fn an_unknown_shell_is_a_wrong_command_line() {
    let output = Command::new(PROGRAM).args(["completions", "csh"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
