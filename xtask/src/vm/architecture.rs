//! The processor architectures of the virtual machines, and the names that depend on them.

/// An emulated architecture. [`Self::X86`] is also the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Architecture {
    /// x86-64.
    X86,
    /// arm64.
    Arm,
}

impl Architecture {
    /// Debian's name.
    pub fn debian(self) -> &'static str {
        match self {
            Self::X86 => "amd64",
            Self::Arm => "arm64",
        }
    }

    /// The Rust target of its programs.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::X86 => "x86_64-unknown-linux-gnu",
            Self::Arm => "aarch64-unknown-linux-gnu",
        }
    }

    /// The program that emulates it.
    pub(crate) fn emulator(self) -> &'static str {
        match self {
            Self::X86 => "qemu-system-x86_64",
            Self::Arm => "qemu-system-aarch64",
        }
    }

    /// qemu's options for the board, the emulation and the processor. Always software emulation, so that runs are
    /// comparable.
    ///
    /// The processor has all features except slow or broken ones. x86-64: no `cmpxchg16b`, after which qemu 7.2 sometimes
    /// leaves wrong flags (a double fault in the kernel's allocator), and no fifth level of page tables. arm64: a
    /// faster algorithm for pointer authentication, and one host thread for all processors, because qemu 7.2 may keep a
    /// stale translation of code that another processor patches, and then an enabled tracepoint does not fire.
    pub(crate) fn board(self) -> [&'static str; 6] {
        match self {
            Self::X86 => ["-machine", "q35", "-accel", "tcg", "-cpu", "max,-cx16,-la57"],
            Self::Arm => {
                ["-machine", "virt", "-accel", "tcg,thread=single", "-cpu", "max,pauth-impdef=on"]
            }
        }
    }

    /// The kernel's name of the serial line.
    pub(crate) fn console(self) -> &'static str {
        match self {
            Self::X86 => "ttyS0",
            Self::Arm => "ttyAMA0",
        }
    }
}
