//! Measured loops: `load LOOP CALLS [sleepers=N] [objects=N] [-- COMMAND…]`.
//!
//! A loop prints `{"ready":true}`, waits for a byte on stdin so that a tracer can attach first, warms
//! up, makes a fixed number of calls, and prints one JSON line: how many, how long they took, and what
//! the whole tree wrote through fd 1, which is what a tracer must have counted. Each further byte
//! measures once more, and the end of stdin ends it. Everything that a loop forks, it forks behind the
//! gate; only sleepers and holders of pipes are there before.
//!
//! Storms ([`storms`]) are loops of another kind: CALLS says how much, and no time is taken.

mod calls;
mod exec;
mod measure;
mod objects;
mod pipes;
mod stage;
mod storms;
mod ticker;
mod tree;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::{
    measure::Measured,
    objects::Objects,
    stage::{Request, Stage},
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

type Loop = fn(&Request) -> Result<Measured>;

/// Every loop that waits at the gate.
const LOOPS: [(&str, Loop); 18] = [
    ("getppid", calls::getppid),
    ("read32", calls::read32),
    ("write32", calls::write32),
    ("writev", calls::writev),
    ("threads2", calls::threads2),
    ("everycpu", calls::every_cpu),
    ("pipe4k", pipes::pipe4k),
    ("pipe64k", pipes::pipe64k),
    ("pingpong", pipes::pingpong),
    ("exec", exec::exec),
    ("brief", storms::brief::play),
    ("crowd", storms::crowd::play),
    ("bomb", storms::bomb::play),
    ("pipes", storms::pipes::play),
    ("unread", storms::pipes::play_unread),
    ("threads", storms::threads::play),
    ("busy", storms::busy::play),
    ("mixed", storms::mixed::play),
];

fn run() -> Result<()> {
    let request = Request::from_args()?;
    if request.name == "ticker" {
        return ticker::run();
    }
    let Some((_, work)) = LOOPS.iter().find(|(name, _)| *name == request.name) else {
        bail!("no loop is called {}", request.name)
    };
    let mut stage = Stage::set()?;
    let tree = tree::sleepers(request.sleepers)?;
    let objects = Objects::open(request.objects)?;
    stage.say_ready()?;
    while stage.wait_at_gate()? {
        let opened = objects.write_to_each()?;
        let mut measured = work(&request).with_context(|| request.name.clone())?;
        measured.truth.writes += opened;
        measured.truth.bytes += opened;
        measured.truth.standing = tree.len() + objects.holders();
        stage.clear()?;
        stage.publish(&measured)?;
    }
    Ok(())
}
