//! What an administrator reads in the kernel's maps is what the plan says.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::maps::dump;
use crate::steer::GATEWAY_ROUTE;
use crate::world::World;

use super::Verdict;
use super::case::Case;

/// Subset, weight and slots of a destination, with the number of slots that the route's table has of it.
type Row = (String, u64, u64, u64);

pub(super) fn map(case: &Case<'_>) -> Verdict {
    let (agent, _versions) = case.served([50, 50]);
    let mut looks = 0;
    for weights in [[80, 20], [0, 100], [1, 3], [70, 30]] {
        agent.post(case.weights(weights));
        let sum = u64::from(weights[0] + weights[1]);
        let row = |subset: &str, weight: u32| {
            let slots = u64::from(weight) * 10_000 / sum;
            (subset.to_owned(), weight.into(), slots, slots)
        };
        let expected = [row("v1", weights[0]), row("v2", weights[1])];
        assert_eq!(shown(case.world), expected, "subset, weight, slots and cells, as bpftool shows them");
        for (subset, weight, slots, _) in expected {
            let status = agent.destination(GATEWAY_ROUTE, &subset);
            assert_eq!((status.weight, u64::from(status.slots)), (weight, slots), "{subset}, as status shows it");
        }
        looks += 1;
    }
    case.keep(agent);
    Verdict::right(format!("{looks} plans, each with its weights in `destinations` and its 10000 cells in `slots`"))
}

/// What `bpftool map dump` shows of the gateway's route.
#[track_caller]
fn shown(world: &World) -> Vec<Row> {
    let rows: Vec<Value> = dump(world, "destinations").into_iter().map(|mut row| row["value"].take()).collect();
    let rows: Vec<&Value> = rows.iter().filter(|row| row["route"] == GATEWAY_ROUTE).collect();
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("no number: {value}"));
    let route = rows.first().map(|row| number(&row["route_number"])).expect("the map has a row of the route");
    let mut cells: BTreeMap<u64, u64> = BTreeMap::new();
    let table = dump(world, &format!("slots/{route}"));
    for cell in table[0]["value"]["slots"].as_array().expect("the table has slots") {
        *cells.entry(number(cell)).or_default() += 1;
    }
    let named = |row: &Value| {
        let name = row["name"].as_str().expect("a destination has a name");
        name.rsplit_once('/').map_or(name, |(_, subset)| subset).to_owned()
    };
    let rows = (0..).zip(rows);
    rows.map(|(at, row)| {
        (named(row), number(&row["weight"]), number(&row["slots"]), cells.get(&at).copied().unwrap_or_default())
    })
    .collect()
}
