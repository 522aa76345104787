//! What makes a trace impossible, each with its fix.

use std::{fmt, path::PathBuf};

/// A requirement that this machine, or this process on it, does not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvironmentError {
    /// The process is not root and lacks capabilities.
    MissingCapabilities {
        /// The missing capabilities, as `capabilities(7)` spells them.
        missing: Vec<&'static str>,
    },
    /// The process is root only in a user namespace.
    UserNamespace,
    /// The process is in another pid namespace than the kernel's own pids.
    PidNamespace,
    /// There is no type information.
    NoBtf {
        /// Where it was looked for.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The kernel is too old for the eBPF programs.
    KernelTooOld {
        /// The kernel's version.
        release: String,
    },
    /// Lockdown forbids programs to read kernel memory.
    Confidentiality,
    /// The processor is another one.
    Architecture {
        /// The architecture that this program was built for.
        architecture: &'static str,
    },
    /// procfs is not mounted, or cannot be read.
    NoProcfs {
        /// The path that could not be read.
        path: PathBuf,
        /// The system's error.
        reason: String,
    },
}

impl EnvironmentError {
    /// What was found.
    pub fn found(&self) -> String {
        match self {
            Self::MissingCapabilities { missing } => {
                format!("the right to trace is missing ({})", missing.join(", "))
            }
            Self::UserNamespace => "root's rights hold in a user namespace only".to_owned(),
            Self::PidNamespace => "this is not the host's pid namespace".to_owned(),
            Self::NoBtf { path, reason } => {
                format!("the kernel's type information `{}` {reason}", path.display())
            }
            Self::KernelTooOld { release } => {
                format!("the kernel is Linux {release}, older than 5.10")
            }
            Self::Confidentiality => {
                "the kernel's lockdown is `confidentiality`: no program may read kernel memory"
                    .to_owned()
            }
            Self::Architecture { architecture } => {
                format!(
                    "this is a {architecture} machine, and tracer knows only x86_64 and aarch64"
                )
            }
            Self::NoProcfs { path, reason } => {
                format!("`{}` cannot be read ({reason})", path.display())
            }
        }
    }

    /// What to do about it.
    pub fn cure(&self) -> &'static str {
        match self {
            Self::MissingCapabilities { .. } => {
                "run as root with `sudo`, or in a container with `--privileged`"
            }
            Self::UserNamespace => "run as root of the host, outside of rootless containers",
            Self::PidNamespace => "run on the host, or in a container with `--pid=host`",
            Self::NoBtf { .. } => {
                "run a kernel built with CONFIG_DEBUG_INFO_BTF, or name a BTF file of this kernel in TRACER_BTF_PATH"
            }
            Self::KernelTooOld { .. } => "boot Linux 5.10 or newer",
            Self::Confidentiality => "boot with `lockdown=integrity` or without lockdown",
            Self::Architecture { .. } => "run on x86_64 or aarch64",
            Self::NoProcfs { .. } => "mount procfs on /proc",
        }
    }
}

impl fmt::Display for EnvironmentError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.found(), self.cure())
    }
}

impl std::error::Error for EnvironmentError {}
