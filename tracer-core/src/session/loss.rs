//! Why something could not be recorded.

use std::{cmp::Ordering, fmt};

use serde::{Deserialize, Serialize};
use tracer_common::loss::Reason;

/// Why something could not be recorded. Its text form is the key of `losses` in a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum LossReason {
    /// Counted while the trace ran.
    Trace(Reason),
    /// The recording has no `end` line: it was cut, or the run was killed.
    RecordingCut,
    /// Lines of the recording could not be read.
    RecordingDamaged,
    /// Processes that had ended were summed up to limit memory. The counts are complete; what became of each is not
    /// known.
    SummedUp,
    /// A gVisor sandbox dropped messages about its guests, because they were not read fast enough.
    GuestDropped,
    /// Messages of a gVisor sandbox found no room in tracer's memory.
    GuestQueueFull,
    /// Messages of a gVisor sandbox could not be decoded.
    GuestUnreadable,
    /// Guests made calls whose bytes gVisor does not tell (`sendmmsg`, `recvmmsg`, `vmsplice`, `io_uring`), or share a
    /// table of fds.
    GuestCallsNotTold,
    /// A guest process ended without a message.
    GuestEndsNotTold,
    /// A sandbox had more processes, objects or rows than tracer keeps.
    GuestTablesFull,
    /// A container that the traced command had an engine start was found after its program, or not at all.
    ContainerMissed,
    /// A reason that a later version of tracer has recorded.
    Other(String),
}

impl LossReason {
    /// Every reason that this version counts.
    pub fn all() -> impl Iterator<Item = Self> {
        let of_trace = Reason::ALL.into_iter().map(Self::Trace);
        of_trace.chain([
            Self::RecordingCut,
            Self::RecordingDamaged,
            Self::SummedUp,
            Self::GuestDropped,
            Self::GuestQueueFull,
            Self::GuestUnreadable,
            Self::GuestCallsNotTold,
            Self::GuestEndsNotTold,
            Self::GuestTablesFull,
            Self::ContainerMissed,
        ])
    }

    /// Its text form.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Trace(reason) => reason.name(),
            Self::RecordingCut => "recording_cut",
            Self::RecordingDamaged => "recording_damaged",
            Self::SummedUp => "summed_up",
            Self::GuestDropped => "guest_dropped",
            Self::GuestQueueFull => "guest_queue_full",
            Self::GuestUnreadable => "guest_unreadable",
            Self::GuestCallsNotTold => "guest_calls_not_told",
            Self::GuestEndsNotTold => "guest_ends_not_told",
            Self::GuestTablesFull => "guest_tables_full",
            Self::ContainerMissed => "container_missed",
            Self::Other(name) => name,
        }
    }

    /// Whether it concerns only some objects, which have it in [`Flow::doubts`](super::Flow::doubts).
    #[must_use]
    pub const fn is_of_object(&self) -> bool {
        matches!(self, Self::Trace(reason) if reason.is_of_object())
    }

    /// Whether only a report from a recording can count it.
    #[must_use]
    pub const fn is_of_recording(&self) -> bool {
        matches!(self, Self::RecordingCut | Self::RecordingDamaged)
    }
}

impl Default for LossReason {
    fn default() -> Self {
        Self::Other(String::new())
    }
}

impl Ord for LossReason {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name().cmp(other.name())
    }
}

impl PartialOrd for LossReason {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for LossReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl From<Reason> for LossReason {
    fn from(reason: Reason) -> Self {
        Self::Trace(reason)
    }
}

impl From<String> for LossReason {
    fn from(name: String) -> Self {
        Self::all().find(|reason| reason.name() == name).unwrap_or(Self::Other(name))
    }
}

impl From<LossReason> for String {
    fn from(reason: LossReason) -> Self {
        reason.name().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_read_back_from_its_name() {
        for reason in LossReason::all() {
            assert_eq!(LossReason::from(reason.name().to_owned()), reason);
        }
        let later: LossReason = serde_json::from_str(r#""quantum_foam""#).unwrap();
        assert_eq!(later, LossReason::Other("quantum_foam".to_owned()));
        assert_eq!(serde_json::to_string(&later).unwrap(), r#""quantum_foam""#);
    }
}
