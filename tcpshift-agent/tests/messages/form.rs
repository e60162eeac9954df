//! The form of an example, which [`super`] describes: reads the files of examples.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The file that is not one of documents.
const AGENT: &str = "agent";

/// The examples of one file.
#[derive(Debug)]
pub(crate) struct Chapter {
    /// What stands behind `# `.
    pub(crate) title: String,
    /// The text below the title.
    pub(crate) text: String,
    /// Examples, and the headings between them.
    pub(crate) parts: Vec<Part>,
}

/// One part of a chapter.
#[derive(Debug)]
pub(crate) enum Part {
    /// What stands behind `## `, and the text below.
    Heading(String, String),
    /// A message and its cure.
    Example(Example),
}

/// A message, and documents that get it until its cure is applied.
#[derive(Debug)]
pub(crate) struct Example {
    /// `FILE:LINE` of the example itself.
    pub(crate) position: String,
    /// `error`, `warning`, or as `Error [IST0101]`.
    pub(crate) level: String,
    /// Its variable parts are between `«` and `»`.
    pub(crate) message: String,
    /// As `spec.tcp[0].route`.
    pub(crate) field: String,
    /// As it is printed.
    pub(crate) cure: String,
    /// Other lines of the head: name and value.
    pub(crate) options: Vec<(String, String)>,
    /// The documents.
    pub(crate) lines: Vec<Line>,
}

/// One line of the documents.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// When it stands there.
    pub(crate) when: When,
    /// Whether the message names it.
    pub(crate) named: bool,
    /// How often it stands there, if that is said.
    pub(crate) times: Option<usize>,
    /// The line.
    pub(crate) text: String,
}

/// When a line stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Before the cure and after.
    Always,
    /// Before the cure is applied.
    Before,
    /// After it is applied.
    After,
}

/// A file as the message sees it.
#[derive(Debug, Default)]
pub(crate) struct File {
    /// Its name.
    pub(crate) name: String,
    /// Its text.
    pub(crate) text: String,
    /// The lines that the message names, from 1.
    pub(crate) named: Vec<usize>,
}

/// Reads every file of examples in a folder beside this one, in the order of their names.
pub(crate) fn chapters(folder: &str) -> Vec<Chapter> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages").join(folder);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "txt"));
    files.sort();
    let read = |path: &std::path::PathBuf| {
        chapter(&path.file_name().unwrap().to_string_lossy(), &fs::read_to_string(path).unwrap())
    };
    files.iter().map(read).collect()
}

impl Chapter {
    /// Its examples.
    pub(crate) fn examples(&self) -> impl Iterator<Item = &Example> {
        self.parts.iter().filter_map(|part| match part {
            Part::Example(example) => Some(example),
            Part::Heading(..) => None,
        })
    }
}

/// Reads the text of a file of this name.
pub(crate) fn chapter(name: &str, text: &str) -> Chapter {
    let mut chapter = Chapter { title: String::new(), text: String::new(), parts: Vec::new() };
    let mut prelude: Vec<Line> = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    let mut at = 0;
    for paragraph in lines.split(|line| line.is_empty()) {
        let position = format!("{name}:{}", at + 1);
        at += paragraph.len() + 1;
        let Some((first, rest)) = paragraph.split_first() else { continue };
        if let Some(title) = first.strip_prefix("# ") {
            title.clone_into(&mut chapter.title);
            chapter.text = rest.join(" ");
        } else if let Some(title) = first.strip_prefix("## ") {
            chapter.parts.push(Part::Heading(title.to_owned(), rest.join(" ")));
        } else if first.starts_with('|') {
            prelude = paragraph.iter().map(|text| line(&position, &format!(" {text}"))).collect();
        } else {
            chapter.parts.push(Part::Example(example(position, paragraph, &prelude)));
        }
    }
    assert!(!chapter.title.is_empty(), "{name} does not begin with a title");
    chapter
}

fn example(position: String, paragraph: &[&str], prelude: &[Line]) -> Example {
    let is_line = |text: &&&str| text.starts_with([' ', '+', '-', '@']);
    let mut head = paragraph.iter().take_while(|text| !is_line(text)).map(|text| {
        let (name, value) = text.split_once(": ").unwrap_or_else(|| panic!("{position}: no `NAME: VALUE`: {text}"));
        (name.to_owned(), value.to_owned())
    });
    let (level, message) = head.next().unwrap_or_else(|| panic!("{position}: no message"));
    let (mut field, mut cure, mut options) = (String::new(), String::new(), Vec::new());
    for (name, value) in head {
        match name.as_str() {
            "field" => field = value,
            "cure" => cure = value,
            _ => options.push((name, value)),
        }
    }
    let body = paragraph.iter().skip_while(|text| !is_line(text)).map(|text| line(&position, text));
    let mut lines: Vec<Line> = body.collect();
    let mut first = lines.iter().take_while(|line| line.text != "---");
    if !first.any(|line| line.text.starts_with("apiVersion:")) {
        lines.splice(..0, prelude.iter().cloned());
    }
    Example { position, level, message, field, cure, options, lines }
}

/// Reads `@FILE`, or a sign, perhaps how often the line stands there, a bar, and the line.
fn line(position: &str, text: &str) -> Line {
    if text.starts_with('@') {
        return Line { when: When::Always, named: false, times: None, text: text.to_owned() };
    }
    let when = match text.chars().next() {
        Some(' ') => When::Always,
        Some('-') => When::Before,
        Some('+') => When::After,
        _ => panic!("{position}: no line of a document: {text}"),
    };
    let bar = text.find(['|', '>']).unwrap_or_else(|| panic!("{position}: no bar before the line: {text}"));
    let times = text[1..bar].parse().ok();
    assert!(times.is_some() || bar == 1, "{position}: no number of lines: {text}");
    Line { when, named: text[bar..].starts_with('>'), times, text: text[bar + 1..].to_owned() }
}

/// The text with every `{U+0009}` replaced by that character.
fn with_characters(text: &str) -> String {
    let mut parts = text.split("{U+");
    let mut replaced = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_once('}').unwrap_or_else(|| panic!("no character: {part}"));
        replaced.extend(u32::from_str_radix(code, 16).ok().and_then(char::from_u32));
        replaced += rest;
    }
    replaced
}

impl Example {
    /// The value of another line of the head.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The files before the cure is applied, or after.
    pub(crate) fn files(&self, when: When) -> Vec<File> {
        let mut files = vec![File { name: "example.yaml".to_owned(), ..File::default() }];
        let mut count = 0;
        for line in self.lines.iter().filter(|line| [When::Always, when].contains(&line.when)) {
            if let Some(name) = line.text.strip_prefix('@') {
                if count > 0 {
                    files.push(File::default());
                }
                count = 0;
                name.clone_into(&mut files.last_mut().unwrap().name);
                continue;
            }
            let file = files.last_mut().unwrap();
            for number in 1..=line.times.unwrap_or(1) {
                count += 1;
                file.named.extend(line.named.then_some(count));
                let text = match line.times {
                    Some(_) => line.text.replace('#', &number.to_string()),
                    None => line.text.clone(),
                };
                file.text += &with_characters(&text);
                file.text.push('\n');
            }
        }
        files
    }

    /// Whether a text is this message, whatever its variable parts are.
    pub(crate) fn is_message(&self, text: &str) -> bool {
        let fixed: Vec<&str> = self.message.split('«').filter_map(|part| part.split('»').next_back()).collect();
        let Some(mut rest) = text.strip_prefix(fixed[0]) else { return false };
        for (index, part) in fixed.iter().enumerate().skip(1) {
            let found = if index + 1 == fixed.len() { rest.strip_suffix(part).map(str::len) } else { rest.find(part) };
            let Some(at) = found else { return false };
            rest = &rest[at + part.len()..];
        }
        fixed.len() > 1 || rest.is_empty()
    }

    /// Names and texts of the documents before the cure is applied, or after, with those beside them in a folder.
    pub(crate) fn documents(&self, folder: &str, when: When) -> Vec<(String, String)> {
        let files = self.files(when).into_iter().filter(|file| file.name != AGENT);
        let mut documents: Vec<_> = files.map(|file| (file.name, file.text)).collect();
        for name in self.option("beside").into_iter().flat_map(str::split_whitespace) {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages").join(folder).join(name);
            documents.push((name.to_owned(), fs::read_to_string(path).expect(name)));
        }
        documents
    }

    /// The labels of the agent that is to serve them, from lines of `--label K=V`.
    pub(crate) fn agent(&self, when: When) -> Option<BTreeMap<String, String>> {
        let file = self.files(when).into_iter().find(|file| file.name == AGENT)?;
        let words = file.text.lines().filter_map(|line| line.strip_prefix("--label ")?.split_once('='));
        Some(words.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }
}

/// A message or a cure as it is printed.
pub(crate) fn plain(text: &str) -> String {
    text.replace(['«', '»'], "")
}
