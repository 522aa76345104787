//! Calls of recorded programs on fds that are not watched, and commands that they start, in interleaved rounds.

use std::process::Command;

use anyhow::Result;

use super::{Extent, Figure, bed::Place};
use crate::{
    cost::load::{Load, Plan},
    harness::{fixture::Fixture, tool::Tool},
};

/// Repetitions of a loop in a round; the fastest counts.
const REPETITIONS: u32 = 15;

/// A loop, and how many calls it makes.
const LOOPS: [(&str, u64); 3] = [("read32", 40_000), ("write32-aside", 40_000), ("exec", 100)];

/// Nanoseconds of each loop, the fastest of all rounds.
#[derive(Clone, Copy, Debug)]
struct Best([f64; LOOPS.len()]);

impl Best {
    fn round(&mut self, loops: &mut [Load]) -> Result<()> {
        for (best, load) in self.0.iter_mut().zip(loops) {
            for _ in 0..REPETITIONS {
                *best = best.min(load.measure()?.ns_per_call());
            }
        }
        Ok(())
    }
}

pub(super) fn measure(fixture: &Fixture, extent: Extent) -> Result<Vec<Figure>> {
    let command = ["/bin/true".to_owned()];
    let none = Best([f64::INFINITY; LOOPS.len()]);
    let (mut native, mut floor, mut recorded) = (none, none, none);
    for _ in 0..extent.rounds {
        let place = Place::new()?;
        let plans =
            LOOPS.map(|(name, calls)| Plan { name, calls, command: &command, ..Plan::default() });
        let mut loops = Vec::new();
        for plan in &plans {
            loops.push(place.load(fixture, plan)?);
        }
        native.round(&mut loops)?;
        let mut program = Command::new(&fixture.floor);
        let mut empty = Tool::start("floor", program.arg(&fixture.floor_object))?;
        empty.wait_for("floor: attached")?;
        floor.round(&mut loops)?;
        empty.finish()?;
        let recording = place.record()?;
        recorded.round(&mut loops)?;
        loops.into_iter().try_for_each(Load::finish)?;
        recording.stop()?;
    }
    Ok(figures(native, floor, recorded))
}

fn figures(native: Best, floor: Best, recorded: Best) -> Vec<Figure> {
    let beyond_floor = |at: usize| (recorded.0[at] - floor.0[at]) / native.0[at] * 100.0;
    let ns = |at: usize| {
        format!("{:.0} ns; native {:.0}, floor {:.0}", recorded.0[at], native.0[at], floor.0[at])
    };
    let added = (recorded.0[2] / native.0[2] - 1.0) * 100.0;
    let unit = " % of native";
    vec![
        Figure::of(
            format!("a target's unwatched read beyond the floor ({})", ns(0)),
            beyond_floor(0),
            unit,
        )
        .at_most(25.0)
        .before("445 ns; native 189"),
        Figure::of(
            format!("a target's unwatched write beyond the floor ({})", ns(1)),
            beyond_floor(1),
            unit,
        )
        .at_most(25.0),
        Figure::of("added to fork and exec of /bin/true", added, " %").at_most(5.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_floor_is_relative_to_native() {
        let of = |read: f64, exec: f64| Best([read, read, exec]);
        let figures = figures(of(200.0, 1_000.0), of(230.0, 1_000.0), of(280.0, 1_100.0));
        assert_eq!(figures[0].measured, 25.0);
        assert!((figures[2].measured - 10.0).abs() < 1e-9);
    }
}
