//! Serializes the raw bytes of a fact: as text if they are UTF-8, else as ISO 8859-1 (one character for each byte)
//! under the key `latin1`. Neither form loses a byte.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The two forms.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Saved<'a> {
    Text(Cow<'a, str>),
    Bytes { latin1: String },
}

pub(super) fn serialize<S: Serializer>(raw: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    let saved = match str::from_utf8(raw) {
        Ok(text) => Saved::Text(Cow::Borrowed(text)),
        Err(_) => Saved::Bytes { latin1: raw.iter().copied().map(char::from).collect() },
    };
    saved.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    match Saved::deserialize(deserializer)? {
        Saved::Text(text) => Ok(text.into_owned().into_bytes()),
        Saved::Bytes { latin1 } => latin1
            .chars()
            .map(|character| u8::try_from(u32::from(character)))
            .collect::<Result<_, _>>()
            .map_err(|_| serde::de::Error::custom("a character above U+00FF under `latin1`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(PartialEq, Debug, Serialize, Deserialize)]
    struct Holder(#[serde(with = "super")] Vec<u8>);

    #[test]
    fn every_byte_survives_and_text_stays_readable() {
        let all = Holder((0..=255).collect());
        let path = Holder(b"/run/docker.sock".to_vec());
        for holder in [&all, &path] {
            let json = serde_json::to_string(holder).unwrap();
            assert_eq!(serde_json::from_str::<Holder>(&json).unwrap(), *holder);
        }
        assert_eq!(serde_json::to_string(&path).unwrap(), r#""/run/docker.sock""#);
    }

    #[test]
    fn a_character_that_is_no_byte_is_refused() {
        assert!(serde_json::from_str::<Holder>(r#"{"latin1":"\u0100"}"#).is_err());
    }
}
