//! The difference of two plans in words: new and removed listeners and routes, and the clients that move.

use super::{quantity, screen};
use crate::plan::diff::{
    Change, DestinationDiff, Diff, EndpointDiff, EntranceDiff, ListenerDiff, MeshDiff, Move, RouteDiff,
};

/// The text for people, one line at least.
pub(super) fn text(diff: &Diff) -> String {
    if diff.is_empty() {
        return "nothing changes\n".to_owned();
    }
    let mut lines = Vec::new();
    for ListenerDiff { change, address, name } in &diff.listeners {
        lines.push(match change {
            Change::Changed => format!("~ listener {address}: from now on that of {name}"),
            _ => format!("{} listener {address} {name}", sign(*change)),
        });
    }
    for MeshDiff { change, address, at } in &diff.mesh {
        lines.push(match change {
            Change::Changed => format!("~ mesh {address}: from now on at {at}"),
            _ => format!("{} mesh {address} at {at}", sign(*change)),
        });
    }
    for entrance in &diff.entrances {
        lines.push(of_entrance(entrance));
    }
    for route in &diff.routes {
        lines.extend(of_route(route));
    }
    lines.iter().fold(String::new(), |text, line| text + &screen::clean(line) + "\n")
}

fn of_entrance(entrance: &EntranceDiff) -> String {
    let EntranceDiff { address, clients, in_mesh, from, to, moved, moves } = entrance;
    // Connections without a route.
    let (past, present) = if *in_mesh { ("left alone", "are left alone") } else { ("reset", "are reset") };
    let clients = if clients.is_empty() { "all clients" } else { clients };
    let what = match (from, to) {
        (Some(from), Some(to)) => format!("route {from} -> {to}, {}", movement(*moved, moves)),
        (Some(from), None) => format!("route {from} -> none: they {present}"),
        (None, Some(to)) => format!("no route ({past}) -> {to}"),
        (None, None) => "no route".to_owned(),
    };
    format!("{address}: {clients}: {what}")
}

fn of_route(route: &RouteDiff) -> Vec<String> {
    let RouteDiff { change, name, address, steer_by, moved, moves, destinations, settings } = route;
    let mut lines = vec![match change {
        Change::Changed => format!("{name} at {address}: {}", movement(*moved, moves)),
        Change::Removed => format!("- route {name} at {address}"),
        Change::Added => {
            let names = || destinations.iter().map(|destination| destination.name.as_str());
            let shares = destinations.iter().filter(|destination| destination.slots.1 > 0).map(|destination| {
                format!("{} {}", short(&destination.name, names()), quantity::percent(destination.slots.1))
            });
            let shares: Vec<_> = shares.collect();
            format!(
                "+ route {name} at {address}: {}",
                if shares.is_empty() { "no destination".to_owned() } else { shares.join(", ") }
            )
        }
    }];
    if let Some((from, to)) = steer_by {
        lines.push(format!("  ~ steer-by {from} -> {to}: each client is decided anew"));
    }
    if *settings {
        lines.push("  ~ settings of the route".to_owned());
    }
    for destination in destinations {
        of_destination(*change, destination, &mut lines);
    }
    lines
}

fn of_destination(route: Change, destination: &DestinationDiff, lines: &mut Vec<String>) {
    let DestinationDiff { change, name, slots, unusable, endpoints, settings } = destination;
    if *change != Change::Changed && route == Change::Changed {
        let share = quantity::percent(slots.0.max(slots.1));
        lines.push(format!("  {} destination {name} {share}", sign(*change)));
    }
    if let Some(reason) = unusable {
        let refused = if slots.1 > 0 { "; its share is refused" } else { "" };
        lines.push(format!("  ! {name}: {reason}{refused}"));
    }
    if *settings {
        lines.push(format!("  ~ policy of {name}"));
    }
    for EndpointDiff { change, address } in endpoints {
        let weight = if *change == Change::Changed { "weight of " } else { "" };
        lines.push(format!("  {} {weight}endpoint {address} of {name}", sign(*change)));
    }
}

/// `20 % of clients move: v1 -> v2 20 %`
fn movement(share: u32, moves: &[Move]) -> String {
    if moves.is_empty() {
        return "no client moves".to_owned();
    }
    let all = || moves.iter().flat_map(|one| one.from.iter().chain(&one.to)).map(String::as_str);
    let named = |name: &Option<String>| name.as_deref().map_or("none", |name| short(name, all())).to_owned();
    let each =
        moves.iter().map(|one| format!("{} -> {} {}", named(&one.from), named(&one.to), quantity::percent(one.slots)));
    format!("{} of clients move: {}", quantity::percent(share), each.collect::<Vec<_>>().join(", "))
}

/// The subset alone, where all names are subsets of one host and port.
fn short<'n, 'a>(name: &'n str, mut all: impl Iterator<Item = &'a str>) -> &'n str {
    match name.split_once('/') {
        Some((host, subset)) if all.all(|other| other.split_once('/').is_some_and(|(other, _)| other == host)) => {
            subset
        }
        _ => name,
    }
}

fn sign(change: Change) -> char {
    match change {
        Change::Added => '+',
        Change::Removed => '-',
        Change::Changed => '~',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moves(from: &str, to: &str, slots: u32) -> Vec<Move> {
        vec![Move { from: Some(from.to_owned()), to: Some(to.to_owned()), slots }]
    }

    fn route(change: Change, moves: Vec<Move>) -> RouteDiff {
        RouteDiff {
            change,
            name: "default/tcp-echo".to_owned(),
            address: "[::]:31400".to_owned(),
            steer_by: None,
            moved: moves.iter().map(|one| one.slots).sum(),
            moves,
            destinations: Vec::new(),
            settings: false,
        }
    }

    #[test]
    fn nothing_is_said_too() {
        assert_eq!(text(&Diff::default()), "nothing changes\n");
    }

    #[test]
    fn moves_are_told_by_subset_where_that_is_clear() {
        let mut diff =
            Diff { routes: vec![route(Change::Changed, moves("echo:1/v1", "echo:1/v2", 2_000))], ..Diff::default() };
        assert_eq!(text(&diff), "default/tcp-echo at [::]:31400: 20 % of clients move: v1 -> v2 20 %\n");
        diff.routes = vec![route(Change::Changed, moves("echo:1/v1", "other:1/v1", 1))];
        assert_eq!(
            text(&diff),
            "default/tcp-echo at [::]:31400: 0.01 % of clients move: echo:1/v1 -> other:1/v1 0.01 %\n"
        );
    }

    #[test]
    fn what_comes_and_goes_has_its_sign() {
        let address = "[::]:31400".to_owned();
        let endpoint = EndpointDiff { change: Change::Removed, address: "10.0.0.1:9".to_owned() };
        let mut changed = route(Change::Changed, Vec::new());
        changed.steer_by = Some(("connection".to_owned(), "source".to_owned()));
        changed.destinations = vec![DestinationDiff {
            change: Change::Changed,
            name: "echo:1/v1".to_owned(),
            slots: (2_000, 2_000),
            unusable: Some("no endpoint\x1b".to_owned()),
            endpoints: vec![endpoint],
            settings: true,
        }];
        let diff = Diff {
            mesh: vec![
                MeshDiff { change: Change::Added, address: "echo:9000".to_owned(), at: "240.0.0.1".to_owned() },
                MeshDiff { change: Change::Changed, address: "echo:1".to_owned(), at: "240.0.0.1, fd00::1".to_owned() },
            ],
            listeners: vec![ListenerDiff {
                change: Change::Added,
                address: address.clone(),
                name: "default/gate:tcp".to_owned(),
            }],
            routes: vec![changed, route(Change::Removed, Vec::new())],
            entrances: vec![EntranceDiff {
                address,
                clients: "10.0.0.0/8".to_owned(),
                in_mesh: false,
                from: Some("default/a".to_owned()),
                to: None,
                moved: 0,
                moves: Vec::new(),
            }],
        };
        let expected = "\
+ listener [::]:31400 default/gate:tcp
+ mesh echo:9000 at 240.0.0.1
~ mesh echo:1: from now on at 240.0.0.1, fd00::1
[::]:31400: 10.0.0.0/8: route default/a -> none: they are reset
default/tcp-echo at [::]:31400: no client moves
  ~ steer-by connection -> source: each client is decided anew
  ! echo:1/v1: no endpoint\u{fffd}; its share is refused
  ~ policy of echo:1/v1
  - endpoint 10.0.0.1:9 of echo:1/v1
- route default/tcp-echo at [::]:31400
";
        assert_eq!(text(&diff), expected);
    }
}
