//! The command line: its arguments, and their meaning as [`Settings`].

mod capture;
mod choices;
mod daemon;
mod export;
mod help;
mod history;
mod pages;
mod refuse;
mod report;
mod scope;
mod target;
mod top;
mod values;
mod view;

use std::{num::NonZeroU64, path::PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::{
    render::Format,
    settings::{ExitCodeOf, ReportTo, Settings, size},
};

pub use self::{
    choices::{Attach, Color, Hooks, ReportFormat, Shell},
    daemon::DaemonArgs,
    export::ExportArgs,
    history::{HistoryArgs, ListFormat, WhyArgs},
    pages::{completions, man_page},
    refuse::one_line,
    report::ReportArgs,
    top::{Shown, TopArgs},
};

/// Says where a program's output went: counted in the kernel, with a verdict.
///
/// tracer watches a process tree and counts every byte that it writes to stdout and stderr. It counts
/// again when another process reads them, and says in one sentence what happened.
#[derive(Debug, Parser)]
#[command(
    name = "tracer",
    version,
    disable_version_flag = true,
    args_conflicts_with_subcommands = true,
    after_long_help = help::AFTER
)]
pub struct Cli {
    /// An action other than a trace.
    #[command(subcommand)]
    pub action: Option<Action>,
    /// Print the version; with --verbose also how tracer was built.
    #[arg(short = 'V', long)]
    pub version: bool,
    /// Show the trace on the terminal while it runs, as `tracer top` does.
    #[arg(long, help_heading = "Output")]
    tui: bool,
    #[command(flatten)]
    trace: TraceArgs,
}

/// What both `tracer` and `tracer top` take about a trace.
#[derive(Debug, Args)]
struct TraceArgs {
    #[command(flatten)]
    target: target::TargetArgs,
    #[command(flatten)]
    scope: scope::ScopeArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    capture: capture::CaptureArgs,
}

/// Actions other than a trace.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Check whether a trace works on this machine: one line per check, with a fix.
    Doctor {
        /// When to colour the output.
        #[arg(long, value_enum, default_value_t)]
        color: Color,
    },
    /// Report recorded sessions again, in any format. Needs neither root nor eBPF.
    ///
    /// A recording (`tracer --record FILE …`) holds everything that a verdict needs, so its report equals
    /// that of the live run. If the file was cut, because tracer was killed or the disk was full, the report
    /// covers what is there and says so.
    Report(report::ReportArgs),
    /// Watch a trace or a recording on the terminal: the stuck and the lost first.
    ///
    /// All options of a trace work here too. A FILE is a recording of `tracer --record`, or a folder of
    /// `--capture`; it is shown from its end, and can be played. Needs neither root nor eBPF for a FILE.
    #[command(after_long_help = top::after())]
    Top(Box<top::TopArgs>),
    /// Record what becomes of the output of every command, so that `tracer why` can answer later.
    ///
    /// It judges each command when it has ended, as a trace would, and keeps the result in a history on disk. It forgets
    /// what has ended, so its memory does not grow.
    #[command(after_long_help = daemon::AFTER)]
    Daemon(Box<daemon::DaemonArgs>),
    /// List what became of the output of earlier commands, from the history that `tracer daemon` writes.
    ///
    /// Needs no eBPF, but the right to read the history, which is root's.
    History(Box<history::HistoryArgs>),
    /// Say what became of the output of one earlier command.
    ///
    /// The answer comes from the history that `tracer daemon` writes, and says so if tracer did not see that time.
    Why(Box<history::WhyArgs>),
    /// Export the history that `tracer daemon` writes, as Parquet or NDJSON: a row for each command and stream.
    ///
    /// DuckDB, ClickHouse, DataFusion, Spark and others read both. Needs no eBPF, but the right to read the history, which
    /// is root's. The program tracer-export does it, which the packages install beside tracer.
    #[command(after_long_help = export::AFTER)]
    Export(Box<export::ExportArgs>),
    /// Set up gVisor, so that its sandboxes tell tracer everything from their first instruction.
    Gvisor {
        /// What to do.
        #[command(subcommand)]
        action: Gvisor,
    },
    /// Explain a finding: what it means, what proves it, usual causes, and what to do.
    ///
    /// A human report has the rule's name in brackets at the end of each finding, such as `unread`.
    Explain {
        /// Name of the rule; without it, all rules are listed.
        rule: Option<String>,
        /// When to colour the output.
        #[arg(long, value_enum, default_value_t)]
        color: Color,
    },
    /// Print the completions of a shell: `source <(tracer completions bash)`.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print a manual page: `tracer man | man -l -`.
    Man {
        /// An action, such as `report`; without it, the page is that of tracer itself.
        action: Option<String>,
    },
}

/// What to do for gVisor.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Gvisor {
    /// Print the configuration of the trace session with which sandboxes start.
    ///
    /// tracer looks into running sandboxes without it, but misses what they did before. With it, every sandbox that
    /// starts while tracer runs is seen as a whole. Save the output: `tracer gvisor config > /etc/tracer-gvisor.json`.
    /// The lines for docker and containerd are printed on standard error.
    Config,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
struct OutputArgs {
    /// Report format. Programs should read `json` or `ndjson`; the others are for people and change.
    #[arg(long, value_enum, default_value_t)]
    format: ReportFormat,
    /// Write the report to this file (mode 0600); `-` is standard output.
    ///
    /// Without it, the report of a COMMAND goes to standard error, and any other to standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Save the session to this new file (mode 0600) while it runs; `tracer report FILE` reads it.
    #[arg(long, value_name = "FILE", value_parser = values::record)]
    record: Option<PathBuf>,
    /// Largest size of that file, or of the session of --capture. A longer session is cut, and its report says so.
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = size)]
    record_limit: NonZeroU64,
    /// When to colour.
    #[arg(long, value_enum, default_value_t)]
    color: Color,
    /// Print a line on stderr when a process of the target starts, first writes, and ends [default: on a terminal].
    ///
    /// Also what is known early (a refused write, a stuck writer, a read end closed with bytes inside), and every ten
    /// seconds how far the trace is. With --format ndjson the same comes as lines before the report.
    #[arg(long, overrides_with = "no_live")]
    live: bool,
    /// Never print these lines.
    #[arg(long)]
    no_live: bool,
    /// Print more log lines on stderr (repeatable); RUST_LOG works as well.
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Print only errors, and the report.
    ///
    /// If the report goes elsewhere, tracer closes a pipe on stderr once the trace begins, so that its reader
    /// sees the end of the command.
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    #[command(flatten)]
    view: view::ViewArgs,
}

impl Cli {
    /// The log level: -1 for `--quiet`, else the number of `-v`.
    #[must_use]
    pub fn verbosity(&self) -> i8 {
        match &self.action {
            Some(Action::Top(args)) => args.verbosity(),
            Some(Action::Daemon(args)) => args.verbosity(),
            _ => self.trace.output.verbosity(),
        }
    }

    /// The settings of a trace.
    ///
    /// # Errors
    /// A sentence for the user, for example if no target was named.
    pub fn into_settings(self) -> Result<Settings, String> {
        self.trace.into_settings(self.tui)
    }
}

impl TraceArgs {
    /// The settings of a trace, which the view shows or not.
    fn into_settings(self, is_top: bool) -> Result<Settings, String> {
        if self.output.record.is_some() && self.output.record == self.output.output {
            return Err(
                "--record and -o name the same file: give each a file of its own".to_owned()
            );
        }
        let capture = self.capture.choice()?;
        if is_top && capture.as_ref().is_some_and(|capture| capture.show) {
            return Err("--show prints on the terminal that the view needs: use --capture DIR, and open the \
                        commands"
                .to_owned());
        }
        let exit_code = self.target.exit_code.map(ExitCodeOf::from).unwrap_or_default();
        let target = self.target.choice()?;
        let format: Format = self.output.format.into();
        let fds = &self.scope.fds;
        let kernel = self.scope.kernel(self.output.verbose >= 3);
        Ok(Settings {
            output: match (&target.command, self.output.output) {
                (Some(_), None) if is_top => ReportTo::Terminal,
                (Some(_), None) => ReportTo::Stderr,
                (_, output) => report_to(output),
            },
            exit_code,
            target,
            kernel,
            stdio_of_interest: (0..3).filter(|fd| fds.contains(&(*fd as u32))).collect(),
            worker_logs: self.scope.worker_log,
            duration: self.scope.duration,
            format,
            view: self.output.view.choice(format)?,
            record: self.output.record,
            record_limit: self.output.record_limit.get(),
            max_memory: self.scope.max_memory.map(NonZeroU64::get),
            color: self.output.color.into(),
            live: match (self.output.live, self.output.no_live || self.output.quiet) {
                _ if is_top => Some(false),
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ => None,
            },
            quiet: self.output.quiet,
            is_top,
            capture,
        })
    }
}

impl OutputArgs {
    fn verbosity(&self) -> i8 {
        if self.quiet { -1 } else { i8::try_from(self.verbose).unwrap_or(i8::MAX) }
    }
}

/// The destination that `-o` names: `-` is standard output, as if there were no `-o`.
fn report_to(output: Option<PathBuf>) -> ReportTo {
    match output {
        Some(path) if path.as_os_str() != "-" => ReportTo::File(path),
        _ => ReportTo::Stdout,
    }
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
        let launch = settings.target.command.unwrap();
        assert_eq!(launch.argv, ["docker", "pull", "-q", "x"]);
    }

    #[test]
    fn no_target_is_one_sentence() {
        let refused = Cli::try_parse_from(["tracer"]).unwrap().into_settings().unwrap_err();
        assert!(refused.starts_with("nothing to trace"));
        assert_eq!(refused.lines().count(), 1);
    }

    #[test]
    fn targets_of_all_kinds_can_be_named_together() {
        let line = "tracer --pid 1 --pid 2 --name sh --cgroup /c --unit u --container a --container b \
                    --pod n/p -- ls";
        let target = settings(&line.split_whitespace().collect::<Vec<_>>()).target;
        assert_eq!(target.command.unwrap().argv, ["ls"]);
        let named: Vec<String> = target.existing.iter().map(ToString::to_string).collect();
        assert_eq!(format!("tracer {} -- ls", named.join(" ")), line);
    }

    #[test]
    fn names_that_cannot_be_right_are_refused_in_one_line() {
        for (option, value) in [("--name", "a("), ("--pod", "web"), ("--pod", "a/b/c")] {
            let error = Cli::try_parse_from(["tracer", option, value]).unwrap_err();
            let sentence = one_line(&error, &[]);
            assert!(sentence.contains(value) && sentence.lines().count() == 1, "{sentence}");
        }
    }

    #[test]
    fn a_bad_pid_names_itself() {
        let error = Cli::try_parse_from(["tracer", "--pid", "abc"]).unwrap_err();
        assert!(one_line(&error, &[]).contains("abc"), "{}", one_line(&error, &[]));
    }

    #[test]
    fn the_report_of_a_command_goes_to_stderr() {
        assert_eq!(settings(&["tracer", "--", "true"]).output, ReportTo::Stderr);
        assert_eq!(settings(&["tracer", "-o", "-", "--", "true"]).output, ReportTo::Stdout);
        assert_eq!(settings(&["tracer", "--pid", "1"]).output, ReportTo::Stdout);
        let file = ReportTo::File("report".into());
        assert_eq!(settings(&["tracer", "-o", "report", "--", "true"]).output, file);
    }

    #[test]
    fn options_of_a_command_are_refused_without_one() {
        for option in [&["--pty"][..], &["--user", "nobody"], &["--exit-code", "command"]] {
            let args = [&["tracer", "--pid", "1"], option].concat();
            let refused = Cli::try_parse_from(args).unwrap().into_settings().unwrap_err();
            assert!(refused.starts_with(option[0]) && refused.contains("-- COMMAND"), "{refused}");
        }
        let settings = settings(&["tracer", "--exit-code", "command", "--", "true"]);
        assert_eq!(settings.exit_code, ExitCodeOf::Command);
    }
}
