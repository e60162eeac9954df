//! `delete`: removes objects from the agent.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::stop::{Done, Stop};
use super::{Format, apply, documents, selection};
use crate::admin::api::{DeleteRequest, ObjectName};
use crate::admin::client::Client;

const USAGE: &str = "tcpshift-agent delete [OPTIONS] <-f FILE | KIND NAME… | KIND/NAME…>";

const AFTER: &str = "\
Examples:
  tcpshift-agent delete -f examples/tcp-echo/all-v1.yaml
  tcpshift-agent delete virtualservice tcp-echo
  tcpshift-agent delete vs/tcp-echo dr/tcp-echo-destination --ignore-not-found

Of a file, only kind, namespace and name are read. All objects go, or none. A port without a route refuses new \
connections; connections that are open stay. Where more new connections of a route that stays would be refused, as when its \
service goes, nothing is deleted (exit code 3), unless with --force.";

/// Remove objects, by file or by name
#[derive(Args, Debug)]
#[command(after_help = AFTER, override_usage = USAGE, group(ArgGroup::new("what").required(true).args(["files", "words"])))]
pub(super) struct DeleteArguments {
    /// KIND NAME…, or KIND/NAME…
    #[arg(value_name = "OBJECT")]
    words: Vec<String>,

    /// Remove the objects that a file, a folder, or - for standard input names; repeatable
    #[arg(short, long = "filename", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// An object that is not there is no failure
    #[arg(long)]
    ignore_not_found: bool,

    /// Also if more new connections would be refused than now, of routes that stay
    #[arg(long)]
    force: bool,

    /// Namespace looked in; of a file, that of objects that name none [default: default]
    #[arg(short, long, value_name = "NS")]
    namespace: Option<String>,

    /// How to print; a line for each object without it
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

pub(super) async fn execute(arguments: DeleteArguments, client: &Client) -> Result<Done, Stop> {
    let DeleteArguments { words, files, ignore_not_found, force, namespace, output } = arguments;
    let mut objects = Vec::new();
    if !words.is_empty() {
        for selection in selection::selections(&words)? {
            if selection.names.is_empty() {
                return Err(Stop::Usage("name the objects to remove, as virtualservice tcp-echo".to_owned()));
            }
            let kind = selection.word();
            objects.extend(selection.names.into_iter().map(|name| ObjectName {
                kind: kind.clone(),
                name,
                resource_version: None,
            }));
        }
    }
    let documents = documents::documents(&files)?;
    let request = DeleteRequest { documents, objects, namespace, ignore_not_found, force };
    apply::report(&client.delete(&request).await?, output, "")
}
