//! What tracer costs, and whether it counts exactly under load.
//!
//! `cargo xtask bench` and `cargo xtask storm` build and run this program.

#![forbid(unsafe_code)]

mod cost;
mod storm;
/// What both tasks run programs and print results with.
mod harness {
    pub(crate) mod fixture;
    pub(crate) mod procfs;
    pub(crate) mod report;
    pub(crate) mod table;
    pub(crate) mod terminal;
    pub(crate) mod tool;
}

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::{command, workspace::Workspace};

/// Help and error messages name the command that the user typed.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measure what tracer costs, beside an empty program, bpftrace, strace and perf (root).
    ///
    /// A whole run takes some twenty minutes, prints its tables and puts them into BENCHMARKS.md.
    /// What is compared are ratios within the run. Rivals that are missing are installed; what
    /// does not start is reported as absent.
    #[command(after_help = "Examples:\n  \
        cargo xtask bench --quick           a first look\n  \
        cargo xtask bench --only write32 --rounds 3\n  \
        cargo xtask bench --recorder        what the always-on recorder costs\n  \
        cargo xtask bench --verifier        has any program become dearer to verify?\n  \
        cargo xtask bench --instructions    has any call become dearer? Needs no root and no quiet machine")]
    Bench(cost::Options),
    /// Trace storms and compare every sum with what the storm itself knows (root).
    ///
    /// Many short processes, busy CPUs, 10,000 pipes, 1,000 threads on one fd, a fork bomb, tables that
    /// are too small on purpose, and a soak of an hour. Fails unless each sum is exact, or what is
    /// missing was counted as lost, to the unit. `--page` puts the figures into RELIABILITY.md.
    ///
    /// `--recorder` runs two million jobs under `tracer daemon` in 50 minutes instead. Its history must have each planted
    /// loss, no other, and every byte, and its memory must not grow.
    #[command(after_help = "Examples:\n  \
        cargo xtask storm --soak 0          all but the soak, in two minutes\n  \
        cargo xtask storm bomb table        those with such a name\n  \
        cargo xtask storm soak --soak 10 --page\n  \
        cargo xtask storm --recorder --jobs 50000")]
    Storm(storm::Options),
    /// Measure in a virtual machine, which `bench --instructions` boots.
    #[command(hide = true)]
    InGuest,
}

fn main() -> ExitCode {
    match perform(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            command::say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<()> {
    match task {
        Task::Bench(options) => cost::run(&Workspace::locate()?, &options),
        Task::Storm(options) => storm::run(&Workspace::locate()?, &options),
        Task::InGuest => cost::measure_in_guest(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
