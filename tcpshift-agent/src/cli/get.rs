//! `get`: shows objects as kubectl does.

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::column::{self, View};
use super::selection::{self, Selection};
use super::stop::{Done, Stop};
use super::table::TextTable;
use super::{LookedIn, screen};
use crate::admin::api::{FailureReason, GetReply, GetRequest, Item, WatchRequest};
use crate::admin::client::{Client, ClientError};
use crate::route::kind::Kind;
use crate::route::read::DEFAULT_NAMESPACE;
use crate::route::write;

const USAGE: &str = "tcpshift-agent get [OPTIONS] <KIND[,KIND] [NAME…] | KIND/NAME… | -A>";

const AFTER: &str = "\
Examples:
  tcpshift-agent get virtualservices      what there is
  tcpshift-agent get vs tcp-echo -o yaml  one as a whole; the weights are under spec.tcp
  tcpshift-agent get vs,dr -A -o wide     with weights, subsets, and where each comes from
  tcpshift-agent get vs -w -o wide        and then every change, as it comes
  tcpshift-agent get -A -o yaml           all there is, as a List: a backup, which `apply -f` restores

Kinds: virtualservice (vs), destinationrule (dr), gateway (gw, gtw), serviceentry (se), workloadentry (we), \
workloadgroup (wg), service (svc), endpointslice, tcproute, referencegrant (refgrant), in singular or plural, several \
with commas; `all`, or none with -A, for all of them. `gateway` is Istio's and the Gateway API's: gw and gtw are one of them, as is \
gateway.networking.istio.io.";

/// Show objects
#[derive(Args, Debug)]
#[command(after_help = AFTER, override_usage = USAGE)]
pub(super) struct GetArguments {
    /// `KIND[,KIND] [NAME…]`, or `KIND/NAME…`
    #[arg(value_name = "OBJECT", required_unless_present = "all_namespaces")]
    words: Vec<String>,

    #[command(flatten)]
    namespace: LookedIn,

    /// Show objects of all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,

    /// How to print; a table without it
    #[arg(short, long, value_enum)]
    output: Option<Output>,

    /// Go on with the changes of one kind, or one object, until interrupted; combines with -o
    #[arg(short, long)]
    watch: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table with more columns
    Wide,
    /// The objects as YAML
    Yaml,
    /// The objects as JSON
    Json,
    /// Kind and name alone
    Name,
}

/// Where to look, and how to print.
struct Show<'a> {
    client: &'a Client,
    namespace: Option<String>,
    output: Option<Output>,
    view: View,
}

pub(super) async fn execute(arguments: GetArguments, client: &Client) -> Result<Done, Stop> {
    let GetArguments { mut words, namespace, all_namespaces, output, watch } = arguments;
    if words.is_empty() {
        words.push("all".to_owned());
    }
    let selections = selection::selections(&words)?;
    if all_namespaces && selections.iter().any(|selection| !selection.names.is_empty()) {
        return Err(Stop::Usage("an object is named within one namespace: give -n, not -A".to_owned()));
    }
    let namespace = (!all_namespaces).then(|| namespace.namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()));
    let view = View { namespace: all_namespaces, kind: false, wide: output == Some(Output::Wide) };
    let mut show = Show { client, namespace, output, view };
    if watch {
        return match &selections[..] {
            [Selection { kinds, names }] if kinds.len() == 1 && names.len() < 2 => {
                show.watch(kinds[0], names.first().map(String::as_str)).await
            }
            [Selection { kinds, names }] if names.len() < 2 => {
                let words: Vec<_> = kinds.iter().map(|kind| kind.qualified()).collect();
                Err(Stop::Usage(format!("-w follows one kind: name {}", words.join(" or "))))
            }
            _ => Err(Stop::Usage("-w follows one kind, or one object".to_owned())),
        };
    }
    let mut found = Vec::new();
    let mut done = Done::Well;
    for selection in &selections {
        for name in names(selection) {
            let before = found.len();
            for kind in &selection.kinds {
                match show.read(*kind, name).await {
                    Ok(reply) => found.extend(reply.items.into_iter().map(|item| (*kind, item))),
                    Err(ClientError::Failure(failure))
                        if failure.reason == FailureReason::NotFound && name.is_some() => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if let (Some(name), true) = (name, found.len() == before) {
                let kinds: Vec<_> = selection.kinds.iter().map(|kind| kind.plural()).collect();
                screen::error_from_server("NotFound", &format!("{} {name:?} not found", kinds.join(", ")));
                done = Done::Failed;
            }
        }
    }
    // Several kinds were asked for, or one name brought several to light.
    let several_words = selections.iter().any(|selection| selection.kinds != selections[0].kinds);
    show.view.kind = several_words || found.iter().any(|(kind, _)| *kind != found[0].0);
    let one_object = matches!(&selections[..], [selection] if selection.names.len() == 1) && found.len() == 1;
    // The error of a named object that does not exist is printed already.
    let listed = selections.iter().all(|selection| selection.names.is_empty());
    if listed || !found.is_empty() {
        screen::print(&show.text(&found, one_object)?)?;
        if found.is_empty() && matches!(output, None | Some(Output::Wide)) {
            screen::note(&match &show.namespace {
                Some(namespace) => format!("No resources found in {namespace} namespace."),
                None => "No resources found".to_owned(),
            });
        }
    }
    Ok(done)
}

/// Every name of a selection; none stands for all objects.
fn names(selection: &Selection) -> Vec<Option<&str>> {
    if selection.names.is_empty() {
        vec![None]
    } else {
        selection.names.iter().map(|name| Some(name.as_str())).collect()
    }
}

impl Show<'_> {
    async fn read(&self, kind: Kind, name: Option<&str>) -> Result<GetReply, ClientError> {
        let request =
            GetRequest { kind: kind.qualified(), namespace: self.namespace.clone(), name: name.map(str::to_owned) };
        self.client.get(&request).await
    }

    /// The objects in the wanted format.
    fn text(&self, found: &[(Kind, Item)], one_object: bool) -> Result<String, Stop> {
        Ok(match (self.output, found) {
            (None | Some(Output::Wide), _) => self.tables(found),
            (Some(Output::Name), _) => found.iter().map(|(kind, item)| name_line(*kind, &item.object)).collect(),
            (Some(Output::Yaml), [(_, item)]) if one_object => write::yaml(&item.object),
            (Some(Output::Json), [(_, item)]) if one_object => screen::json(&item.object)?,
            (Some(Output::Yaml), _) => write::yaml(&list(found)),
            (Some(Output::Json), _) => screen::json(&list(found))?,
        })
    }

    /// A table for each run of objects of one kind, apart by an empty line.
    fn tables(&self, found: &[(Kind, Item)]) -> String {
        let now = Timestamp::now();
        let tables = found.chunk_by(|(one, _), (other, _)| one == other).map(|chunk| {
            let kind = chunk[0].0;
            let mut table = TextTable::new(column::headings(kind, self.view));
            for (kind, item) in chunk {
                table.push(&column::row(*kind, item, self.view, now));
            }
            table.text()
        });
        tables.collect::<Vec<_>>().join("\n")
    }

    /// Prints the objects, then every change.
    async fn watch(&self, kind: Kind, name: Option<&str>) -> Result<Done, Stop> {
        let reply = self.read(kind, name).await?;
        let request = WatchRequest {
            kind: kind.qualified(),
            namespace: self.namespace.clone(),
            name: name.map(str::to_owned),
            resource_version: Some(reply.resource_version),
        };
        let mut watch = self.client.watch(&request).await?;
        let mut rows = Rows { kind, show: self, widths: None };
        rows.print(reply.items, false)?;
        while let Some(event) = watch.next().await? {
            rows.print(vec![Item { object: event.object, origin: event.origin }], true)?;
        }
        Err(Stop::Failed("the agent broke off; see `tcpshift-agent status`".to_owned()))
    }
}

/// Prints the events of a watch.
struct Rows<'a> {
    kind: Kind,
    show: &'a Show<'a>,
    /// The widths of the table that was begun.
    widths: Option<Vec<usize>>,
}

impl Rows<'_> {
    fn print(&mut self, items: Vec<Item>, apart: bool) -> Result<(), Stop> {
        if items.is_empty() {
            return Ok(());
        }
        if matches!(self.show.output, None | Some(Output::Wide)) {
            let mut table = TextTable::new(column::headings(self.kind, self.show.view));
            let now = Timestamp::now();
            for item in &items {
                table.push(&column::row(self.kind, item, self.show.view, now));
            }
            if let Some(widths) = &self.widths {
                return screen::print(&table.rows_text(widths));
            }
            self.widths = Some(table.widths());
            return screen::print(&table.text());
        }
        let one_object = items.len() == 1;
        let found: Vec<_> = items.into_iter().map(|item| (self.kind, item)).collect();
        let text = self.show.text(&found, one_object)?;
        let apart = apart && self.show.output == Some(Output::Yaml);
        screen::print(&if apart { format!("---\n{text}") } else { text })
    }
}

fn name_line(kind: Kind, object: &Value) -> String {
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    format!("{}/{}\n", kind.qualified(), screen::clean(name))
}

/// Several objects as one, as kubectl does it.
fn list(found: &[(Kind, Item)]) -> Value {
    let items: Vec<&Value> = found.iter().map(|(_, item)| &item.object).collect();
    json!({ "apiVersion": "v1", "items": items, "kind": "List", "metadata": { "resourceVersion": "" } })
}
