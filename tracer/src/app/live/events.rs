//! Events as lines.

use tracer_common::{
    event::FirstIo,
    id::ProcessId,
    ledger::{READ, WRITE},
    process::ROLE_TARGET,
};
use tracer_core::{
    event::{Event, EventKind},
    report::Exit,
    session::Session,
    text::errno,
};

use super::early::is_for_the_moment;
use crate::render::LiveEvent;

/// The event as a line, and whether it is about a process of the target; `None` if it has no line.
pub(super) fn of(session: &Session, event: &Event) -> Option<(LiveEvent, bool)> {
    let at_ms = session.since_start_ms(event.time_ns);
    let process = |id: &ProcessId| session.processes.get(id);
    match &event.kind {
        EventKind::Image(image) if image.role == ROLE_TARGET && image.executed => {
            let (pid, ppid) = (image.process.tgid, image.parent.tgid);
            let command = process(&image.process)?.command();
            Some((LiveEvent::Started { at_ms, pid, command, ppid }, true))
        }
        EventKind::FirstIo { first, comm } => first_io(session, at_ms, first, comm),
        EventKind::Exit(exit) => {
            let known = process(&exit.process).filter(|known| known.is_target)?;
            let bytes = |fd: i32| {
                let rows = session.rows_of(exit.process, WRITE);
                rows.filter(|(key, _)| key.fd == fd).map(|(_, row)| row.bytes).sum()
            };
            let ended = LiveEvent::Ended {
                at_ms,
                pid: exit.process.tgid,
                command: known.command(),
                exit: Some(Exit { code: known.exit_code(), signal: known.signal() }),
                bytes_stdout: bytes(1),
                bytes_stderr: bytes(2),
            };
            Some((ended, true))
        }
        _ => None,
    }
}

/// First calls: of targets, and of processes that read what targets wrote.
fn first_io(
    session: &Session,
    at_ms: f64,
    first: &FirstIo,
    comm: &str,
) -> Option<(LiveEvent, bool)> {
    let key = &first.key;
    let known = session.processes.get(&key.process)?;
    let is_target = known.is_target;
    let command = if is_target { known.command() } else { comm.to_owned() };
    let object = session.object_name(&key.object);
    let (pid, fd) = (key.process.tgid, key.fd);
    let event = match (key.direction, u64::try_from(first.result)) {
        (READ, Ok(0)) | (READ, Err(_)) => return None,
        (READ, Ok(bytes)) => LiveEvent::FirstRead { at_ms, pid, command, object, bytes },
        _ if !is_target => return None,
        (_, Ok(bytes)) => LiveEvent::FirstWrite { at_ms, pid, command, fd, object, bytes },
        (_, Err(_)) => {
            let errno = u32::try_from(first.result.unsigned_abs()).ok()?;
            if !is_for_the_moment(errno) {
                return None;
            }
            let error = errno::name(errno);
            LiveEvent::WriteFailed { at_ms, pid, command, fd, object, error }
        }
    };
    Some((event, is_target))
}
