//! `hosts`: lines of a host file for the hosts of ServiceEntries, so that clients of this host find their addresses
//! without a DNS server of their own.

mod block;
mod served;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use ipnet::IpNet;

use super::documents::Each;
use super::outcome;
use super::stop::{Done, Stop};
use super::{Namespace, documents, screen};
use crate::admin::api::GetRequest;
use crate::admin::client::Client;
use crate::analyze;
use crate::route::kind::Kind;
use crate::route::model::Spec;
use crate::route::object::Object;
use crate::route::problem::{Problem, Severity};
use crate::route::read::{self, ReadDocument};

const AFTER: &str = "\
Examples:
  tcpshift-agent hosts
  tcpshift-agent hosts --write /etc/hosts
  tcpshift-agent hosts routes/

Each line is an address and the hosts that have it, if the agent serves its connections: there is an endpoint, or a rule. \
A host that has no such address, or subnets alone, is named in a comment; one with a wildcard cannot stand in a host file \
and is left out. Of files, names that DNS is asked for count as endpoints. Files with errors give no line: exit code 65.";

/// Print host-file lines for the hosts and addresses of ServiceEntries
#[derive(Args, Debug)]
#[command(after_help = AFTER)]
pub(super) struct HostsArguments {
    /// Files, folders, or - for standard input; without any, the objects of the running agent
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Put the lines into a host file, in the place of those that stand there from before, instead of printing them
    ///
    /// They stand between two comments; what is around them is left as it is.
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,

    #[command(flatten)]
    namespace: Namespace,
}

impl HostsArguments {
    /// Whether the running agent is meant.
    pub(super) fn asks_agent(&self) -> bool {
        self.paths.is_empty()
    }
}

/// Of the objects that an agent has.
pub(super) async fn of_agent(arguments: HostsArguments, client: &Client) -> Result<Done, Stop> {
    let namespace = arguments.namespace.namespace;
    let request = GetRequest { kind: Kind::ServiceEntry.qualified(), namespace, name: None };
    let items = client.get(&request).await?.items;
    let status = client.status().await?;
    let objects = items.iter().filter_map(|item| analyze::present(&item.object, &item.origin));
    say(&text(objects.collect(), |host, ip| served::by_agent(&status, host, ip)), arguments.write.as_deref())
}

/// Of the objects in files.
pub(super) fn of_files(arguments: &HostsArguments) -> Result<Done, Stop> {
    let HostsArguments { paths, write, namespace } = arguments;
    let Each { documents, unusable, has_failed } = documents::each(&documents::files(paths)?)?;
    let (entries, problems) = read::read_in_order(&documents, namespace.namespace.as_deref());
    let errors = problems.into_iter().filter(|problem| problem.severity == Severity::Error);
    let errors: Vec<Problem> = errors.chain(unusable).collect();
    if has_failed || !errors.is_empty() {
        outcome::problems(&errors);
        return Ok(if has_failed { Done::Failed } else { Done::Invalid });
    }
    let objects = entries.into_iter().filter_map(|entry| match entry {
        ReadDocument::Valid(object) => Some(*object),
        _ => None,
    });
    let objects: Vec<Object> = objects.collect();
    let served = served::Planned::of(&objects, namespace.namespace.as_deref());
    say(&text(objects, |host, ip| served.has(host, ip)), write.as_deref())
}

/// Prints the lines, or puts them into a file.
fn say(lines: &str, file: Option<&Path>) -> Result<Done, Stop> {
    match file {
        None => screen::print(lines)?,
        Some(file) => {
            let what = if block::write(file, lines).map_err(Stop::Failed)? { "written" } else { "unchanged" };
            screen::print(&format!("{} {what}\n", screen::clean(&file.display().to_string())))?;
        }
    }
    Ok(Done::Well)
}

fn text(mut objects: Vec<Object>, is_served: impl Fn(&str, IpAddr) -> bool) -> String {
    objects.sort_by(|one, other| one.key.cmp(&other.key));
    let mut lines = Vec::new();
    for object in &objects {
        let Spec::ServiceEntry(entry) = &object.spec else { continue };
        let hosts: Vec<_> = entry.hosts.iter().filter(|host| !host.contains('*')).map(String::as_str).collect();
        // Several hosts of one object have its addresses together, or each the ones that were allocated to it.
        let groups: Vec<&[&str]> = match hosts.len() {
            0 => Vec::new(),
            _ if entry.allocated.is_empty() => vec![&hosts],
            _ => hosts.chunks(1).collect(),
        };
        for hosts in groups {
            let single = entry.addresses_of(hosts[0]).iter().filter(|net| net.prefix_len() == net.max_prefix_len());
            let mut addresses: Vec<_> = single.map(IpNet::addr).collect();
            addresses.dedup();
            let why = if addresses.is_empty() {
                "has no single address"
            } else {
                "is not served: it has no endpoint, or this host steers nothing"
            };
            // Of hosts that share an address, one is served there for all.
            let shares = |host: &String, ip| entry.addresses_of(host).contains(&IpNet::from(ip));
            addresses.retain(|ip| entry.hosts.iter().any(|host| shares(host, *ip) && is_served(host, *ip)));
            if addresses.is_empty() {
                lines.extend(hosts.iter().map(|host| format!("# {host}: {} {why}", object.key)));
            }
            lines.extend(addresses.iter().map(|address| format!("{address} {}", hosts.join(" "))));
        }
    }
    lines.iter().fold(String::new(), |text, line| text + &screen::clean(line) + "\n")
}
