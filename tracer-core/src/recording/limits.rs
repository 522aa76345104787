//! Limits for the numbers and texts of an untrusted recording, so that no sum behind a verdict overflows.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

/// Maximal time since boot: 36 years, in nanoseconds.
const TIME: u64 = 1 << 60;
/// Maximal sum of all byte and call counts of one recording: 64 PiB.
const AMOUNTS: u64 = 1 << 56;
/// Maximal length of a text in bytes: the longest that the kernel side sends, with each invalid byte replaced by
/// three.
const TEXT: usize = 4 << 10;
/// Lists whose texts may be longer, up to Linux's own limit; they are held once.
const LONG: [&str; 2] = ["argv", "command"];
/// Members that are never added up, so they may hold any number.
const NAMES_OF_THINGS: [&str; 5] = ["ino", "peer_ino", "magic", "window", "size"];

/// The part of the limits that lines have used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    amounts: u64,
}

impl Limits {
    /// Checks one line alone: returns what it uses and its head, or an error. One pass over the text, without a copy.
    pub(super) fn of_line(line: &str) -> Result<(Self, Head<'_>), String> {
        let (mut limits, mut head) = (Self::default(), Head::default());
        let mut text = serde_json::Deserializer::from_str(line);
        let whole = Walk { head: Some(&mut head), ..Walk::inside(&mut limits, "") };
        whole
            .deserialize(&mut text)
            .and_then(|()| text.end())
            .map_err(|fault| fault.to_string())?;
        Ok((limits, head))
    }

    /// Adds what a line uses, or refuses it if the sum exceeds the limit; then nothing is added.
    pub(super) fn admit(&mut self, line: Self) -> Result<(), String> {
        let amounts = self.amounts.saturating_add(line.amounts);
        if amounts > AMOUNTS {
            return Err("its numbers and those before it together cannot be real".to_owned());
        }
        self.amounts = amounts;
        Ok(())
    }

    /// Adds what a parsed value uses.
    pub(super) fn admit_value(&mut self, value: &Value) -> Result<(), String> {
        let mut after = *self;
        let whole = Walk::inside(&mut after, "");
        whole.deserialize(value).map_err(|fault| fault.to_string())?;
        *self = after;
        Ok(())
    }

    /// Checks a number. Numbers below 2³² cannot overflow a sum in a file of any size.
    pub(super) fn number(&mut self, name: &str, number: u64) -> Result<(), String> {
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

/// Whether a text is longer than the limit for its member.
pub(super) fn is_long(name: &str, text: &str) -> bool {
    text.len() > TEXT && !LONG.contains(&name)
}

/// The type and time of a line.
#[derive(Debug, Default)]
pub(super) struct Head<'a> {
    /// Its `type`.
    pub(super) kind: Option<Cow<'a, str>>,
    /// Its `event`.
    pub(super) event: Option<Cow<'a, str>>,
    /// Nanoseconds since boot.
    pub(super) time_ns: Option<u64>,
}

/// A string; borrowed unless it has escaped characters.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A value that should be a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Word<'a> {
    Text(#[serde(borrow)] Text<'a>),
    Other(IgnoredAny),
}

/// Visits one value and everything in it.
struct Walk<'a, 'de> {
    limits: &'a mut Limits,
    /// The name of the member that the value belongs to.
    name: &'a str,
    /// Receives the head; only for the whole line.
    head: Option<&'a mut Head<'de>>,
    /// Receives the number; only for the time of the line.
    time_ns: Option<&'a mut Option<u64>>,
}

impl<'a> Walk<'a, '_> {
    fn inside(limits: &'a mut Limits, name: &'a str) -> Self {
        Self { limits, name, head: None, time_ns: None }
    }
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
            let mut walk = Walk::inside(self.limits, &name);
            if let Some(head) = self.head.as_deref_mut() {
                match &*name {
                    "type" => {
                        head.kind = word(&mut members)?;
                        continue;
                    }
                    "event" => {
                        head.event = word(&mut members)?;
                        continue;
                    }
                    "time_ns" => walk.time_ns = Some(&mut head.time_ns),
                    _ => {}
                }
            }
            members.next_value_seed(walk)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        loop {
            let each = Walk::inside(self.limits, self.name);
            if items.next_element_seed(each)?.is_none() {
                return Ok(());
            }
        }
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        if let Some(time_ns) = self.time_ns {
            *time_ns = Some(number);
        }
        self.limits.number(self.name, number).map_err(E::custom)
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

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        if is_long(self.name, text) {
            let (name, length) = (self.name, text.len());
            return Err(E::custom(format!("its `{name}` of {length} B cannot be real")));
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// The next value, if it is a string.
fn word<'de, A: MapAccess<'de>>(members: &mut A) -> Result<Option<Cow<'de, str>>, A::Error> {
    Ok(match members.next_value()? {
        Word::Text(Text(text)) => Some(text),
        Word::Other(IgnoredAny) => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_are_limited_in_total_and_a_refused_line_is_not_counted() {
        let mut limits = Limits::default();
        let half = json!({"bytes": AMOUNTS / 2});
        assert_eq!(limits.admit_value(&half), Ok(()));
        assert!(limits.admit_value(&json!({"bytes": u64::MAX})).unwrap_err().contains("`bytes`"));
        assert_eq!(limits.admit_value(&half), Ok(()));
        assert!(limits.admit_value(&half).is_err());
    }

    #[test]
    fn a_text_over_the_limit_is_refused_and_a_long_command_is_not() {
        let long = "x".repeat(TEXT + 1);
        let mut limits = Limits::default();
        for line in [json!({"comm": long}), json!({"a": [{"name": long}]})] {
            assert!(limits.admit_value(&line).unwrap_err().contains("cannot be real"));
        }
        assert_eq!(limits.admit_value(&json!({"argv": ["sh", long]})), Ok(()));
    }

    #[test]
    fn identities_and_times_are_not_added_up() {
        let mut limits = Limits::default();
        let line = json!({"object": {"ino": u64::MAX}, "time_ns": TIME, "fd": -1});
        assert_eq!(limits.admit_value(&line), Ok(()));
        assert!(limits.admit_value(&json!({"time_ns": u64::MAX})).is_err());
    }
}
