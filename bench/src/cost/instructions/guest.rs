//! Measures inside a virtual machine whose clock counts instructions.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::way::{Call, Way};
use crate::{
    cost::{
        comparison::count::Difference,
        load::{Load, Plan, Truth},
    },
    harness::fixture::Fixture,
};

/// Where the machine has its programs.
const PROGRAMS: &str = "/t";
/// Calls of a repetition. They take less than a tick of the kernel's clock, so that most repetitions have none.
const CALLS: u64 = 200;
/// Repetitions of each call. Interrupts and other processes are in some of them.
const REPETITIONS: u32 = 100;

/// What the guest prints about a way, in one line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Instructions per call, rounded to a tenth, in the repetition with the fewest.
    pub(crate) instructions: BTreeMap<Call, f64>,
    /// Why there are none.
    pub(crate) absent: Option<String>,
}

/// Measures all ways. Prints a line of JSON for each: `["traced",{"instructions":{…}}]`.
pub(crate) fn run() -> Result<()> {
    let fixture = Fixture::in_guest(Path::new(PROGRAMS))?;
    let mut out = io::stdout().lock();
    for way in Way::ALL {
        let figures = measure(&fixture, way).unwrap_or_else(|error| Figures {
            absent: Some(format!("{error:#}")),
            ..Figures::default()
        });
        let line = serde_json::to_string(&(way, figures)).context("cannot make JSON")?;
        writeln!(out, "{line}").context("cannot write to standard output")?;
    }
    Ok(())
}

fn measure(fixture: &Fixture, way: Way) -> Result<Figures> {
    let calls = way.calls();
    let name = calls.iter().map(|call| call.name()).collect::<Vec<_>>().join(",");
    let plan = Plan { name: &name, calls: CALLS, ..Plan::default() };
    let mut load = Load::start(&fixture.load, &plan)?;
    let idle = way.is_of_a_stranger().then(|| Load::start(&fixture.load, &plan)).transpose()?;
    let target = idle.as_ref().unwrap_or(&load).pid();
    let attached = way.contender().attach(fixture, target)?;
    let mut instructions = BTreeMap::new();
    let mut truth = Truth::default();
    for _ in 0..REPETITIONS {
        // Each opening of the gate runs the next call.
        for call in calls {
            let measured = load.measure()?;
            let fewest: &mut f64 = instructions.entry(*call).or_insert(f64::INFINITY);
            *fewest = fewest.min(measured.ns_per_call());
            truth += measured.truth;
        }
    }
    if way.is_of_a_stranger() {
        truth = Truth::default();
    }
    let counted = attached.finish(target)?;
    idle.into_iter().chain([load]).try_for_each(Load::finish)?;
    // A program that counts nothing, or keeps no bytes, would be cheap.
    let difference = Difference::between(&counted, &truth, 0);
    ensure!(difference.is_exact() && difference.uncaptured == 0, "not exact: {difference}");
    for fewest in instructions.values_mut() {
        *fewest = (*fewest * 10.0).round() / 10.0;
    }
    Ok(Figures { instructions, absent: None })
}
