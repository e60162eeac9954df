//! `describe`: an object, its fields, and its part of the plan in force.
//!
//! It combines the answers of `get` and `status`. [`part`] finds the part of the plan that belongs to the object, [`used`] that
//! of a WorkloadEntry, and [`saying`] has the fields of each kind.

mod hosts;
mod part;
mod saying;
mod used;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use self::used::EntryUsers;
use super::stop::{Done, Stop};
use super::table::TextTable;
use super::{JsonOnly, Namespace, column, quantity, screen, selection, status};
use crate::admin::api::{
    DestinationStatus, EndpointStatus, FailureReason, GetRequest, Item, ListenerStatus, StatusReply,
};
use crate::admin::client::{Client, ClientError};
use crate::route::kind::Kind;
use crate::route::object::Key;

const USAGE: &str = "tcpshift-agent describe [OPTIONS] <KIND NAME… | KIND/NAME…>";

const AFTER: &str = "\
Examples:
  tcpshift-agent describe virtualservice tcp-echo
  tcpshift-agent describe dr/tcp-echo-destination
  tcpshift-agent describe we tcp-echo-v1 -o json

Of a VirtualService it shows the rules, where they listen, and what each destination was given; of a Gateway its \
listeners; of a DestinationRule, a Service or a ServiceEntry the destinations that are of its host. Below stand the \
endpoints of each destination, with the connections opened to each; of a WorkloadEntry who uses it. Notes are what the agent has to say about the object.";

/// Show an object, and what became of it
#[derive(Args, Debug)]
#[command(after_help = AFTER, override_usage = USAGE)]
pub(super) struct DescribeArguments {
    /// KIND NAME…, or KIND/NAME…
    #[arg(value_name = "OBJECT", required = true)]
    words: Vec<String>,

    #[command(flatten)]
    namespace: Namespace,

    /// Print as JSON
    #[arg(short, long, value_enum, value_name = "json", hide_possible_values = true)]
    output: Option<JsonOnly>,
}

/// The description of one object.
struct Description {
    kind: Kind,
    item: Item,
    /// The part of the plan that belongs to the object.
    listeners: Vec<ListenerStatus>,
    notes: Vec<String>,
    /// Objects of other kinds in the same namespace that it selects or is selected by, in words.
    neighbours: Vec<String>,
}

pub(super) async fn execute(arguments: DescribeArguments, client: &Client) -> Result<Done, Stop> {
    let DescribeArguments { words, namespace, output } = arguments;
    let namespace = namespace.namespace.unwrap_or_else(|| "default".to_owned());
    let selections = selection::selections(&words)?;
    if selections.iter().any(|selection| selection.names.is_empty()) {
        return Err(Stop::Usage("name the object to describe, as virtualservice tcp-echo".to_owned()));
    }
    let status = client.status().await?;
    let (mut found, mut done) = (Vec::new(), Done::Well);
    for selection in &selections {
        for name in &selection.names {
            let before = found.len();
            for kind in &selection.kinds {
                let request =
                    GetRequest { kind: kind.qualified(), namespace: Some(namespace.clone()), name: Some(name.clone()) };
                match client.get(&request).await {
                    Ok(reply) => {
                        for item in reply.items {
                            found.push(description(*kind, item, &status, client).await?);
                        }
                    }
                    Err(ClientError::Failure(failure)) if failure.reason == FailureReason::NotFound => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if found.len() == before {
                let kinds: Vec<_> = selection.kinds.iter().map(|kind| kind.plural()).collect();
                screen::error_from_server("NotFound", &format!("{} {name:?} not found", kinds.join(", ")));
                done = Done::Failed;
            }
        }
    }
    screen::print(&match (output, found.as_slice()) {
        (Some(JsonOnly::Json), [one]) => screen::json(&one.json())?,
        (Some(JsonOnly::Json), several) => screen::json(&several.iter().map(Description::json).collect::<Vec<_>>())?,
        (None, found) => found.iter().map(Description::text).collect::<Vec<_>>().join("\n\n"),
    })?;
    Ok(done)
}

async fn description(kind: Kind, item: Item, status: &StatusReply, client: &Client) -> Result<Description, Stop> {
    let (namespace, name) =
        (column::plain(&item.object, "/metadata/namespace"), column::plain(&item.object, "/metadata/name"));
    let (mut neighbours, mut users) = (Vec::new(), EntryUsers::default());
    for other in saying::neighbours(kind) {
        let request = GetRequest { kind: other.qualified(), namespace: Some(namespace.clone()), name: None };
        let items = client.get(&request).await?.items;
        let tied = items.iter().filter(|other_item| saying::tied(kind, &item.object, *other, &other_item.object));
        for tied in tied {
            neighbours.push(format!("{}/{}", other.singular(), column::plain(&tied.object, "/metadata/name")));
            users.services.push((*other, tied.object.clone()));
        }
    }
    if kind == Kind::WorkloadEntry {
        let request = GetRequest { kind: Kind::DestinationRule.qualified(), namespace: None, name: None };
        users.rules.extend(client.get(&request).await?.items.into_iter().map(|item| item.object));
    }
    let listeners = part::of(kind, &item.object, &users, &status.listeners);
    let key = Key { kind, namespace, name }.to_string();
    let notes = status.notes.iter().filter(|note| names(note, &key)).cloned().collect();
    Ok(Description { kind, item, listeners, notes, neighbours })
}

/// Whether a note is about an object: it contains the name as a whole word.
fn names(note: &str, key: &str) -> bool {
    let more = |letter: char| letter.is_alphanumeric() || ['-', '_', '.'].contains(&letter);
    note.match_indices(key).any(|(at, _)| {
        let rest = &note[at + key.len()..];
        // A full stop belongs to a name only if the name goes on.
        !rest.starts_with(more) || (rest.starts_with('.') && !rest[1..].starts_with(more))
    })
}

impl Description {
    fn json(&self) -> Value {
        let Self { kind: _, item, listeners, notes, neighbours } = self;
        json!({ "object": item.object, "origin": item.origin, "listeners": listeners, "selects": neighbours, "notes": notes })
    }

    fn text(&self) -> String {
        let Self { kind, item: Item { object, origin }, listeners, notes, neighbours } = self;
        let created = object.pointer("/metadata/creationTimestamp").and_then(Value::as_str);
        let mut fields: Vec<(&str, Vec<String>)> = vec![
            ("Name", vec![column::plain(object, "/metadata/name")]),
            ("Namespace", vec![column::plain(object, "/metadata/namespace")]),
            ("Labels", saying::pairs(object.pointer("/metadata/labels"))),
            ("Annotations", saying::pairs(object.pointer("/metadata/annotations"))),
            ("API Version", vec![column::plain(object, "/apiVersion")]),
            ("Kind", vec![kind.name().to_owned()]),
            ("Origin", vec![origin.clone()]),
            ("Version", vec![column::plain(object, "/metadata/resourceVersion")]),
            ("Age", vec![quantity::age(created, Timestamp::now())]),
        ];
        fields.extend(saying::fields(*kind, object));
        if !saying::neighbours(*kind).is_empty() {
            fields.push((saying::tie(*kind), neighbours.clone()));
        }
        let mut text = String::new();
        for (name, values) in fields {
            let mut label = format!("{name}:");
            let none = ["<none>".to_owned()];
            for value in if values.is_empty() { &none[..] } else { &values } {
                text.push_str(&screen::clean(format!("{label:<14}{value}").trim_end()).replace('\n', " "));
                text.push('\n');
                label.clear();
            }
        }
        if listeners.is_empty() {
            text.push_str("In the plan:  <nothing>\n");
        }
        for listener in listeners {
            text.push('\n');
            text.push_str(&status::of_listener(listener));
        }
        text.push_str(&endpoints(listeners));
        if !notes.is_empty() {
            text.push_str("\nNotes:\n");
            for note in notes {
                text.push_str("  ");
                text.push_str(&screen::clean(note).replace('\n', " "));
                text.push('\n');
            }
        }
        text
    }
}

/// The endpoints of each destination with what they were given, each destination once.
fn endpoints(listeners: &[ListenerStatus]) -> String {
    let routes = listeners.iter().flat_map(|listener| &listener.routes);
    let mut parts = Vec::new();
    for DestinationStatus { name, unusable, addresses, by_endpoint, .. } in routes.flat_map(|route| &route.destinations)
    {
        let mut part = screen::clean(&format!("  {name}:"));
        match unusable {
            Some(reason) => part.push_str(&screen::clean(&format!(" {reason}\n"))),
            // An agent of an older build does not say what each was given.
            None if by_endpoint.is_empty() => part.push_str(&screen::clean(&format!(" {}\n", addresses.join(", ")))),
            None => {
                part.push('\n');
                part.extend(table(by_endpoint).lines().map(|line| format!("    {line}\n")));
            }
        }
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    if parts.is_empty() { String::new() } else { format!("\nEndpoints:\n{}", parts.concat()) }
}

fn table(endpoints: &[EndpointStatus]) -> String {
    let mut table = TextTable::new(["ADDRESS", "OPENED", "FAILED", "ACTIVE"]);
    for EndpointStatus { address, opened, failed, active, .. } in endpoints {
        table.push(&[address.clone(), opened.to_string(), failed.to_string(), active.to_string()]);
    }
    table.text()
}

#[cfg(test)]
mod tests;
