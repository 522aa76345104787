//! Numbers that can be real: a made-up file must not make the sums behind a verdict overflow.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

/// Nanoseconds of 36 years of uptime.
const TIME: u64 = 1 << 60;
/// All bytes and calls of one recording together: 64 PiB.
const AMOUNTS: u64 = 1 << 56;
/// Members that nothing is computed with: they may hold any number.
const NAMES_OF_THINGS: [&str; 5] = ["ino", "peer_ino", "magic", "window", "size"];

/// What the lines so far have used of the bounds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    amounts: u64,
}

impl Bounds {
    /// Counts a line in and gives the value of its `type`; or says what is wrong with it, and then nothing
    /// is counted. Goes through the text once and keeps nothing of it.
    pub(super) fn admit<'de>(&mut self, line: &'de [u8]) -> Result<Option<Cow<'de, str>>, String> {
        let mut after = *self;
        let mut kind = None;
        let mut text = serde_json::Deserializer::from_slice(line);
        let whole = Walk { bounds: &mut after, name: "", kind: Some(&mut kind) };
        whole
            .deserialize(&mut text)
            .and_then(|()| text.end())
            .map_err(|fault| fault.to_string())?;
        *self = after;
        Ok(kind)
    }

    /// Counts a value in that was read already.
    pub(super) fn admit_value(&mut self, value: &Value) -> Result<(), String> {
        let mut after = *self;
        Walk { bounds: &mut after, name: "", kind: None }
            .deserialize(value)
            .map_err(|fault| fault.to_string())?;
        *self = after;
        Ok(())
    }

    /// Smaller numbers than 2³² cannot add up to an overflow in a file of any size.
    fn number(&mut self, name: &str, number: u64) -> Result<(), String> {
        if number <= u64::from(u32::MAX) || NAMES_OF_THINGS.contains(&name) {
            return Ok(());
        }
        let is_real = if name.ends_with("_ns") {
            number <= TIME
        } else {
            self.amounts = self.amounts.saturating_add(number);
            self.amounts <= AMOUNTS
        };
        if is_real { Ok(()) } else { Err(format!("its `{name}` of {number} cannot be real")) }
    }
}

/// A string, without a copy where the text has none of its characters escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A value that should be a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Word<'a> {
    Text(#[serde(borrow)] Text<'a>),
    Other(IgnoredAny),
}

/// Looks at one value and everything in it.
struct Walk<'a, 'de> {
    bounds: &'a mut Bounds,
    /// The name of the member that it is, or is in.
    name: &'a str,
    /// Where the member `type` goes; only of the whole line.
    kind: Option<&'a mut Option<Cow<'de, str>>>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, 'de> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        while let Some(Text(name)) = members.next_key()? {
            if name == "type"
                && let Some(kind) = self.kind.as_deref_mut()
            {
                *kind = match members.next_value()? {
                    Word::Text(Text(text)) => Some(text),
                    Word::Other(IgnoredAny) => None,
                };
                continue;
            }
            members.next_value_seed(Walk { bounds: self.bounds, name: &name, kind: None })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        loop {
            let each = Walk { bounds: self.bounds, name: self.name, kind: None };
            if items.next_element_seed(each)?.is_none() {
                return Ok(());
            }
        }
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        self.bounds.number(self.name, number).map_err(E::custom)
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_are_bounded_together_and_a_refused_line_costs_nothing() {
        let mut bounds = Bounds::default();
        let half = json!({"bytes": AMOUNTS / 2});
        assert_eq!(bounds.admit_value(&half), Ok(()));
        assert!(bounds.admit_value(&json!({"bytes": u64::MAX})).unwrap_err().contains("`bytes`"));
        assert_eq!(bounds.admit_value(&half), Ok(()));
        assert!(bounds.admit_value(&half).is_err());
    }

    #[test]
    fn identities_are_free_and_times_are_no_amounts() {
        let mut bounds = Bounds::default();
        let line = json!({"object": {"ino": u64::MAX}, "time_ns": TIME, "fd": -1});
        assert_eq!(bounds.admit_value(&line), Ok(()));
        assert!(bounds.admit_value(&json!({"time_ns": u64::MAX})).is_err());
    }
}
