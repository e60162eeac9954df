//! New weights for an applied route, and what they come to.

use std::cell::OnceCell;

use super::App;
use super::change::Unchanged;
use super::request::{self, Changed};
use crate::admin::api::{ApiFailure, ChangeReply, FailureReason, ShiftRequest, Shifted, ShiftedDestination};
use crate::plan::catalog::Catalog;
use crate::plan::weigh::Layout;
use crate::plan::{Scope, WeightTable};
use crate::route::kind::Kind;
use crate::route::object::{Key, Object, Origin};
use crate::route::problem::Problem;
use crate::route::read::Document;
use crate::route::shift::{self, Edit, Weight};
use crate::route::store::Store;
use crate::route::write;

/// The kinds that have weights.
const ROUTES: [Kind; 2] = [Kind::VirtualService, Kind::TcpRoute];

impl App {
    /// Edits the weights of an applied route.
    pub(super) async fn shift(&mut self, request: ShiftRequest) -> Result<ChangeReply, Unchanged> {
        let (store, scope) = (self.store.clone(), self.planner.scope.clone());
        let (dry_run, is_guarded) = (request.dry_run, !request.force);
        let changed = self.beside.run(move || changed(&store, &scope, request)).await?;
        self.enforce(changed, dry_run, is_guarded).await
    }
}

/// The store with other weights in a route.
fn changed(store: &Store, scope: &Scope, request: ShiftRequest) -> Result<Changed, ApiFailure> {
    let ShiftRequest { object, namespace, rule, shares, dry_run: _, force: _ } = request;
    let kinds = if object.kind.is_empty() { ROUTES.to_vec() } else { request::kinds(&object.kind)? };
    let key = request::key(&kinds, &object, namespace.as_deref(), store)?;
    let Some(stored) = store.get(&key) else { return Err(not_found(&kinds, &key, store)) };
    let wanted: Vec<_> = shares.iter().map(|share| (share.subset.as_str(), share.slots)).collect();
    let refused = |message| ApiFailure::new(FailureReason::BadRequest, message);
    let catalog = OnceCell::new();
    let subsets = |host: &str| {
        let catalog = catalog.get_or_init(|| Catalog::new(ground(store).into_iter(), scope));
        catalog.subsets(&key.namespace, host)
    };
    let edit = shift::shift(stored, rule.as_ref(), &wanted, subsets).map_err(refused)?;
    if let Origin::File { .. } = &stored.origin {
        return Err(ApiFailure::new(FailureReason::Forbidden, in_file(stored, &edit)));
    }
    // What the edit is based on is what it may replace.
    let version = object.resource_version.as_deref();
    store.refuse(&key, version).map_err(|refusal| request::refused(&refusal))?;
    let documents = [Document { name: key.to_string(), text: write::yaml(&edit.document) }];
    let mut changed = request::stored(store, &documents, None, false)?;
    // They are of the object as it was applied.
    changed.reply.warnings.clear();
    if edit.is_unused {
        let rule = edit.rule.as_deref().unwrap_or_default();
        let note = format!("{key}: {rule} is not used: the first rule takes every connection");
        changed.reply.warnings.push(Problem::note(note));
    }
    changed.reply.shifted = changed.store.get(&key).map(|object| shifted(object, edit));
    Ok(changed)
}

/// What declares subsets, and the hosts that they are of, by age.
fn ground(store: &Store) -> Vec<&Object> {
    let kinds = [Kind::Service, Kind::ServiceEntry, Kind::DestinationRule];
    let objects = kinds.into_iter().flat_map(|kind| store.of_kind(kind));
    let mut objects: Vec<&Object> = objects.map(|object| &**object).collect();
    objects.sort_by(|a, b| a.age().cmp(&b.age()));
    objects
}

fn shifted(object: &Object, edit: Edit) -> Shifted {
    let slots = |weight: fn(&Weight) -> u64| {
        let weights: Vec<_> = edit.weights.iter().map(|one| (one.destination.clone(), weight(one))).collect();
        WeightTable::new(Layout::Sorted, &weights).shares().collect::<Vec<_>>()
    };
    let (before, after) = (slots(|one| one.before.unwrap_or(0)), slots(|one| one.after));
    let each = edit.weights.into_iter().zip(before).zip(after);
    let destinations = each.map(|((weight, before), slots)| ShiftedDestination {
        name: weight.destination,
        weight: weight.after,
        slots,
        slots_before: weight.before.map(|_| before),
    });
    Shifted { rule: edit.rule, destinations: destinations.collect(), object: object.document() }
}

/// Says where an object stands that only its file changes, and what to write there.
fn in_file(object: &Object, edit: &Edit) -> String {
    let Object { key, origin, .. } = object;
    let weights: Vec<_> = edit.weights.iter().map(|one| format!("{} {}", one.destination, one.after)).collect();
    let rule = edit.rule.as_ref().map(|rule| format!(" in {rule}")).unwrap_or_default();
    format!(
        "{key} belongs to the file {origin}, which the agent watches: write the weights there{rule}: {}",
        weights.join(", ")
    )
}

/// Names the kinds that were looked for, and where an object of that name is.
fn not_found(kinds: &[Kind], key: &Key, store: &Store) -> ApiFailure {
    let words: Vec<_> = kinds.iter().map(|kind| kind.plural()).collect();
    let mut message = format!("{} {:?} not found", words.join(" or "), key.name);
    let namespaces = kinds.iter().flat_map(|kind| store.of_kind(*kind));
    let mut namespaces: Vec<&str> =
        namespaces.filter(|object| object.key.name == key.name).map(|object| &*object.key.namespace).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    if !namespaces.is_empty() {
        message = format!("{message} in namespace {}, but in {}: say so by -n", key.namespace, namespaces.join(", "));
    }
    ApiFailure::new(FailureReason::NotFound, message)
}
