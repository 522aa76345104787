//! What is summed up, and what is kept.

use jiff::Timestamp;
use tracer_common::{
    ledger::{READ, WRITE, error},
    object::{FdState, QueueState},
};

use super::*;
use crate::{
    report,
    session::{CutKind, Kind, Object, PastImage, Target},
    text::Variables,
    verdict::Confidence,
};

const MANAGER: ProcessId = ProcessId::new(60, 1);
const SECOND: u64 = 1_000_000_000;

fn pipe(number: u64) -> ObjectId {
    ObjectId { ino: 1000 + number, dev: 1, discriminator: 0 }
}

fn command(number: u64) -> ProcessId {
    ProcessId::new(100 + number as u32, 100 + number)
}

/// A manager that started commands, each with a pipe of its own, and read what they wrote.
fn managed(commands: u64) -> Session {
    let mut session = Session { start_ns: 50, end_ns: 1000 * SECOND, ..Session::default() };
    let manager = Process {
        id: MANAGER,
        comm: "manager".into(),
        is_target: true,
        attached_late: true,
        ..Process::default()
    };
    session.processes.insert(MANAGER, manager);
    for number in 0..commands {
        add_command(&mut session, number, 10, 10);
    }
    session
}

/// A command that wrote some bytes, of which the manager read some.
fn add_command(session: &mut Session, number: u64, written: u64, read: u64) {
    let (id, object) = (command(number), pipe(number));
    let queue = QueueState::holding(0);
    session.add_object(Object { id: object, kind: Kind::Pipe, queue, ..Object::default() });
    let state = FdState { object, ..FdState::default() };
    let process = Process {
        id,
        parent: MANAGER,
        comm: format!("cmd{}", number % 2),
        is_target: true,
        executed: true,
        end_ns: Some(number * SECOND / 10),
        status: Some(0),
        stdio: Some([FdState::default(), state, state]),
        ..Process::default()
    };
    session.processes.insert(id, process);
    for (process, fd, direction, bytes) in [(id, 1, WRITE, written), (MANAGER, 7, READ, read)] {
        let row = LedgerRow { bytes, calls: 1, ..LedgerRow::default() };
        session.add_row(LedgerKey { process, object, fd, direction }, &row);
    }
}

fn total(session: &Session, direction: u32) -> u64 {
    let rows = session.ledger.iter().filter(|(key, _)| key.direction == direction);
    rows.map(|(_, row)| row.bytes).sum()
}

fn report_of(session: &Session) -> report::Report {
    let target = Target { kind: "pid".into(), name: "x".into(), pids: vec![60], doubt: None };
    report::build(session, target, Timestamp::UNIX_EPOCH, &[1, 2]).0
}

/// Live objects that are still in the kernel's tables.
fn none_watched(_: &ObjectId) -> bool {
    false
}

#[test]
fn sums_stay_exact_and_the_memory_is_free() {
    let mut session = managed(1000);
    let before = session.memory();
    session.sum_up(before, &[60], none_watched);
    assert!(session.memory() < before / 10, "{} of {before}", session.memory());
    assert_eq!((total(&session, WRITE), total(&session, READ)), (10_000, 10_000));
    let report = report_of(&session);
    let sums: u64 = report.summed_up.iter().map(|sums| sums.processes).sum();
    let written: u64 = report.summed_up.iter().map(|sums| sums.written).sum();
    // The latest ones have only just ended.
    let left = report.processes.len() as u64 - 1;
    assert_eq!((sums + left, written), (1000, 10_000 - left * 10));
    assert!(left > 0 && left < 30, "{left}");
    assert_eq!(report.summed_up.len(), 2);
    assert_eq!(report.summed_up[0].ppid, 60);
}

#[test]
fn texts_of_images_facts_and_variables_count_and_shared_ones_once() {
    const TEXT: usize = 4096;
    let text = || "a".repeat(TEXT);
    let mut session = managed(2);
    let bare = session.memory();
    let image = PastImage { command: text(), comm: "sh".into(), ..PastImage::default() };
    let fact = || Fact {
        time_ns: 1,
        kind: FactKind::ConnectFailed,
        fd: None,
        errno: 111,
        about: text(),
        object: None,
        cut: CutKind::default(),
    };
    let process = |session: &mut Session, number| {
        let process = session.processes.get_mut(&command(number)).unwrap();
        process.past_images = vec![image.clone(); 8];
        process.facts = vec![fact(), fact()];
    };
    process(&mut session, 0);
    let with_texts = session.memory() - bare;
    assert!((10 * TEXT as u64..20 * TEXT as u64).contains(&with_texts), "{with_texts}");
    let variables: Variables = (0..14).map(|it| (format!("LC_{it}"), text())).collect();
    let of_variables = 14 * TEXT as u64;
    for number in 0..2 {
        let process = session.processes.get_mut(&command(number)).unwrap();
        process.environment = Some(variables.clone());
    }
    drop(variables);
    let with_variables = session.memory() - bare - with_texts;
    assert!((of_variables..of_variables * 3 / 2).contains(&with_variables), "{with_variables}");
    // What is summed up has none of them.
    session.sum_up(u64::MAX, &[60], none_watched);
    add_command(&mut session, 900, 1, 1);
    session.sum_up(u64::MAX, &[60], none_watched);
    assert!(session.memory() < bare + with_texts, "{} of {bare}", session.memory());
}

#[test]
fn what_was_lost_is_kept_and_stays_certain() {
    let mut session = managed(500);
    add_command(&mut session, 7, 100, 40);
    add_command(&mut session, 600, 10, 10);
    let before = session.memory();
    session.sum_up(before / 2, &[60], none_watched);
    let lost = command(7);
    assert!(session.processes.contains_key(&lost) && session.objects.contains_key(&pipe(7)));
    assert!(!session.processes.contains_key(&command(8)));
    let report = report_of(&session);
    assert_eq!(report.losses[&LossReason::SummedUp], 0);
    let unread = report.findings.iter().find(|finding| finding.pid == lost.tgid).unwrap();
    assert_eq!(unread.confidence, Confidence::Certain, "{unread:?}");
}

#[test]
fn where_losses_have_no_room_the_report_is_unsure_and_says_why() {
    let mut session = managed(0);
    (0..500).for_each(|number| add_command(&mut session, number, 100, 40));
    let before = session.memory();
    session.sum_up(before, &[60], none_watched);
    assert!(session.losses[&LossReason::SummedUp].events > 400);
    let report = report_of(&session);
    assert!(report.verdict.contains("--max-memory"), "{}", report.verdict);
    assert!(report.findings.iter().skip(1).all(|finding| finding.confidence == Confidence::Unsure));
    assert_eq!(total(&session, WRITE), 500 * 100);
}

#[test]
fn live_processes_and_objects_and_their_accounts_are_kept() {
    let mut session = managed(500);
    // All wrote to one pipe that is still open, too.
    let shared = pipe(9999);
    session.add_object(Object {
        id: shared,
        kind: Kind::Pipe,
        queue: QueueState::holding(0),
        ..Object::default()
    });
    for number in 0..500 {
        let key = LedgerKey { process: command(number), object: shared, fd: 2, direction: WRITE };
        session.add_row(key, &LedgerRow { bytes: 3, calls: 1, ..LedgerRow::default() });
    }
    session.processes.get_mut(&command(3)).unwrap().end_ns = None;
    session.sum_up(session.memory(), &[60], |object| *object == shared);
    assert!(
        session.processes.contains_key(&MANAGER) && session.processes.contains_key(&command(3))
    );
    assert_eq!(Flows::of(&session).get(&shared).written, 1500);
    // Processes that are summed up later are added.
    (1000..1500).for_each(|number| add_command(&mut session, number, 10, 10));
    session.sum_up(session.memory(), &[60], |object| *object == shared);
    assert_eq!(total(&session, WRITE), 1500 + 10_000);
    assert_eq!(report_of(&session).summed_up.len(), 2);
}

#[test]
fn a_command_whose_name_changes_each_time_takes_a_limited_number_of_entries() {
    let mut session = managed(2000);
    for (number, process) in session.processes.values_mut().enumerate() {
        process.comm = format!("name{number}");
    }
    session.sum_up(session.memory(), &[60], none_watched);
    let report = report_of(&session);
    assert!(report.summed_up.len() <= MOST_COMMANDS + 1, "{}", report.summed_up.len());
    assert_eq!(report.summed_up[0].comm, OTHERS);
}

#[test]
fn nested_trees_go_with_their_root_and_live_descendants_stay() {
    let mut session = managed(100);
    for number in 0..50 {
        session.processes.get_mut(&command(number + 1)).unwrap().parent = command(number);
    }
    session.processes.get_mut(&command(50)).unwrap().end_ns = None;
    session.sum_up(session.memory(), &[60], none_watched);
    assert!((0..=50).all(|number| session.processes.contains_key(&command(number))));
    session.processes.get_mut(&command(50)).unwrap().end_ns = Some(1);
    session.sum_up(session.memory(), &[60], none_watched);
    assert!((0..=50).all(|number| !session.processes.contains_key(&command(number))));
    assert_eq!(total(&session, WRITE), 1000);
    let failed = session.ledger.values().any(|row| row.errors[error::EPIPE as usize] > 0);
    assert!(!failed);
}
