//! An event of each kind that is told while a trace runs.

use tracer_core::{report::Exit, verdict::Rule};

use crate::render::{LiveEvent, Progress};

pub(in crate::render::tests) fn events() -> Vec<LiveEvent> {
    let command = "docker pull x".to_owned();
    let (pid, fd) = (71, 1);
    let object = "pipe:[88123]".to_owned();
    let exit = Some(Exit { code: Some(0), signal: None });
    vec![
        LiveEvent::Started { at_ms: 12.0, pid, command: command.clone(), ppid: 60 },
        LiveEvent::FirstWrite {
            at_ms: 340.0,
            pid,
            command: command.clone(),
            fd,
            object: object.clone(),
            bytes: 189,
        },
        LiveEvent::FirstRead {
            at_ms: 341.0,
            pid: 60,
            command: "manager".into(),
            object: object.clone(),
            bytes: 189,
        },
        LiveEvent::WriteFailed {
            at_ms: 900.0,
            pid,
            command: command.clone(),
            fd: 2,
            object: object.clone(),
            error: "EAGAIN".into(),
        },
        LiveEvent::EarlyFinding {
            at_ms: 950.0,
            rule: Rule::Refused,
            pid,
            command: command.clone(),
            fd: -1,
            object,
            message: "could not write to io_uring file → pipe:[88123]: ENOSPC".into(),
        },
        LiveEvent::Progress(Progress {
            at_ms: 1000.0,
            written: 12_189,
            written_per_second: 12_189,
            read: 189,
            read_per_second: 0,
            unread: 12_000,
            processes: 2,
        }),
        LiveEvent::Ended {
            at_ms: 1240.0,
            pid,
            command,
            exit,
            bytes_stdout: 12_189,
            bytes_stderr: 0,
        },
    ]
}
