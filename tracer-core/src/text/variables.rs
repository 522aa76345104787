//! Environment variables, shared by processes with the same ones.

use std::{collections::BTreeMap, ops::Deref, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names and values. Clones share the memory: most processes of a tree have the variables of their parent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables(Arc<BTreeMap<String, String>>);

impl Variables {
    /// Whether these are the same variables, in any order.
    #[must_use]
    pub fn are(&self, variables: &[(String, String)]) -> bool {
        self.len() == variables.len()
            && variables.iter().all(|(name, value)| self.get(name) == Some(value))
    }

    /// The part of their memory that falls to one of those who share them, in bytes; `each` is what a variable takes beside
    /// its texts.
    #[must_use]
    pub(crate) fn share_of_memory(&self, each: u64) -> u64 {
        let texts: usize = self.0.iter().map(|(name, value)| name.len() + value.len()).sum();
        (texts as u64 + self.0.len() as u64 * each).div_ceil(Arc::strong_count(&self.0) as u64)
    }
}

impl FromIterator<(String, String)> for Variables {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(Arc::new(variables.into_iter().collect()))
    }
}

impl Deref for Variables {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Serialize for Variables {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Variables {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(from).map(|variables| Self(Arc::new(variables)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_variables_are_recognised_in_any_order() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let two: Variables = [pair("TERM", "xterm"), pair("LANG", "C")].into_iter().collect();
        assert!(two.are(&[pair("LANG", "C"), pair("TERM", "xterm")]));
        assert!(!two.are(&[pair("LANG", "C")]));
        assert!(!two.are(&[pair("LANG", "C"), pair("TERM", "dumb")]));
    }
}
