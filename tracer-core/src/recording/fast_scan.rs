//! Classifies a line and checks its numbers without serde: a fast path for [`Limits::of_line`], which took nearly
//! half of the time of parsing. It handles lines as tracer writes them. Any other line takes the slow path: escaped
//! characters, spaces, fractions, numbers over a limit.
//!
//! It does not check that the line is JSON, so it handles only types of lines that serde reads completely afterwards.

use std::borrow::Cow;

use memchr::memchr;

use super::{
    limits::{Head, Limits, is_long},
    line::kind,
};

/// Types of lines of which serde reads every member.
const READ_WHOLE: [&str; 6] =
    [kind::EVENT, kind::STARTED_HERE, kind::ROW, kind::CHECKPOINT, kind::LOSS, kind::END];

/// The result of [`Limits::of_line`], or `None` for the slow path.
pub(super) fn at(line: &str) -> Option<(Limits, Head<'_>)> {
    let mut rest = line.strip_suffix('\n').unwrap_or(line);
    if memchr(b'\\', rest.as_bytes()).is_some() {
        return None;
    }
    let mut scan = FastScan::default();
    while let Some(quote) = memchr(b'"', rest.as_bytes()) {
        let (gap, string) = (rest.get(..quote)?, rest.get(quote + 1..)?);
        let end = memchr(b'"', string.as_bytes())?;
        let (string, after) = (string.get(..end)?, string.get(end + 1..)?);
        rest = after;
        scan.between(gap)?;
        if rest.starts_with(':') {
            scan.member(string)?;
        } else {
            scan.text(string)?;
        }
    }
    scan.between(rest)?;
    let is_read_whole = |kind: &Cow<'_, str>| READ_WHOLE.contains(&kind.as_ref());
    let is_sure = scan.depth == 0 && !scan.wants_word;
    (is_sure && scan.head.kind.as_ref().is_some_and(is_read_whole))
        .then_some((scan.limits, scan.head))
}

/// State of a scan.
#[derive(Default)]
struct FastScan<'a> {
    limits: Limits,
    head: Head<'a>,
    /// Name of the member that the next value belongs to.
    name: &'a str,
    /// Nesting depth of the next value.
    depth: u32,
    /// An object has ended, so `name` is the name of one of its members.
    is_stale: bool,
    /// The next value must be a string: the type of the line or of the event.
    wants_word: bool,
}

impl<'a> FastScan<'a> {
    /// Scans the bytes between two strings.
    fn between(&mut self, gap: &str) -> Option<()> {
        if self.wants_word && gap != ":" {
            return None;
        }
        let mut rest = gap.as_bytes();
        while let [first, after @ ..] = rest {
            rest = after;
            match first {
                b',' | b':' => {}
                b'{' | b'[' => self.depth += 1,
                b']' => self.depth = self.depth.checked_sub(1)?,
                b'}' => {
                    self.depth = self.depth.checked_sub(1)?;
                    self.is_stale = true;
                }
                // `true`, `false` and `null`.
                b'a'..=b'z' => {}
                b'0'..=b'9' => {
                    let (number, after) = number(*first, rest)?;
                    self.number(number)?;
                    rest = after;
                }
                // Negative numbers are not summed.
                b'-' => {
                    let end = rest.iter().position(|byte| !byte.is_ascii_digit());
                    rest = rest.get(end.unwrap_or(rest.len())..)?;
                }
                _ => return None,
            }
        }
        Some(())
    }

    fn member(&mut self, name: &'a str) -> Option<()> {
        if self.wants_word {
            return None;
        }
        self.wants_word = self.depth == 1 && matches!(name, "type" | "event");
        (self.name, self.is_stale) = (name, false);
        Some(())
    }

    fn text(&mut self, text: &'a str) -> Option<()> {
        if self.is_stale || is_long(self.name, text) {
            return None;
        }
        if std::mem::take(&mut self.wants_word) {
            let text = Some(Cow::Borrowed(text));
            match self.name {
                "type" => self.head.kind = text,
                _ => self.head.event = text,
            }
        }
        Some(())
    }

    fn number(&mut self, number: u64) -> Option<()> {
        if self.is_stale {
            return None;
        }
        if self.depth == 1 && self.name == "time_ns" {
            self.head.time_ns = Some(number);
        }
        self.limits.number(self.name, number).ok()
    }
}

/// Parses a number and returns the rest; `None` for a fraction or an overflow.
fn number(first: u8, mut rest: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = u64::from(first - b'0');
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        rest = after;
    }
    let is_whole = !matches!(rest.first(), Some(b'.' | b'e' | b'E'));
    is_whole.then_some((number, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (0..5_000_000_000_u64).prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-z:,{}0-9é]{0,6}".prop_map(Value::from),
            Just(Value::from("x".repeat(5000))),
            prop_oneof![Just("event"), Just("row"), Just("survey")].prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            let names = prop_oneof![
                Just("type"),
                Just("event"),
                Just("time_ns"),
                Just("ino"),
                Just("bytes"),
                Just("argv"),
                Just("a"),
            ];
            let members = prop::collection::vec((names, inner.clone()), 0..5).prop_map(|members| {
                let named = members.into_iter().map(|(name, value)| (name.to_owned(), value));
                Value::Object(named.collect::<Map<_, _>>())
            });
            prop_oneof![members, prop::collection::vec(inner, 0..4).prop_map(Value::Array),]
        })
    }

    fn text((limits, head): (Limits, Head<'_>)) -> String {
        format!("{limits:?} {head:?}")
    }

    proptest! {
        #[test]
        fn the_fast_path_agrees_with_the_slow_path(mut line in values()) {
            if let Some(members) = line.as_object_mut() {
                members.entry("type").or_insert(json!("event"));
            }
            let line = line.to_string();
            if let Some(seen) = at(&line) {
                prop_assert_eq!(text(seen), text(Limits::of_line(&line).unwrap()), "{}", line);
            }
        }
    }

    #[test]
    fn lines_as_tracer_writes_them_take_the_fast_path() {
        for line in [
            json!({"type": "event", "event": "environment", "variables": [["A", "b"], ["C", "d"]]}),
            json!({"type": "event", "event": "exit", "sizes": [1, 2], "o": {"ino": u64::MAX}}),
            json!({"type": "row", "key": {"fd": 1}, "row": {"last": {"time_ns": 5, "bytes": 7}}}),
        ] {
            let line = format!("{line}\n");
            assert_eq!(text(at(&line).unwrap()), text(Limits::of_line(&line).unwrap()));
        }
    }

    #[test]
    fn unusual_lines_take_the_slow_path() {
        for line in [
            r#"{"type":"event","a":"\u0041"}"#,
            r#"{"type": "event"}"#,
            r#"{"type":"event","a":1.5}"#,
            r#"{"type":"event","a":18446744073709551616}"#,
            r#"{"type":"event","bytes":18446744073709551615}"#,
            r#"{"type":"event","a":[{"argv":1},"x"]}"#,
            r#"{"type":"event","a":[{"argv":1},2]}"#,
            r#"{"type":["event"]}"#,
            r#"{"type":"survey"}"#,
            r#"{"type":"event""#,
        ] {
            assert!(at(line).is_none(), "{line}");
        }
    }
}
