//! Which objects a command is for, as kubectl's users write it: `KIND NAME…`, `KIND,KIND` or `KIND/NAME…`.

use super::stop::Stop;
use crate::route::kind::{self, Kind};

/// Objects of one kind, or of the kinds that share a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selection {
    /// One, or all that the word stands for.
    pub(super) kinds: Vec<Kind>,
    /// All of the kind, if empty.
    pub(super) names: Vec<String>,
}

impl Selection {
    /// The kind as the agent is told it: with its group, if only one is meant.
    pub(super) fn word(&self) -> String {
        match self.kinds.as_slice() {
            [kind] => kind.qualified(),
            kinds => kinds.first().map_or("", |kind| kind.singular()).to_owned(),
        }
    }
}

/// Reads the words behind a command.
pub(super) fn selections(words: &[String]) -> Result<Vec<Selection>, Stop> {
    if words.iter().any(|word| word.contains('/')) {
        return words.iter().map(|word| named(word)).collect();
    }
    let Some((words, names)) = words.split_first() else {
        return Err(Stop::Usage("name a kind, as virtualservice".to_owned()));
    };
    if words == "all" && names.is_empty() {
        return Ok(Kind::ALL.iter().map(|kind| Selection { kinds: vec![*kind], names: Vec::new() }).collect());
    }
    words.split(',').map(|word| Ok(Selection { kinds: kinds(word)?, names: names.to_vec() })).collect()
}

/// Reads `KIND/NAME`.
pub(super) fn named(word: &str) -> Result<Selection, Stop> {
    match word.split_once('/') {
        Some((word, name)) if !name.is_empty() && !name.contains('/') => {
            Ok(Selection { kinds: kinds(word)?, names: vec![name.to_owned()] })
        }
        _ => Err(Stop::Usage(format!("`{word}` names no object: write KIND/NAME, as virtualservice/tcp-echo"))),
    }
}

fn kinds(word: &str) -> Result<Vec<Kind>, Stop> {
    let kinds = Kind::from_word(word);
    if kinds.is_empty() { Err(Stop::Failed(kind::unknown(word))) } else { Ok(kinds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Option<Vec<(Kind, String)>> {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        let selections = selections(&words).ok()?;
        Some(selections.into_iter().map(|target| (target.kinds[0], target.names.join(" "))).collect())
    }

    #[test]
    fn kubectls_forms_are_read() {
        let (vs, dr) = (Kind::VirtualService, Kind::DestinationRule);
        assert_eq!(read("vs"), Some(vec![(vs, String::new())]));
        assert_eq!(read("virtualservice a b"), Some(vec![(vs, "a b".into())]));
        assert_eq!(read("vs,dr a"), Some(vec![(vs, "a".into()), (dr, "a".into())]));
        assert_eq!(read("vs/a dr/b"), Some(vec![(vs, "a".into()), (dr, "b".into())]));
        assert_eq!(read("all").map(|selections| selections.len()), Some(Kind::ALL.len()));
        let gateways = selections(&["gateway".to_owned()]).unwrap();
        assert_eq!(gateways[0].kinds, [Kind::Gateway, Kind::GatewayApiGateway]);
        assert_eq!(gateways[0].word(), "gateway");
        assert_eq!(read("gateways.gateway.networking.k8s.io"), Some(vec![(Kind::GatewayApiGateway, String::new())]));
        for malformed in ["", "pods", "vs/", "/a", "vs/a/b", "vs a/b", "vs/a b", "vs,", "all a"] {
            assert_eq!(read(malformed), None, "{malformed}");
        }
    }
}
