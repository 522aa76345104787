//! Snapshots of recordings, and made ones.

use std::{fs, path::PathBuf};

use tracer_common::id::ProcessId;
use tracer_core::{
    recording,
    report::{Command, CommandImage, CommandStream, Exit, StreamSegment},
    session::Target,
    snapshot::{Row, Snapshot, Totals},
    verdict::{Bytes, Confidence, Finding, Outcome, Rule, Severity},
};

fn file(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/sessions"));
    fs::read(folder.join(format!("{name}.session"))).unwrap()
}

/// The end of a recorded session.
pub(super) fn recorded(name: &str) -> Snapshot {
    let recording = recording::read(file(name).as_slice(), u64::MAX).unwrap();
    let header = &recording.header;
    Snapshot::of(&recording.session, &header.target, &header.stdio_of_interest, true)
}

/// A running trace of `workers` workers of a manager. Worker 137 is stuck.
pub(super) fn workers(workers: u32) -> Snapshot {
    let manager = row(100, None, "manager --workers", 0);
    let mut rows = vec![manager];
    for number in 0..workers {
        let mut worker = row(1_000 + number, Some(100), &format!("worker --id {number}"), 1 << 20);
        if number == 137 {
            worker.is_stuck = true;
            worker.severity = Severity::Warning;
            worker.streams[0] =
                Bytes { inside: 65_536, arrived: (1 << 20) - 65_536, ..worker.streams[0] };
            worker.command.streams[0].segments[0].outcome = Outcome::Blocked;
        }
        rows.push(worker);
    }
    let message = "worker --id 137 (pid 1137) is stuck: it is blocked writing to stdout; pipe:[7] holds \
                   65,536 B of 65,536 B, and manager (pid 100) has read nothing for 4.2 s.";
    let finding = finding(Rule::Stuck, Severity::Warning, 1137, message);
    let mut bytes = Bytes::default();
    rows.iter().flat_map(|row| &row.streams).for_each(|stream| bytes.add(stream));
    Snapshot {
        target: target("--pid 100"),
        at_ms: 4_200.0,
        is_over: false,
        verdict: finding.message.clone(),
        totals: Totals { processes: rows.len() as u64, running: rows.len() as u64, bytes },
        findings: vec![finding],
        rows,
        ..Snapshot::default()
    }
}

/// Commands whose names, paths and sentences try to change the terminal.
pub(super) fn hostile() -> Snapshot {
    let names = [
        "\x1b]0;title\x07\x1b[2J\x1b[31m\r\n\t\0",
        "user\u{202e}txt.exe \u{2066}\u{200b}\u{feff}",
        "日本語のとても長いコマンドライン日本語のとても長いコマンドライン",
        "e\u{301}\u{301}\u{301}\u{301}\u{301} 👩‍👩‍👧‍👦 \u{fe0f}\u{34f}",
        "",
    ];
    let mut rows = Vec::new();
    for (name, pid) in names.iter().zip(10..) {
        let mut row = row(pid, (pid > 10).then_some(10), name, 5);
        row.severity = Severity::Loss;
        row.command.opening = Some((*name).to_owned());
        row.command.images = [0.0, 1.0].map(|start_ms| image(name, start_ms)).to_vec();
        row.command.streams[0].segments[0].object = (*name).to_owned();
        rows.push(row);
    }
    let of = |(name, pid): (&&str, u32)| finding(Rule::Unread, Severity::Loss, pid, name);
    Snapshot {
        target: target(names[0]),
        verdict: names.join(" "),
        findings: names.iter().zip(10..).map(of).collect(),
        rows,
        ..Snapshot::default()
    }
}

pub(super) fn target(name: &str) -> Target {
    Target { kind: "pid".into(), name: name.into(), ..Target::default() }
}

fn finding(rule: Rule, severity: Severity, pid: u32, message: &str) -> Finding {
    Finding {
        rule,
        severity,
        confidence: Confidence::Certain,
        pid,
        start_ns: 0,
        fd: None,
        message: message.to_owned(),
        advice: Some(message.to_owned()),
        evidence: serde_json::Map::new(),
    }
}

fn image(command: &str, start_ms: f64) -> CommandImage {
    CommandImage { comm: command.into(), command: command.into(), start_ms, executed: true }
}

fn id(pid: u32) -> ProcessId {
    ProcessId::new(pid, u64::from(pid))
}

/// A command that wrote this many bytes to stdout, all of which arrived.
pub(super) fn row(pid: u32, above: Option<u32>, command: &str, written: u64) -> Row {
    let segment = |bytes| StreamSegment {
        fd: 1,
        object: "pipe:[7]".into(),
        kind: "pipe".into(),
        since_ms: Some(1.0),
        redirected_by: None,
        first_image: None,
        last_image: None,
        bytes,
        started_bytes: 0,
        refused_bytes: 0,
        outcome: if bytes > 0 { Outcome::Read } else { Outcome::NeverWritten },
        confidence: Confidence::Certain,
        read_by: Vec::new(),
        more_readers: 0,
    };
    let stream = |stream: &str, bytes| CommandStream {
        stream: stream.into(),
        segments: vec![segment(bytes)],
        more_segments: 0,
    };
    Row {
        id: id(pid),
        above: above.map(id),
        command: Command {
            pid,
            command: command.into(),
            start_ms: f64::from(pid),
            exit: None,
            images: vec![image(command, f64::from(pid))],
            more_images: 0,
            opening: None,
            streams: vec![stream("stdout", written), stream("stderr", 0)],
        },
        streams: [Bytes { written, arrived: written, ..Bytes::default() }, Bytes::default()],
        severity: Severity::Info,
        is_stuck: false,
        place: None,
    }
}

/// The command has ended with this code.
pub(super) fn ended(row: Row, code: u32) -> Row {
    let exit = Some(Exit { code: Some(code), signal: None });
    Row { command: Command { exit, ..row.command }, ..row }
}
