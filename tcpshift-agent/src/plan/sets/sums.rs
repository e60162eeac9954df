//! Weights of the endpoints of a destination as the decision reads them: running sums, and the stride from turn to turn.

use tcpshift_common::destination::{self, policy};

use crate::plan::hashing::Shelf;
use crate::plan::{Endpoint, EndpointAddress, HashTable};
use crate::route::model::LoadBalancer;

/// Sums of weights stay below this, so that two of them fit into 32 bits.
const MOST: u64 = 1 << 31;

/// Puts endpoints into the order of their addresses, each address once with its number, and sums up their weights. Where a hash
/// chooses among them, its table is taken from the shelf. The destination has no number yet.
pub(super) fn weigh(
    choice: LoadBalancer,
    mut endpoints: Vec<(EndpointAddress, u32, u32)>,
    shelf: &mut Shelf,
) -> (destination::DestinationFacts, Vec<Endpoint>, Option<HashTable>) {
    endpoints.sort_unstable();
    endpoints.dedup_by(|(one, ..), (other, ..)| one == other);
    let divisor = endpoints.iter().fold(0, |divisor, (_, weight, _)| gcd(divisor, *weight)).max(1);
    let total: u64 = endpoints.iter().map(|(_, weight, _)| u64::from(weight / divisor)).sum();
    let mut upto = 0;
    let endpoints: Vec<Endpoint> = endpoints
        .into_iter()
        .map(|(address, weight, number)| {
            let weight = u64::from(weight / divisor);
            let weight = if total > MOST { weight * MOST / 2 / total } else { weight };
            let weight = weight.max(1) as u32;
            upto += weight;
            Endpoint { address, decides: destination::EndpointFacts { number, weight, upto } }
        })
        .collect();
    let policy = match choice {
        LoadBalancer::LeastRequest => policy::LEAST_REQUEST,
        LoadBalancer::SourceHash(_) => policy::SOURCE_HASH,
        LoadBalancer::RoundRobin => policy::ROUND_ROBIN,
        LoadBalancer::Random => policy::RANDOM,
    };
    let hashing = match choice {
        LoadBalancer::SourceHash(algorithm) if !endpoints.is_empty() => {
            let named = |endpoint: &Endpoint| (endpoint.address.to_string(), endpoint.decides.weight);
            Some(shelf.table(HashTable::new(algorithm, endpoints.iter().map(named).collect())))
        }
        _ => None,
    };
    let (count, places) = (endpoints.len() as u32, hashing.as_ref().map_or(0, HashTable::places));
    let stride = stride(count, upto);
    let decides = destination::DestinationFacts { number: 0, endpoints: count, weight: upto, policy, stride, places };
    (decides, endpoints, hashing)
}

/// How far one turn steps: one by one where all weights are equal; else about the golden ratio of the sum,
/// which spreads the turns of a heavy endpoint evenly among those of the others.
fn stride(count: u32, weight: u32) -> u32 {
    if weight <= count {
        return 1;
    }
    let golden = (f64::from(weight) * 0.618_033_988_75) as u32;
    (golden.max(1)..weight).find(|stride| gcd(*stride, weight) == 1).unwrap_or(1)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
