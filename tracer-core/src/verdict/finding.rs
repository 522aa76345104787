//! Findings: what rules report.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Severity of a finding.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Bytes did not arrive.
    Loss,
    /// Something that the user should know to find the output.
    Warning,
    /// Nothing is wrong.
    Info,
}

/// Whether a finding rests on complete counts.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// All counts are complete.
    Certain,
    /// Something was not counted; the message says what.
    Unsure,
}

impl fmt::Display for Confidence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// A rule, by the name that the report has for it (`never_wrote`). In the order in which findings of the same
/// severity are reported.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// tracer itself could not record something, or its recording is incomplete.
    OwnLosses,
    /// A sandbox, a virtual machine or another machine is involved, which this kernel does not see.
    OutOfSight,
    /// The counts of a pipe do not balance.
    Unbalanced,
    /// The command never started.
    ExecFailed,
    /// A writer is blocked: its pipe is full and is not read.
    Stuck,
    /// A process sleeps while it opens a FIFO that no process reads.
    BlockedOpen,
    /// A process is stopped by a signal, or was when it wrote to its terminal from the background.
    Stopped,
    /// A manager read bytes, and its log has fewer.
    ReadThenLost,
    /// The file was removed, cut or overwritten.
    FileLost,
    /// `EPIPE`: the read end was closed.
    ReaderGone,
    /// Bytes were left in a pipe.
    Unread,
    /// The kernel refused bytes, and the program did not write them again.
    Refused,
    /// A process read bytes and ended without passing them on.
    KeptBack,
    /// The program ended with output in a buffer of its own, very likely.
    Unflushed,
    /// Two processes read from one pipe.
    ReadByOther,
    /// A descendant held or wrote the stream after the end of the command.
    LateWriter,
    /// All output went to stderr.
    OtherStream,
    /// fd 1 or 2 was redirected after the start.
    Elsewhere,
    /// The stream is `/dev/null`.
    Discarded,
    /// It wrote nothing, and did not try to.
    NeverWrote,
    /// A `connect` failed before the command did.
    DaemonUnreachable,
    /// The kernel refused bytes for the moment (`EAGAIN`), or wrote fewer than asked for.
    PutOff,
    /// All bytes arrived at the other end.
    Delivered,
    /// Only the numbers: no other rule applies.
    Accounted,
    /// The program kept its output in a buffer.
    HeldBack,
    /// tracer wanted to look at something, and got no answer in time.
    NotSeen,
}

impl Rule {
    /// All rules, in their order.
    pub const ALL: [Self; 26] = [
        Self::OwnLosses,
        Self::OutOfSight,
        Self::Unbalanced,
        Self::ExecFailed,
        Self::Stuck,
        Self::BlockedOpen,
        Self::Stopped,
        Self::ReadThenLost,
        Self::FileLost,
        Self::ReaderGone,
        Self::Unread,
        Self::Refused,
        Self::KeptBack,
        Self::Unflushed,
        Self::ReadByOther,
        Self::LateWriter,
        Self::OtherStream,
        Self::Elsewhere,
        Self::Discarded,
        Self::NeverWrote,
        Self::DaemonUnreachable,
        Self::PutOff,
        Self::Delivered,
        Self::Accounted,
        Self::HeldBack,
        Self::NotSeen,
    ];
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// What a rule reports: one sentence with its evidence.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Finding {
    /// The rule that found it.
    pub rule: Rule,
    /// Its severity.
    pub severity: Severity,
    /// Its confidence.
    pub confidence: Confidence,
    /// Pid of the process concerned; 0 if it is about the whole run.
    pub pid: u32,
    /// When this process began, nanoseconds since boot: the kernel uses a pid again. Not a part of the report.
    #[serde(skip)]
    pub start_ns: u64,
    /// The fd concerned, if there is one.
    pub fd: Option<i32>,
    /// One plain sentence.
    pub message: String,
    /// What to do, if anything.
    pub advice: Option<String>,
    /// The numbers it rests on.
    pub evidence: serde_json::Map<String, serde_json::Value>,
}

impl Finding {
    /// Whether it says that a part of the output did not arrive, or that this is not known.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        match self.severity {
            Severity::Loss => true,
            Severity::Warning => !tells_where_it_is(self),
            Severity::Info => false,
        }
    }

    /// The command that lost output, by pid and start.
    pub(crate) fn loser(&self) -> Option<(u32, u64)> {
        let is_loss = self.severity == Severity::Loss && self.pid != 0;
        is_loss.then_some((self.pid, self.start_ns))
    }
}

/// Whether a warning says where the output is, rather than that it did not arrive.
fn tells_where_it_is(finding: &Finding) -> bool {
    // The message about a command that did not start may be all output that there is.
    let is_told = finding.evidence.get("told").is_some_and(|told| told == true);
    is_told
        || matches!(
            finding.rule,
            Rule::ReadByOther
                | Rule::LateWriter
                | Rule::OtherStream
                | Rule::Elsewhere
                | Rule::DaemonUnreachable
                | Rule::PutOff
                | Rule::Delivered
                | Rule::Accounted
                | Rule::HeldBack
                | Rule::NotSeen
        )
}
