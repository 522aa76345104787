//! What a rule says: one sentence with its evidence.

use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Bytes did not arrive.
    Loss,
    /// Something the operator should know to find the output.
    Warning,
    /// As it should be.
    Info,
}

/// Whether own losses or a late attach weaken a finding.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Proven by complete counts.
    Certain,
    /// Something was not seen; the message says what.
    Unsure,
}

/// One statement with its evidence.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Finding {
    /// The rule that found it, a stable name (`never_wrote`, `other_stream` …).
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// How sure.
    pub confidence: Confidence,
    /// The process concerned, 0 when it is about the whole run.
    pub pid: u32,
    /// The fd concerned, where it is about one.
    pub fd: Option<i32>,
    /// One plain sentence.
    pub message: String,
    /// What to do, where there is something.
    pub advice: Option<String>,
    /// The numbers it rests on.
    pub evidence: serde_json::Map<String, serde_json::Value>,
}
