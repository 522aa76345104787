//! Text form of identities in recordings: `71@12913043299724` (`tgid@start_ns`) for a process, `71@12913043299724/1` for
//! a guest of sandbox 1, `8:1052` or
//! `8:1052:17` (`dev:ino:discriminator`) for an object, and an empty string for the default value.

use core::{fmt, marker::PhantomData, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{id::ProcessId, object::ObjectId};

impl Serialize for ProcessId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if *self == Self::default() {
            return serializer.serialize_str("");
        }
        let Self { tgid, start_ns, sandbox } = *self;
        match sandbox {
            0 => serializer.collect_str(&format_args!("{tgid}@{start_ns}")),
            _ => serializer.collect_str(&format_args!("{tgid}@{start_ns}/{sandbox}")),
        }
    }
}

impl Serialize for ObjectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { ino, dev, discriminator } = *self;
        match (*self == Self::default(), discriminator) {
            (true, _) => serializer.serialize_str(""),
            (false, 0) => serializer.collect_str(&format_args!("{dev}:{ino}")),
            (false, _) => serializer.collect_str(&format_args!("{dev}:{ino}:{discriminator}")),
        }
    }
}

impl<'de> Deserialize<'de> for ProcessId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Identity { parse: process, kind: PhantomData })
    }
}

impl<'de> Deserialize<'de> for ObjectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Identity { parse: object, kind: PhantomData })
    }
}

fn process(text: &str) -> Option<ProcessId> {
    let (tgid, rest) = text.split_once('@')?;
    let (start_ns, sandbox) = match rest.split_once('/') {
        Some((start_ns, sandbox)) => (start_ns, number(sandbox)?),
        None => (rest, 0),
    };
    Some(ProcessId { tgid: number(tgid)?, start_ns: number(start_ns)?, sandbox })
}

fn object(text: &str) -> Option<ObjectId> {
    let (dev, rest) = text.split_once(':')?;
    let (ino, discriminator) = match rest.split_once(':') {
        Some((ino, discriminator)) => (ino, number(discriminator)?),
        None => (rest, 0),
    };
    Some(ObjectId { ino: number(ino)?, dev: number(dev)?, discriminator })
}

fn number<N: FromStr>(text: &str) -> Option<N> {
    text.parse().ok()
}

/// Parses an identity from its text form.
struct Identity<I> {
    parse: fn(&str) -> Option<I>,
    kind: PhantomData<I>,
}

impl<I: Default> de::Visitor<'_> for Identity<I> {
    type Value = I;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an identity such as 71@12913043299724 or 8:1052")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<I, E> {
        if text.is_empty() {
            return Ok(I::default());
        }
        (self.parse)(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use serde::de::value::{Error, StrDeserializer};

    use super::*;

    fn read<I: for<'de> Deserialize<'de>>(text: &str) -> Result<I, Error> {
        I::deserialize(StrDeserializer::new(text))
    }

    #[test]
    fn identities_are_read_from_their_text() {
        assert_eq!(read("71@5"), Ok(ProcessId::new(71, 5)));
        assert_eq!(read("71@5/2"), Ok(ProcessId { sandbox: 2, ..ProcessId::new(71, 5) }));
        assert_eq!(read(""), Ok(ProcessId::default()));
        assert_eq!(read("8:1052"), Ok(ObjectId { ino: 1052, dev: 8, discriminator: 0 }));
        assert_eq!(read("8:1052:17"), Ok(ObjectId { ino: 1052, dev: 8, discriminator: 17 }));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["71", "71@", "@", "-1@5", "71@5/", "71@99999999999999999999", "8:1:2:3", "8"] {
            assert!(read::<ProcessId>(text).is_err(), "{text}");
            assert!(read::<ObjectId>(text).is_err(), "{text}");
        }
    }
}
