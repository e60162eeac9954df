//! `shift`: new weights for the destinations of a rule, worked out from shares.
//!
//! The destinations that are named get their share; the others keep the proportions they have among
//! themselves in the rest. It edits the document and nothing else; the result is read like any other.

mod destination;

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::destination::{WrittenDestination, destination, one_of};
use super::kind::Kind;
use super::model::Spec;
use super::names;
use super::object::Object;

/// The share of a whole route, in hundredths of a percent.
const WHOLE: u64 = 10_000;

/// Names of destinations that an error lists, at most.
const MOST_NAMES: usize = 20;

/// A destination's name in its route, and its share in hundredths of a percent.
pub type WantedShare<'a> = (&'a str, u32);

/// A rule of an object as a person names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a rule's index, from 0, or its name")]
pub enum RuleName {
    /// From 0.
    Index(usize),
    /// The `name` of a TCPRoute's rule.
    Name(String),
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => index.fmt(f),
            Self::Name(name) => write!(f, "{name:?}"),
        }
    }
}

/// New weights for a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// The document with them.
    pub document: Value,
    /// The rule as a field, `tcp[1]`, where the object has several.
    pub rule: Option<String>,
    /// Whether connections never come to the rule, since another one takes them.
    pub is_unused: bool,
    /// Its destinations, in the order of the document.
    pub weights: Vec<Weight>,
}

/// A destination with its weights, before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weight {
    /// `host:port/subset`, or `backend:port`.
    pub destination: String,
    /// The weight before, the default where none was written; none if the destination is new.
    pub before: Option<u64>,
    /// The weight that is written now.
    pub after: u64,
}

/// The document of a route with the weights of a rule changed. `subsets` gives those that DestinationRules declare
/// for a host: one that is named and that a VirtualService's rule has not yet is added.
pub fn shift(
    object: &Object,
    rule: Option<&RuleName>,
    wanted: &[WantedShare<'_>],
    subsets: impl Fn(&str) -> Vec<String>,
) -> Result<Edit, String> {
    let rules = Rules::of(object)?;
    let total: u64 = wanted.iter().map(|(_, share)| u64::from(*share)).sum();
    if wanted.is_empty() {
        return Err("name a destination and its share".to_owned());
    }
    if total > WHOLE {
        return Err(format!("the shares add up to {}, more than 100 %", percent(total)));
    }
    let mut document = object.content.tree();
    let at = rules.chosen(&document, rule, wanted)?;
    let path = rules.path(at);
    let list = document.pointer_mut(&path).and_then(Value::as_array_mut);
    let list = list.ok_or_else(|| format!("{} has no route to edit", object.key))?;
    let mut found: Vec<WrittenDestination> = list.iter().map(|entry| destination(object, entry)).collect();
    let mut before: Vec<Option<u64>> = found.iter().map(|one| Some(one.counted(found.len()))).collect();
    let mut given: Vec<Option<u64>> = vec![None; found.len()];
    for (name, share) in wanted {
        let index = if let Some(index) = one_of(&found, name)? {
            index
        } else {
            let entry = added(object, list, &found, name, &subsets)?;
            found.push(destination(object, &entry));
            list.push(entry);
            before.push(None);
            given.push(None);
            found.len() - 1
        };
        if given[index].replace(u64::from(*share)).is_some() {
            return Err(format!("{} is named twice", found[index].full));
        }
    }
    let others = before.iter().zip(&given).enumerate().filter(|(_, (_, given))| given.is_none());
    let others: Vec<(usize, u64)> = others.map(|(index, (before, _))| (index, before.unwrap_or(0))).collect();
    let left = WHOLE - total;
    if others.is_empty() && left > 0 {
        return Err(format!("every destination is named, and the shares add up to {}, not 100 %", percent(total)));
    }
    let mut weights: Vec<u64> = given.iter().map(|given| given.unwrap_or(0)).collect();
    divide(left, &others, &mut weights);
    // Weights are written in whole percents if all are whole, else in hundredths.
    let unit = if weights.iter().all(|weight| weight % 100 == 0) { 100 } else { 1 };
    for (entry, weight) in list.iter_mut().zip(&mut weights) {
        *weight /= unit;
        entry["weight"] = json!(weight);
    }
    let weights = found.into_iter().zip(before).zip(weights);
    let weights = weights.map(|((found, before), after)| Weight { destination: found.full, before, after });
    Ok(Edit { document, rule: rules.field(at), is_unused: rules.is_unused(at), weights: weights.collect() })
}

/// Divides the rest by the old weights, by largest remainder; evenly if all were 0.
fn divide(left: u64, others: &[(usize, u64)], weights: &mut [u64]) {
    let sum: u64 = others.iter().map(|(_, old)| old).sum();
    let share = |old: u64| if sum == 0 { (1, others.len() as u64) } else { (old, sum) };
    let mut rest = left;
    let mut remainders = Vec::new();
    for (index, old) in others {
        let (part, whole) = share(*old);
        weights[*index] = left * part / whole;
        rest -= weights[*index];
        remainders.push((left * part % whole, *index));
    }
    remainders.sort_by_key(|(remainder, index)| (std::cmp::Reverse(*remainder), *index));
    for (_, index) in remainders.into_iter().take(rest as usize) {
        weights[index] += 1;
    }
}

/// The rules of a route object: their number, and their paths.
struct Rules<'a> {
    object: &'a Object,
    /// The names that rules of a TCPRoute have.
    names: Vec<Option<&'a str>>,
}

impl<'a> Rules<'a> {
    fn of(object: &'a Object) -> Result<Self, String> {
        let names = match &object.spec {
            Spec::VirtualService(service) => vec![None; service.tcp.len()],
            Spec::TcpRoute(route) => route.rules.iter().map(|rule| rule.name.as_deref()).collect(),
            _ => return Err(format!("{} has no weights; name a VirtualService or a TCPRoute", object.key)),
        };
        if names.is_empty() {
            return Err(format!("{} has no tcp rule", object.key));
        }
        Ok(Self { object, names })
    }

    fn is_tcp_route(&self) -> bool {
        self.object.key.kind == Kind::TcpRoute
    }

    /// Where the destinations of a rule stand.
    fn path(&self, index: usize) -> String {
        if self.is_tcp_route() {
            format!("/spec/rules/{index}/backendRefs")
        } else {
            format!("/spec/tcp/{index}/route")
        }
    }

    fn field(&self, index: usize) -> Option<String> {
        let list = if self.is_tcp_route() { "rules" } else { "tcp" };
        (self.names.len() > 1).then(|| format!("{list}[{index}]"))
    }

    /// Every rule of a TCPRoute matches everything, so the first one takes it.
    fn is_unused(&self, index: usize) -> bool {
        self.is_tcp_route() && index > 0
    }

    /// The rule that is meant. If none is named: the only one, the only one in use, or the only one that has all the
    /// destinations.
    fn chosen(&self, document: &Value, rule: Option<&RuleName>, wanted: &[WantedShare<'_>]) -> Result<usize, String> {
        let count = self.names.len();
        match rule {
            Some(RuleName::Index(index)) if *index < count => Ok(*index),
            Some(rule) => {
                let text = match rule {
                    RuleName::Index(index) => index.to_string(),
                    RuleName::Name(name) => name.clone(),
                };
                let named = self.names.iter().position(|name| *name == Some(&text));
                named.ok_or_else(|| format!("{} has no rule {rule}: {}", self.object.key, self.listed()))
            }
            None if count == 1 || self.is_tcp_route() => Ok(0),
            None => {
                let has_all = |index: &usize| {
                    let list = document.pointer(&self.path(*index)).and_then(Value::as_array);
                    let found: Vec<_> =
                        list.into_iter().flatten().map(|entry| destination(self.object, entry)).collect();
                    wanted.iter().all(|(name, _)| one_of(&found, name).is_ok_and(|index| index.is_some()))
                };
                let fitting: Vec<usize> = (0..count).filter(has_all).collect();
                match fitting.as_slice() {
                    [only] => Ok(*only),
                    _ => Err(format!("{} has {count} tcp rules; say which by --rule, counted from 0", self.object.key)),
                }
            }
        }
    }

    /// `its rules are 0 (canary), 1`, by index and name.
    fn listed(&self) -> String {
        let each = self.names.iter().enumerate().map(|(index, name)| match name {
            Some(name) => format!("{index} ({name})"),
            None => index.to_string(),
        });
        let each: Vec<_> = each.collect();
        let begin = if each.len() == 1 { "its only rule is" } else { "its rules are" };
        format!("{begin} {}", each.join(", "))
    }
}

/// A destination that a rule has not yet: another subset of a host that it leads to.
fn added(
    object: &Object,
    list: &[Value],
    found: &[WrittenDestination],
    name: &str,
    subsets: impl Fn(&str) -> Vec<String>,
) -> Result<Value, String> {
    let mut names: HashSet<String> = found.iter().map(|one| one.full.clone()).collect();
    let (mut others, mut entries) = (Vec::new(), Vec::new());
    if object.key.kind == Kind::VirtualService {
        for entry in list {
            let host = entry["destination"]["host"].as_str().unwrap_or_default();
            for subset in subsets(host) {
                let mut entry = entry.clone();
                entry["destination"]["subset"] = json!(subset);
                let other = destination(object, &entry);
                if names.insert(other.full.clone()) {
                    others.push(other);
                    entries.push(entry);
                }
            }
        }
    }
    if let Some(index) = one_of(&others, name)? {
        return Ok(entries.into_iter().nth(index).unwrap_or_default());
    }
    let known: Vec<&WrittenDestination> = found.iter().chain(&others).collect();
    let mut shortest: Vec<&str> = known.iter().take(MOST_NAMES).map(|one| one.shortest(&known)).collect();
    shortest.sort_unstable();
    shortest.dedup();
    let names = names::and_more(&shortest, known.len().saturating_sub(MOST_NAMES));
    Err(match object.key.kind {
        Kind::TcpRoute => format!(
            "the route has no backend {name:?}; there are: {names} (a TCPRoute has no subsets: apply it with one more \
             backendRef, of weight 0, and shift then)"
        ),
        _ => format!("the route has no destination {name:?}; there are: {names}"),
    })
}

/// Slots in words: `20 %`, `0.5 %`.
pub fn percent(slots: u64) -> String {
    format!("{} %", slots as f64 / 100.0)
}
