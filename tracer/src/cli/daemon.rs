//! The arguments of `tracer daemon`.

use std::{
    num::NonZeroU64,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use tracer_core::text::units;
use tracer_history::Limits;
use tracer_loader::KernelSettings;
use tracer_reach::{Address, Endpoint};

use super::{Attach, capture};
use crate::{
    scope::Wanted,
    settings::{AttachChoice, CONFIG, Config, DaemonSettings, duration, size},
};

/// Bytes of memory for commands that run.
const MEMORY: u64 = 24 << 20;

/// What to record, where, and for how long.
#[derive(Debug, Args)]
pub struct DaemonArgs {
    /// Record the containers of docker, containerd, podman and CRI-O, also those that start later.
    #[arg(long, help_heading = "What to record", group = "what")]
    containers: bool,
    /// Record the cgroups with such a path, also those that appear later; repeatable.
    #[arg(long, value_name = "GLOB", help_heading = "What to record", group = "what")]
    cgroup: Vec<String>,
    /// Record the units of systemd with such a name, also those that start later; repeatable.
    #[arg(long, value_name = "GLOB", help_heading = "What to record", group = "what")]
    unit: Vec<String>,
    /// Record every process of this machine.
    #[arg(long, help_heading = "What to record", group = "what")]
    all: bool,
    /// Folder of the history (mode 0700) [default: /var/lib/tracer].
    #[arg(long, value_name = "DIR", help_heading = "History")]
    history: Option<PathBuf>,
    /// Remove entries that are older than this [default: 30d].
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "History")]
    keep: Option<Duration>,
    /// Remove the oldest entries if the history is larger than this [default: 1GiB].
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "History")]
    max_history: Option<NonZeroU64>,
    /// Of output that is lost, keep this many of the last bytes of each stream (64KiB) for `tracer why`. Off by default.
    ///
    /// The ends of all stdout and stderr stay in memory, which is half of --max-memory for all together, until their command
    /// is judged. Those of lost output are then written into the history, with everything private that is in them; delivered
    /// output is never written. Use --redact to keep secrets out.
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "History")]
    keep_tail: Option<NonZeroU64>,
    /// Write `[redacted]` in place of what matches in command lines, sentences and kept output; repeatable.
    #[arg(long, value_name = "REGEX", help_heading = "History")]
    redact: Vec<String>,
    /// Memory for the processes and pipes of commands that run [default: 24MiB].
    ///
    /// Beyond it, processes of these commands that have ended are added up.
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Limits")]
    max_memory: Option<NonZeroU64>,
    /// Stay attached when this recorder ends or is killed, so that the next one goes on without a gap.
    ///
    /// The eBPF programs and their tables live on in /sys/fs/bpf/tracer, and what is not in the history yet in /run/tracer.
    /// The next recorder with the same history, options and version adopts both. One that cannot, or one without --pinned,
    /// detaches them first, and the history says so. `tracer daemon --detach` only detaches them.
    #[arg(long, help_heading = "Restarting", conflicts_with = "keep_tail")]
    pinned: bool,
    /// Detach what a recorder with --pinned has left attached, and end.
    #[arg(long, help_heading = "Restarting", conflicts_with = "check")]
    pub detach: bool,
    /// Tell metrics to Prometheus at this address, such as 127.0.0.1:9753 or unix:/run/tracer/metrics.sock. Off by default.
    ///
    /// Every program that can connect can read them: names of namespaces, workloads and containers, and counts, but no command lines,
    /// paths or output. A unix socket is for root only.
    #[arg(long, value_name = "ADDRESS", help_heading = "Other systems")]
    metrics: Option<Address>,
    /// Send findings as log records, and lost bytes as metrics, to this collector of OpenTelemetry (http://127.0.0.1:4318).
    ///
    /// OTLP over HTTP, without TLS: name a collector on this machine, which uses TLS and tokens on the way out. Findings have
    /// no command lines, and sentences are redacted. If the collector is down or slow, log records wait in 8 MiB at most;
    /// what does not fit is counted.
    #[arg(long, value_name = "URL", help_heading = "Other systems")]
    otlp: Option<Endpoint>,
    /// Write findings to journald, for example for `journalctl TRACER_RULE=unread`.
    #[arg(long, help_heading = "Other systems")]
    journald: bool,
    /// Where the programs count: at every system call, or at those that matter only [default: sys_exit].
    ///
    /// With auto, other programs pay only for writes, reads and their kin, if this kernel allows it without missing a call
    /// (`tracer doctor`, hook fexit).
    #[arg(long, value_enum, value_name = "WHERE", help_heading = "Limits", hide_short_help = true)]
    attach: Option<Attach>,
    /// Read this file for what no option says. Its keys are the names of the options.
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// Only check the arguments and whether this machine can record, and end.
    #[arg(long)]
    pub check: bool,
    /// Print more log lines on stderr (repeatable); RUST_LOG works as well.
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

impl DaemonArgs {
    /// The settings of `tracer daemon`.
    ///
    /// # Errors
    /// A sentence for the user, for example if two kinds of targets are named.
    pub fn into_settings(self) -> Result<DaemonSettings, String> {
        let config = Config::read(&self.config).map_err(|error| error.to_string())?;
        if config.is_none() && self.config != Path::new(CONFIG) {
            return Err(format!("there is no file {}", self.config.display()));
        }
        let config = config.unwrap_or_default();
        let limits = Limits::default();
        let bytes = |given: Option<NonZeroU64>| given.map(NonZeroU64::get);
        let max_memory = bytes(self.max_memory.or(config.max_memory)).unwrap_or(MEMORY);
        let keep_tail = bytes(self.keep_tail.or(config.keep_tail));
        let pinned = self.pinned || config.pinned;
        if pinned && keep_tail.is_some() {
            return Err("keep-tail keeps output in the recorder's memory, which no other recorder can go on with: leave out \
                        keep-tail or pinned".to_owned());
        }
        if keep_tail.is_some_and(|bytes| bytes > max_memory / 8) {
            return Err(format!(
                "keep-tail may be an eighth of max-memory ({}) at most, so that several streams have room: make it smaller, \
                 or raise max-memory",
                units::bytes(max_memory)
            ));
        }
        let attach = self.attach.map(AttachChoice::from).or(config.attach);
        let attach = attach.map(AttachChoice::of_recorder).unwrap_or_default();
        if pinned && attach != tracer_loader::Attach::SysExit {
            return Err(
                "attach can only be sys_exit with pinned: programs at functions do not live on"
                    .to_owned(),
            );
        }
        Ok(DaemonSettings {
            keep_tail,
            pinned,
            redact: capture::redact(&self.redact)?.or_else(|| config.redact.clone()),
            wanted: self.wanted(&config)?,
            kernel: KernelSettings {
                debug_log: self.verbose >= 3,
                attach,
                ..KernelSettings::default()
            },
            history: self
                .history
                .or(config.history)
                .unwrap_or_else(|| tracer_history::FOLDER.into()),
            limits: Limits {
                age: self.keep.or(config.keep).unwrap_or(limits.age),
                bytes: bytes(self.max_history.or(config.max_history)).unwrap_or(limits.bytes),
                ..limits
            },
            max_memory,
            metrics: self.metrics.or(config.metrics),
            otlp: self.otlp.or(config.otlp),
            journald: self.journald || config.journald,
        })
    }

    fn wanted(&self, config: &Config) -> Result<Wanted, String> {
        match (self.containers, self.all, self.cgroup.as_slice(), self.unit.as_slice()) {
            (true, false, [], []) => Ok(Wanted::Containers),
            (false, true, [], []) => Ok(Wanted::All),
            (false, false, globs @ [_, ..], []) => Ok(Wanted::Globs(globs.to_vec())),
            (false, false, [], units @ [_, ..]) => Ok(Wanted::Units(units.to_vec())),
            (false, false, [], []) => config.wanted().ok_or_else(|| {
                format!(
                    "nothing to record: name --containers, --unit GLOB, --cgroup GLOB or --all, or say it in {}",
                    self.config.display()
                )
            }),
            _ => Err("name one of --containers, --unit, --cgroup and --all: one recorder has one kind of target"
                .to_owned()),
        }
    }

    /// The log level, as [`Cli::verbosity`](super::Cli::verbosity).
    #[must_use]
    pub fn verbosity(&self) -> i8 {
        i8::try_from(self.verbose).unwrap_or(i8::MAX)
    }
}

/// What follows the options of `tracer daemon --help`.
pub(super) const AFTER: &str = "\
EXAMPLES
  tracer daemon --containers             record every container of this machine
  tracer daemon --unit 'worker-*'        record some services
  tracer daemon --containers --metrics 127.0.0.1:9753
                                         tell Prometheus what was delivered and lost
  tracer why --container report-1        ask what became of its output, also when it is gone
  tracer history --lost --since 1h       list what was lost

RUNNING
  It runs in the foreground until a signal ends it. The unit tracer-daemon.service starts it with systemd. What it
  could not record is in the history as well, with its time.
";
