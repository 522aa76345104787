//! The tracer's JSON report, as far as the tests read it. Unknown fields are left alone.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

pub mod captured;

use self::captured::CapturedOutput;

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
    /// Bytes that those facts stood for, where known.
    #[serde(default)]
    pub lost_bytes: BTreeMap<String, u64>,
    /// Ways of bytes from hand to hand.
    #[serde(default)]
    pub hops: Vec<Chain>,
    /// What a worker's log claims of each process.
    #[serde(default)]
    pub claims: Vec<Claim>,
    /// How well each worker's log could be read.
    #[serde(default)]
    pub worker_logs: Vec<WorkerLog>,
    /// Captured output, if there is any.
    pub capture: Option<CapturedOutput>,
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
    /// What it wrote through fds that were not asked for.
    #[serde(default)]
    pub elsewhere: Elsewhere,
}

/// Output through other fds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Elsewhere {
    /// Its bytes.
    pub bytes: Option<u64>,
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
    /// What a pipe can hold.
    pub capacity: Option<u64>,
    /// What was inside when the kernel was asked last.
    pub inside: Option<u64>,
    /// Closed read ends.
    #[serde(default)]
    pub closes: Vec<Close>,
    /// The other half of a terminal or a socket pair.
    pub joined: Option<String>,
    /// The size of a file at the end.
    pub size_after: Option<u64>,
}

/// A read end that was closed.
#[derive(Clone, Debug, Deserialize)]
pub struct Close {
    /// Who closed it.
    pub pid: u32,
    /// Its short name.
    pub comm: String,
    /// The number it had.
    pub fd: i32,
    /// When, in milliseconds from the start of the trace.
    pub at_ms: f64,
}

/// The way of one process's output through others.
#[derive(Clone, Debug, Deserialize)]
pub struct Chain {
    /// Whose output.
    pub subject_pid: u32,
    /// Through which fd it began.
    pub fd: i32,
    /// Every process on the way, the subject first.
    steps: Vec<Passage>,
}

/// One process on the way; the last one may only read.
#[derive(Clone, Debug, Deserialize)]
struct Passage {
    pid: u32,
    comm: String,
    object: Option<String>,
    bytes: u64,
}

impl Chain {
    /// Every writer on the way, the subject first.
    pub fn writers(&self) -> Vec<Step> {
        self.steps
            .iter()
            .filter_map(|step| {
                let object = step.object.clone()?;
                Some(Step { pid: step.pid, comm: step.comm.clone(), object, bytes: step.bytes })
            })
            .collect()
    }
}

/// One process that wrote to one object, out of which the next one read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The writer.
    pub pid: u32,
    /// Its short name.
    pub comm: String,
    /// What it wrote to.
    pub object: String,
    /// How much.
    pub bytes: u64,
}

/// What a worker's log says about one stream of one process, beside what the kernel says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Claim {
    /// The process, in the initial pid namespace.
    pub pid: u32,
    /// The process as the log names it.
    pub ns_pid: u32,
    /// The container that the log names.
    pub container: Option<String>,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// Bytes the process wrote.
    pub written: Option<u64>,
    /// Bytes its manager read.
    pub read: Option<u64>,
    /// Bytes the log says were handed out.
    pub handed_out: Option<u64>,
}

/// A worker's log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct WorkerLog {
    /// Where it was read from; `-` for standard input.
    pub path: String,
    /// Its lines.
    pub lines: u64,
    /// Those that look like claims and could not be read.
    pub bad: u64,
    /// The first of them.
    pub first_bad: Option<String>,
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
    /// `certain` or `unsure`.
    #[serde(default)]
    pub confidence: String,
    /// About whom.
    pub pid: Option<u32>,
    /// The sentence for the user.
    #[serde(default)]
    pub message: String,
    /// The numbers it rests on.
    #[serde(default)]
    pub evidence: BTreeMap<String, Value>,
}

impl Finding {
    /// A value of the evidence, which must be there; `null` is a value.
    pub fn fact(&self, name: &str) -> Result<&Value> {
        self.evidence.get(name).with_context(|| format!("no {name} in the evidence: {self:?}"))
    }

    /// Whether the evidence holds exactly this.
    pub fn expect(&self, name: &str, value: impl Into<Value>) -> Result<&Self> {
        let (found, value) = (self.fact(name)?, value.into());
        ensure!(*found == value, "{name} is {found}, not {value}: {self:?}");
        Ok(self)
    }

    /// Whether it is about this process.
    pub fn about(&self, pid: u32) -> Result<&Self> {
        ensure!(self.pid == Some(pid), "it is not about pid {pid}: {self:?}");
        Ok(self)
    }
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

    /// The first finding, which must come from this rule.
    pub fn headline(&self, rule: &str) -> Result<&Finding> {
        let first = self.findings.first().context("no finding at all")?;
        ensure!(first.rule == rule, "the headline is not {rule}: {:#?}", self.findings);
        Ok(first)
    }

    /// The finding of this rule, wherever it stands.
    pub fn finding(&self, rule: &str) -> Result<&Finding> {
        let found = self.findings.iter().find(|finding| finding.rule == rule);
        found.with_context(|| format!("no finding {rule}: {:#?}", self.findings))
    }

    /// No finding of this rule.
    pub fn never_says(&self, rule: &str) -> Result<()> {
        let found = self.findings.iter().find(|finding| finding.rule == rule);
        ensure!(found.is_none(), "a false {rule}: {found:#?}");
        Ok(())
    }

    /// Nobody is accused: no finding is a loss.
    pub fn accuses_nobody(&self) -> Result<()> {
        let loss = self.findings.iter().find(|finding| finding.severity == "loss");
        ensure!(loss.is_none(), "nothing was lost: {loss:#?}");
        Ok(())
    }

    /// The tracer's exit code says whether output was lost or nothing was written.
    pub fn check_exit_code(&self, code: Option<i32>) -> Result<()> {
        let is_loss = self.findings.iter().any(|finding| match finding.rule.as_str() {
            "exec_failed" | "stuck" => true,
            "never_wrote" => finding.severity != "info",
            _ => finding.severity == "loss",
        });
        ensure!(code == Some(i32::from(is_loss)), "exit code {code:?}: {:#?}", self.findings);
        Ok(())
    }

    /// The way of the output of this fd of this process.
    pub fn chain(&self, pid: u32, fd: i32) -> Result<&Chain> {
        let mut chains = self.hops.iter();
        let found = chains.find(|chain| chain.subject_pid == pid && chain.fd == fd);
        found.with_context(|| format!("no way of pid {pid} fd {fd}: {:#?}", self.hops))
    }

    /// What the worker's log claims of one stream (`stdout`, `stderr`) of one process.
    pub fn claim(&self, pid: u32, stream: &str) -> Result<&Claim> {
        let mut claims = self.claims.iter();
        let found = claims.find(|claim| claim.pid == pid && claim.stream == stream);
        found.with_context(|| format!("no claim on {stream} of pid {pid}: {:#?}", self.claims))
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
mod tests;
