//! Man pages, made from the command line: one for the program, and one for each command.

use std::fs;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;
use tcpshift_agent::cli;

use super::reference;

#[test]
fn every_command_has_a_page_with_all_of_its_options() {
    let pages = pages();
    let (mut command, connections) = (cli::command(), file("connections close"));
    command.build();
    let commands = reference::commands(&command);
    assert_eq!(pages.len(), 1 + commands.len());
    assert!(pages.iter().any(|(name, _)| *name == connections), "{connections} is missing");
    for (name, text) in &pages {
        assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{name}");
    }
    for (name, command) in commands {
        let (_, text) = pages.iter().find(|(page, _)| *page == file(&name)).unwrap();
        for option in command.get_arguments().filter(|one| !one.is_hide_set()).filter_map(|one| one.get_long()) {
            let option = option.replace('-', "\\-");
            assert!(text.contains(&format!("\\-\\-{option}")), "{name}: --{option} is missing");
        }
    }
    if let Some(folder) = std::env::var_os("MAN_PAGES") {
        let folder = Path::new(&folder);
        fs::create_dir_all(folder).unwrap();
        for (name, text) in pages {
            fs::write(folder.join(name), text).unwrap();
        }
    }
}

/// Names of files, and what is in them.
fn pages() -> Vec<(String, String)> {
    let mut command = cli::command();
    command.build();
    let mut pages = vec![("tcpshift-agent.1".to_owned(), rendered(command.clone()))];
    let commands = reference::commands(&command).into_iter();
    pages.extend(commands.map(|(name, one)| (file(&name), rendered(one.clone()))));
    pages
}

fn file(command: &str) -> String {
    format!("tcpshift-agent-{}.1", command.replace(' ', "-"))
}

fn rendered(command: Command) -> String {
    // No date: the same command line gives the same page.
    let mut page = Vec::new();
    Man::new(command).date("").source("tcpshift").manual("tcpshift").render(&mut page).unwrap();
    String::from_utf8(page).unwrap()
}
