//! The command line: its arguments, and their meaning as [`Settings`].

mod capture;
mod report;
mod values;

use std::{ffi::OsString, num::NonZeroU64, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracer_common::limits;
use tracer_loader::{AttachMode, KernelSettings};

use crate::{
    launch::Launch,
    render::Format,
    settings::{ColorChoice, Settings, TargetChoice},
    target::Request,
};

pub use self::report::ReportArgs;

/// Says where a program's output went: counted in the kernel, with a verdict.
///
/// tracer watches a process tree, counts every byte that it writes to stdout and stderr, follows the
/// bytes to whoever reads them, and says in one sentence what happened.
#[derive(Debug, Parser)]
#[command(
    name = "tracer",
    version,
    args_conflicts_with_subcommands = true,
    after_long_help = "\
EXAMPLES
  tracer --pid 4242                  a manager and everything it starts
  tracer -- docker pull busybox      a command, from its first instruction
  tracer --container web             a container, `docker exec` included
  tracer --pid 4242 --format json -o report.json
  tracer --record run.session -- ./nightly-job    save the session as well …
  tracer report run.session --format json         … and report it again, anywhere
  tracer --capture out -- docker pull busybox     save its output too, and what was lost of it
  tracer --show --pid 4242           see what it prints, wherever that goes
  tracer doctor                      would a trace work here, and if not, why

EXIT STATUS
  0  the output is accounted for
  1  output was lost, or nothing was written
  2  the command line is wrong
  3  the environment does not allow it: no such process, not root, kernel too old …

A run ends when the whole target has ended, after --duration, or on Ctrl-C; each prints the report."
)]
pub struct Cli {
    /// Another thing to do than tracing.
    #[command(subcommand)]
    pub action: Option<Action>,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    capture: capture::CaptureArgs,
}

/// Things to do other than tracing.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Check whether a trace would work here: one line each, with the cure.
    Doctor {
        /// When to colour the output.
        #[arg(long, value_enum, default_value_t)]
        color: Color,
    },
    /// Report recorded sessions again, in any form: no root, no kernel support needed.
    ///
    /// A recording (`tracer --record FILE …`) holds everything that a verdict needs, so its report is the
    /// one of the live run. A file that was cut, because tracer was killed or the disk was full, is
    /// reported as far as it goes, and the report says so.
    Report(report::ReportArgs),
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Target (one kind)")]
struct TargetArgs {
    /// Trace this process and all its descendants, existing and future; repeatable.
    #[arg(short, long, value_name = "N", value_parser = values::pid, group = "target")]
    pid: Vec<u32>,
    /// Trace every process in this cgroup or below it.
    ///
    /// A process is a target once it starts in the cgroup or enters it, also if it leaves later. Its children are
    /// targets wherever they start; with --no-children only those that start in the cgroup or enter it. The trace ends
    /// when the cgroup is removed.
    #[arg(long, value_name = "PATH", group = "target")]
    cgroup: Option<PathBuf>,
    /// Trace a container of docker, containerd or podman: name, id or beginning of its id.
    ///
    /// Its processes are those of its cgroup, as with --cgroup.
    #[arg(long, value_name = "NAME", group = "target")]
    container: Option<String>,
    /// Start this command and trace it from its first instruction.
    #[arg(last = true, value_name = "COMMAND", group = "target")]
    command: Vec<OsString>,
    /// Run COMMAND as this user rather than as root.
    #[arg(long, value_name = "NAME", requires = "command")]
    user: Option<String>,
    /// Give COMMAND a terminal: shows whether it writes differently to one.
    #[arg(long, requires = "command")]
    pty: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What counts")]
struct ScopeArgs {
    /// Count writes through these fds; any other fd of the same object counts too.
    #[arg(long, value_name = "N,N…", value_delimiter = ',', default_value = "1,2", value_parser = values::fd)]
    fds: Vec<u32>,
    /// Count writes through every fd.
    #[arg(long, conflicts_with = "fds")]
    all_fds: bool,
    /// Do not follow children.
    #[arg(long)]
    no_children: bool,
    /// Follow the bytes this many readers on: what reads the target's output is followed in what it
    /// writes itself. 1 is the manager; docker's chain to the log file or the client is 3.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=16))]
    follow_readers: u32,
    /// Compare with what this log of the manager says it handed out; - is standard input. Repeatable,
    /// and followed while it grows. Read are beta9's worker logs (console and JSON) and lines like
    /// {"pid":71,"stream":"stdout","bytes":12}.
    #[arg(long, value_name = "FILE")]
    worker_log: Vec<PathBuf>,
    /// Stop after this long (30s, 5m, 1h30m).
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    duration: Option<Duration>,
    /// Processes followed at once; more are counted as lost.
    #[arg(long, value_name = "N", default_value_t = limits::PROCESSES, value_parser = clap::value_parser!(u32).range(1..=4_194_304))]
    max_processes: u32,
    /// Pipes, files and sockets watched at once; more are counted as lost.
    #[arg(long, value_name = "N", default_value_t = limits::OBJECTS, value_parser = clap::value_parser!(u32).range(1..=4_194_304))]
    max_objects: u32,
    /// Memory for processes, objects and counts [default: an eighth of the machine's].
    ///
    /// Beyond it, processes that have ended are summed up by command, those first whose output arrived. All
    /// counts stay complete. With --record, `tracer report` still has every process.
    #[arg(long, value_name = "SIZE", value_parser = capture::size)]
    max_memory: Option<NonZeroU64>,
    /// How the kernel starts tracer's programs.
    #[arg(long, value_enum, value_name = "HOW", default_value_t, hide_short_help = true)]
    hooks: Hooks,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
struct OutputArgs {
    /// Form of the report.
    #[arg(long, value_enum, default_value_t)]
    format: ReportFormat,
    /// Write the report to this file (mode 0600) rather than to standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Save the session to this file (mode 0600) while it runs; `tracer report FILE` reads it.
    #[arg(long, value_name = "FILE", value_parser = values::record)]
    record: Option<PathBuf>,
    /// Size of that file, or of the session of --capture, at most. A longer session is cut there, and its report says so.
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = capture::size)]
    record_limit: NonZeroU64,
    /// When to colour.
    #[arg(long, value_enum, default_value_t)]
    color: Color,
    /// A line on stderr when a process starts, first writes, ends [default: on a terminal].
    #[arg(long, overrides_with = "no_live")]
    live: bool,
    /// No such lines, not on a terminal either.
    #[arg(long)]
    no_live: bool,
    /// More log on stderr (repeatable); RUST_LOG is honoured as well.
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Nothing on stderr but errors, and when stderr is a pipe, not even those of a trace that has begun:
    /// tracer lets go of it, so that whoever reads it sees the command's end.
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
}

/// `--format`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum ReportFormat {
    /// Sentences and tables.
    #[default]
    Human,
    /// One JSON document, schema tracer.report/1.
    Json,
    /// One JSON object a line.
    Ndjson,
}

/// `--hooks`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Hooks {
    /// Chosen automatically: non-preemptible from Linux 7.0 on, else tp_btf.
    #[default]
    Auto,
    /// By typed tracepoints: the cheapest, but since Linux 7.0 the kernel may skip some.
    #[value(name = "tp_btf", alias = "typed")]
    TpBtf,
    /// With preemption off, so that the kernel skips none.
    #[value(alias = "undisturbed")]
    NonPreemptible,
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

impl From<ReportFormat> for Format {
    fn from(format: ReportFormat) -> Self {
        match format {
            ReportFormat::Human => Self::Human,
            ReportFormat::Json => Self::Json,
            ReportFormat::Ndjson => Self::Ndjson,
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

impl Cli {
    /// The log level: -1 for `--quiet`, else the number of `-v`.
    #[must_use]
    pub fn verbosity(&self) -> i8 {
        if self.output.quiet { -1 } else { i8::try_from(self.output.verbose).unwrap_or(i8::MAX) }
    }

    /// The settings of a trace.
    ///
    /// # Errors
    /// A sentence for the user, for example if no target was named.
    pub fn into_settings(self) -> Result<Settings, String> {
        let verbose = self.output.verbose;
        if self.output.record.is_some() && self.output.record == self.output.output {
            return Err("--record and -o name the same file: a session and its report need one \
                        file each"
                .to_owned());
        }
        let fds = self.scope.fds;
        let kernel = KernelSettings {
            fd_mask: fds.iter().fold(0, |mask, fd| mask | 1 << fd),
            all_fds: self.scope.all_fds,
            follow_children: !self.scope.no_children,
            follow_readers: self.scope.follow_readers,
            cgroup: None,
            debug_log: verbose >= 3,
            max_processes: self.scope.max_processes,
            max_objects: self.scope.max_objects,
            attach_mode: self.scope.hooks.into(),
            capture: None,
        };
        Ok(Settings {
            target: self.target.choice()?,
            kernel,
            stdio_of_interest: (0..3).filter(|fd| fds.contains(&(*fd as u32))).collect(),
            worker_logs: self.scope.worker_log,
            duration: self.scope.duration,
            format: self.output.format.into(),
            output: self.output.output,
            record: self.output.record,
            record_limit: self.output.record_limit.get(),
            max_memory: self.scope.max_memory.map(NonZeroU64::get),
            color: self.output.color.into(),
            live: match (self.output.live, self.output.no_live || self.output.quiet) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ => None,
            },
            quiet: self.output.quiet,
            capture: self.capture.choice()?,
        })
    }
}

impl TargetArgs {
    fn choice(self) -> Result<TargetChoice, String> {
        if !self.pid.is_empty() {
            Ok(TargetChoice::Existing(Request::Pids(self.pid)))
        } else if let Some(path) = self.cgroup {
            Ok(TargetChoice::Existing(Request::Cgroup(path)))
        } else if let Some(name) = self.container {
            Ok(TargetChoice::Existing(Request::Container(name)))
        } else if !self.command.is_empty() {
            let launch = Launch { argv: self.command, user: self.user, pty: self.pty };
            Ok(TargetChoice::Command(launch))
        } else {
            Err("nothing to trace: name a --pid N, a --cgroup PATH, a --container NAME, or a \
                 command after --"
                .to_owned())
        }
    }
}

/// The first sentence of a clap error, on one line.
#[must_use]
pub fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let paragraph: Vec<&str> =
        text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect();
    let sentence = paragraph.join(" ");
    let sentence = sentence.strip_prefix("error: ").unwrap_or(&sentence);
    format!("{} (see tracer --help)", sentence.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_tree_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_a_heading_and_a_help() {
        for argument in Cli::command().get_arguments() {
            let id = argument.get_id().as_str();
            if matches!(id, "help" | "version") {
                continue;
            }
            assert!(argument.get_help().is_some(), "{id} has no help");
            assert!(argument.get_help_heading().is_some(), "{id} has no heading");
        }
    }

    fn settings(args: &[&str]) -> Settings {
        Cli::try_parse_from(args).unwrap().into_settings().unwrap()
    }

    #[test]
    fn fds_become_a_mask() {
        let settings = settings(&["tracer", "--fds", "0,2", "--pid", "1"]);
        assert_eq!(settings.kernel.fd_mask, 0b101);
        assert_eq!(settings.stdio_of_interest, [0, 2]);
    }

    #[test]
    fn a_command_keeps_its_own_flags() {
        let settings = settings(&["tracer", "--", "docker", "pull", "-q", "x"]);
        let TargetChoice::Command(launch) = settings.target else { panic!("no command") };
        assert_eq!(launch.argv, ["docker", "pull", "-q", "x"]);
    }

    #[test]
    fn no_target_is_one_sentence() {
        let refused = Cli::try_parse_from(["tracer"]).unwrap().into_settings().unwrap_err();
        assert!(refused.starts_with("nothing to trace"));
        assert_eq!(refused.lines().count(), 1);
    }

    #[test]
    fn two_kinds_of_target_are_refused_in_one_line() {
        let error = Cli::try_parse_from(["tracer", "--pid", "1", "--container", "x"]).unwrap_err();
        assert_eq!(one_line(&error).lines().count(), 1);
    }

    #[test]
    fn a_bad_pid_names_itself() {
        let error = Cli::try_parse_from(["tracer", "--pid", "abc"]).unwrap_err();
        assert!(one_line(&error).contains("abc"), "{}", one_line(&error));
    }
}
