//! Sets of objects and what is found in them: every `.yaml` file in `analyze/` holds cases, one after another.
//!
//! A case begins with the line `#= NAME`. Then come `#+ FILE`, if another file lies beside it, and for each finding
//! `#! LEVEL CODE KIND NAMESPACE/NAME FILE:LINE FIELD`. The lines of a case count from behind these. A field that is not
//! honoured (TS0019) is compared only where a case expects one.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tcpshift_agent::analyze::{self, Analysis, Finding, Input, Level, code};
use tcpshift_agent::route::read::Document;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/analyze")
}

fn document(name: &str, text: &str) -> Document {
    Document { name: name.to_owned(), text: text.to_owned() }
}

fn analyzed(documents: Vec<Document>) -> Analysis {
    analyze::analyze(Input { documents, ..Input::default() })
}

fn written(finding: &Finding) -> String {
    let origin = if finding.key.is_some() { finding.origin() } else { "-".to_owned() };
    let text =
        format!("{} {} {origin} {} {}", finding.level.name(), finding.code.id, finding.position(), finding.field);
    text.trim_end().to_owned()
}

#[test]
fn every_case_of_the_table_is_found_as_it_says() {
    let mut files: Vec<_> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "yaml"));
    files.sort();
    let (mut names, mut mismatches, mut seen) = (HashSet::new(), Vec::new(), HashSet::new());
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let text = text.strip_prefix("#= ").expect("a file begins with a case");
        for case in text.split("\n#= ") {
            let (name, rest) = case.split_once('\n').expect("a case has a document");
            assert!(names.insert(format!("{}: {name}", path.display())), "two cases are named {name}");
            let head: Vec<&str> = rest.lines().take_while(|line| line.starts_with('#')).collect();
            let body: String = rest.lines().skip(head.len()).flat_map(|line| [line, "\n"]).collect();
            let mut documents = vec![document("case", &body)];
            for other in head.iter().filter_map(|line| line.strip_prefix("#+ ")) {
                let text = fs::read_to_string(folder().join(other)).unwrap();
                documents.push(document(other.strip_suffix(".txt").unwrap(), &text));
            }
            let mut wanted: Vec<String> =
                head.iter().filter_map(|line| line.strip_prefix("#! ")).map(str::to_owned).collect();
            let counts = |code: &str| code != "TS0019" || wanted.iter().any(|line| line.contains("TS0019"));
            let reversed = analyzed(documents.iter().rev().cloned().collect());
            let analysis = analyzed(documents);
            assert_eq!(analysis.findings, reversed.findings, "{name}: the order of files does not matter");
            seen.extend(analysis.findings.iter().map(|finding| finding.code.id));
            for finding in &analysis.findings {
                assert!(!finding.message.is_empty() && !finding.message.contains('\n'), "{name}: {finding:?}");
            }
            let mut found: Vec<String> =
                analysis.findings.iter().filter(|finding| counts(finding.code.id)).map(written).collect();
            wanted.sort();
            found.sort();
            if wanted != found || !analysis.unreadable.is_empty() {
                mismatches.push(format!("{name}:\n  wanted {wanted:#?}\n  found {found:#?}"));
            }
        }
    }
    assert!(names.len() >= 60, "only {} cases are left", names.len());
    assert!(mismatches.is_empty(), "{} of {}:\n{}", mismatches.len(), names.len(), mismatches.join("\n"));
    // Those that no file can give by itself.
    let others = ["TS0018", "IST0133"];
    let missing: Vec<_> =
        code::ALL.iter().map(|code| code.id).filter(|id| !seen.contains(id) && !others.contains(id)).collect();
    assert!(missing.is_empty(), "no case finds {missing:?}");
}

#[test]
fn whatever_can_be_read_can_be_analyzed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/validation");
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for case in text.split("\n=== ") {
            let (_, body) = case.split_once("\n\n").unwrap();
            let namespace = format!("n{}", all.len());
            analyzed(vec![document("case", body)]);
            all.push(document(&namespace, &body.replace("name: x", &format!("name: x{}", all.len()))));
        }
    }
    let objects = analyzed(all).objects;
    assert!(objects > 300, "{objects}");
}

const ROUTE: &str = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: tcp-echo}
spec:
  hosts: ['*']
  gateways: [gateway]
  tcp:
  - route:
    - destination:
        host: tcp-echo
        port: {number: 9000}
        subset: v3
";

const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata: {name: tcp-echo}
spec: {ports: [{port: 9000}], selector: {app: tcp-echo}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: one}
spec: {address: 10.0.0.1, labels: {app: tcp-echo}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gateway}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 31400, name: tcp, protocol: TCP}, hosts: ['*']}]
";

#[test]
fn a_finding_is_printed_as_istioctl_prints_it() {
    let analysis = analyzed(vec![document("route.yaml", ROUTE), document("service.yaml", SERVICE)]);
    let lines: Vec<_> = analysis.findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        ["Error [IST0101] (VirtualService default/tcp-echo route.yaml:12) Referenced host+subset in destinationrule \
          not found: \"tcp-echo+v3\" (add a DestinationRule for the host with this subset)"]
    );
}

#[test]
fn files_lie_over_what_is_there() {
    let there = |text: &str| {
        let text = text.replace("---\n", "\u{0}");
        let read = |text: &str| tcpshift_agent::route::read::read("old", text, None).entries.remove(0);
        let objects = text.split('\u{0}').map(|text| match read(text) {
            tcpshift_agent::route::read::ReadDocument::Valid(object) => {
                analyze::present(&object.document(), "applied").expect("it was valid")
            }
            _ => panic!("it is valid"),
        });
        objects.collect::<Vec<_>>()
    };
    let rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d}\nspec: {host: tcp-echo, subsets: [{name: v3}]}\n";
    let mut input = Input { documents: vec![document("route.yaml", ROUTE)], ..Input::default() };
    input.present = there(&format!("{SERVICE}---\n{rule}"));
    input.agent = Some([("istio".to_owned(), "other".to_owned())].into());
    let codes = |input: &Input| {
        let findings = analyze::analyze(input.clone()).findings;
        findings.iter().map(|finding| (finding.level, finding.code.id, finding.position())).collect::<Vec<_>>()
    };
    assert_eq!(codes(&input), [(Level::Info, "TS0018", "applied".to_owned())]);
    input.agent = None;
    assert_eq!(codes(&input), []);
    // The file's version of an object wins.
    input.documents.push(document("rule.yaml", &rule.replace("v3", "v4")));
    assert_eq!(codes(&input), [(Level::Error, "IST0101", "route.yaml:12".to_owned())]);
}

#[test]
fn the_namespace_is_for_objects_that_name_none() {
    let text = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d}\nspec: {host: a}\n---\n\
        apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: e, namespace: other}\nspec: {host: a}\n";
    let input = Input { documents: vec![document("f", text)], namespace: Some("prod".to_owned()), ..Input::default() };
    let findings = analyze::analyze(input).findings;
    let names: Vec<_> = findings.iter().map(Finding::origin).collect();
    assert_eq!(names, ["DestinationRule prod/d", "DestinationRule other/e"]);
}

#[test]
fn a_file_that_is_no_yaml_does_not_hide_the_others() {
    let analysis = analyzed(vec![document("bad.yaml", "a: [\n"), document("route.yaml", ROUTE)]);
    assert_eq!((analysis.unreadable.len(), analysis.objects), (1, 1));
    assert!(analysis.findings.iter().any(|finding| finding.code == code::NOT_FOUND));
}

#[test]
fn ten_thousand_routes_take_no_time() {
    let route = |route: usize| {
        let (gateway, port, service) = (route / 100, 20_000 + route % 100, route % 500);
        format!(
            "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: r{route}}}
spec:
  hosts: ['*']
  gateways: [gw{gateway}]
  tcp:
  - match: [{{port: {port}}}]
    route:
    - {{destination: {{host: s{service}, subset: v1}}, weight: 80}}
    - {{destination: {{host: s{service}, subset: v2}}, weight: 20}}
---
"
        )
    };
    let text: String = (0..10_000).map(route).collect();
    let started = Instant::now();
    let analysis = analyzed(vec![document("many.yaml", &text)]);
    let took = started.elapsed();
    assert_eq!(analysis.objects, 10_000);
    assert!(analysis.findings.len() >= 50_000, "{}", analysis.findings.len());
    // Every field of it is wrong; a debug build takes ten times as long.
    assert!(took < Duration::from_mins(1), "{took:?}");
}

#[test]
fn the_table_of_codes_is_documented() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/analyze.md");
    let text = fs::read_to_string(docs).unwrap();
    for code in code::ALL {
        let row = format!("| {} | {} | {} | {} |", code.id, code.level.name(), code.name, code.meaning);
        assert!(text.contains(&row), "docs/analyze.md lacks the row\n{row}");
    }
}
