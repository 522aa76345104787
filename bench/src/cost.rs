//! What tracer costs, measured beside what else there is: `cargo xtask bench`.
//!
//! Every figure is compared within one run, because absolute times on shared machines are noise.

mod comparison;
mod load;
mod memory;
mod results;
mod scale;
mod start;
mod verifier;

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
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
use crate::harness::place::Place;

/// How many instructions of each program the verifier checked, from the top of the checkout.
const VERIFIED_INSTRUCTIONS: &str = "bench/verifier.json";
/// What BENCHMARKS.md may be made from.
const ENOUGH_ROUNDS: u32 = 7;
const QUICK_ROUNDS: u32 = 3;
/// A quick run makes so many times fewer calls.
const QUICK_HASTE: u64 = 4;
/// Growth is slow to set up and shows itself in few rounds.
const MOST_GROWTH_ROUNDS: u32 = 5;

/// What to measure.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Turns of each contender
    #[arg(long, value_name = "N", default_value_t = ENOUGH_ROUNDS, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Under a minute: fewer rounds and workloads, and an error if a count is not exact or tracer is
    /// not far cheaper than strace
    #[arg(long, conflicts_with_all = ["rounds", "only"])]
    quick: bool,
    /// Only this row: a workload, `innocent` (three of them), `start` or `growth`
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// The results as JSON as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Not times, but verified instructions of each program, compared with the stored ones
    #[arg(long, conflicts_with_all = ["rounds", "quick", "only", "json"])]
    verifier: bool,
    /// Store the verified instructions
    #[arg(long, requires = "verifier")]
    update: bool,
}

impl Options {
    /// Whether `name` is to be measured, and `quick` says whether a quick run has it.
    fn wants(&self, name: &str, quick: bool) -> bool {
        match &self.only {
            Some(only) => only == name,
            None => quick || !self.quick,
        }
    }

    fn wants_workload(&self, workload: &Workload) -> bool {
        match &self.only {
            Some(only) => workload.is_meant_by(only),
            None => workload.quick || !self.quick,
        }
    }

    fn rounds(&self) -> u32 {
        if self.quick { QUICK_ROUNDS } else { self.rounds }
    }

    /// Only a whole run with enough rounds is worth keeping.
    fn is_for_the_page(&self) -> bool {
        !self.quick && self.only.is_none() && self.rounds >= ENOUGH_ROUNDS
    }

    fn ensure_known(&self) -> Result<()> {
        let Some(only) = &self.only else { return Ok(()) };
        let is_known = ["start", "growth"].contains(&only.as_str())
            || workload::ALL.iter().any(|workload| workload.is_meant_by(only));
        let names: Vec<_> = workload::ALL.iter().map(|workload| workload.name).collect();
        ensure!(
            is_known,
            "no row is called {only}: there are {}, innocent, start, growth",
            names.join(", ")
        );
        Ok(())
    }
}

/// Builds, measures, prints.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    options.ensure_known()?;
    ensure!(packages::is_root(), "the benchmark loads eBPF programs: run it as root");
    let ready = setup::ensure(workspace, Extras { bench: true, ..Extras::default() })?;
    let place = Place::prepare(workspace, &ready)?;
    let machine = Machine::look(workspace, &place);
    if options.verifier {
        let file = workspace.root().join(VERIFIED_INSTRUCTIONS);
        let text = verifier::check(&place, &file, &machine.kernel, options.update)?;
        return print(&text);
    }
    let mut results = Results { machine, rounds: options.rounds(), ..Results::default() };
    measure_workloads(workspace, &place, options, &mut results);
    if options.wants("start", false) {
        say("start");
        results.start = start::measure(&place, options.rounds());
    }
    if options.wants("growth", false) {
        results.scale = scale::measure(&place, options.rounds().min(MOST_GROWTH_ROUNDS));
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

fn measure_workloads(
    workspace: &Workspace,
    place: &Place,
    options: &Options,
    results: &mut Results,
) {
    for workload in workload::ALL.iter().filter(|workload| options.wants_workload(workload)) {
        say(&format!("{}: {}", workload.name, workload.call));
        match measure(workspace, place, options, workload) {
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
    place: &Place,
    options: &Options,
    workload: &Workload,
) -> Result<Comparison> {
    // Running as long as this workload is measured, and no longer: it would disturb the others.
    let mut docker = None;
    let command = match workload.command {
        Command::None => Vec::new(),
        Command::True => vec!["/bin/true".to_owned()],
        Command::Docker => {
            let docker = docker.insert(start_docker(workspace)?);
            ["docker", "run", "--rm", docker.image(), "echo", "hello"].map(str::to_owned).to_vec()
        }
    };
    let haste = if options.quick { QUICK_HASTE } else { 1 };
    let schedule = Schedule { rounds: options.rounds(), haste, command: &command };
    Ok(Comparison::of(place, workload, &schedule))
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
    use super::*;

    fn quick_run() -> Options {
        let (rounds, only, json) = (ENOUGH_ROUNDS, None, None);
        Options { rounds, quick: true, only, json, verifier: false, update: false }
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
    fn a_quick_run_is_short_and_not_for_the_page() {
        let quick = quick_run();
        assert!(!quick.is_for_the_page() && !only("write32").is_for_the_page());
        let rows = workload::ALL.iter().filter(|workload| quick.wants_workload(workload)).count();
        assert!((1..workload::ALL.len()).contains(&rows));
        assert!(Options { quick: false, ..quick.clone() }.is_for_the_page());
        assert!(!Options { quick: false, rounds: 6, ..quick }.is_for_the_page());
    }
}
