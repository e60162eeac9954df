//! Documents: links lead somewhere, README is short, and source files and tests that are named exist.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

use crate::source::SourceFile;

/// README is read by somebody who does not know yet whether to go on.
const README_LINES: usize = 160;

/// Documents that name tests as proof.
const PROVEN: [&str; 2] = ["docs/limits.md", "SECURITY.md"];

/// Where a path may begin that a document names.
const ROOTS: [&str; 4] = ["", "tcpshift-agent/", "tcpshift-agent/src/", "tcpshift-ebpf/src/"];

/// A name in code with so many underscores is one of a test.
const UNDERSCORES: usize = 3;

/// Texts of documents by their paths from the folder of the workspace.
type Texts = BTreeMap<String, String>;

/// Every problem of the documents of a workspace.
pub(super) fn documents(workspace: &Path, sources: &[SourceFile]) -> Result<Vec<String>> {
    let mut texts = Texts::new();
    collect(workspace, workspace, &mut texts)?;
    let is_there = |path: &str| workspace.join(path).exists();
    let mut problems = links(&texts, &is_there);
    problems.extend(long_readme(texts.get("README.md").map_or("", String::as_str)));
    problems.extend(unproven(&texts, sources));
    problems.extend(misplaced(&texts, &is_there));
    Ok(problems)
}

fn collect(workspace: &Path, folder: &Path, texts: &mut Texts) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            collect(workspace, &path, texts)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let inside = path.strip_prefix(workspace).unwrap_or(&path);
            texts.insert(inside.to_string_lossy().into_owned(), text);
        }
    }
    Ok(())
}

/// Links to files and headings that are not there.
fn links(texts: &Texts, is_there: &dyn Fn(&str) -> bool) -> Vec<String> {
    let anchors: HashMap<&str, BTreeSet<String>> =
        texts.iter().map(|(path, text)| (path.as_str(), anchors(text))).collect();
    let mut problems = Vec::new();
    for (path, text) in texts {
        for (line, prose) in prose(text) {
            for target in targets(&prose) {
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
                let wanted = if file.is_empty() { Some(path.clone()) } else { resolved(path, file) };
                let fault = match wanted {
                    Some(wanted) if is_there(&wanted) => match anchors.get(wanted.as_str()) {
                        Some(anchors) if !anchor.is_empty() && !anchors.contains(anchor) => "has no such heading",
                        None if !anchor.is_empty() => "is no document with headings",
                        _ => continue,
                    },
                    Some(_) => "is not there",
                    None => "is outside of the repository",
                };
                problems.push(format!("{path}:{line}: the link to {target}: it {fault}"));
            }
        }
    }
    problems
}

/// Where a link of a document leads, from the folder of the workspace; none if it leads out of it.
fn resolved(from: &str, link: &str) -> Option<String> {
    let mut path = PathBuf::from(from).parent().map(Path::to_owned).unwrap_or_default();
    for component in Path::new(link).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::ParentDir if path.pop() => {}
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(path.to_string_lossy().into_owned())
}

/// Lines outside of fences, by number, with code between backticks blanked out.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut is_fenced = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        } else if !is_fenced && !line.starts_with("    ") {
            lines.push((index + 1, without_code(line)));
        }
    }
    lines
}

/// A line without what stands between backticks, however many they are.
fn without_code(line: &str) -> String {
    let (mut kept, mut rest) = (String::new(), line);
    while let Some(begin) = rest.find('`') {
        let ticks = rest[begin..].chars().take_while(|letter| *letter == '`').count();
        kept.push_str(&rest[..begin]);
        let inside = &rest[begin + ticks..];
        let Some(end) = inside.find(&"`".repeat(ticks)) else { return kept + inside };
        rest = &inside[end + ticks..];
    }
    kept + rest
}

/// What the links of a line lead to: `[text](target)`.
fn targets(line: &str) -> Vec<&str> {
    line.match_indices("](").filter_map(|(at, mark)| line[at + mark.len()..].split(')').next()).collect()
}

/// The names that GitHub gives to the headings of a document.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut is_fenced = false;
    for line in text.lines() {
        is_fenced ^= line.trim_start().starts_with("```");
        let title = line.trim_start_matches('#');
        let level = line.len() - title.len();
        if is_fenced || !(1..=6).contains(&level) || !title.starts_with(' ') {
            continue;
        }
        let name = anchor(title.trim());
        let mut number = 0;
        let mut unique = name.clone();
        while !found.insert(unique.clone()) {
            number += 1;
            unique = format!("{name}-{number}");
        }
    }
    found
}

fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|letter| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn long_readme(text: &str) -> Option<String> {
    let lines = text.lines().count();
    let message = format!("README.md:{lines}: has more than {README_LINES} lines; details belong to docs/");
    (lines > README_LINES).then_some(message)
}

/// Tests that a document names and that no source has.
fn unproven(texts: &Texts, sources: &[SourceFile]) -> Vec<String> {
    let functions: BTreeSet<&str> = sources.iter().flat_map(functions).collect();
    let mut problems = Vec::new();
    for path in PROVEN {
        for (index, line) in texts.get(path).map_or("", String::as_str).lines().enumerate() {
            for code in line.split('`').skip(1).step_by(2) {
                let name = code.rsplit("::").next().unwrap_or(code);
                let is_name =
                    name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
                if is_name && name.matches('_').count() >= UNDERSCORES && !functions.contains(name) {
                    problems.push(format!("{path}:{}: there is no test {name}", index + 1));
                }
            }
        }
    }
    problems
}

/// Source files that a document names, with their folder, and that are not there.
fn misplaced(texts: &Texts, is_there: &dyn Fn(&str) -> bool) -> Vec<String> {
    let is_source =
        |code: &str| code.contains('/') && Path::new(code).extension().is_some_and(|extension| extension == "rs");
    let mut problems = Vec::new();
    for (path, text) in texts {
        for (index, line) in text.lines().enumerate() {
            let named = line.split('`').skip(1).step_by(2).filter(|code| is_source(code));
            let missing = named.filter(|code| !ROOTS.iter().any(|root| is_there(&format!("{root}{code}"))));
            problems.extend(missing.map(|code| format!("{path}:{}: there is no file {code}", index + 1)));
        }
    }
    problems
}

/// The names of a file's functions.
fn functions(source: &SourceFile) -> impl Iterator<Item = &str> {
    let words: Vec<&str> = source.words().map(|(_, word)| word).collect();
    let pairs: Vec<&str> = words.windows(2).filter(|pair| pair[0] == "fn").map(|pair| pair[1]).collect();
    pairs.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pages: &[(&str, &str)]) -> Vec<String> {
        let texts: Texts = pages.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        links(&texts, &|path| texts.contains_key(path) || path == "LICENSE")
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let other = ("docs/a.md", "# Title\n\n## A `word`, and more\n\n## Twice\n\n## Twice\n");
        let right = "[a](docs/a.md) [b](docs/a.md#a-word-and-more) [c](#own) [d](https://x/y) [e](docs/a.md#twice-1)\n\
                     [f](LICENSE) `[g](nowhere)`\n\n# Own\n\n```\n[h](nowhere)\n```\n";
        assert_eq!(found(&[other, ("README.md", right)]), Vec::<String>::new());
        let wrong = "[a](docs/b.md)\n[b](docs/a.md#none)\n[c](#none)\n[d](../x)\n[e](LICENSE#x)\n";
        assert_eq!(
            found(&[other, ("README.md", wrong)]),
            [
                "README.md:1: the link to docs/b.md: it is not there",
                "README.md:2: the link to docs/a.md#none: it has no such heading",
                "README.md:3: the link to #none: it has no such heading",
                "README.md:4: the link to ../x: it is outside of the repository",
                "README.md:5: the link to LICENSE#x: it is no document with headings",
            ]
        );
        assert!(found(&[("docs/a.md", "[a](../LICENSE)")]).is_empty());
    }

    #[test]
    fn a_long_readme_is_found() {
        assert_eq!(long_readme(&"x\n".repeat(README_LINES)), None);
        assert!(long_readme(&"x\n".repeat(README_LINES + 1)).is_some());
    }

    #[test]
    fn a_source_file_that_is_named_has_to_be_there() {
        let texts = Texts::from([("A.md".to_owned(), "see `app/a.rs`,\n`b.rs`, `app/c.rs`".to_owned())]);
        let found = misplaced(&texts, &|path| path == "tcpshift-agent/src/app/a.rs");
        assert_eq!(found, ["A.md:2: there is no file app/c.rs"]);
    }

    #[test]
    fn a_test_that_is_named_has_to_exist() {
        let sources = [SourceFile::new("a/src/b.rs", "//! Says it.\nfn it_is_so_indeed() {}\n")];
        let texts = |text: &str| Texts::from([("docs/limits.md".to_owned(), text.to_owned())]);
        assert!(
            unproven(&texts("`it_is_so_indeed` `a::it_is_so_indeed` `max_memory` `x.a_b_c_d`"), &sources).is_empty()
        );
        let missing = unproven(&texts("shown\nby `a::it_is_not_so_indeed`"), &sources);
        assert_eq!(missing, ["docs/limits.md:2: there is no test it_is_not_so_indeed"]);
    }
}
