//! The named values of a log line, in any form.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;

/// A required value is missing, of the wrong type, out of range, or duplicated.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Names and values in the order of the line. Some loggers write a name twice; then no value is taken.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fields(Vec<(String, Value)>);

impl Fields {
    pub(super) fn push(&mut self, name: &str, value: Value) {
        self.0.push((name.to_owned(), value));
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// The last value of a name, if it is text. Only for the time, which a logger that is set up twice writes twice;
    /// both values are right.
    pub(super) fn last_text(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name)?.1.as_str()
    }

    /// Text; `None` if the field is missing, null or empty.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Unreadable> {
        match self.only(name)? {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            Some(_) => Err(Unreadable),
        }
    }

    /// A required non-negative integer; may be in quotes.
    pub(super) fn number(&self, name: &str) -> Result<u64, Unreadable> {
        match self.only(name)? {
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().ok()
            }
            _ => None,
        }
        .ok_or(Unreadable)
    }

    /// A required list of texts. One text is a list of one; null is an empty list.
    pub(super) fn list(&self, name: &str) -> Result<Vec<String>, Unreadable> {
        match self.only(name)?.ok_or(Unreadable)? {
            Value::Null => Ok(Vec::new()),
            Value::String(text) => Ok(vec![text.clone()]),
            Value::Array(items) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned).ok_or(Unreadable))
                .collect(),
            Value::Bool(_) | Value::Number(_) | Value::Object(_) => Err(Unreadable),
        }
    }

    fn only(&self, name: &str) -> Result<Option<&Value>, Unreadable> {
        let mut values = self.0.iter().filter(|(known, _)| known == name);
        match (values.next(), values.next()) {
            (first, None) => Ok(first.map(|(_, value)| value)),
            (_, Some(_)) => Err(Unreadable),
        }
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Fields;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some(pair) = map.next_entry()? {
                    fields.0.push(pair);
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}
