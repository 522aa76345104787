//! The command line of tracer's tasks: setup, build, run, test, benchmark.
//!
//! Tasks print their messages on standard error. Standard output is for the programs that they run (the tool's JSON,
//! the tests' results).

#![forbid(unsafe_code)]

mod cases;
mod docs;
mod examples;
mod kernels;
mod package;
mod pages;
mod reach;
mod steps;
mod tally;
/// Tests, fuzzers and the other checks of the continuous integration.
mod checks {
    pub(crate) mod ci;
    pub(crate) mod fuzz;
    pub(crate) mod test;
}

use std::{
    ffi::OsString,
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
};

use anyhow::{Error, Result};
use clap::{Parser, Subcommand};
use xtask::{
    build::{self, Ahead, Verbosity, arm64, dist},
    cargo, command,
    setup::{self, Extras},
    workspace::{Profile, Workspace},
};

use crate::checks::{ci, fuzz, test};

/// tracer's own tasks. Start with `cargo xtask run -- --help`.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    after_help = "The usual way:\n  \
        cargo xtask run -- --help     build what changed and start the tool\n  \
        cargo xtask test              run every test (as root: the privileged ones too)\n  \
        cargo xtask ci                what the continuous integration runs, in the same order\n\n\
        `run`, `build`, `test` and `ci` do what `setup` does by themselves."
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Find or install what the build needs.
    ///
    /// Needed: a compiler with `core` for the BPF target and LLVM 22 (a rustup toolchain with
    /// rust-src, or Debian's rustc-web with libstd-rust-web-dev-bpf), bpf-linker 0.10.4 and a C
    /// linker. Whatever is missing is announced before it is installed; packages need root.
    /// With nothing to do it returns at once.
    Setup {
        /// Also what the privileged tests need: docker with a registry, busybox, strace, gcc, …
        #[arg(long)]
        tests: bool,
        /// Also what `vm` needs: an emulator, busybox
        #[arg(long)]
        vm: bool,
        /// Also what `ci` needs: cargo-deny, rustfmt, clippy for both compilers, g++ for libFuzzer
        #[arg(long)]
        ci: bool,
    },
    /// Build the eBPF object from source, then the tool with the object inside it.
    ///
    /// The object ends up in target/ebpf/tracer.o, the tool in target/release/tracer.
    Build {
        /// Build the tool without optimisation, into target/debug (the object is always optimised)
        #[arg(long)]
        debug: bool,
        /// Only the eBPF object for arm64, compared with the kernel's headers
        #[arg(long, conflicts_with = "debug")]
        arm64: bool,
    },
    /// Build the binary that users download, and check it.
    ///
    /// It is static, optimised across crates, and has no symbols: target/dist/tracer. Its debug
    /// information is beside it, in target/dist/tracer.debug. The build takes minutes.
    Dist,
    /// Build the binary that users download, its manual pages and completions, a .deb and an .rpm: target/package.
    ///
    /// As root, each package is then installed in an empty folder, tried there, and removed again.
    Package(package::Options),
    /// Build what changed and start the tool with the arguments after `--`.
    ///
    /// The tool takes this process's place: signals, exit code and standard output are its own.
    /// With nothing changed it starts at once and nothing else is printed.
    #[command(after_help = "Examples:\n  \
        cargo xtask run -- --help\n  \
        cargo xtask run -- --pid 4242\n  \
        cargo xtask run -- -- ls -l       (the second `--` is the tool's: a command to start)")]
    Run {
        /// Arguments of the tool
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
        args: Vec<OsString>,
    },
    /// Run every test; the last line is `N passed, N failed, N skipped`.
    ///
    /// As root this includes the privileged tests: real eBPF programs, and docker (a daemon and
    /// a loopback registry are started for the tests and stopped after them). Without root the
    /// privileged tests are counted as skipped.
    Test {
        /// Only tests whose name contains this text
        #[arg(long, value_name = "STR")]
        filter: Option<String>,
    },
    /// Run the privileged tests on other kernels, in virtual machines (needs no root).
    ///
    /// Debian's cloud kernels are fetched with apt into the cache and booted under qemu's software
    /// emulation, two minutes each. The last line is `N passed, N failed, N skipped`; `--page`
    /// puts the outcome into RELIABILITY.md. The consoles are kept in target/vm.
    #[command(after_help = "Examples:\n  \
        cargo xtask vm                      the oldest and the newest kernel\n  \
        cargo xtask vm --all                every kernel\n  \
        cargo xtask vm --kernel 6.1 uring   the tests of io_uring on one kernel")]
    Vm(kernels::Options),
    /// Measure what tracer costs, beside an empty program, bpftrace, strace and perf (root).
    ///
    /// This is the crate `bench`: `cargo xtask bench --help` builds it and shows the options.
    #[command(disable_help_flag = true)]
    Bench {
        /// Arguments of the benchmark
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
        args: Vec<OsString>,
    },
    /// Trace storms and compare every sum with what the storm itself knows (root).
    ///
    /// This is a part of the crate `bench`: `cargo xtask storm --help` builds it and shows the options.
    #[command(disable_help_flag = true)]
    Storm {
        /// Arguments of the storms
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
        args: Vec<OsString>,
    },
    /// Run fuzzers on everything that parses untrusted input, one on each processor.
    ///
    /// Targets: records of the rings, sessions, the index of a capture, managers' logs, the command line.
    /// Needs a C++ compiler for libFuzzer, and no nightly Rust. Failing inputs are written to
    /// target/fuzz/failures.
    #[command(after_help = "Examples:\n  \
        cargo xtask fuzz                        a minute for each target\n  \
        cargo xtask fuzz session --seconds 900  one target for long\n  \
        cargo xtask fuzz --keep                 add inputs with new coverage to the corpus in the checkout")]
    Fuzz(fuzz::Options),
    /// Run the corpus of lost output, tests/cases, and judge tracer's first sentence in each case (root).
    ///
    /// Right: the first sentence is the truth, and the exit code too. Weak: the truth is there, but not
    /// first, or without the process or the number of bytes. Wrong: anything else. The task fails if a
    /// case is wrong, or more than 5 % of them are weak.
    #[command(after_help = "Examples:\n  \
        cargo xtask cases                     every case\n  \
        cargo xtask cases unread 042          cases whose name or kind contains one of these\n  \
        cargo xtask cases --times 5 --page    each five times; the result goes into the book")]
    Cases(cases::Options),
    /// Regenerate the screens in README.md and in the book by running their commands (root; starts docker).
    Examples(examples::Options),
    /// Make the book, target/book: run every command and screen of its pages, check them, make the HTML (root).
    ///
    /// Installs mdbook into the cache if it is missing. The pages are docs/src.
    #[command(after_help = "Examples:\n  \
        cargo xtask docs                 everything: two minutes, and the build of the tool\n  \
        cargo xtask docs stories         run only what pages with this in their path show\n  \
        cargo xtask docs --no-run        only refresh copied tables and make the HTML (needs no root)")]
    Docs(docs::Options),
    /// Check how tracer runs in Kubernetes and what it tells other systems, beside the real ones.
    ///
    /// helm and the schemas of Kubernetes check the chart; as root, its pod runs in a real containerd and
    /// records other pods. The programs come from PyPI and Debian and are announced before they are installed.
    /// The continuous integration runs the part without root; the tests of the other part are among its tests.
    #[command(after_help = "Examples:\n  \
        cargo xtask reach               everything but the next: the build of the binary takes minutes\n  \
        cargo xtask reach --quick       only the chart and the plugin, in seconds\n  \
        cargo xtask reach --apiserver   also install the chart into a real kube-apiserver")]
    Reach(reach::Options),
    /// Everything the continuous integration checks, in the same order, with a table of times.
    ///
    /// Order: formatting, the book, the eBPF object (and the one for arm64), clippy (host, then BPF), licences
    /// and sources of dependencies, the binary for download, documentation, tests, a few seconds of each
    /// fuzzer, the oldest and the newest kernel in virtual machines. Every step runs even when an earlier one failed.
    Ci,
    /// Started by the other tasks: gives root's files in the target directory to the owner of the checkout when standard
    /// input ends.
    #[command(hide = true)]
    HandBack,
}

fn main() -> ExitCode {
    match perform_and_hand_back(Cli::parse().task) {
        Ok(code) => code,
        Err(error) => {
            command::say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Performs a task. What root has built in another user's checkout becomes that user's, whether the task succeeds, fails or
/// is interrupted.
fn perform_and_hand_back(task: Task) -> Result<ExitCode> {
    let workspace = Workspace::locate()?;
    if matches!(task, Task::HandBack) {
        workspace.hand_back_after(std::io::stdin())?;
        return Ok(ExitCode::SUCCESS);
    }
    workspace.guard("hand-back")?;
    let outcome = perform(&workspace, task);
    let handed_back = workspace.hand_back();
    let code = outcome?;
    handed_back.map(|()| code)
}

fn perform(workspace: &Workspace, task: Task) -> Result<ExitCode> {
    match task {
        Task::Setup { tests, vm, ci } => {
            let ready = setup::ensure(workspace, Extras { tests, vm, ci, bench: false })?;
            command::say(&ready.to_string());
        }
        Task::Build { debug: _, arm64: true } => {
            let ready = setup::ensure(workspace, Extras::default())?;
            arm64::check(workspace, &ready)?;
        }
        Task::Build { debug, arm64: false } => {
            let profile = if debug { Profile::Debug } else { Profile::Release };
            let _ahead = Ahead::start(workspace, profile)?;
            let ready = setup::ensure(workspace, Extras::default())?;
            build::build(workspace, &ready, profile, Verbosity::Full)?;
        }
        Task::Dist => {
            let ready = setup::ensure(workspace, Extras::default())?;
            command::say(&format!(
                "built {}",
                dist::build(workspace, &ready, dist::Effort::Full)?.display()
            ));
        }
        Task::Package(options) => package::run(workspace, &options)?,
        Task::Run { args } => return Err(become_tool(workspace, &args)?),
        Task::Test { filter } => {
            let tally = test::run(workspace, filter.as_deref())?;
            tally.print()?;
            return Ok(tally.exit_code());
        }
        Task::Vm(options) => {
            let tally = kernels::run(workspace, &options)?;
            tally.print()?;
            return Ok(tally.exit_code());
        }
        Task::Bench { args } => {
            return Err(replace_by(&mut cargo::bench(workspace, "bench", args)));
        }
        Task::Storm { args } => {
            return Err(replace_by(&mut cargo::bench(workspace, "storm", args)));
        }
        Task::Fuzz(options) => fuzz::run(workspace, &options)?,
        Task::Cases(options) => return cases::run(workspace, &options),
        Task::Examples(options) => examples::run(workspace, &options)?,
        Task::Docs(options) => docs::run(workspace, &options)?,
        Task::Reach(options) => return reach::run(workspace, options),
        Task::Ci => return ci::run(workspace),
        Task::HandBack => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds what changed and replaces this process by the tool; returns only if that was not possible.
fn become_tool(workspace: &Workspace, args: &[OsString]) -> Result<Error> {
    let ahead = Ahead::start(workspace, Profile::Release)?;
    let ready = setup::ensure(workspace, Extras::default())?;
    let mut tool = Command::new(build::build_if_changed(workspace, &ready, Profile::Release)?);
    drop(ahead);
    tool.args(args);
    workspace.hand_back()?;
    Workspace::ends_builds();
    // The tool and the programs that it starts get the user's environment, not cargo's.
    cargo::forget_cargo(&mut tool, workspace.target());
    Ok(replace_by(&mut tool))
}

/// Replaces this process by a program; returns only if that was not possible.
fn replace_by(command: &mut Command) -> Error {
    let error = command.exec();
    Error::new(error).context(format!("cannot start {}", command.get_program().display()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::{Cli, Parser as _, Task};

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_of_the_benchmark_is_its_own() {
        for task in ["bench", "storm"] {
            match Cli::parse_from(["xtask", task, "--help", "--quick", "x"]).task {
                Task::Bench { args } | Task::Storm { args } => {
                    assert_eq!(args, ["--help", "--quick", "x"]);
                }
                _ => panic!("not {task}"),
            }
        }
    }

    #[test]
    fn run_hands_options_after_the_dashes_to_the_tool() {
        for args in [vec!["--json", "--", "ls", "-l"], vec!["--", "ls"], vec![]] {
            let line = ["xtask", "run", "--"].into_iter().chain(args.iter().copied());
            let Task::Run { args: handed } = Cli::parse_from(line).task else {
                panic!("not the run task")
            };
            assert_eq!(handed, args);
        }
    }
}
