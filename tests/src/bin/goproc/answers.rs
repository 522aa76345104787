//! Answers requests for the buffered output. A request empties the buffer even if its answer is lost.
//! The worker logs only the answers that arrive.

use anyhow::Result;
use tracer_tests::goproc::{ANSWER_LIMIT, Behaviour};

use crate::{child::Child, stream::Stream, worker_log::WorkerLog};

/// Answers the requests that a client makes once the command has ended.
pub(crate) fn answer_all(
    child: &mut Child,
    log: &mut WorkerLog,
    behaviour: Behaviour,
) -> Result<()> {
    match behaviour {
        Behaviour::DropOnFailure if !child.has_succeeded() => return log.exec_failed(child),
        Behaviour::DropOnFailure => log.started(child)?,
        Behaviour::FlattenExit => child.flatten_exit(),
        // These deliver only what they forward.
        Behaviour::SlowRelay | Behaviour::PacketRelay => return Ok(()),
        Behaviour::Empties
        | Behaviour::Faithful
        | Behaviour::Utf8Only
        | Behaviour::Limit
        | Behaviour::Retry
        | Behaviour::NoRead
        | Behaviour::CloseEarly
        | Behaviour::StdoutOnly
        | Behaviour::Stall
        | Behaviour::Nonblock
        | Behaviour::KillClose
        | Behaviour::OtherReader => {}
    }
    let arrives = answer_of(behaviour);
    let times = if matches!(behaviour, Behaviour::Empties | Behaviour::Retry) { 2 } else { 1 };
    let pid = child.pid();
    for time in 0..times {
        for (name, stream) in [("stdout", &mut child.stdout), ("stderr", &mut child.stderr)] {
            if let Some(length) = answer(stream, |bytes| arrives(time, bytes)) {
                log.read(pid, name, length)?;
            }
        }
    }
    Ok(())
}

/// Decides by request number and answer whether the answer arrives.
fn answer_of(behaviour: Behaviour) -> fn(usize, &[u8]) -> bool {
    match behaviour {
        Behaviour::Utf8Only => |_, bytes| std::str::from_utf8(bytes).is_ok(),
        Behaviour::Limit => |_, bytes| bytes.len() <= ANSWER_LIMIT,
        Behaviour::Retry => |time, _| time > 0,
        _ => |_, _| true,
    }
}

fn answer(stream: &mut Stream, arrives: impl Fn(&[u8]) -> bool) -> Option<usize> {
    let bytes = stream.take();
    arrives(&bytes).then(|| {
        stream.add_delivered(bytes.len());
        bytes.len()
    })
}
