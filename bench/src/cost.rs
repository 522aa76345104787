//! Measures what tracer costs, compared with other tracers: `cargo xtask bench`.
//!
//! Figures are compared within one run only, because absolute times on shared machines are noise.

mod comparison;
mod growth;
mod gvisor;
mod instructions;
mod load;
mod memory;
mod recorder;
mod results;
mod start;
mod verifier;
mod view;

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{ArgGroup, Args};
use xtask::{
    command::say,
    docker::Docker,
    page,
    setup::{self, Extras, packages},
    workspace::Workspace,
};

use self::{
    comparison::{
        Comparison, Schedule,
        workload::{self, Command, Workload},
    },
    results::{Results, machine::Machine, quick},
};
use crate::harness::fixture::Fixture;

/// The stored numbers of verified instructions, from the top of the checkout.
const VERIFIED_INSTRUCTIONS: &str = "bench/verifier.json";
/// Rounds of a run for BENCHMARKS.md.
const ENOUGH_ROUNDS: u32 = 7;
const QUICK_ROUNDS: u32 = 3;
/// A quick run divides the number of calls by this.
const QUICK_DIVISOR: u64 = 4;
/// Rows that are no workloads.
const OTHERS: [&str; 4] = ["start", "growth", "gvisor", "view"];
/// Limit of rounds for growth and the view, which are slow to set up and visible in few rounds.
const MOST_GROWTH_ROUNDS: u32 = 5;

/// Options of `cargo xtask bench`.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("stored").args(["verifier", "instructions"]))]
pub(crate) struct Options {
    /// Turns of each contender
    #[arg(long, value_name = "N", default_value_t = ENOUGH_ROUNDS, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Under a minute: fewer rounds and workloads, and an error if a count is not exact or tracer is
    /// not far cheaper than strace
    #[arg(long, conflicts_with_all = ["rounds", "only"])]
    quick: bool,
    /// Only this row: a workload, `innocent` (three of them), `start`, `growth`, `gvisor` or `view`
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// The results as JSON as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Not times, but verified instructions of each program, compared with the stored ones
    #[arg(long, conflicts_with_all = ["rounds", "quick", "only", "json"])]
    verifier: bool,
    /// Not times, but executed instructions of a call, on other kernels, compared with the stored ones
    #[arg(long, conflicts_with_all = ["rounds", "quick", "only", "json", "verifier"])]
    instructions: bool,
    /// With `--instructions`: this kernel, as in `cargo xtask vm` (without it 6.12); may be given several times
    #[arg(long, value_name = "NAME", requires = "instructions")]
    kernel: Vec<String>,
    /// With `--instructions`: every amd64 kernel
    #[arg(long, requires = "instructions", conflicts_with = "kernel")]
    all: bool,
    /// Not a trace, but what `tracer daemon` costs; a whole run writes BENCHMARKS.md
    #[arg(long, conflicts_with_all = ["rounds", "only", "json", "stored"])]
    recorder: bool,
    /// Store the verified or executed instructions; the executed ones go into BENCHMARKS.md as well
    #[arg(long, requires = "stored")]
    update: bool,
}

impl Options {
    /// Whether to measure the row `name`. `is_quick` tells whether a quick run includes it.
    fn wants(&self, name: &str, is_quick: bool) -> bool {
        match &self.only {
            Some(only) => only == name,
            None => is_quick || !self.quick,
        }
    }

    fn wants_workload(&self, workload: &Workload) -> bool {
        match &self.only {
            Some(only) => workload.is_selected_by(only),
            None => workload.quick || !self.quick,
        }
    }

    fn rounds(&self) -> u32 {
        if self.quick { QUICK_ROUNDS } else { self.rounds }
    }

    /// Whether this is a whole run with enough rounds for BENCHMARKS.md.
    fn is_for_the_page(&self) -> bool {
        !self.quick && self.only.is_none() && self.rounds >= ENOUGH_ROUNDS
    }

    fn ensure_known(&self) -> Result<()> {
        let Some(only) = &self.only else { return Ok(()) };
        let is_known = OTHERS.contains(&only.as_str())
            || workload::ALL.iter().any(|workload| workload.is_selected_by(only));
        let names: Vec<_> = workload::ALL.iter().map(|workload| workload.name).collect();
        ensure!(
            is_known,
            "no row is called {only}: there are {}, innocent, {}",
            names.join(", "),
            OTHERS.join(", ")
        );
        Ok(())
    }
}

/// Builds, measures, and prints the results; a whole run writes BENCHMARKS.md.
///
/// # Errors
///
/// The process is not root, a build fails, a count of a quick run is not exact, or verified or executed instructions
/// increased.
/// Workloads that cannot be measured are only reported.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    options.ensure_known()?;
    if options.instructions {
        let choice = instructions::Choice { all: options.all, names: &options.kernel };
        return instructions::run(workspace, &choice, options.update);
    }
    ensure!(packages::is_root(), "the benchmark loads eBPF programs: run it as root");
    let ready = setup::ensure(workspace, Extras { bench: true, ..Extras::default() })?;
    let fixture = Fixture::prepare(workspace, &ready)?;
    let machine = Machine::inspect(workspace, &fixture);
    if options.verifier {
        let file = workspace.root().join(VERIFIED_INSTRUCTIONS);
        let text = verifier::check(&fixture, &file, &machine.kernel, options.update)?;
        return print(&text);
    }
    if options.recorder {
        return recorder::run(workspace, &fixture, &machine, options.quick);
    }
    let mut results = Results { machine, rounds: options.rounds(), ..Results::default() };
    measure_workloads(workspace, &fixture, options, &mut results);
    if options.wants("start", false) {
        say("start");
        results.start = start::measure(&fixture, options.rounds());
    }
    if options.wants("growth", false) {
        results.growth = growth::measure(&fixture, options.rounds().min(MOST_GROWTH_ROUNDS));
    }
    if options.wants("view", false) {
        results.view = view::measure(&fixture, options.rounds().min(MOST_GROWTH_ROUNDS));
    }
    if options.wants("gvisor", false) {
        results.gvisor = Some(gvisor::measure(&fixture, options.rounds(), options.quick));
    }
    results.judge();
    let text = results.text();
    print(&text)?;
    if let Some(json) = &options.json {
        results.write_json(json)?;
    }
    if options.is_for_the_page() {
        page::regenerate(&workspace.root().join("BENCHMARKS.md"), "bench", &text)?;
    }
    if options.quick {
        let failures = quick::failures(&results);
        if !failures.is_empty() {
            bail!("{}", failures.join("; "));
        }
    }
    Ok(())
}

/// Measures inside a virtual machine and prints what the host reads.
///
/// # Errors
///
/// The programs do not start there.
pub(crate) fn measure_in_guest() -> Result<()> {
    instructions::guest::run()
}

fn measure_workloads(
    workspace: &Workspace,
    fixture: &Fixture,
    options: &Options,
    results: &mut Results,
) {
    for workload in workload::ALL.iter().filter(|workload| options.wants_workload(workload)) {
        say(&format!("{}: {}", workload.name, workload.call));
        match measure(workspace, fixture, options, workload) {
            Ok(comparison) => results.workloads.push(comparison),
            Err(error) => {
                say(&format!("{} is not measured: {error:#}", workload.name));
                results.absent.push((workload.name.to_owned(), format!("{error:#}")));
            }
        }
    }
}

fn measure(
    workspace: &Workspace,
    fixture: &Fixture,
    options: &Options,
    workload: &Workload,
) -> Result<Comparison> {
    // Docker runs during this workload only, because it would disturb the others.
    let mut docker = None;
    let command = match workload.command {
        Command::None => Vec::new(),
        Command::True => vec!["/bin/true".to_owned()],
        Command::Docker => {
            let docker = docker.insert(start_docker(workspace)?);
            ["docker", "run", "--rm", docker.image(), "echo", "hello"].map(str::to_owned).to_vec()
        }
    };
    let divisor = if options.quick { QUICK_DIVISOR } else { 1 };
    let schedule = Schedule { rounds: options.rounds(), divisor, command: &command };
    Ok(Comparison::of(fixture, workload, &schedule))
}

fn start_docker(workspace: &Workspace) -> Result<Docker> {
    setup::ensure(workspace, Extras { tests: true, ..Extras::default() })?;
    Docker::start(&workspace.test_logs())
}

fn print(text: &str) -> Result<()> {
    io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn quick_run() -> Options {
        let line = ["bench", "--quick"];
        Line::try_parse_from(line).unwrap().options
    }

    fn only(name: &str) -> Options {
        Options { quick: false, only: Some(name.into()), ..quick_run() }
    }

    #[test]
    fn one_row_can_be_asked_for_by_name() {
        let wanted: Vec<_> = workload::ALL
            .iter()
            .filter(|workload| only("pipe4k").wants_workload(workload))
            .collect();
        assert_eq!(wanted.len(), 1);
        assert!(!only("pipe4k").wants("growth", true));
        assert!(only("growth").wants("growth", false));
        assert!(only("pipe4k").ensure_known().is_ok());
        let error = only("pipe5k").ensure_known().unwrap_err().to_string();
        assert!(error.contains("pipe5k") && error.contains("pipe4k"), "{error}");
    }

    #[test]
    fn numbers_that_are_stored_are_those_of_one_kind() {
        let is_accepted =
            |words: &[&str]| Line::try_parse_from(["bench"].iter().chain(words)).is_ok();
        assert!(is_accepted(&["--verifier", "--update"]));
        assert!(is_accepted(&["--instructions", "--kernel", "6.1", "--kernel", "7", "--update"]));
        assert!(!is_accepted(&["--update"]));
        assert!(!is_accepted(&["--instructions", "--verifier"]));
        assert!(!is_accepted(&["--instructions", "--all", "--kernel", "7"]));
        assert!(!is_accepted(&["--kernel", "7"]));
    }

    #[test]
    fn a_quick_run_is_short_and_not_for_the_page() {
        let quick = quick_run();
        assert!(!quick.is_for_the_page() && !only("write32").is_for_the_page());
        let rows = workload::ALL.iter().filter(|workload| quick.wants_workload(workload)).count();
        assert!((1..workload::ALL.len()).contains(&rows));
        assert!(Options { quick: false, ..quick.clone() }.is_for_the_page());
        assert!(!Options { quick: false, rounds: 6, ..quick }.is_for_the_page());
    }
}
