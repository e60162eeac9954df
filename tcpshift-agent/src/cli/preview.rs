//! `preview`: what a change would do to the clients, without making it.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::outcome;
use super::stop::{Done, Stop};
use super::{JsonOnly, Namespace, difference, documents, screen};
use crate::admin::api::PreviewRequest;
use crate::admin::client::Client;

const AFTER: &str = "\
Examples:
  tcpshift-agent preview 20-v2.yaml
  tcpshift-agent preview routes/ -o json
  tcpshift-agent preview --delete -f 20-v2.yaml

It says which share of the clients `apply` (or `delete`) would move and from where to where, and which listeners, \
routes, destinations and endpoints would come (+), go (-) or change (~). What the agent would refuse is refused \
here too, except that no port is tried. Nothing is changed.";

/// Show what a change would do: which clients would move, what would come and go
#[derive(Args, Debug)]
#[command(after_help = AFTER, group(ArgGroup::new("what").required(true).multiple(true).args(["paths", "files"])))]
pub(super) struct PreviewArguments {
    /// Files, folders, or - for standard input
    #[arg(value_name = "FILE")]
    paths: Vec<PathBuf>,

    /// The same, as `apply` has it; repeatable
    #[arg(short, long = "filename", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// What would be if the objects were removed
    #[arg(long)]
    delete: bool,

    /// Whatever the objects' resourceVersion, as `apply --force`
    #[arg(long, conflicts_with = "delete")]
    force: bool,

    #[command(flatten)]
    namespace: Namespace,

    /// Print the agent's answer as JSON
    #[arg(short, long, value_enum, value_name = "json", hide_possible_values = true)]
    output: Option<JsonOnly>,
}

pub(super) async fn execute(arguments: PreviewArguments, client: &Client) -> Result<Done, Stop> {
    let PreviewArguments { mut paths, files, delete, force, namespace, output } = arguments;
    paths.extend(files);
    let documents = documents::documents(&paths)?;
    let request = PreviewRequest { documents, namespace: namespace.namespace, delete, force };
    let reply = client.preview(&request).await?;
    outcome::problems(&reply.warnings);
    screen::print(&match output {
        Some(JsonOnly::Json) => screen::json(&reply)?,
        None => difference::text(&reply.diff.unwrap_or_default()),
    })?;
    Ok(Done::Well)
}
