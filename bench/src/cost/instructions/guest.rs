//! Measures inside a virtual machine whose clock counts instructions.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::condition::{Call, Condition};
use crate::{
    cost::{
        comparison::{contender::Contender, count::Difference},
        load::{Load, Plan, Truth},
    },
    harness::fixture::Fixture,
};

/// Where the machine has its programs.
const PROGRAMS: &str = "/t";
/// What is attached, one after the other.
const CONTENDERS: [Contender; 6] = [
    Contender::Native,
    Contender::Floor,
    Contender::Tracer,
    Contender::NonPreemptible,
    Contender::Fexit,
    Contender::Capture,
];
/// Calls of a repetition. They take less than a tick of the kernel's clock, so that most repetitions have none.
const CALLS: u64 = 200;
/// Repetitions of each call. Interrupts and other processes are in some of them.
const REPETITIONS: u32 = 400;

/// What the guest prints about a condition, in one line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Instructions per call, rounded to a tenth, in the repetition with the fewest.
    pub(crate) instructions: BTreeMap<Call, f64>,
    /// Why there are none.
    pub(crate) absent: Option<String>,
}

/// Measures all conditions. Prints a line of JSON for each: `["traced",{"instructions":{…}}]`.
pub(crate) fn run() -> Result<()> {
    let fixture = Fixture::in_guest(Path::new(PROGRAMS))?;
    let mut out = io::stdout().lock();
    for contender in CONTENDERS {
        let figures = measure(&fixture, contender);
        for condition in conditions_of(contender) {
            let figures = match &figures {
                Ok(figures) => figures.get(&condition).cloned().unwrap_or_default(),
                Err(error) => Figures { absent: Some(format!("{error:#}")), ..Figures::default() },
            };
            let line = serde_json::to_string(&(condition, figures)).context("cannot make JSON")?;
            writeln!(out, "{line}").context("cannot write to standard output")?;
        }
    }
    Ok(())
}

/// The conditions with this contender, in the order in which they are measured.
fn conditions_of(contender: Contender) -> impl Iterator<Item = Condition> {
    Condition::ALL.into_iter().filter(move |condition| condition.contender() == contender)
}

/// The calls of the process that a contender is attached to.
fn calls_of_target(contender: Contender) -> &'static [Call] {
    conditions_of(contender)
        .find(|condition| !condition.is_of_a_stranger())
        .map_or(&[], Condition::calls)
}

/// Attaches a contender to a loop and measures all conditions with it, because attaching takes longest.
fn measure(fixture: &Fixture, contender: Contender) -> Result<BTreeMap<Condition, Figures>> {
    let mut all = BTreeMap::new();
    let mut truth = Truth::default();
    let mut target = start(fixture, calls_of_target(contender))?;
    let mut attached = contender.attach(fixture, target.pid())?;
    if contender == Contender::Fexit {
        // The loop waits at its gate since before the attach, in a `read`.
        for _ in calls_of_target(contender) {
            truth += target.measure()?.truth;
        }
        contender.settle(&mut attached)?;
    }
    for condition in conditions_of(contender) {
        let figures = if condition.is_of_a_stranger() {
            let mut stranger = start(fixture, condition.calls())?;
            let figures = repeat(&mut stranger, condition.calls(), &mut Truth::default())?;
            stranger.finish()?;
            figures
        } else {
            repeat(&mut target, condition.calls(), &mut truth)?
        };
        all.insert(condition, figures);
    }
    let counted = attached.finish(target.pid())?;
    target.finish()?;
    // A program that counts nothing, or keeps no bytes, would be cheap.
    let difference = Difference::between(&counted, &truth, 0);
    let is_exact = !difference.counted || difference.is_exact() && difference.uncaptured == 0;
    ensure!(is_exact, "not exact: {difference}");
    Ok(all)
}

fn start(fixture: &Fixture, calls: &[Call]) -> Result<Load> {
    let name = calls.iter().map(|call| call.name()).collect::<Vec<_>>().join(",");
    Load::start(&fixture.load, &Plan { name: &name, calls: CALLS, ..Plan::default() })
}

/// Repeats calls in turns. Adds what the loop wrote to `truth`.
fn repeat(load: &mut Load, calls: &[Call], truth: &mut Truth) -> Result<Figures> {
    let mut instructions = BTreeMap::new();
    for _ in 0..REPETITIONS {
        // Each opening of the gate runs the loop of the next call.
        for call in calls {
            let measured = load.measure()?;
            let fewest: &mut f64 = instructions.entry(*call).or_insert(f64::INFINITY);
            *fewest = fewest.min(measured.ns_per_call());
            *truth += measured.truth;
        }
    }
    for fewest in instructions.values_mut() {
        *fewest = (*fewest * 10.0).round() / 10.0;
    }
    Ok(Figures { instructions, absent: None })
}
