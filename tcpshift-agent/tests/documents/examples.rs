//! Every YAML in a document is valid; a set of objects that stands by itself has no finding.

use tcpshift_agent::analyze::{self, Input, Level};
use tcpshift_agent::route::read::{self, Document};

use super::pages::{self, Fence, Page};

/// Documents whose YAML is one whole set of objects.
const WHOLE: [&str; 1] = ["docs/from-haproxy.md"];

#[test]
fn every_yaml_is_valid() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for page in pages::all() {
        for fence in yaml(&page) {
            count += 1;
            let (_, problems) = read::read_all(&[document(&page, &fence)], None);
            wrong.extend(problems.iter().map(|problem| format!("{} from line {}: {problem:?}", page.path, fence.line)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 10, "only {count} fences of yaml were found");
}

#[test]
fn whole_sets_of_objects_have_no_finding() {
    for path in WHOLE {
        let page = pages::page(path);
        let documents: Vec<Document> = yaml(&page).iter().map(|fence| document(&page, fence)).collect();
        assert!(!documents.is_empty(), "{path} has no yaml");
        let analysis = analyze::analyze(Input { documents, ..Input::default() });
        let found: Vec<_> = analysis.findings.iter().filter(|finding| finding.level > Level::Info).collect();
        assert!(found.is_empty() && analysis.unreadable.is_empty(), "{path}: {found:#?}");
    }
}

fn yaml(page: &Page) -> Vec<Fence> {
    page.fences().into_iter().filter(|fence| fence.language == "yaml").collect()
}

fn document(page: &Page, fence: &Fence) -> Document {
    Document { name: page.path.clone(), text: fence.text.clone() }
}
