//! Numbers that can be real: a made-up file must not make the sums behind a verdict overflow.

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
    /// Counts a line in, or says that it cannot be real; then nothing is counted.
    pub(super) fn admit(&mut self, line: &Value) -> Result<(), String> {
        let mut after = *self;
        after.add("", line)?;
        *self = after;
        Ok(())
    }

    fn add(&mut self, name: &str, value: &Value) -> Result<(), String> {
        match value {
            Value::Object(members) => {
                members.iter().try_for_each(|(name, member)| self.add(name, member))
            }
            Value::Array(items) => items.iter().try_for_each(|item| self.add(name, item)),
            Value::Number(number) => self.number(name, number.as_u64().unwrap_or(0)),
            Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
        }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_are_bounded_together_and_a_refused_line_costs_nothing() {
        let mut bounds = Bounds::default();
        let half = json!({"bytes": AMOUNTS / 2});
        assert_eq!(bounds.admit(&half), Ok(()));
        assert!(bounds.admit(&json!({"bytes": u64::MAX})).unwrap_err().contains("`bytes`"));
        assert_eq!(bounds.admit(&half), Ok(()));
        assert!(bounds.admit(&half).is_err());
    }

    #[test]
    fn identities_are_free_and_times_are_no_amounts() {
        let mut bounds = Bounds::default();
        let line = json!({"object": {"ino": u64::MAX}, "time_ns": TIME, "fd": -1});
        assert_eq!(bounds.admit(&line), Ok(()));
        assert!(bounds.admit(&json!({"time_ns": u64::MAX})).is_err());
    }
}
