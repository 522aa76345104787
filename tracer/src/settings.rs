//! What the command line means. Nothing below this line knows clap.

use std::{path::PathBuf, time::Duration};

use tracer_core::{capture::Keep, text::redact::Redact};
use tracer_loader::KernelSettings;

use crate::{launch::Launch, render::Format, target::Request};

/// One run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What to trace.
    pub target: TargetChoice,
    /// What the kernel side must know.
    pub kernel: KernelSettings,
    /// Which of fd 0, 1 and 2 the user asked for.
    pub stdio_of_interest: Vec<i32>,
    /// Managers' logs to compare with; `-` is standard input.
    pub worker_logs: Vec<PathBuf>,
    /// Stop after this long.
    pub duration: Option<Duration>,
    /// How the report looks.
    pub format: Format,
    /// Where it goes; standard output otherwise.
    pub output: Option<PathBuf>,
    /// Where the session is saved.
    pub record: Option<PathBuf>,
    /// When to colour.
    pub color: ColorChoice,
    /// A line when something happens; `None` decides by whether stderr is a terminal.
    pub live: Option<bool>,
    /// Say nothing but the report and errors.
    pub quiet: bool,
    /// Whether the output itself is saved or shown, and how.
    pub capture: Option<CaptureSettings>,
}

/// The output itself.
#[derive(Clone, Debug)]
pub struct CaptureSettings {
    /// Where it is saved; nowhere, when it is only shown.
    pub directory: Option<PathBuf>,
    /// Bytes kept of each stream.
    pub limit: u64,
    /// Which ones, when there are more.
    pub keep: Keep,
    /// Size of the ring: a power of two.
    pub ring_bytes: u32,
    /// Whether it is printed while it is written.
    pub show: bool,
    /// Whether it is printed as it is.
    pub raw: bool,
    /// What is hidden where it is shown.
    pub redact: Option<Redact>,
    /// Where that is written which did not arrive.
    pub recover: Option<PathBuf>,
}

/// Reports from recordings.
#[derive(Clone, Debug)]
pub struct ReportSettings {
    /// The recordings or capture folders; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// How the reports look.
    pub format: Format,
    /// Where they go; standard output otherwise.
    pub output: Option<PathBuf>,
    /// When to colour.
    pub color: ColorChoice,
    /// What is hidden of captured output.
    pub redact: Option<Redact>,
    /// Where that is written which did not arrive.
    pub recover: Option<PathBuf>,
}

/// What to trace.
#[derive(Clone, Debug)]
pub enum TargetChoice {
    /// Something that runs already.
    Existing(Request),
    /// A command to start.
    Command(Launch),
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
