//! Measured loops: `load LOOP[,LOOP…] CALLS [sleepers=N] [objects=N] [writers=N] [-- COMMAND…]`.
//!
//! A loop prints `{"ready":true}` and waits for a byte on stdin, so that a tracer can attach. Then it
//! warms up, makes a fixed number of calls, and prints one JSON line: the number of calls, their time,
//! and what the process tree wrote to fd 1, which is what a tracer must have counted. Each further
//! byte starts another measurement, of the next loop if there are several; the end of stdin ends the program.
//! Only sleepers and holders of pipes are forked before the gate.
//!
//! Storms ([`storms`]) are loops without a time: CALLS is their size.

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

/// All loops, by name.
const LOOPS: [(&str, Loop); 22] = [
    ("getppid", calls::getppid),
    ("read32", calls::read32),
    ("write32", calls::write32),
    ("write32-aside", calls::write32_aside),
    ("writev", calls::writev),
    ("threads2", calls::threads2),
    ("everycpu", calls::every_cpu),
    ("writers", calls::writers),
    ("pipe4k", pipes::pipe4k),
    ("pipe64k", pipes::pipe64k),
    ("pingpong", pipes::pingpong),
    ("successive", pipes::successive),
    ("exec", exec::exec),
    ("brief", storms::brief::run),
    ("crowd", storms::crowd::run),
    ("bomb", storms::bomb::run),
    ("pipes", storms::pipes::run),
    ("unread", storms::pipes::run_unread),
    ("threads", storms::threads::run),
    ("busy", storms::busy::run),
    ("mixed", storms::mixed::run),
    ("churn", storms::churn::run),
];

fn find(wanted: &str) -> Result<&'static (&'static str, Loop)> {
    let Some(found) = LOOPS.iter().find(|(name, _)| *name == wanted) else {
        bail!("unknown loop {wanted}")
    };
    Ok(found)
}

fn run() -> Result<()> {
    let request = Request::from_args()?;
    if request.name == "ticker" {
        return ticker::run();
    }
    let loops = request.name.split(',').map(find).collect::<Result<Vec<_>>>()?;
    let mut stage = Stage::new()?;
    let tree = tree::sleepers(request.sleepers)?;
    let objects = Objects::open(request.objects)?;
    stage.say_ready()?;
    for (name, work) in loops.iter().cycle() {
        if !stage.wait_at_gate()? {
            break;
        }
        let opened = objects.write_to_each()?;
        let mut measured = work(&request).with_context(|| (*name).to_owned())?;
        measured.truth.writes += opened;
        measured.truth.bytes += opened;
        measured.truth.standing = tree.len() + objects.holders();
        stage.reset()?;
        stage.publish(&measured)?;
    }
    Ok(())
}
