//! The measured calls, and the conditions under which each is measured.

use serde::{Deserialize, Serialize};

use crate::cost::comparison::contender::Contender;

/// A system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Call {
    /// `getppid`, which moves no bytes.
    Getppid,
    /// `write` of 32 B to `/dev/null`.
    Write32,
    /// `read` of 32 B from `/dev/zero`.
    Read32,
}

/// What is attached while a call is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Condition {
    /// Nothing.
    Native,
    /// An empty eBPF program on tracer's hook.
    Floor,
    /// tracer, which traces another process.
    Stranger,
    /// The same with the hooks of Linux 7.0 and later.
    StrangerNonPreemptible,
    /// tracer, which traces the caller.
    Traced,
    /// The same with the hooks of Linux 7.0 and later.
    TracedNonPreemptible,
    /// tracer, which traces another process with fexit.
    StrangerFexit,
    /// tracer, which traces the caller with fexit.
    TracedFexit,
    /// tracer, which traces the caller and keeps its bytes.
    Captured,
}

impl Call {
    /// All calls, in the order of the table.
    pub(crate) const ALL: [Self; 3] = [Self::Getppid, Self::Write32, Self::Read32];

    /// The name of its loop in `load`, and its name in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Getppid => "getppid",
            Self::Write32 => "write32",
            Self::Read32 => "read32",
        }
    }

    /// Its description in the table.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Getppid => "getppid",
            Self::Write32 => "write of 32 B to /dev/null",
            Self::Read32 => "read of 32 B from /dev/zero",
        }
    }
}

impl Condition {
    /// All conditions, in the order of the table.
    pub(crate) const ALL: [Self; 9] = [
        Self::Native,
        Self::Floor,
        Self::Stranger,
        Self::StrangerNonPreemptible,
        Self::Traced,
        Self::TracedNonPreemptible,
        Self::StrangerFexit,
        Self::TracedFexit,
        Self::Captured,
    ];

    /// Its name in tables and messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Floor => "floor",
            Self::Stranger => "stranger",
            Self::StrangerNonPreemptible => "stranger, 7.x",
            Self::Traced => "traced",
            Self::TracedNonPreemptible => "traced, 7.x",
            Self::StrangerFexit => "stranger, fexit",
            Self::TracedFexit => "traced, fexit",
            Self::Captured => "traced --capture",
        }
    }

    /// What is attached.
    pub(crate) fn contender(self) -> Contender {
        match self {
            Self::Native => Contender::Native,
            Self::Floor => Contender::Floor,
            Self::Stranger | Self::Traced => Contender::Tracer,
            Self::StrangerNonPreemptible | Self::TracedNonPreemptible => Contender::NonPreemptible,
            Self::StrangerFexit | Self::TracedFexit => Contender::Fexit,
            Self::Captured => Contender::Capture,
        }
    }

    /// A difference up to this, in instructions per call, is none.
    ///
    /// Where bytes are captured, the kernel copies a record into the ring (`memcpy_orig` in
    /// arch/x86/lib/memcpy_64.S) forwards or backwards. That depends on the lowest byte of both addresses: of one of them
    /// it differs from boot to boot. One direction takes two instructions more.
    pub(crate) fn tolerance(self) -> f64 {
        match self {
            Self::Captured => 2.5,
            _ => 0.5,
        }
    }

    /// Whether the measured process is not the traced one.
    pub(crate) fn is_of_a_stranger(self) -> bool {
        matches!(self, Self::Stranger | Self::StrangerNonPreemptible | Self::StrangerFexit)
    }

    /// The calls that are measured under this condition. Only written bytes are captured.
    pub(crate) fn calls(self) -> &'static [Call] {
        match self {
            Self::Captured => &[Call::Write32],
            _ => &Call::ALL,
        }
    }
}
