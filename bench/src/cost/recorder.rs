//! What the always-on recorder costs: `cargo xtask bench --recorder`.

mod bed;
mod beside;
mod calls;
mod figure;
mod jobs;
mod why;

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};
use xtask::{command::say, page, workspace::Workspace};

use self::figure::{Figure, table};
use super::results::machine::Machine;
use crate::harness::fixture::Fixture;

/// The name of the block in BENCHMARKS.md.
const BLOCK: &str = "recorder";

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Extent {
    /// Short jobs under one recorder.
    jobs: u64,
    /// Pipes of one process.
    pipes: u64,
    /// Entries of a history.
    entries: u64,
    /// Seconds of jobs beside sleepers.
    seconds: u64,
    /// Rounds of loops.
    rounds: u32,
}

impl Extent {
    const WHOLE: Self =
        Self { jobs: 20_000, pipes: 60_000, entries: 3_000_000, seconds: 30, rounds: 7 };
    const QUICK: Self =
        Self { jobs: 2_000, pipes: 10_000, entries: 100_000, seconds: 8, rounds: 3 };
}

/// A part of the measurement.
type Part = fn(&Fixture, Extent) -> Result<Vec<Figure>>;

/// Measures, and prints the table; a whole run writes BENCHMARKS.md.
///
/// # Errors
///
/// The page has no block for the table. What cannot be measured is only reported.
pub(super) fn run(
    workspace: &Workspace,
    fixture: &Fixture,
    machine: &Machine,
    quick: bool,
) -> Result<()> {
    let extent = if quick { Extent::QUICK } else { Extent::WHOLE };
    let parts: [(&str, Part); 5] = [
        ("short jobs", jobs::measure),
        ("jobs beside sleepers", beside::measure),
        ("calls and commands", calls::measure),
        ("pipes of one process", beside::pipes),
        ("a large history", why::measure),
    ];
    let (mut figures, mut absent) = (Vec::new(), String::new());
    for (name, part) in parts {
        say(name);
        match part(fixture, extent) {
            Ok(measured) => figures.extend(measured),
            Err(error) => absent += &format!("* {name}: not measured: {error:#}\n"),
        }
    }
    let text = format!("{}{absent}\n{}", machine.list(), table(&figures));
    io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")?;
    if !quick {
        page::regenerate(&workspace.root().join("BENCHMARKS.md"), BLOCK, &text)?;
    }
    Ok(())
}
