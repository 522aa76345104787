//! The arguments of `tracer top`.

use std::path::PathBuf;

use clap::Args;

use super::TraceArgs;
use crate::{
    settings::{PlaySettings, Settings, WatchSettings},
    top,
};

/// What to watch.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Recorded session, or folder of `--capture`.
    #[arg(value_name = "FILE", conflicts_with_all = ["TargetArgs", "ScopeArgs", "CaptureArgs"])]
    file: Option<PathBuf>,
    /// What the running `tracer daemon` records, and what was lost lately.
    #[arg(long, conflicts_with_all = ["file", "TargetArgs", "ScopeArgs", "CaptureArgs"], help_heading = "Recorder")]
    daemon: bool,
    /// Folder of the daemon's history [default: /var/lib/tracer].
    // What conflicts with a required option lifts the requirement, so the conflicts are named here too.
    #[arg(long, value_name = "DIR", requires = "daemon", conflicts_with_all = ["file", "TargetArgs", "ScopeArgs", "CaptureArgs"], help_heading = "Recorder")]
    history: Option<PathBuf>,
    #[command(flatten)]
    trace: TraceArgs,
}

/// What `tracer top` shows.
#[derive(Debug)]
pub enum Shown {
    /// A trace.
    Trace(Box<Settings>),
    /// A recording.
    Recording(PlaySettings),
    /// The recorder that runs.
    Daemon(WatchSettings),
}

impl TopArgs {
    /// The settings of `tracer top`.
    ///
    /// # Errors
    /// A sentence for the user, for example if nothing was named.
    pub fn into_settings(self) -> Result<Shown, String> {
        let Self { file, daemon, history, trace } = self;
        if daemon {
            let history = history.unwrap_or_else(|| tracer_history::FOLDER.into());
            let color = trace.output.color.into();
            return Ok(Shown::Daemon(WatchSettings { history, color }));
        }
        if let Some(file) = file {
            let color = trace.output.color.into();
            return Ok(Shown::Recording(PlaySettings { file, color }));
        }
        trace.into_settings(true).map(|settings| Shown::Trace(Box::new(settings)))
    }

    /// The log level, as [`Cli::verbosity`](super::Cli::verbosity).
    #[must_use]
    pub fn verbosity(&self) -> i8 {
        self.trace.output.verbosity()
    }
}

/// What follows the options of `tracer top --help`.
pub(super) fn after() -> String {
    format!("{BEFORE_KEYS}\n{}\n{AFTER_KEYS}", top::help())
}

const BEFORE_KEYS: &str = "\
EXAMPLES
  tracer top --pid 4242              watch a manager and everything it starts
  tracer top -- make -j4             watch a command from its first instruction
  tracer top run.session             look through a recording, and play it
  tracer top --record run.session --pid 4242
  tracer top --daemon                watch what the running `tracer daemon` records

SCREEN
  The first lines have the verdict of this moment: what would be reported if the trace ended now.
  Below are the commands as a tree. Those that are stuck come first, then those that lost output.
  A bar shows what became of the bytes that a command itself wrote to stdout or stderr. Where
  several processes write to one pipe, each bar has its share of what waits in it. Commands beyond
  1,024 are left out: first those whose output arrived. The view shows numbers of up to four times a second;
  with tens of thousands of processes they come more rarely, so that the trace is not slowed down.
";

const AFTER_KEYS: &str = "\
THE RECORDER
  With --daemon, the list has the commands that `tracer daemon` records now, each with its container or unit, and those
  that lost output in the last hour, with the time of their end. Only root can look. q ends the view; the daemon goes on.

THE COMMAND'S OUTPUT
  The view needs the terminal. If COMMAND would write to it, tracer gives COMMAND a terminal of its own, as
  with --pty, and prints the last 1 MiB of its output when the view is closed. It reads no keyboard. Streams that lead
  elsewhere (`tracer top -- make >log 2>&1`) stay as they are, and the keyboard is the view's. A program that opens
  /dev/tty itself then draws over the view: Ctrl-L draws it again. The report follows on the terminal.

HOW IT ENDS
  When the trace has ended, the view stays until q. Then tracer prints the report, as without a view.
  q ends a running trace; what was traced goes on, but a command on a terminal of its own gets SIGHUP.
  The exit code is that of a trace, or of `tracer report`.";

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{
        cli::{Action, Cli},
        settings::ReportTo,
    };

    fn shown(args: &[&str]) -> Result<Shown, String> {
        let args = ["tracer", "top"].iter().chain(args);
        match Cli::try_parse_from(args).map_err(|error| error.to_string())?.action {
            Some(Action::Top(args)) => args.into_settings(),
            action => panic!("{action:?}"),
        }
    }

    #[test]
    fn a_trace_has_all_options_of_a_trace() {
        let args = ["--fds", "1", "--record", "run.session", "--", "make", "-j4"];
        let Ok(Shown::Trace(settings)) = shown(&args) else { panic!("no trace") };
        assert!(settings.is_top && settings.live == Some(false));
        assert_eq!(settings.output, ReportTo::Terminal);
        assert_eq!(settings.record, Some("run.session".into()));
        let Ok(Shown::Trace(settings)) = shown(&["--pid", "1"]) else { panic!("no trace") };
        assert_eq!(settings.output, ReportTo::Stdout);
    }

    #[test]
    fn a_recording_takes_no_options_of_a_trace() {
        assert!(matches!(shown(&["run.session", "--color", "never"]), Ok(Shown::Recording(_))));
        for args in [&["run.session", "--pid", "1"][..], &["x", "--fds", "1"], &["x", "--show"]] {
            assert!(shown(args).unwrap_err().contains("cannot be used with"), "{args:?}");
        }
    }

    #[test]
    fn a_recorder_is_looked_at_alone() {
        let Ok(Shown::Daemon(settings)) = shown(&["--daemon"]) else { panic!("no recorder") };
        assert_eq!(settings.history, PathBuf::from("/var/lib/tracer"));
        let Ok(Shown::Daemon(settings)) = shown(&["--daemon", "--history", "/x"]) else {
            panic!("no recorder")
        };
        assert_eq!(settings.history, PathBuf::from("/x"));
        for args in [&["--daemon", "--pid", "1"][..], &["--daemon", "x"], &["--daemon", "--show"]] {
            assert!(shown(args).unwrap_err().contains("cannot be used with"), "{args:?}");
        }
        assert!(shown(&["--history", "/x", "--pid", "1"]).is_err());
    }

    #[test]
    fn what_would_write_on_the_screen_is_refused() {
        let sentence = shown(&["--show", "--pid", "1"]).unwrap_err();
        assert!(sentence.starts_with("--show") && sentence.lines().count() == 1, "{sentence}");
        let sentence = shown(&[]).unwrap_err();
        assert!(sentence.starts_with("nothing to trace"), "{sentence}");
    }
}
