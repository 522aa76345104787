//! Runs the corpus of lost output, `tests/cases`, and judges what tracer says first about each case.
//!
//! A case is a folder with a script `run` and a file `case.toml`, which holds the truth (see [`case::Case`]).

mod case;
mod judge;
mod runner;
pub(crate) mod story;
mod table;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use xtask::{
    build::{self, Verbosity},
    command, page,
    setup::{self, Extras, packages},
    workspace::{Profile, Workspace},
};

use self::{
    case::Case,
    judge::Grade,
    runner::{Outcome, Runner},
    table::{Sum, Table},
};

use crate::tally::Tally;

/// The page of the book that has the result, and the block on it.
const PAGE: &str = "docs/src/accuracy.md";
const BLOCK: &str = "cases";

/// Which cases to run, and how.
#[derive(Args)]
pub(crate) struct Options {
    /// Judge this binary [default: build the tool from this checkout]
    #[arg(long, value_name = "PATH")]
    tracer: Option<PathBuf>,
    /// Ask afterwards: run each command under `tracer daemon`, and judge what `tracer why` says when it has ended
    #[arg(long, conflicts_with = "page")]
    afterwards: bool,
    /// Run each case so often; the results must be the same
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    times: u16,
    /// Cases that run at once
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// Put the result into the book
    #[arg(long, conflicts_with = "filters")]
    page: bool,
    /// Only cases whose name or kind contains one of these
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

/// Runs the cases, prints a table, and fails as [`Sum::exit_code`] says.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let folder = workspace.root().join("tests/cases");
    let cases = case::load_all(&folder, &options.filters)?;
    ensure!(!cases.is_empty(), "no case is called {}", options.filters.join(" or "));
    ensure!(packages::is_root(), "the cases need root: tracer loads eBPF programs");
    let tracer = tracer(workspace, options.tracer.as_deref())?;
    let asks = options.afterwards.then(|| folder.join(AFTERWARDS));
    let runner = Runner {
        tracer: asks.as_deref().unwrap_or(&tracer),
        recorder: asks.is_some().then_some(tracer.as_path()),
        target: workspace.target(),
        times: options.times,
    };
    let mut table = Table::of(&cases);
    perform_all(&runner, &cases, options.jobs, |case, outcome| table.print(case, &outcome))?;
    let sum = table.finish()?;
    if options.page {
        page::regenerate(&workspace.root().join(PAGE), BLOCK, &figure(sum)?)?;
    }
    Ok(sum.exit_code())
}

/// The program that takes the place of the tool when it is asked afterwards.
const AFTERWARDS: &str = "afterwards.py";

/// One of this many cases may fail in the tests: they run real programs of other people, whose timing is their own.
const TOLERANCE: u64 = 50;

/// Runs all cases as a part of the tests, and prints those that are not right. Such a case runs twice more, alone: the
/// machine may have been busy. Then it fails, unless its description names the gap. A few failures are only printed.
pub(crate) fn check(workspace: &Workspace, tracer: &Path) -> Result<Tally> {
    let cases = case::load_all(&workspace.root().join("tests/cases"), &[])?;
    let runner = Runner { tracer, recorder: None, target: workspace.target(), times: 1 };
    let mut table = Table::of(&cases);
    let (mut tally, mut doubtful) = (Tally::default(), Vec::new());
    perform_all(&runner, &cases, 2, |case, outcome| {
        match &outcome {
            Outcome::Skipped(_) => tally.skipped += 1,
            Outcome::Judged(_) if is_right(&outcome) => tally.passed += 1,
            Outcome::Judged(_) if case.description.gap.is_some() => table.print(case, &outcome)?,
            Outcome::Judged(_) => doubtful.push(case.name.clone()),
        }
        Ok(())
    })?;
    for case in cases.iter().filter(|case| doubtful.contains(&case.name)) {
        if is_right(&runner.perform(case)?) {
            tally.passed += 1;
            continue;
        }
        let outcome = runner.perform(case)?;
        if is_right(&outcome) {
            tally.passed += 1;
        } else {
            table.print(case, &outcome)?;
            tally.failed += 1;
        }
    }
    if tally.failed * TOLERANCE <= tally.passed {
        tally.failed = 0;
    }
    Ok(tally)
}

fn is_right(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Judged(answer) if answer.judgement.grade == Grade::Right)
}

/// The binary to judge, with an absolute path.
fn tracer(workspace: &Workspace, given: Option<&Path>) -> Result<PathBuf> {
    let Some(path) = given else {
        let ready = setup::ensure(workspace, Extras::default())?;
        return build::build(workspace, &ready, Profile::Release, Verbosity::Brief);
    };
    path.canonicalize().with_context(|| format!("cannot find {}", path.display()))
}

/// Runs the cases on `jobs` threads and hands over the results, in the order of the cases.
fn perform_all(
    runner: &Runner<'_>,
    cases: &[Case],
    jobs: u16,
    mut each: impl FnMut(&Case, Outcome) -> Result<()>,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let (sender, results) = mpsc::channel();
    let work = |sender: mpsc::Sender<_>| {
        while let Some((index, case)) = claim(&next, cases) {
            if sender.send((index, runner.perform(case))).is_err() {
                return;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs {
            let sender = sender.clone();
            scope.spawn(|| work(sender));
        }
        drop(sender);
        let mut waiting = BTreeMap::new();
        let mut printed = 0;
        for (index, outcome) in results {
            waiting.insert(index, outcome);
            while let Some(outcome) = waiting.remove(&printed) {
                each(&cases[printed], outcome?)?;
                printed += 1;
            }
        }
        Ok(())
    })
}

/// The next case that no thread has taken yet.
fn claim<'a>(next: &AtomicUsize, cases: &'a [Case]) -> Option<(usize, &'a Case)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    Some((index, cases.get(index)?))
}

/// The sentence for the book.
fn figure(sum: Sum) -> Result<String> {
    let date = command::capture(Command::new("date").arg("+%F"))?;
    Ok(format!("Last run on {}: {sum}.", date.trim()))
}
