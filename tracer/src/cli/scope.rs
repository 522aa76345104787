//! The arguments about what a trace counts.

use std::{num::NonZeroU64, path::PathBuf, time::Duration};

use clap::Args;
use tracer_common::limits;
use tracer_loader::KernelSettings;

use super::{Attach, Hooks, values};
use crate::settings::{AttachChoice, duration, size};

#[derive(Debug, Args)]
#[command(next_help_heading = "What counts")]
pub(super) struct ScopeArgs {
    /// Count writes through these fds; any other fd of the same object counts too.
    #[arg(long, value_name = "N,N…", value_delimiter = ',', default_value = "1,2", value_parser = values::fd)]
    pub(super) fds: Vec<u32>,
    /// Count writes through every fd.
    #[arg(long, conflicts_with = "fds")]
    all_fds: bool,
    /// Do not follow children.
    #[arg(long)]
    no_children: bool,
    /// Follow output through up to N downstream readers.
    ///
    /// tracer also counts what a process writes that reads the target's output. 1 is the manager; docker's
    /// path to the log file or the client needs 3.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=16))]
    follow_readers: u32,
    /// Compare the counts with this log of the manager; `-` is standard input. Repeatable.
    ///
    /// tracer reads the log while it grows. Accepts beta9 worker logs (a sandbox platform's; console and
    /// JSON) and lines such as {"pid":71,"stream":"stdout","bytes":12}: what the manager handed out.
    #[arg(long, value_name = "FILE")]
    pub(super) worker_log: Vec<PathBuf>,
    /// End the trace after this time (30s, 5m, 1h30m); what was traced goes on.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) duration: Option<Duration>,
    /// Most processes followed at a time; the report says how many more it missed.
    #[arg(long, value_name = "N", default_value_t = limits::PROCESSES, value_parser = clap::value_parser!(u32).range(1..=4_194_304))]
    max_processes: u32,
    /// Most pipes, files and sockets watched at a time; the report says how many more it missed.
    #[arg(long, value_name = "N", default_value_t = limits::OBJECTS, value_parser = clap::value_parser!(u32).range(1..=4_194_304))]
    max_objects: u32,
    /// Memory for processes, objects and counts [default: an eighth of the machine's].
    ///
    /// Beyond it, tracer adds up processes that have ended, by command, first those whose output arrived. All
    /// counts stay complete. A --record file still has every process.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(super) max_memory: Option<NonZeroU64>,
    /// Where tracer's programs count: at every system call, or at those that matter only.
    #[arg(long, value_enum, value_name = "WHERE", default_value_t, hide_short_help = true)]
    attach: Attach,
    /// How the kernel starts tracer's other programs, and the one of --attach sys_exit.
    #[arg(long, value_enum, value_name = "HOW", default_value_t, hide_short_help = true)]
    hooks: Hooks,
}

impl ScopeArgs {
    /// Settings of the eBPF programs.
    pub(super) fn kernel(&self, debug_log: bool) -> KernelSettings {
        KernelSettings {
            pins: None,
            fd_mask: self.fds.iter().fold(0, |mask, fd| mask | 1 << fd),
            all_fds: self.all_fds,
            follow_children: !self.no_children,
            follow_readers: self.follow_readers,
            cgroup: None,
            awaits_processes: false,
            debug_log,
            max_processes: self.max_processes,
            max_objects: self.max_objects,
            attach_mode: self.hooks.into(),
            attach: AttachChoice::from(self.attach).of_trace(),
            capture: None,
        }
    }
}
