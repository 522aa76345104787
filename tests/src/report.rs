//! The tracer's JSON report, as far as the tests read it. Unknown fields are left alone.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The schema these types follow.
pub const SCHEMA: &str = "tracer.report/1";

/// A whole report.
#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    /// Must be [`SCHEMA`].
    pub schema: String,
    /// The processes of the target.
    pub processes: Vec<Process>,
    /// The objects they wrote to.
    #[serde(default)]
    pub objects: Vec<Object>,
    /// What the tracer concludes.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What the tracer itself failed to see; every number must be 0.
    #[serde(default)]
    pub losses: BTreeMap<String, Value>,
}

/// One process.
#[derive(Clone, Debug, Deserialize)]
pub struct Process {
    /// Its pid in the tracer's namespace.
    pub pid: u32,
    /// Its pid in its own namespace.
    pub ns_pid: Option<u32>,
    /// Its parent.
    pub ppid: Option<u32>,
    /// The kernel's short name for it.
    #[serde(default)]
    pub comm: String,
    /// Its command line.
    #[serde(default)]
    pub argv: Vec<String>,
    /// How it ended; absent while it runs.
    pub exit: Option<Exit>,
    /// What it wrote, by fd and object.
    #[serde(default)]
    pub fds: Vec<FdRow>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Exit {
    /// The code it gave to `exit`.
    pub code: Option<i32>,
    /// The signal that killed it.
    pub signal: Option<i32>,
}

/// One fd and object of one process.
#[derive(Clone, Debug, Deserialize)]
pub struct FdRow {
    /// The number; absent where a request names none (a registered io_uring file).
    pub fd: Option<i32>,
    /// What it stands for.
    #[serde(default)]
    pub object: String,
    /// The kind of object.
    #[serde(default)]
    pub kind: String,
    /// Bytes accepted.
    pub bytes: u64,
    /// Calls that returned 0 or more.
    pub writes: u64,
    /// Calls that took fewer bytes than offered.
    #[serde(default)]
    pub short: u64,
    /// Calls that took nothing.
    #[serde(default)]
    pub zero: u64,
    /// Bytes that were offered and refused.
    pub refused_bytes: Option<u64>,
    /// Calls that failed, by class.
    #[serde(default)]
    pub errors: BTreeMap<String, u64>,
}

/// One object.
#[derive(Clone, Debug, Deserialize)]
pub struct Object {
    /// As in [`FdRow::object`].
    pub id: String,
    /// Its kind.
    #[serde(default)]
    pub kind: String,
    /// Bytes put into it.
    pub written: Option<u64>,
    /// Bytes taken out of it.
    pub read: Option<u64>,
    /// Bytes still inside at the end.
    pub unread: Option<u64>,
    /// Whether the double entry holds; absent where it does not apply.
    pub balanced: Option<bool>,
    /// Who wrote.
    #[serde(default)]
    pub writers: Vec<Party>,
    /// Who read.
    #[serde(default)]
    pub readers: Vec<Party>,
}

/// One process at one end of an object.
#[derive(Clone, Debug, Deserialize)]
pub struct Party {
    /// Its pid.
    pub pid: u32,
    /// Its short name.
    #[serde(default)]
    pub comm: String,
    /// Its share.
    pub bytes: u64,
}

/// One conclusion.
#[derive(Clone, Debug, Deserialize)]
pub struct Finding {
    /// Which rule spoke.
    pub rule: String,
    /// How bad it is.
    #[serde(default)]
    pub severity: String,
    /// About whom.
    pub pid: Option<u32>,
    /// The sentence for the user.
    #[serde(default)]
    pub message: String,
}

impl Report {
    /// Every entry of one pid: an exec may or may not start a new one.
    pub fn of_pid(&self, pid: u32) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(move |process| process.pid == pid)
    }

    /// Every fd row with its pid.
    pub fn rows(&self) -> impl Iterator<Item = (u32, &FdRow)> {
        self.processes.iter().flat_map(|process| process.fds.iter().map(|row| (process.pid, row)))
    }

    /// Bytes that all processes together put into one object.
    pub fn written_to(&self, object: &str) -> u64 {
        self.rows().filter(|(_, row)| row.object == object).map(|(_, row)| row.bytes).sum()
    }

    /// Bytes that went through a given fd of a given pid, whatever the object.
    pub fn bytes_of(&self, pid: u32, fd: i32) -> u64 {
        self.rows()
            .filter(|(owner, row)| *owner == pid && row.fd == Some(fd))
            .map(|(_, row)| row.bytes)
            .sum()
    }

    /// The object with this id.
    pub fn object(&self, id: &str) -> Option<&Object> {
        self.objects.iter().find(|object| object.id == id)
    }

    /// Loss counters that are not 0, by name.
    pub fn losses(&self) -> Vec<(String, Value)> {
        self.losses
            .iter()
            .filter(|(_, value)| !is_nothing(value))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Array(items) => items.iter().all(is_nothing),
        Value::Object(members) => members.values().all(is_nothing),
        Value::Bool(true) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_ignored_and_nested_losses_found() {
        let text = r#"{"schema":"tracer.report/1","new":1,"processes":[
            {"pid":7,"ns_pid":7,"ppid":1,"exit":null,"later":[],"fds":[
                {"fd":1,"object":"pipe:[5]","kind":"pipe","bytes":3,"writes":1,"errors":{}}]}],
            "losses":{"ring_full":0,"maps":{"ledger_full":2}}}"#;
        let report: Report = serde_json::from_str(text).unwrap();
        assert_eq!(report.written_to("pipe:[5]"), 3);
        assert_eq!(report.bytes_of(7, 1), 3);
        assert_eq!(report.losses().len(), 1);
    }
}
