//! `shift`: edits the weights of a route in one word.

use clap::{Args, ValueEnum};

use super::outcome;
use super::stop::{Done, Stop};
use super::{Format, LookedIn, apply, difference, quantity, screen, selection};
use crate::admin::api::{Action, ObjectName, RuleName, ShiftRequest, ShiftShare, Shifted, ShiftedDestination};
use crate::admin::client::Client;
use crate::route::kind::Kind;
use crate::route::write;

const AFTER: &str = "\
Examples:
  tcpshift-agent shift vs/tcp-echo v2=20            20 % to v2, the rest to the others
  tcpshift-agent shift vs/tcp-echo v1=0 v2=100      everything to v2
  tcpshift-agent shift vs/tcp-echo v2=0.5 --rule 1  half a percent, in the second tcp rule
  tcpshift-agent shift tcproute/echo echo-v2=20     20 % to the backend echo-v2
  tcpshift-agent shift tcp-echo v2=20 --dry-run     what that would do; nothing is changed

Only new connections are affected. A destination that is not named keeps its proportion to the others. Of a \
VirtualService it is named by its subset, or by its host if it has none; of a TCPRoute by its backend. Where that is \
not enough: HOST/SUBSET or HOST:PORT/SUBSET; BACKEND:PORT or NAMESPACE/BACKEND. A subset that a DestinationRule \
declares and the VirtualService has not yet is added. A weight that was never written counts as always: in a \
VirtualService 0, or everything if there is no other destination; in a TCPRoute 1.

Shares that add up to more than 100, or to less where every destination is named, are refused by the agent (exit code \
1); a word that is no NAME=SHARE, or a share that is none (v2=150, v2=0.001), is exit code 2. Where more new connections would be refused than now, as by a share for a version without \
endpoints, nothing is changed (exit code 3), unless with --force. The route must have been given by `apply`: one that comes from a file of yours is \
changed in that file.";

/// Change how much of the new connections each version gets
#[derive(Args, Debug)]
#[command(after_help = AFTER)]
pub(super) struct ShiftArguments {
    /// The route, as virtualservice/tcp-echo or tcproute/tcp-echo; the name alone, if only one of them has it
    #[arg(value_name = "[KIND/]NAME")]
    object: String,

    /// Subset, host or backend, and its share in percent, two decimals at most
    #[arg(value_name = "DESTINATION=SHARE", required = true, value_parser = share)]
    shares: Vec<ShiftShare>,

    #[command(flatten)]
    namespace: LookedIn,

    /// Which of the route's rules: its number, from 0, or its name in a TCPRoute; needed if more than one could be meant
    #[arg(long, value_name = "RULE", value_parser = rule)]
    rule: Option<RuleName>,

    /// Check, print what would change, change nothing
    #[arg(long)]
    dry_run: bool,

    /// Also if more new connections would be refused than now
    #[arg(long)]
    force: bool,

    /// How to print; a line for each destination without it
    #[arg(short, long, value_enum)]
    output: Option<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// The agent's answer as JSON
    Json,
    /// The route with its new weights as YAML
    Yaml,
    /// Kind and name alone
    Name,
}

pub(super) async fn execute(arguments: ShiftArguments, client: &Client) -> Result<Done, Stop> {
    let ShiftArguments { object, shares, namespace, rule, dry_run, force, output } = arguments;
    // A kind alone is a name that was forgotten.
    let (kind, name) = if object.contains('/') || !Kind::from_word(&object).is_empty() {
        let selection = selection::named(&object)?;
        (selection.word(), selection.names.concat())
    } else {
        (String::new(), object)
    };
    let object = ObjectName { kind, name, resource_version: None };
    let request = ShiftRequest { object, namespace: namespace.namespace, rule, shares, dry_run, force };
    let reply = client.shift(&request).await?;
    let mark = if dry_run { " (dry run)" } else { "" };
    match output {
        Some(Output::Json) => return apply::report(&reply, Some(Format::Json), mark),
        Some(Output::Name) => return apply::report(&reply, Some(Format::Name), mark),
        Some(Output::Yaml) => {
            outcome::problems(&reply.warnings);
            let text = reply.shifted.map(|shifted| write::yaml(&shifted.object)).unwrap_or_default();
            return screen::print(&text).map(|()| Done::Well);
        }
        None => {}
    }
    outcome::problems(&reply.warnings);
    apply::results(&reply, None, mark)?;
    let is_changed = reply.results.iter().any(|result| result.action != Action::Unchanged);
    if let Some(shifted) = reply.shifted.as_ref().filter(|_| is_changed) {
        screen::print(&screen::clean(&difference_of(shifted)))?;
    }
    if let Some(diff) = &reply.diff {
        screen::print(&difference::text(diff))?;
    }
    Ok(Done::Well)
}

/// A line for each destination.
fn difference_of(Shifted { rule, destinations, object: _ }: &Shifted) -> String {
    let width = destinations.iter().map(|one| one.name.chars().count()).max().unwrap_or(0);
    let rule = rule.as_ref().map(|rule| format!("{rule} ")).unwrap_or_default();
    let lines = destinations.iter().map(|ShiftedDestination { name, weight, slots, slots_before }| {
        let before = slots_before.map_or("none".to_owned(), quantity::percent);
        format!("  {rule}{name:width$}  {before} -> {}  (weight {weight})\n", quantity::percent(*slots))
    });
    lines.collect()
}

/// Reads `DESTINATION=SHARE`.
fn share(text: &str) -> Result<ShiftShare, String> {
    match text.rsplit_once('=') {
        Some((subset, share)) if !subset.is_empty() => {
            Ok(ShiftShare { subset: subset.to_owned(), slots: quantity::share(share)? })
        }
        _ => Err("write DESTINATION=SHARE, as v2=20".to_owned()),
    }
}

/// Reads the number or the name of a rule.
fn rule(text: &str) -> Result<RuleName, String> {
    match text {
        "" => Err("write a number, from 0, or a name".to_owned()),
        text => Ok(text.parse().map_or_else(|_| RuleName::Name(text.to_owned()), RuleName::Index)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read() {
        let read = |text| share(text).map(|share| (share.subset, share.slots));
        assert_eq!(read("v2=30"), Ok(("v2".to_owned(), 3000)));
        assert_eq!(read("prod/v2:9000=0.5%"), Ok(("prod/v2:9000".to_owned(), 50)));
        assert!(["v2", "=5", "v2=", "v2=x"].iter().all(|text| read(text).is_err()));
    }

    #[test]
    fn a_rule_is_a_number_or_a_name() {
        assert_eq!(rule("1"), Ok(RuleName::Index(1)));
        assert_eq!([rule("canary"), rule("-1")], ["canary", "-1"].map(|name| Ok(RuleName::Name(name.to_owned()))));
        assert!(rule("").is_err());
    }

    #[test]
    fn the_difference_is_shown() {
        let one = |name: &str, slots_before, slots, weight| ShiftedDestination {
            name: name.to_owned(),
            weight,
            slots,
            slots_before,
        };
        let destinations =
            vec![one("tcp-echo:9000/v1", Some(8_000), 9_950, 9_950), one("tcp-echo:9000/v10", None, 50, 50)];
        let mut shifted = Shifted { rule: None, destinations, object: serde_json::Value::Null };
        let expected = "  tcp-echo:9000/v1   80 % -> 99.5 %  (weight 9950)\n  \
                        tcp-echo:9000/v10  none -> 0.5 %  (weight 50)\n";
        assert_eq!(difference_of(&shifted), expected);
        shifted.rule = Some("tcp[1]".to_owned());
        assert!(difference_of(&shifted).starts_with("  tcp[1] tcp-echo:9000/v1  "));
    }
}
