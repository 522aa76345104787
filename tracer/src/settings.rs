//! The meaning of the command line and of the configuration file. Code that uses it does not know clap.

mod config;
mod values;

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;
use tracer_core::{
    capture::{Keep, tails::TailLimits},
    text::redact::Redact,
};
use tracer_history::{Filter, Limits, Question};
use tracer_loader::{Attach, KernelSettings};
use tracer_reach::{Address, Endpoint};

pub use self::{
    config::{CONFIG, Config, ConfigError},
    values::{duration, size},
};
use crate::{
    launch::Launch,
    render::{Format, View},
    scope::Wanted,
    target::Request,
};

/// Settings of a trace.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What to trace.
    pub target: TargetChoice,
    /// Settings of the eBPF programs.
    pub kernel: KernelSettings,
    /// Which of fd 0, 1 and 2 the user asked for.
    pub stdio_of_interest: Vec<i32>,
    /// Managers' logs to compare with. `-` is standard input.
    pub worker_logs: Vec<PathBuf>,
    /// When to stop, after the start of the trace.
    pub duration: Option<Duration>,
    /// Format of the report.
    pub format: Format,
    /// What a human report shows.
    pub view: View,
    /// Where the report goes.
    pub output: ReportTo,
    /// What the exit code says.
    pub exit_code: ExitCodeOf,
    /// File to save the session in.
    pub record: Option<PathBuf>,
    /// Size of that file at most, in bytes; also of the session in a capture folder.
    pub record_limit: u64,
    /// Memory that the session may take, in bytes; `None` for a part of the machine's memory.
    pub max_memory: Option<u64>,
    /// When to colour.
    pub color: ColorChoice,
    /// Whether to print live lines. `None`: if stderr is a terminal.
    pub live: Option<bool>,
    /// Print only the report and errors.
    pub quiet: bool,
    /// Whether to show the trace on the terminal while it runs.
    pub is_top: bool,
    /// Whether and how to save or show the output itself.
    pub capture: Option<CaptureSettings>,
}

/// Settings of `tracer daemon`.
#[derive(Clone, Debug)]
pub struct DaemonSettings {
    /// What to record.
    pub wanted: Wanted,
    /// Settings of the eBPF programs.
    pub kernel: KernelSettings,
    /// Folder of the history.
    pub history: PathBuf,
    /// How long and how large the history may become.
    pub limits: Limits,
    /// What is not to be written down of command lines.
    pub redact: Option<Redact>,
    /// Memory that the processes and objects of jobs that run may take, in bytes.
    pub max_memory: u64,
    /// How many of the last bytes of each stream stay in memory until it is known whether they were lost; `None` for none.
    pub keep_tail: Option<u64>,
    /// Programs and maps stay attached when the recorder ends, for the next one.
    pub pinned: bool,
    /// Where metrics can be asked for; `None` for nowhere.
    pub metrics: Option<Address>,
    /// The collector of OpenTelemetry that is told; `None` for none.
    pub otlp: Option<Endpoint>,
    /// Whether journald is told.
    pub journald: bool,
}

impl DaemonSettings {
    /// What the tails of streams may take: half of the memory, if they are kept.
    #[must_use]
    pub fn tails(&self) -> Option<TailLimits> {
        let limit = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let total = limit(self.max_memory / 2);
        self.keep_tail.map(|bytes| TailLimits { stream: limit(bytes), total })
    }

    /// What is left for processes and objects, in bytes.
    #[must_use]
    pub fn memory_for_session(&self) -> u64 {
        if self.keep_tail.is_some() { self.max_memory.div_ceil(2) } else { self.max_memory }
    }

    /// What is recorded, as on the command line.
    #[must_use]
    pub fn scope(&self) -> String {
        let named = |option: &str, names: &[String]| {
            names.iter().map(|name| format!("{option} {name}")).collect::<Vec<_>>().join(" ")
        };
        match &self.wanted {
            Wanted::Containers => "--containers".to_owned(),
            Wanted::All => "--all".to_owned(),
            Wanted::Globs(globs) => named("--cgroup", globs),
            Wanted::Units(units) => named("--unit", units),
        }
    }
}

/// Settings for captured output.
#[derive(Clone, Debug)]
pub struct CaptureSettings {
    /// Folder to save it in; `None` if it is only shown.
    pub directory: Option<PathBuf>,
    /// Bytes to keep of each stream.
    pub limit: u64,
    /// Which bytes to keep if a stream has more.
    pub keep: Keep,
    /// Bytes to keep of all streams together.
    pub max: u64,
    /// Bytes that must stay free on the disk; `None` for a part that depends on its size.
    pub reserve: Option<u64>,
    /// Size of the ring in bytes: a power of two.
    pub ring_bytes: u32,
    /// Whether to print output while it is written.
    pub show: bool,
    /// Whether to print it without escaping.
    pub raw: bool,
    /// What to hide in shown output.
    pub redact: Option<Redact>,
    /// Folder for recovered output.
    pub recover: Option<PathBuf>,
}

/// Settings of `tracer report`.
#[derive(Clone, Debug)]
pub struct ReportSettings {
    /// Recordings or capture folders. `-` is standard input.
    pub files: Vec<PathBuf>,
    /// Format of the reports.
    pub format: Format,
    /// What human reports show.
    pub view: View,
    /// Where the reports go.
    pub output: ReportTo,
    /// When to colour.
    pub color: ColorChoice,
    /// What to hide in captured output.
    pub redact: Option<Redact>,
    /// Folder for recovered output.
    pub recover: Option<PathBuf>,
}

/// Settings of `tracer top FILE`.
#[derive(Clone, Debug)]
pub struct PlaySettings {
    /// A recording or capture folder.
    pub file: PathBuf,
    /// When to colour.
    pub color: ColorChoice,
}

/// Settings of `tracer top --daemon`.
#[derive(Clone, Debug)]
pub struct WatchSettings {
    /// Folder of the recorder's history.
    pub history: PathBuf,
    /// When to colour.
    pub color: ColorChoice,
}

/// Settings of `tracer history`.
#[derive(Clone, Debug)]
pub struct HistorySettings {
    /// Folder of the history.
    pub folder: PathBuf,
    /// Which commands.
    pub filter: Filter,
    /// How many of them, the newest; `None` for all.
    pub limit: Option<usize>,
    /// Whether each is a JSON object.
    pub is_ndjson: bool,
    /// When to colour.
    pub color: ColorChoice,
}

/// Settings of `tracer why`.
#[derive(Clone, Debug)]
pub struct WhySettings {
    /// Folder of the history.
    pub folder: PathBuf,
    /// What is asked.
    pub question: Question,
    /// Format of the report.
    pub format: Format,
    /// What a human report shows.
    pub view: View,
    /// Where the answer goes.
    pub output: ReportTo,
    /// When to colour.
    pub color: ColorChoice,
}

/// Where a report goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportTo {
    /// Standard output.
    Stdout,
    /// Standard error, as for a command, whose standard output is its own.
    Stderr,
    /// A file.
    File(PathBuf),
    /// The terminal of the process, after a view: the standard streams are those of the command.
    Terminal,
}

/// What tracer's exit code says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExitCodeOf {
    /// Whether all output arrived.
    #[default]
    Verdict,
    /// How the command ended.
    Command,
}

/// What to trace: all of it together. One of the two has something.
#[derive(Clone, Debug)]
pub struct TargetChoice {
    /// A command to start. The trace ends with it.
    pub command: Option<Launch>,
    /// What runs already.
    pub existing: Vec<Request>,
}

/// Where the programs count, as the user said it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachChoice {
    /// A trace: `sys_exit`, which is attached sooner. The recorder: fexit where this kernel lets it miss no call.
    #[default]
    Auto,
    /// At the ends of the kernel's functions for writes, reads and their kin.
    Fexit,
    /// At the end of every system call of the machine.
    SysExit,
}

impl AttachChoice {
    /// For a trace.
    #[must_use]
    pub fn of_trace(self) -> Attach {
        match self {
            Self::Auto | Self::SysExit => Attach::SysExit,
            Self::Fexit => Attach::Fexit,
        }
    }

    /// For a recorder, which runs for months.
    #[must_use]
    pub fn of_recorder(self) -> Attach {
        match self {
            Self::Auto => Attach::PreferFexit,
            Self::Fexit => Attach::Fexit,
            Self::SysExit => Attach::SysExit,
        }
    }
}

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}
