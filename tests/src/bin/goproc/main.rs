//! A faulty process manager: starts a command with two pipes, buffers their bytes, answers requests
//! for them, and writes a worker's log. See [`tracer_tests::goproc`].
//!
//! `goproc --account FILE [--behaviour B] [--bytes N] [--log FILE] [--log-format F] -- COMMAND…`
//! waits at the gate first. N is a number of bytes; its use depends on the behaviour.

mod answers;
mod child;
mod options;
mod reading;
mod relays;
mod stream;
mod worker_log;

use anyhow::Result;
use clap::Parser as _;
use tracer_tests::{
    gate,
    goproc::{Behaviour, Stage},
};

use crate::{child::Child, options::Options, worker_log::WorkerLog};

fn main() -> Result<()> {
    let options = Options::parse();
    let mut log = WorkerLog::open(&options)?;
    gate::wait()?;
    let mut child = Child::start(&options)?;
    child.publish(Stage::Started)?;
    // This behaviour logs only commands that succeed, so the pid of a failed one is never logged.
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
        Behaviour::StdoutOnly => reading::stdout_then_stderr(&mut child)?,
        Behaviour::Stall => child.wait()?,
        Behaviour::Nonblock => reading::after_exit(&mut child)?,
        Behaviour::KillClose => reading::kill_and_close(&mut child, options.bytes)?,
        Behaviour::OtherReader => relays::share_with_other_reader(&mut child, options.bytes)?,
        Behaviour::SlowRelay => relays::forward_part(&mut child, options.bytes)?,
        Behaviour::PacketRelay => relays::forward_as_packets(&mut child)?,
    }
    answers::answer_all(&mut child, &mut log, options.behaviour)?;
    child.publish(Stage::Done)
}
