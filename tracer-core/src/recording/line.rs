//! The lines of a recording: their types and their bodies, the same for writing and reading.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracer_common::{
    ledger::{LedgerKey, LedgerRow},
    loss::LossCell,
};

use super::SCHEMA;
use crate::session::{LossReason, Target};

/// Values of `type`.
pub(super) mod kind {
    pub(in crate::recording) const SESSION: &str = "session";
    pub(in crate::recording) const EVENT: &str = "event";
    pub(in crate::recording) const STARTED_HERE: &str = "started_here";
    pub(in crate::recording) const SURVEY: &str = "survey";
    pub(in crate::recording) const ROW: &str = "row";
    pub(in crate::recording) const CHECKPOINT: &str = "checkpoint";
    pub(in crate::recording) const LOSS: &str = "loss";
    pub(in crate::recording) const END: &str = "end";
}

/// Every line type that this version writes.
pub const TYPES: [&str; 8] = [
    kind::SESSION,
    kind::EVENT,
    kind::STARTED_HERE,
    kind::SURVEY,
    kind::ROW,
    kind::CHECKPOINT,
    kind::LOSS,
    kind::END,
];

/// The first line: the target, and other input of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of the tracer that recorded.
    #[serde(default)]
    pub tracer: String,
    /// Release of the kernel it ran on.
    #[serde(default)]
    pub kernel: String,
    /// The target.
    pub target: Target,
    /// When all hooks were attached.
    pub start: Timestamp,
    /// The same in nanoseconds since boot, the clock of all other lines.
    pub start_ns: u64,
    /// Which of fd 0, 1 and 2 the user asked for.
    pub stdio_of_interest: Vec<i32>,
}

impl Header {
    /// A header of this version of tracer; `kernel` is the release of the kernel.
    #[must_use]
    pub fn new(kernel: String, target: Target, start: Timestamp, start_ns: u64) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            tracer: env!("CARGO_PKG_VERSION").to_owned(),
            kernel,
            target,
            start,
            start_ns,
            stdio_of_interest: Vec::new(),
        }
    }
}

/// A ledger row, or a part of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Row {
    /// Process, object, fd and direction.
    #[serde(flatten)]
    pub key: LedgerKey,
    /// The sums.
    #[serde(flatten)]
    pub row: LedgerRow,
}

/// The state of a row that is still open in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checkpoint {
    /// Nanoseconds since boot.
    pub time_ns: u64,
    /// The whole row, not the difference; absent if no open row has changed.
    pub row: Option<Row>,
}

/// The count of one loss reason.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Loss {
    /// The reason.
    pub reason: LossReason,
    /// Events and bytes.
    #[serde(flatten)]
    pub cell: LossCell,
}

/// The body of a `started_here` line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct StartedHere {
    pub(super) tgid: u32,
}

/// The body of an `end` line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct End {
    pub(super) end_ns: u64,
}

/// The body of a `survey` line, which is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Survey {}

/// The member that is unknown if it is absent, so that its 0 is written.
const UNKNOWN_IF_ABSENT: &str = "kernel_written";

/// Removes members that are 0, false, null or empty. Returns whether nothing is left.
///
/// Every recorded type must read an absent member as exactly that value; debug builds check this.
pub(super) fn prune(value: &mut Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !*flag,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => {
            if items.iter().all(|item| item.as_u64() == Some(0)) {
                return true;
            }
            for item in items {
                prune(item);
            }
            false
        }
        Value::Object(members) => {
            members.retain(|name, member| {
                name == UNKNOWN_IF_ABSENT && member.is_number() || !prune(member)
            });
            members.is_empty()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_default_values_are_pruned() {
        let mut body = json!({
            "bytes": 0, "fd": -1, "argv": ["sh", ""], "errors": [0, 0], "comm": "", "tty": {"valid": 0},
            "stdio": [{"mode": 0}, {"mode": 1}], "executed": false, "kernel_written": 0,
            "exit": {"kernel_written": null},
        });
        assert!(!prune(&mut body));
        assert_eq!(
            body,
            json!({"fd": -1, "kernel_written": 0, "argv": ["sh", ""], "stdio": [{}, {"mode": 1}]})
        );
    }
}
