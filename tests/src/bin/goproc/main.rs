//! A process manager with faults: starts a command with two pipes, reads them into memory, hands
//! the bytes out on request, and writes the worker's log about it. See [`tracer_tests::goproc`].
//!
//! `goproc --account FILE [--behaviour B] [--bytes N] [--log FILE] [--log-format F] -- COMMAND…`
//! waits at the gate first. N is what a behaviour reads, takes or passes on before it goes wrong.

mod answers;
mod child;
mod options;
mod reading;
mod relays;
mod stream;
mod worker_log;

use std::env;

use anyhow::Result;
use tracer_tests::{
    gate,
    goproc::{Behaviour, Stage},
};

use crate::{child::Child, options::Options, worker_log::WorkerLog};

fn main() -> Result<()> {
    let options = Options::parse(env::args().skip(1))?;
    let mut log = WorkerLog::open(&options)?;
    gate::wait()?;
    let mut child = Child::start(&options)?;
    child.publish(Stage::Started)?;
    // A command that fails while its caller waits never gets an entry, so no line names its pid.
    if options.behaviour != Behaviour::DropOnFailure {
        log.started(&child)?;
    }
    match options.behaviour {
        Behaviour::Faithful
        | Behaviour::Empties
        | Behaviour::DropOnFailure
        | Behaviour::Utf8Only
        | Behaviour::Limit
        | Behaviour::Retry
        | Behaviour::FlattenExit => reading::to_the_end(&mut child)?,
        Behaviour::NoRead => reading::close_at_exit(&mut child, options.bytes)?,
        Behaviour::CloseEarly => reading::close_early(&mut child, options.bytes)?,
        Behaviour::StdoutOnly => reading::one_after_the_other(&mut child)?,
        Behaviour::Stall => child.wait()?,
        Behaviour::Nonblock => reading::after_exit(&mut child)?,
        Behaviour::KillClose => reading::kill_and_close(&mut child, options.bytes)?,
        Behaviour::Thief => relays::share_with_thief(&mut child, options.bytes)?,
        Behaviour::SlowRelay => relays::pass_on_a_part(&mut child, options.bytes)?,
        Behaviour::PacketRelay => relays::pass_on_as_packets(&mut child)?,
    }
    answers::hand_out(&mut child, &mut log, options.behaviour)?;
    child.publish(Stage::Done)
}
