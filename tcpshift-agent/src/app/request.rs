//! What a request makes of the store: a changed copy, and the answer, or all that is wrong with it. Nothing is in force yet.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::admin::api::{Action, ApiFailure, ChangeReply, ChangeResult, DeleteRequest, FailureReason, ObjectName};
use crate::route::kind::{self, Kind};
use crate::route::names;
use crate::route::object::{Key, Object, Origin};
use crate::route::problem::{Problem, Severity};
use crate::route::read::{self, DEFAULT_NAMESPACE, Document, ReadDocument};
use crate::route::store::{Outcome, Refusal, Refused, Store};

/// What a transaction makes durable.
pub(super) type Durable = (Vec<Arc<Object>>, Vec<Key>);

/// A change that is not in force yet.
pub(super) struct Changed {
    /// The store as it would be.
    pub(super) store: Store,
    /// What is stored and what is gone.
    pub(super) durable: Durable,
    /// What is answered, but for the generation.
    pub(super) reply: ChangeReply,
}

/// A copy of a store with the objects of documents in it; with `force` whatever version they have.
pub(super) fn stored(
    last: &Store,
    documents: &[Document],
    namespace: Option<&str>,
    force: bool,
) -> Result<Changed, ApiFailure> {
    let (entries, problems) = read::read_in_order(documents, namespace);
    let (errors, warnings): (Vec<_>, Vec<_>) =
        problems.into_iter().partition(|problem| problem.severity == Severity::Error);
    if !errors.is_empty() {
        return Err(invalid(errors));
    }
    if entries.is_empty() {
        return Err(ApiFailure::new(FailureReason::BadRequest, "no objects are given"));
    }
    let mut reply = ChangeReply { warnings, ..ChangeReply::default() };
    let mut objects = Vec::new();
    for entry in entries {
        match entry {
            ReadDocument::Valid(mut object) => {
                if force {
                    object.expected_version = None;
                }
                objects.push(*object);
            }
            ReadDocument::PassedOver { object, namespace, .. } => reply.results.push(ChangeResult {
                object,
                namespace,
                action: Action::PassedOver,
                resource_version: None,
            }),
            ReadDocument::Invalid { key, .. } => {
                return Err(ApiFailure::new(FailureReason::Invalid, format!("{key} is invalid")));
            }
        }
    }
    let mut store = last.draft();
    reply.warnings.extend(unversioned(&objects, &store));
    let done = store.apply(objects, now()).map_err(all_refused)?;
    reply.warnings.extend(in_files(&done));
    let changed = done.iter().filter(|(_, outcome)| *outcome != Outcome::Unchanged);
    let changed: Vec<_> = changed.map(|(object, _)| Arc::clone(object)).collect();
    reply.results.extend(done.into_iter().map(|(object, outcome)| ChangeResult {
        object: object.key.qualified(),
        namespace: object.key.namespace.clone(),
        action: match outcome {
            Outcome::Created => Action::Created,
            Outcome::Configured => Action::Configured,
            Outcome::Unchanged => Action::Unchanged,
        },
        resource_version: Some(object.resource_version.to_string()),
    }));
    Ok(Changed { store, durable: (changed, Vec::new()), reply })
}

/// A copy of a store without the objects of a request.
pub(super) fn deleted(last: &Store, request: DeleteRequest) -> Result<Changed, ApiFailure> {
    let DeleteRequest { documents, objects, namespace, ignore_not_found, force: _ } = request;
    let mut reply = ChangeReply::default();
    let mut keys = Vec::new();
    let (entries, problems) = read::read_in_order(&documents, namespace.as_deref());
    // An object that is invalid by now can be deleted all the same, as long as it can be named.
    let unnamed = problems.into_iter().filter(|problem| problem.severity == Severity::Error);
    let unnamed: Vec<_> = unnamed.collect();
    let named: HashSet<String> = entries.iter().filter_map(ReadDocument::key).map(ToString::to_string).collect();
    let unnamed: Vec<_> = unnamed.into_iter().filter(|problem| !named.contains(&problem.object)).collect();
    if !unnamed.is_empty() {
        return Err(invalid(unnamed));
    }
    for entry in entries {
        match entry {
            ReadDocument::Valid(object) => keys.push((object.key, None)),
            ReadDocument::Invalid { key, .. } => keys.push((key, None)),
            ReadDocument::PassedOver { object, namespace, .. } => reply.results.push(ChangeResult {
                object,
                namespace,
                action: Action::PassedOver,
                resource_version: None,
            }),
        }
    }
    for object in &objects {
        let key = key(&kinds(&object.kind)?, object, namespace.as_deref(), last)?;
        keys.push((key, object.resource_version.clone()));
    }
    if keys.is_empty() && reply.results.is_empty() {
        return Err(ApiFailure::new(FailureReason::BadRequest, "no objects are given"));
    }
    let mut store = last.draft();
    let done = store.delete(&keys, ignore_not_found).map_err(|refusal| {
        let mut failure = refused(&refusal);
        if matches!(refusal, Refusal::NotFound(_)) && keys.len() > 1 {
            failure.message.push_str("; nothing is deleted: --ignore-not-found passes it over");
        }
        failure
    })?;
    let gone: Vec<Key> = done.iter().filter(|(_, found)| *found).map(|(key, _)| key.clone()).collect();
    reply.results.extend(done.into_iter().map(|(key, found)| ChangeResult {
        object: key.qualified(),
        namespace: key.namespace,
        action: if found { Action::Deleted } else { Action::NotFound },
        resource_version: None,
    }));
    Ok(Changed { store, durable: (Vec::new(), gone), reply })
}

/// Says which objects are made anew without the version that their documents expect.
fn unversioned(objects: &[Object], store: &Store) -> Option<Problem> {
    let gone = objects.iter().filter(|object| object.expected_version.is_some() && store.get(&object.key).is_none());
    let names: Vec<String> = gone.map(|object| object.key.to_string()).collect();
    let text = match &names[..] {
        [] => return None,
        [one] => format!("{one}: its resourceVersion is dropped, as the object is not there yet"),
        _ => {
            format!("{} objects are not there yet, and their resourceVersion is dropped: {}", names.len(), few(&names))
        }
    };
    Some(Problem::note(text))
}

/// Says which objects stand in files of the agent as they are given, since they are not stored beside those.
fn in_files(done: &[(Arc<Object>, Outcome)]) -> Option<Problem> {
    let in_file = done.iter().filter(|(object, _)| matches!(object.origin, Origin::File { .. }));
    let names: Vec<String> = in_file.map(|(object, _)| format!("{} ({})", object.key, object.origin)).collect();
    let text = match &names[..] {
        [] => return None,
        [one] => format!("{one} stands in that file just so, and is not stored beside it"),
        _ => format!("{} objects stand in files just so, and are not stored beside them: {}", names.len(), few(&names)),
    };
    Some(Problem::note(text))
}

/// The first of many names.
fn few(names: &[String]) -> String {
    const MOST: usize = 3;
    names::and_more(&names[..names.len().min(MOST)], names.len().saturating_sub(MOST))
}

/// The time in whole seconds, as `creationTimestamp` has it.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// The object that a person names. Where kinds share a name, it is the one that is there.
pub(super) fn key(
    kinds: &[Kind],
    object: &ObjectName,
    namespace: Option<&str>,
    store: &Store,
) -> Result<Key, ApiFailure> {
    let namespace = namespace.unwrap_or(DEFAULT_NAMESPACE);
    let mut keys: Vec<Key> = kinds
        .iter()
        .map(|kind| Key { kind: *kind, namespace: namespace.to_owned(), name: object.name.clone() })
        .collect();
    let there: Vec<String> = keys.iter().filter(|key| store.get(key).is_some()).map(Key::qualified).collect();
    match there.as_slice() {
        [_, _, ..] => {
            Err(ApiFailure::new(FailureReason::BadRequest, format!("say which one is meant: {}", there.join(" or "))))
        }
        [_] => Ok(keys.swap_remove(keys.iter().position(|key| store.get(key).is_some()).unwrap_or_default())),
        [] => Ok(keys.swap_remove(0)),
    }
}

/// The kinds that a person names; one at least.
pub(super) fn kinds(word: &str) -> Result<Vec<Kind>, ApiFailure> {
    let kinds = Kind::from_word(word);
    if kinds.is_empty() { Err(ApiFailure::new(FailureReason::NotFound, kind::unknown(word))) } else { Ok(kinds) }
}

pub(super) fn refused(refusal: &Refusal) -> ApiFailure {
    ApiFailure::new(reason(refusal), refusal.to_string())
}

fn reason(refusal: &Refusal) -> FailureReason {
    match refusal {
        Refusal::NotFound(_) => FailureReason::NotFound,
        Refusal::BelongsToFile(..) => FailureReason::Forbidden,
        Refusal::Conflict { .. } => FailureReason::Conflict,
    }
}

/// Every object of a request that is refused, each with its place. What cannot be forced decides the reason.
fn all_refused(refused: Vec<Refused>) -> ApiFailure {
    let reasons: Vec<FailureReason> = refused.iter().map(|one| reason(&one.refusal)).collect();
    let reason =
        reasons.iter().find(|reason| **reason != FailureReason::Conflict).copied().unwrap_or(FailureReason::Conflict);
    ApiFailure { reason, ..invalid(refused.into_iter().map(|one| one.problem).collect()) }
}

fn invalid(problems: Vec<Problem>) -> ApiFailure {
    let message = match problems.len() {
        1 => "1 problem; nothing is changed".to_owned(),
        count => format!("{count} problems; nothing is changed"),
    };
    ApiFailure { reason: FailureReason::Invalid, message, problems }
}
