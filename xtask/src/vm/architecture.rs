//! The processors of the virtual machines, and what is called differently for each.

/// A processor that is emulated. Programs for [`Self::X86`] are this machine's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Architecture {
    X86,
    Arm,
}

impl Architecture {
    /// As Debian names it.
    pub(crate) fn debian(self) -> &'static str {
        match self {
            Self::X86 => "amd64",
            Self::Arm => "arm64",
        }
    }

    /// The triple of its programs.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::X86 => "x86_64-unknown-linux-gnu",
            Self::Arm => "aarch64-unknown-linux-gnu",
        }
    }

    /// What emulates it.
    pub(crate) fn emulator(self) -> &'static str {
        match self {
            Self::X86 => "qemu-system-x86_64",
            Self::Arm => "qemu-system-aarch64",
        }
    }

    /// The board, the emulation (by software everywhere, or runs could not be compared) and the processor.
    ///
    /// Everything that is emulated, without what costs time or does harm: on x86-64 `cmpxchg16b`, after which qemu
    /// 7.2 now and then leaves wrong flags (a double fault in the kernel's allocator), and the fifth level of page
    /// tables; on arm64 the architecture's own way to sign pointers, which takes half of the time, and processors that
    /// run at the same time: qemu 7.2 may keep a translation of code that another one is just patching, and then a
    /// tracepoint stays out of use although it was switched on.
    pub(crate) fn board(self) -> [&'static str; 6] {
        match self {
            Self::X86 => ["-machine", "q35", "-accel", "tcg", "-cpu", "max,-cx16,-la57"],
            Self::Arm => {
                ["-machine", "virt", "-accel", "tcg,thread=single", "-cpu", "max,pauth-impdef=on"]
            }
        }
    }

    /// What the kernel calls the serial line.
    pub(crate) fn console(self) -> &'static str {
        match self {
            Self::X86 => "ttyS0",
            Self::Arm => "ttyAMA0",
        }
    }
}
