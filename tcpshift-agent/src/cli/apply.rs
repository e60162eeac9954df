//! `apply`: gives objects to the agent.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::outcome;
use super::stop::{Done, Stop};
use super::{Format, Namespace, difference, documents, screen};
use crate::admin::api::{Action, ApplyRequest, ChangeReply, ChangeResult};
use crate::admin::client::Client;

const AFTER: &str = "\
Examples:
  tcpshift-agent apply -f examples/tcp-echo/all-v1.yaml
  tcpshift-agent apply -f examples/tcp-echo/services.yaml -f examples/tcp-echo/workload-entries.yaml
  cat examples/tcp-echo/20-v2.yaml | tcpshift-agent apply --dry-run -f -
  kubectl get vs,dr,gw,se,we -A -o yaml | tcpshift-agent apply --force -f -

All objects are taken, or none: one that is invalid stops them all (exit code 65), as does one whose \
resourceVersion is not the file's (exit code 1). When the command ends, the change is in force. Objects of kinds that \
tcpshift does not read, as Deployment, are passed over.

`get -A -o yaml` prints a backup, and `apply -f` restores it, in an empty agent too: there a resourceVersion is \
dropped with a warning, and the creationTimestamp counts, by which the older of two routes comes first. An object that \
is there keeps its own.";

/// Kinds of passed-over objects that are named, at most.
const MOST_KINDS: usize = 4;

/// Create objects, or replace them with what the files say
#[derive(Args, Debug)]
#[command(after_help = AFTER)]
pub(super) struct ApplyArguments {
    /// File, folder, or - for standard input; repeatable
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Check, print what would change (see `preview`), change nothing
    #[arg(long)]
    dry_run: bool,

    /// Replace objects whatever their resourceVersion
    ///
    /// Without it a file that names a metadata.resourceVersion replaces an object that has this version, and no other.
    #[arg(long)]
    force: bool,

    /// Store nothing if more new connections of a route would be refused than now (exit code 3)
    #[arg(long)]
    strict: bool,

    #[command(flatten)]
    namespace: Namespace,

    /// How to print; a line for each object without it
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

pub(super) async fn execute(arguments: ApplyArguments, client: &Client) -> Result<Done, Stop> {
    let ApplyArguments { files, dry_run, force, strict, namespace, output } = arguments;
    let documents = documents::documents(&files)?;
    let request = ApplyRequest { documents, namespace: namespace.namespace, dry_run, force, strict };
    let reply = client.apply(&request).await?;
    report(&reply, output, if dry_run { " (dry run)" } else { "" })
}

/// Prints the result of each object.
pub(super) fn report(reply: &ChangeReply, output: Option<Format>, mark: &str) -> Result<Done, Stop> {
    outcome::problems(&reply.warnings);
    if output == Some(Format::Json) {
        return screen::print(&screen::json(reply)?).map(|()| Done::Well);
    }
    results(reply, output, mark)?;
    if let Some(diff) = &reply.diff {
        screen::print(&difference::text(diff))?;
    }
    Ok(Done::Well)
}

/// A line for each object, and one for all that are passed over.
pub(super) fn results(reply: &ChangeReply, output: Option<Format>, mark: &str) -> Result<(), Stop> {
    for result in &reply.results {
        match line(result) {
            Some(_) if output == Some(Format::Name) => {
                screen::print(&format!("{}\n", screen::clean(&result.object)))?;
            }
            Some(line) => screen::print(&format!("{}{mark}\n", screen::clean(&line)))?,
            None => {}
        }
    }
    let passed_over: Vec<_> = reply.results.iter().filter(|result| result.action == Action::PassedOver).collect();
    match &passed_over[..] {
        [] => {}
        [one] => screen::note(&format!("note: {} passed over: tcpshift does not read this kind", one.object)),
        several => screen::note(&format!(
            "note: {} objects passed over: tcpshift does not read their kinds: {}",
            several.len(),
            by_kind(several)
        )),
    }
    Ok(())
}

/// `3 deployment.apps, 2 pod`: how many of each kind, and of the rest together.
fn by_kind(results: &[&ChangeResult]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for result in results {
        let kind = result.object.split_once('/').map_or(&*result.object, |(kind, _)| kind);
        *counts.entry(kind).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(kind, count)| (std::cmp::Reverse(*count), *kind));
    let mut words: Vec<_> = counts.iter().take(MOST_KINDS).map(|(kind, count)| format!("{count} {kind}")).collect();
    let rest: usize = counts.iter().skip(MOST_KINDS).map(|(_, count)| count).sum();
    words.extend((rest > 0).then(|| format!("{rest} of other kinds")));
    words.join(", ")
}

/// The word of kubectl for an action; none if nothing was done.
fn line(result: &ChangeResult) -> Option<String> {
    let object = &result.object;
    Some(match result.action {
        Action::Created => format!("{object} created"),
        Action::Configured => format!("{object} configured"),
        Action::Unchanged => format!("{object} unchanged"),
        Action::Deleted => match object.split_once('/') {
            Some((kind, name)) => format!("{kind} \"{name}\" deleted"),
            None => format!("{object} deleted"),
        },
        Action::NotFound | Action::PassedOver => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_over_is_counted() {
        let result = |object: &str| ChangeResult {
            object: object.to_owned(),
            namespace: "default".to_owned(),
            action: Action::PassedOver,
            resource_version: None,
        };
        let kinds = ["a/1", "b.x/1", "b.x/2", "c/1", "d/1", "e/1", "f/1", "f/2", "f/3"].map(result);
        assert_eq!(by_kind(&kinds.iter().take(3).collect::<Vec<_>>()), "2 b.x, 1 a");
        assert_eq!(by_kind(&kinds.iter().collect::<Vec<_>>()), "3 f, 2 b.x, 1 a, 1 c, 2 of other kinds");
    }
}
