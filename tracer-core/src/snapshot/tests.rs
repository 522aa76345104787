//! Snapshots of recorded sessions, compared with what happened in them and with their reports.

use std::{fs, path::PathBuf};

use super::*;
use crate::recording::{self, Recording};

fn recorded(name: &str) -> Recording {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/sessions"));
    let file = fs::read(folder.join(format!("{name}.session"))).unwrap();
    recording::read(file.as_slice(), u64::MAX).unwrap()
}

fn snapshot(recording: &Recording, is_over: bool) -> Snapshot {
    let header = &recording.header;
    Snapshot::of(&recording.session, &header.target, &header.stdio_of_interest, is_over)
}

const TREES: [&str; 10] = [
    "trees/cargo",
    "trees/ci",
    "trees/docker-exec",
    "trees/docker-run",
    "trees/machine",
    "trees/make",
    "trees/nginx",
    "trees/ssh",
    "trees/supervisord",
    "trees/tmux",
];

#[test]
fn what_was_lost_in_a_real_tree_is_lost_in_the_rows() {
    // As the table in tracer/src/render/tests/trees.rs has it.
    for (name, lost) in [
        ("trees/make", 69_618),
        ("trees/tmux", 4_095),
        ("trees/ci", 64),
        ("trees/machine", 692),
        ("trees/cargo", 0),
        ("trees/docker-run", 0),
        ("trees/nginx", 0),
        ("trees/ssh", 0),
        ("trees/supervisord", 0),
    ] {
        let snapshot = snapshot(&recorded(name), true);
        assert_eq!(snapshot.totals.bytes.lost, lost, "{name}");
        let is_lossy = snapshot.rows.iter().any(|row| row.severity == Severity::Loss);
        assert_eq!(is_lossy, lost > 0, "{name}");
    }
}

#[test]
fn the_verdict_is_that_of_the_report() {
    for name in TREES {
        let recording = recorded(name);
        let (report, _) = recording.report();
        let snapshot = snapshot(&recording, true);
        assert_eq!(snapshot.verdict, report.verdict, "{name}");
        assert_eq!(snapshot.findings, report.findings, "{name}");
        assert_eq!(snapshot.hops, report.hops, "{name}");
        let commands: Vec<_> = snapshot.rows.iter().map(|row| &row.command).collect();
        assert_eq!(commands, report.commands.iter().collect::<Vec<_>>(), "{name}");
        let segments = commands.iter().flat_map(|known| &known.streams);
        for segment in segments.flat_map(|stream| &stream.segments) {
            let is_known = snapshot.objects.contains_key(&segment.object);
            assert!(is_known || segment.kind == "closed", "{name}: {}", segment.object);
        }
    }
}

#[test]
fn every_byte_that_was_written_is_in_one_part() {
    for name in TREES {
        for row in snapshot(&recorded(name), true).rows {
            let wrote = row.command.streams.iter().flat_map(|stream| &stream.segments);
            let wrote: u64 = wrote.map(|segment| segment.bytes).sum();
            let written: u64 = row.streams.iter().map(|bytes| bytes.written).sum();
            assert_eq!(written, wrote, "{name}: {}", row.command.pid);
            for bytes in row.streams {
                let Bytes { arrived, inside, lost, discarded, unseen, .. } = bytes;
                let without_lost = arrived + inside + discarded + unseen;
                // Refused bytes are lost and were not written.
                assert!(without_lost <= bytes.written, "{name}: {bytes:?}");
                assert!(without_lost + lost >= bytes.written, "{name}: {bytes:?}");
            }
        }
    }
}

#[test]
fn a_row_is_below_what_started_it() {
    let snapshot = snapshot(&recorded("trees/make"), true);
    let command = |id: ProcessId| {
        let row = snapshot.rows.iter().find(|row| row.id == id).unwrap();
        (row.command.command.as_str(), row.above)
    };
    let app = snapshot.rows.iter().find(|row| row.command.command == "./app --long").unwrap();
    let (shell, above) = command(app.above.unwrap());
    assert!(shell.starts_with("/bin/sh -c ./app --long"), "{shell}");
    assert_eq!(command(above.unwrap()).0, "make -j4");
}

#[test]
fn a_blocked_writer_is_stuck_and_what_is_in_its_pipe_is_inside() {
    let snapshot = snapshot(&recorded("stuck"), false);
    let stuck: Vec<_> = snapshot.rows.iter().filter(|row| row.is_stuck).collect();
    assert_eq!(stuck.len(), 1);
    let bytes = stuck[0].streams[0];
    assert_eq!((bytes.inside, bytes.lost, stuck[0].severity), (65_536, 0, Severity::Warning));
    assert_eq!(snapshot.findings[0].pid, stuck[0].command.pid);
}

#[test]
fn a_reader_that_had_enough_loses_nothing() {
    // `./app | head` is in the same tree as `./app | sh collect.sh`, which fails.
    let snapshot = snapshot(&recorded("trees/make"), true);
    let apps = snapshot.rows.iter().filter(|row| row.command.command.starts_with("./app"));
    let mut severities: Vec<_> = apps.map(|row| (row.severity, row.streams[0].discarded)).collect();
    severities.sort();
    assert!(severities.contains(&(Severity::Info, 65_536)), "{severities:?}");
    assert!(severities.contains(&(Severity::Loss, 0)), "{severities:?}");
}
