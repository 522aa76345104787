//! Written lines are read back unchanged.

use std::{collections::BTreeSet, io};

use jiff::Timestamp;
use serde_json::Value;
use tracer_common::{
    event::{FirstIo, Object, fact},
    id::ProcessId,
    ledger::{LedgerKey, LedgerRow},
    loss::{LossCell, Reason},
    object::ObjectId,
};

use super::replayed;
use crate::{
    event::{
        BlockedThread, Claim, Event, EventKind, Exit, FileNow, Image, LogRead, LogTally, Look,
        NotSeen, Sighting,
    },
    recording::{Checkpoint, Header, Loss, Recorder, Row, TYPES},
    report,
    session::{Session, Target},
};

fn header() -> Header {
    let start = Timestamp::from_nanosecond(1_795_000_000_123_456_789).unwrap();
    Header {
        stdio_of_interest: vec![1, 2],
        ..Header::new("6.18.0".into(), Target::default(), start, 1_000)
    }
}

fn events() -> Vec<Event> {
    let (parent, child) = (ProcessId::new(1, 5), ProcessId::new(71, 2_000));
    let image = Image { process: child, role: 1, executed: true, ..Image::default() };
    let id = ObjectId { ino: 9, dev: 8, discriminator: 3 };
    let key = LedgerKey { process: child, object: id, fd: -1, direction: 0 };
    let connect = tracer_common::event::Fact {
        process: child,
        fact: fact::CONNECT_FAILED,
        fd: 3,
        errno: 2,
        ..Default::default()
    };
    [
        EventKind::Fork { parent, child, ns_pid: 0, comm: String::new() },
        EventKind::Image(Image { argv: vec!["sh".into(), String::new()], ..image }),
        EventKind::Object {
            object: Object { id, ..Object::default() },
            name: "/a\u{202e}b".into(),
        },
        EventKind::FirstIo {
            first: FirstIo { key, result: -32, role: 1, ..FirstIo::default() },
            comm: "sh".into(),
        },
        EventKind::Fact { fact: connect, text: b"\x01\0/run/\xff\0".to_vec() },
        EventKind::Holder {
            holder: Default::default(),
            comm: "x".into(),
            sighting: Sighting::Closed,
        },
        EventKind::Environment {
            process: child,
            variables: vec![("TERM".into(), String::new())],
            cut: true,
        },
        EventKind::File { object: id, now: FileNow::Same, size: 0, renamed: String::new() },
        EventKind::File { object: id, now: FileNow::Gone, size: 9, renamed: "/var/log/a.1".into() },
        EventKind::Log { object: id, tally: LogTally::default() },
        EventKind::BlockedThread(BlockedThread { process: child, ..BlockedThread::default() }),
        EventKind::Claim(Claim { pid: 9, ..Claim::default() }),
        EventKind::LogRead(LogRead { lines: 3, unread: 5, ..LogRead::default() }),
        EventKind::Arguments {
            process: child,
            argv: vec!["sh".into(), String::new()],
            argv_cut: true,
            argv_bytes: 70,
        },
        EventKind::NotSeen(NotSeen { look: Look::Threads, looks: 1, ..NotSeen::default() }),
        EventKind::Exit(Exit { process: child, other_bytes: 7, ..Exit::default() }),
    ]
    .into_iter()
    .zip(2_000..)
    .map(|(kind, time_ns)| Event { time_ns, kind })
    .collect()
}

/// One line of every type, and the session that they describe.
fn recorded() -> (Vec<u8>, Session) {
    let (mut bytes, mut session) = (Vec::new(), Session::default());
    let mut recorder = Recorder::new(&mut bytes);
    recorder.header(&header()).unwrap();
    session.start_ns = 1_000;
    for event in events() {
        recorder.event(&event).unwrap();
        session.apply(&event);
    }
    recorder.started_here(71).unwrap();
    session.started_here(71);
    recorder.begin_survey().unwrap();
    session.begin_survey();
    let key = LedgerKey { process: ProcessId::new(71, 2_000), ..LedgerKey::default() };
    let row = LedgerRow {
        bytes: 1 << 40,
        errors: [0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        ..LedgerRow::default()
    };
    recorder.checkpoint(2_500, &[(key, row)]).unwrap();
    recorder.checkpoint(2_600, &[(key, row)]).unwrap();
    recorder.row(key, &row).unwrap();
    session.add_row(key, &row);
    recorder.loss(&Reason::RingFull.into(), LossCell { events: 3, bytes: 0 }).unwrap();
    session.add_loss(Reason::RingFull.into(), LossCell { events: 3, bytes: 0 });
    recorder.loss(&Reason::FdGone.into(), LossCell::default()).unwrap();
    recorder.end(3_000).unwrap();
    session.end_ns = 3_000;
    drop(recorder);
    (bytes, session)
}

#[test]
fn a_replay_gives_the_report_of_the_live_run() {
    let (bytes, session) = recorded();
    let Header { target, start, stdio_of_interest, .. } = header();
    let (live, _) = report::build(&session, target, start, &stdio_of_interest);
    assert_eq!(replayed(&bytes).unwrap().report().0, live);
}

#[test]
fn every_line_has_a_documented_type_in_front_and_nothing_a_terminal_obeys() {
    let (bytes, _) = recorded();
    let text = String::from_utf8(bytes).unwrap();
    assert!(!text.contains('\u{202e}'));
    let found: Vec<String> = text
        .lines()
        .map(|line| {
            assert!(line.starts_with("{\"type\":\""), "{line}");
            let value: Value = serde_json::from_str(line).unwrap();
            value["type"].as_str().unwrap().to_owned()
        })
        .collect();
    for kind in TYPES {
        assert!(found.iter().any(|found| found == kind), "{kind}");
    }
    assert!(found.iter().all(|found| TYPES.contains(&found.as_str())));
}

/// First cells of the rows of a table in `SCHEMA.md` whose first column has this name.
fn documented(column: &str) -> BTreeSet<String> {
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../SCHEMA.md"));
    let (_, table) = page.split_once(&format!("\n| {column} |")).unwrap();
    table
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|line| line.split('`').next().unwrap().to_owned())
        .collect()
}

fn members(kind: &str, body: impl serde::Serialize) -> Vec<String> {
    let body = serde_json::to_value(body).unwrap();
    body.as_object().unwrap().keys().map(|name| format!("{kind}.{name}")).collect()
}

#[test]
fn the_page_names_every_line_member_and_event_and_no_other() {
    assert_eq!(documented("line"), TYPES.iter().map(|&name| name.to_owned()).collect());
    let mut found = members("session", header());
    found.extend(members("row", Row::default()));
    found.extend(members("checkpoint", Checkpoint::default()));
    found.extend(members("loss", Loss::default()));
    found.extend(
        ["event.time_ns", "event.event", "started_here.tgid", "end.end_ns"].map(str::to_owned),
    );
    assert_eq!(documented("member"), found.into_iter().collect());
    for event in events() {
        let value = serde_json::to_value(&event.kind).unwrap();
        let name = value["event"].as_str().unwrap();
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../SCHEMA.md"));
        let row = page.lines().find(|line| line.starts_with(&format!("| `{name}` | `"))).unwrap();
        for member in value.as_object().unwrap().keys().filter(|member| *member != "event") {
            assert!(row.contains(&format!("`{member}`")), "{name}.{member}");
        }
    }
}

/// Otherwise a known event with a damaged member would be taken for one of a later version.
#[test]
fn every_event_is_readable_from_its_name_alone() {
    for event in events() {
        let value = serde_json::to_value(&event.kind).unwrap();
        let alone = serde_json::json!({ "event": value["event"] });
        serde_json::from_value::<EventKind>(alone).unwrap();
    }
}

/// A disk that is full after some bytes.
struct Disk(usize);

impl io::Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match bytes.len().min(self.0) {
            0 => Err(io::ErrorKind::StorageFull.into()),
            taken => {
                self.0 -= taken;
                Ok(taken)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_reported_once_and_counted() {
    let mut recorder = Recorder::new(Disk(300));
    recorder.header(&header()).unwrap();
    let errors = (0..100)
        .filter(|_| recorder.begin_survey().and_then(|()| recorder.flush()).is_err())
        .count();
    assert_eq!(errors, 1);
    assert!(recorder.unwritten() > 80);
}
