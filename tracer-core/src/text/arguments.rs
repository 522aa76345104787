//! A command line, shared by all processes that inherited it.

use std::{ops::Deref, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Arguments, the program's name first. Clones share the memory: a forked process has the arguments of its parent,
/// and they can take megabytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments(Arc<[String]>);

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
    fn a_copy_takes_no_memory_of_its_own() {
        let arguments: Arguments = vec!["sh".to_owned(), "-c".to_owned()].into();
        assert_eq!(arguments.clone().as_ptr(), arguments.as_ptr());
        let text = serde_json::to_string(&arguments).unwrap();
        assert_eq!(text, r#"["sh","-c"]"#);
        assert_eq!(serde_json::from_str::<Arguments>(&text).unwrap(), arguments);
    }
}
