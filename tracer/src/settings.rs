//! What the command line means. Nothing below this line knows clap.

use std::{path::PathBuf, time::Duration};

use crate::{launch::Launch, loader::KernelSettings, render::Format, target::Request};

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
}

/// Reports from recordings.
#[derive(Clone, Debug)]
pub struct ReportSettings {
    /// The recordings; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// How the reports look.
    pub format: Format,
    /// Where they go; standard output otherwise.
    pub output: Option<PathBuf>,
    /// When to colour.
    pub color: ColorChoice,
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
