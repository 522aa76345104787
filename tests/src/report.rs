//! The parts of tracer's JSON report that the tests read. Unknown fields are ignored.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

pub mod captured;
mod hops;

use self::captured::CapturedOutput;
pub use self::hops::{Chain, Step};

/// The schema of these types.
pub const SCHEMA: &str = "tracer.report/1";

/// Rules whose warnings say where the output is: they alone do not make the exit code 1.
const SAYS_WHERE_IT_IS: [&str; 10] = [
    "read_by_other",
    "late_writer",
    "other_stream",
    "elsewhere",
    "daemon_unreachable",
    "put_off",
    "delivered",
    "accounted",
    "held_back",
    "not_seen",
];

/// A whole report.
#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    /// Must be [`SCHEMA`].
    pub schema: String,
    /// The processes of the target.
    pub processes: Vec<Process>,
    /// The objects that were written or read.
    #[serde(default)]
    pub objects: Vec<Object>,
    /// The findings, most important first.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Tracer's own losses, by reason.
    #[serde(default)]
    pub losses: BTreeMap<String, Value>,
    /// Bytes of these losses, where known.
    #[serde(default)]
    pub lost_bytes: BTreeMap<String, u64>,
    /// How output was passed on through other processes.
    #[serde(default)]
    pub hops: Vec<Chain>,
    /// Claims of the workers' logs.
    #[serde(default)]
    pub claims: Vec<Claim>,
    /// The workers' logs that tracer read.
    #[serde(default)]
    pub worker_logs: Vec<WorkerLog>,
    /// Captured output, with `--capture`.
    pub capture: Option<CapturedOutput>,
}

/// One process.
#[derive(Clone, Debug, Deserialize)]
pub struct Process {
    /// Its pid in the tracer's namespace.
    pub pid: u32,
    /// Number of its gVisor sandbox; 0 for none.
    #[serde(default)]
    pub sandbox: u32,
    /// Its pid in its own namespace.
    pub ns_pid: Option<u32>,
    /// Its parent.
    pub ppid: Option<u32>,
    /// Its name (`comm`).
    #[serde(default)]
    pub comm: String,
    /// Its command line.
    #[serde(default)]
    pub argv: Vec<String>,
    /// Its exit status; `None` while it runs.
    pub exit: Option<Exit>,
    /// Whether it ran before tracer saw it.
    #[serde(default)]
    pub attached_late: bool,
    /// Its ledger rows.
    #[serde(default)]
    pub fds: Vec<FdRow>,
    /// What it wrote through fds that are not traced.
    #[serde(default)]
    pub elsewhere: Elsewhere,
    /// Small facts, in the order in which they were seen.
    #[serde(default)]
    pub facts: Vec<Fact>,
}

/// A small fact about a process.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Fact {
    /// Its kind.
    pub kind: String,
    /// The fd, if it is about one.
    pub fd: Option<i32>,
}

/// Output through fds that are not traced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Elsewhere {
    /// Number of bytes.
    pub bytes: Option<u64>,
}

/// The exit status of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Exit {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that killed it.
    pub signal: Option<i32>,
}

/// Counts of one process, fd and object.
#[derive(Clone, Debug, Deserialize)]
pub struct FdRow {
    /// The fd; `None` for requests without one (a registered io_uring file).
    pub fd: Option<i32>,
    /// Name of the object.
    #[serde(default)]
    pub object: String,
    /// Kind of the object.
    #[serde(default)]
    pub kind: String,
    /// Bytes accepted.
    pub bytes: u64,
    /// Calls that returned 0 or more.
    pub writes: u64,
    /// Calls that wrote fewer bytes than requested.
    #[serde(default)]
    pub short: u64,
    /// Calls that returned 0.
    #[serde(default)]
    pub zero: u64,
    /// Time of the first call, in milliseconds since the start of the trace.
    pub first_write_ms: Option<f64>,
    /// Time of the latest call.
    pub last_write_ms: Option<f64>,
    /// Bytes that calls requested and the kernel refused.
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
    /// Bytes written to it.
    pub written: Option<u64>,
    /// Bytes read from it.
    pub read: Option<u64>,
    /// Unread bytes when it came under watch.
    pub unread_before: Option<u64>,
    /// Unread bytes at the end of the trace.
    pub unread: Option<u64>,
    /// Whether the bytes add up; `None` where this is not known.
    pub balanced: Option<bool>,
    /// Why its counts may be wrong.
    #[serde(default)]
    pub doubts: Vec<String>,
    /// The writing processes.
    #[serde(default)]
    pub writers: Vec<Endpoint>,
    /// The reading processes.
    #[serde(default)]
    pub readers: Vec<Endpoint>,
    /// Capacity of a pipe, in bytes.
    pub capacity: Option<u64>,
    /// Unread bytes at the last look.
    pub inside: Option<u64>,
    /// Bytes that wait at a socket whose other end is unknown.
    pub incoming: Option<u64>,
    /// Closed read ends.
    #[serde(default)]
    pub closes: Vec<Close>,
    /// Its peer, for a terminal or a socket pair.
    pub joined: Option<String>,
    /// Size of a file at the end of the trace.
    pub size_after: Option<u64>,
}

/// A closed read end.
#[derive(Clone, Debug, Deserialize)]
pub struct Close {
    /// Pid of the process that closed it.
    pub pid: u32,
    /// Name of that process.
    pub comm: String,
    /// Its fd.
    pub fd: i32,
    /// Time of the close, in milliseconds since the start of the trace.
    pub at_ms: f64,
    /// `close` or `exit`.
    pub by: String,
}

/// A worker's log and tracer's counts about one stream of one process.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Claim {
    /// Pid in the initial namespace.
    pub pid: u32,
    /// Pid as in the log.
    pub ns_pid: u32,
    /// Container as in the log.
    pub container: Option<String>,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// Bytes that the process wrote.
    pub written: Option<u64>,
    /// Bytes that its manager read.
    pub read: Option<u64>,
    /// Bytes that the manager delivered, according to the log.
    pub handed_out: Option<u64>,
}

/// A worker's log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct WorkerLog {
    /// Its path; `-` for standard input.
    pub path: String,
    /// Number of lines.
    pub lines: u64,
    /// Number of lines that look like claims but could not be parsed.
    pub bad: u64,
    /// The first such line.
    pub first_bad: Option<String>,
    /// Bytes that were not read in time.
    #[serde(default)]
    pub unread: u64,
}

/// A process that wrote to or read from an object.
#[derive(Clone, Debug, Deserialize)]
pub struct Endpoint {
    /// Its pid.
    pub pid: u32,
    /// Its short name.
    #[serde(default)]
    pub comm: String,
    /// Bytes that it wrote or read.
    pub bytes: u64,
}

/// A finding.
#[derive(Clone, Debug, Deserialize)]
pub struct Finding {
    /// Name of the rule.
    pub rule: String,
    /// `loss`, `warning` or `info`.
    #[serde(default)]
    pub severity: String,
    /// `certain` or `unsure`.
    #[serde(default)]
    pub confidence: String,
    /// Pid of the process it is about.
    pub pid: Option<u32>,
    /// The text for the user.
    #[serde(default)]
    pub message: String,
    /// The facts it is based on.
    #[serde(default)]
    pub evidence: BTreeMap<String, Value>,
}

impl Finding {
    /// A value of the evidence, which must exist but can be `null`.
    pub fn fact(&self, name: &str) -> Result<&Value> {
        self.evidence.get(name).with_context(|| format!("no {name} in the evidence: {self:?}"))
    }

    /// Checks that the evidence has this value.
    pub fn expect(&self, name: &str, value: impl Into<Value>) -> Result<&Self> {
        let (found, value) = (self.fact(name)?, value.into());
        ensure!(*found == value, "{name} is {found}, not {value}: {self:?}");
        Ok(self)
    }

    /// Checks that it is about this process.
    pub fn about(&self, pid: u32) -> Result<&Self> {
        ensure!(self.pid == Some(pid), "not about pid {pid}: {self:?}");
        Ok(self)
    }
}

impl Report {
    /// Every process with this pid. A reused pid has several.
    pub fn of_pid(&self, pid: u32) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(move |process| process.pid == pid)
    }

    /// Checks the exit status of a process.
    pub fn check_exit(&self, pid: u32, actual: Exit) -> Result<()> {
        let reported = self.of_pid(pid).find_map(|process| process.exit);
        let is_reported = reported == Some(actual);
        ensure!(is_reported, "pid {pid} ended with {actual:?}, reported is {reported:?}");
        Ok(())
    }

    /// Every fd row with its pid.
    pub fn rows(&self) -> impl Iterator<Item = (u32, &FdRow)> {
        self.processes.iter().flat_map(|process| process.fds.iter().map(|row| (process.pid, row)))
    }

    /// Bytes that all processes together wrote to one object.
    pub fn written_to(&self, object: &str) -> u64 {
        self.rows().filter(|(_, row)| row.object == object).map(|(_, row)| row.bytes).sum()
    }

    /// Bytes that a process wrote through one fd, to all objects.
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

    /// The first finding, which must come from this rule.
    pub fn headline(&self, rule: &str) -> Result<&Finding> {
        let first = self.findings.first().context("no finding at all")?;
        ensure!(first.rule == rule, "the first finding is not {rule}: {:#?}", self.findings);
        Ok(first)
    }

    /// The finding of this rule, at any position.
    pub fn finding(&self, rule: &str) -> Result<&Finding> {
        let found = self.findings.iter().find(|finding| finding.rule == rule);
        found.with_context(|| format!("no finding {rule}: {:#?}", self.findings))
    }

    /// Checks that there is no finding of this rule.
    pub fn has_no_finding(&self, rule: &str) -> Result<()> {
        let found = self.findings.iter().find(|finding| finding.rule == rule);
        ensure!(found.is_none(), "a wrong finding {rule}: {found:#?}");
        Ok(())
    }

    /// Checks that no finding is a loss.
    pub fn has_no_loss(&self) -> Result<()> {
        let loss = self.findings.iter().find(|finding| finding.severity == "loss");
        ensure!(loss.is_none(), "nothing was lost: {loss:#?}");
        Ok(())
    }

    /// Checks that tracer's exit code matches the findings: 1 unless all output is known to have arrived.
    pub fn check_exit_code(&self, code: Option<i32>) -> Result<()> {
        let is_loss = self.findings.iter().any(|finding| match finding.severity.as_str() {
            "loss" => true,
            // What is known of a command that did not start may all be in a message that arrived.
            "warning" if finding.evidence.get("told") == Some(&Value::Bool(true)) => false,
            "warning" => !SAYS_WHERE_IT_IS.contains(&finding.rule.as_str()),
            _ => false,
        });
        ensure!(code == Some(i32::from(is_loss)), "exit code {code:?}: {:#?}", self.findings);
        Ok(())
    }

    /// The claim about one stream (`stdout` or `stderr`) of one process.
    pub fn claim(&self, pid: u32, stream: &str) -> Result<&Claim> {
        let mut claims = self.claims.iter();
        let found = claims.find(|claim| claim.pid == pid && claim.stream == stream);
        found.with_context(|| format!("no claim about {stream} of pid {pid}: {:#?}", self.claims))
    }

    /// The loss counters that are not 0, with their names.
    pub fn losses(&self) -> Vec<(String, Value)> {
        self.losses
            .iter()
            .filter(|(_, value)| !is_zero(value))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Array(items) => items.iter().all(is_zero),
        Value::Object(members) => members.values().all(is_zero),
        Value::Bool(true) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests;
