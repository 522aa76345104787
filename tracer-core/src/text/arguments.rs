//! A command line, shared by all processes that inherited it.

use std::{ops::Deref, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many arguments are kept: each takes memory of its own, also an empty one.
const MOST: usize = 512;

/// Arguments, the program's name first. Clones share the memory: a forked process has the arguments of its parent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments(Arc<[String]>);

/// The beginning of a process's arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beginning {
    /// The arguments that are kept. The last one may be cut.
    pub arguments: Vec<String>,
    /// Whether there are more bytes than these arguments have.
    pub is_cut: bool,
}

impl Beginning {
    /// Splits memory with arguments that each end with NUL (a last one without NUL is kept) into at most 512
    /// arguments. `length` is the number of bytes that all arguments have, of which `raw` is the beginning.
    #[must_use]
    pub fn of(raw: &[u8], length: u64) -> Self {
        let body = raw.strip_suffix(&[0]).unwrap_or(raw);
        let mut words = body.split(|byte| *byte == 0);
        let kept = words.by_ref().take(if body.is_empty() { 0 } else { MOST });
        let arguments = kept.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        let is_cut = length > raw.len() as u64 || !body.is_empty() && words.next().is_some();
        Self { arguments, is_cut }
    }
}

impl From<Vec<String>> for Arguments {
    fn from(arguments: Vec<String>) -> Self {
        Self(arguments.into())
    }
}

impl From<&[String]> for Arguments {
    fn from(arguments: &[String]) -> Self {
        Self(arguments.into())
    }
}

impl FromIterator<String> for Arguments {
    fn from_iter<I: IntoIterator<Item = String>>(arguments: I) -> Self {
        Self(arguments.into_iter().collect())
    }
}

impl Deref for Arguments {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

impl Serialize for Arguments {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Vec::deserialize(from).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_argument_survives_and_too_many_are_cut() {
        let whole = |raw: &[u8]| Beginning::of(raw, raw.len() as u64);
        let words = |arguments: &[&str], is_cut| Beginning {
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
            is_cut,
        };
        assert_eq!(whole(b"sh\0-c\0\0"), words(&["sh", "-c", ""], false));
        assert_eq!(whole(b"sh"), words(&["sh"], false));
        assert_eq!(whole(b"\0"), words(&[], false));
        assert_eq!(Beginning::of(b"sh\0-", 9), words(&["sh", "-"], true));
        let many = whole(&[0; 4096]);
        assert_eq!((many.arguments.len(), many.is_cut), (MOST, true));
    }

    #[test]
    fn a_copy_takes_no_memory_of_its_own() {
        let arguments: Arguments = vec!["sh".to_owned(), "-c".to_owned()].into();
        assert_eq!(arguments.clone().as_ptr(), arguments.as_ptr());
        let text = serde_json::to_string(&arguments).unwrap();
        assert_eq!(text, r#"["sh","-c"]"#);
        assert_eq!(serde_json::from_str::<Arguments>(&text).unwrap(), arguments);
    }
}
