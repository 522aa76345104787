//! Values that options choose from.

use clap::ValueEnum;
use tracer_loader::AttachMode;

use crate::{
    render::Format,
    settings::{AttachChoice, ColorChoice, ExitCodeOf},
};

/// `--exit-code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ExitCode {
    /// Whether all output arrived: 0 or 1.
    Verdict,
    /// The exit code of COMMAND, or 128 + N if signal N killed it.
    Command,
}

/// `--format`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum ReportFormat {
    /// Sentences for a person.
    #[default]
    Human,
    /// One JSON document, schema tracer.report/1.
    Json,
    /// One JSON object per line.
    Ndjson,
    /// One page for a browser or a printer: the sentence, the flow as a drawing, a time line, all tables.
    Html,
    /// The flow as a graph in the language of Graphviz: `| dot -Tsvg`.
    Dot,
    /// The flow as a graph in the language of Mermaid, for an issue or a chat.
    Mermaid,
}

/// A shell that has completions.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Shell {
    /// The shell bash.
    Bash,
    /// The shell zsh.
    Zsh,
    /// The shell fish.
    Fish,
}

/// `--hooks`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Hooks {
    /// Choose automatically: non-preemptible from Linux 7.0 on, else tp_btf.
    #[default]
    Auto,
    /// Typed tracepoints: the cheapest, but since Linux 7.0 the kernel may skip some calls.
    #[value(name = "tp_btf", alias = "typed")]
    TpBtf,
    /// Run with preemption off, so that the kernel skips none.
    #[value(alias = "undisturbed")]
    NonPreemptible,
}

/// `--attach`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Attach {
    /// A trace: sys_exit, which is attached sooner. The recorder: fexit where this kernel lets it miss no call.
    #[default]
    Auto,
    /// At the ends of the kernel's functions for writes, reads and their kin: other calls cost nothing.
    Fexit,
    /// At the end of every system call of the machine.
    #[value(name = "sys_exit")]
    SysExit,
}

/// `--color`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl From<Hooks> for Option<AttachMode> {
    fn from(hooks: Hooks) -> Self {
        match hooks {
            Hooks::Auto => None,
            Hooks::TpBtf => Some(AttachMode::TpBtf),
            Hooks::NonPreemptible => Some(AttachMode::NonPreemptible),
        }
    }
}

impl From<Attach> for AttachChoice {
    fn from(attach: Attach) -> Self {
        match attach {
            Attach::Auto => Self::Auto,
            Attach::Fexit => Self::Fexit,
            Attach::SysExit => Self::SysExit,
        }
    }
}

impl From<ReportFormat> for Format {
    fn from(format: ReportFormat) -> Self {
        match format {
            ReportFormat::Human => Self::Human,
            ReportFormat::Json => Self::Json,
            ReportFormat::Ndjson => Self::Ndjson,
            ReportFormat::Html => Self::Html,
            ReportFormat::Dot => Self::Dot,
            ReportFormat::Mermaid => Self::Mermaid,
        }
    }
}

impl From<Color> for ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}

impl From<Shell> for clap_complete::Shell {
    fn from(shell: Shell) -> Self {
        match shell {
            Shell::Bash => Self::Bash,
            Shell::Zsh => Self::Zsh,
            Shell::Fish => Self::Fish,
        }
    }
}

impl From<ExitCode> for ExitCodeOf {
    fn from(code: ExitCode) -> Self {
        match code {
            ExitCode::Verdict => Self::Verdict,
            ExitCode::Command => Self::Command,
        }
    }
}
