use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use regex::Regex;

use super::{Answer, Filter, Question, Reader, Subject};
use crate::{
    Entry, Fate, Gap, HistoryError, Stream, Writer,
    entry::reason,
    sample::{BEGIN, ROOMY, SECOND, entry, lost, place, write},
};

const MINUTE: i64 = 60 * SECOND;

/// A command in container 1, from one time to another, in seconds after [`BEGIN`].
fn ran(pid: u32, from: i64, until: i64) -> Entry {
    Entry {
        pid,
        began_us: BEGIN + from * SECOND,
        ended_us: BEGIN + until * SECOND,
        place: place(1),
        ..entry(i64::from(pid))
    }
}

fn losing(pid: u32, from: i64, until: i64) -> Entry {
    let Entry { rule, severity, has_loss, report, .. } = lost(i64::from(pid));
    Entry { rule, severity, has_loss, report, ..ran(pid, from, until) }
}

fn warned(pid: u32, from: i64, until: i64) -> Entry {
    Entry { severity: "warning".into(), ..ran(pid, from, until) }
}

/// A history that was attached for an hour from [`BEGIN`] on.
fn history(entries: &[Entry]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let writer = Writer::start(folder.path(), ROOMY).unwrap();
    writer.attached("all", BEGIN);
    entries.iter().for_each(|entry| writer.add(entry.clone()));
    writer.detached(BEGIN + 60 * MINUTE, "SIGTERM");
    assert!(writer.close(Duration::from_secs(60)));
    folder
}

fn ask(folder: &Path, at: Option<i64>, precision: i64) -> Answer {
    let subject = Subject { container: Some("report-1".into()), ..Subject::default() };
    let at_us = at.map(|at| BEGIN + at * SECOND);
    let question = Question { subject, at_us, precision_us: precision * SECOND };
    Reader::open(folder).unwrap().why(&question)
}

/// The pid of the command that was found, and the number of others.
fn found(answer: &Answer) -> (u32, u64) {
    match answer {
        Answer::Found { entry, others, .. } => (entry.pid, *others),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_ran_at_that_time_comes_before_what_ended_near_it() {
    let folder =
        history(&[ran(1, 100, 200), losing(2, 205, 210), ran(3, 140, 160), ran(4, 0, 3000)]);
    // 3 ended nearest of the three that ran.
    assert_eq!(found(&ask(folder.path(), Some(150), 0)), (3, 2));
    assert_eq!(found(&ask(folder.path(), Some(202), 0)), (4, 0));
    assert_eq!(found(&ask(folder.path(), Some(3100), 0)), (4, 0));
}

#[test]
fn losses_come_first_then_warnings_then_the_nearest() {
    let all = [ran(1, 10, 20), warned(2, 5, 30), losing(3, 0, 40)];
    assert_eq!(found(&ask(history(&all).path(), Some(15), 0)), (3, 2));
    assert_eq!(found(&ask(history(&all[..2]).path(), Some(15), 0)), (2, 1));
    // None of them ran at that time.
    assert_eq!(found(&ask(history(&all).path(), Some(60), 0)), (3, 2));
    assert_eq!(found(&ask(history(&all[..1]).path(), Some(60), 0)), (1, 0));
}

#[test]
fn a_minute_means_all_of_it() {
    let folder = history(&[ran(1, 0, 3000), losing(2, 130, 131)]);
    assert_eq!(found(&ask(folder.path(), Some(120), 0)), (1, 0));
    assert_eq!(found(&ask(folder.path(), Some(120), 59)), (2, 1));
}

#[test]
fn without_a_time_the_latest_loss_is_meant_then_the_latest_warning() {
    let latest = |entries: &[Entry]| found(&ask(history(entries).path(), None, 0));
    let (old, new) = (losing(1, 0, 10), losing(2, 11, 15));
    assert_eq!(latest(&[old.clone(), new, warned(3, 20, 30), ran(4, 40, 50)]), (2, 0));
    // Output that very likely did not arrive: also of many of them.
    let likely = |pid: u32| Entry { has_loss: true, ..warned(pid, 20, 30 + i64::from(pid)) };
    let many: Vec<Entry> = (10..50).map(likely).collect();
    assert_eq!(latest(&[&[old, ran(4, 40, 50)], &many[..]].concat()), (1, 0));
    assert_eq!(latest(&[&[warned(3, 90, 95)], &many[..]].concat()), (49, 0));
    assert_eq!(latest(&[ran(1, 0, 10), warned(2, 20, 30), ran(3, 40, 50)]), (2, 0));
    assert_eq!(latest(&[ran(1, 0, 10), ran(2, 0, 20)]), (2, 0));
}

#[test]
fn without_a_time_a_command_that_wrote_is_meant_rather_than_a_silent_one() {
    let silent = Entry { rule: "never_wrote".into(), ..ran(3, 30, 90) };
    let folder = history(&[ran(1, 10, 11), ran(2, 20, 21), silent.clone()]);
    assert_eq!(found(&ask(folder.path(), None, 0)).0, 2);
    let folder = history(&[Entry { pid: 4, ended_us: BEGIN, ..silent.clone() }, silent]);
    assert_eq!(found(&ask(folder.path(), None, 0)).0, 3);
}

#[test]
fn a_report_comes_with_the_answer() {
    let folder = history(&[losing(1, 0, 10)]);
    let Answer::Found { entry, .. } = ask(folder.path(), Some(5), 0) else { panic!() };
    assert_eq!(*entry, losing(1, 0, 10));
    assert_eq!(all(folder.path(), &Filter::default())[0].report, None);
}

#[test]
fn what_was_told_while_it_ran_is_no_further_command() {
    let interim = Entry { is_interim: true, ..ran(1, 0, 100) };
    let folder = history(&[interim, losing(1, 0, 200)]);
    let Answer::Found { entry, others, .. } = ask(folder.path(), Some(50), 0) else { panic!() };
    assert_eq!((entry.is_interim, entry.has_loss, others), (false, true, 0));
}

#[test]
fn a_command_that_lasted_for_days_is_found() {
    let folder = history(&[ran(1, 0, 3 * 86_400), ran(2, 0, 700), ran(3, 0, 15)]);
    assert_eq!(found(&ask(folder.path(), Some(10), 0)), (3, 2));
    assert_eq!(found(&ask(folder.path(), Some(600), 0)), (2, 1));
    assert_eq!(found(&ask(folder.path(), Some(86_400), 0)), (1, 0));
}

#[test]
fn a_time_before_the_history_is_too_old() {
    let folder = history(&[ran(1, 1000, 1010)]);
    let too_old = Answer::TooOld { history_begins_us: BEGIN };
    assert_eq!(ask(folder.path(), Some(-7200), 0), too_old);
}

#[test]
fn a_time_without_a_command_says_whether_tracer_was_there() {
    let folder = history(&[ran(1, 0, 10)]);
    let Answer::NotSeen { covered, nearest, from_us, until_us } = ask(folder.path(), Some(1200), 0)
    else {
        panic!()
    };
    assert!(covered);
    assert_eq!(nearest.unwrap().pid, 1);
    assert_eq!((from_us, until_us), (BEGIN + 900 * SECOND, BEGIN + 1500 * SECOND));
    // Five minutes before it, no recorder was attached.
    let Answer::NotSeen { covered, .. } = ask(history(&[]).path(), Some(60), 0) else { panic!() };
    assert!(!covered);
}

#[test]
fn a_time_in_a_gap_is_blind_and_a_command_in_one_says_so() {
    let folder = history(&[ran(1, 0, 100)]);
    let writer = Writer::start(folder.path(), ROOMY).unwrap();
    let gap = |from: i64, until: i64, container: Option<&str>| Gap {
        from_us: BEGIN + from * SECOND,
        until_us: BEGIN + until * SECOND,
        reason: "ring_full".into(),
        container: container.map(str::to_owned),
        ..Gap::default()
    };
    let gaps = [gap(90, 95, None), gap(96, 97, Some("other")), gap(1000, 1010, Some("report-1"))];
    gaps.iter().for_each(|gap| writer.gap(gap.clone()));
    assert!(writer.close(Duration::from_secs(60)));
    let Answer::Found { gaps: with, .. } = ask(folder.path(), Some(50), 0) else { panic!() };
    assert_eq!(with, gaps[..1]);
    assert_eq!(ask(folder.path(), Some(1005), 0), Answer::Blind { gaps: gaps[2..].to_vec() });
    // After the end of the coverage.
    let Answer::Blind { gaps } = ask(folder.path(), Some(7200), 0) else { panic!() };
    assert_eq!((gaps[0].reason.as_str(), gaps[0].from_us), (reason::STOPPED, BEGIN + 60 * MINUTE));
}

#[test]
fn nothing_at_all_is_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(ask(folder.path(), None, 0), Answer::Empty);
    let missing = Reader::open(&folder.path().join("none"));
    assert!(matches!(missing, Err(HistoryError::NoFolder { .. })));
}

fn all(folder: &Path, filter: &Filter) -> Vec<Entry> {
    Reader::open(folder).unwrap().entries(filter, usize::MAX)
}

#[test]
fn filters_select() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        (0..1000).map(|index| if index % 100 == 7 { lost(index) } else { entry(index) }),
    );
    let count = |filter: &Filter| all(folder.path(), filter).len();
    let of = |subject: Subject| Filter { subject, ..Filter::default() };
    assert_eq!(count(&Filter { lost: true, ..Filter::default() }), 10);
    let container = place(3).container_id.unwrap();
    for name in ["report-3", &container, &container[..8]] {
        let subject = Subject { container: Some(name.into()), ..Subject::default() };
        assert_eq!(count(&of(subject.clone())), 5, "{name}");
        let newest = Reader::open(folder.path()).unwrap().entries(&of(subject), 2);
        assert_eq!(newest, [entry(603), entry(803)]);
    }
    assert_eq!(count(&of(Subject { pid: Some(4005), ..Subject::default() })), 1);
    assert_eq!(count(&of(Subject { pid: Some(12), ..Subject::default() })), 0);
    let inside =
        Subject { pid: Some(12), container: Some("report-5".into()), ..Subject::default() };
    assert_eq!(count(&of(inside)), 2);
    let name = Some(Regex::new("^py").unwrap());
    assert_eq!(count(&of(Subject { name, ..Subject::default() })), 200);
    let (since_us, until_us) = (Some(BEGIN + SECOND), Some(BEGIN + 2 * SECOND));
    assert_eq!(count(&Filter { since_us, until_us, ..Filter::default() }), 101);
}

#[test]
fn a_walk_from_the_oldest_can_be_ended() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), (0..500).map(entry));
    let mut seen = Vec::new();
    Reader::open(folder.path()).unwrap().for_each(&Filter::default(), |entry| {
        seen.push(entry);
        if seen.len() < 300 {
            std::ops::ControlFlow::Continue(())
        } else {
            std::ops::ControlFlow::Break(())
        }
    });
    assert_eq!(seen, (0..300).map(entry).collect::<Vec<_>>());
}

/// What is in a folder: names, sizes and times of change.
fn listing(folder: &Path) -> Vec<(String, u64, std::time::SystemTime)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap())
        .map(|file| (file.file_name().into_string().unwrap(), file.metadata().unwrap()))
        .map(|(name, found)| (name, found.len(), found.modified().unwrap()))
        .collect();
    files.sort();
    files
}

/// A copy of a history that is being written, with its WAL.
fn copy_of_running(entries: i64, names: &[&str]) -> tempfile::TempDir {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let writer = Writer::start(folder.path(), ROOMY).unwrap();
    (0..entries).for_each(|index| writer.add(entry(index)));
    let begin = Instant::now();
    while all(folder.path(), &Filter::default()).len() < entries as usize {
        assert!(begin.elapsed() < Duration::from_secs(60));
    }
    for end in names {
        let name = format!("2024-11-18.0.db{end}");
        fs::copy(folder.path().join(&name), copy.path().join(&name)).unwrap();
    }
    drop(writer);
    copy
}

#[test]
fn a_copy_is_read_with_and_without_its_shm_and_nothing_is_changed() {
    for names in [&["", "-wal", "-shm"][..], &["", "-wal"]] {
        let copy = copy_of_running(700, names);
        let before = listing(copy.path());
        let reader = Reader::open(copy.path()).unwrap();
        assert_eq!(reader.entries(&Filter::default(), usize::MAX).len(), 700, "{names:?}");
        assert!(reader.gaps(0, i64::MAX).is_empty(), "{names:?}");
        drop(reader);
        assert_eq!(listing(copy.path()), before, "{names:?}");
    }
}

#[test]
fn a_closed_history_is_read_without_creating_anything() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), (0..10).map(entry));
    let before = listing(folder.path());
    assert_eq!(before.len(), 1, "{before:?}");
    assert_eq!(all(folder.path(), &Filter::default()).len(), 10);
    assert_eq!(listing(folder.path()), before);
}

#[test]
fn a_path_with_odd_characters_is_read() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a b?mode=rw#%41ü");
    write(&folder, [entry(0)]);
    assert_eq!(all(&folder, &Filter::default()), [entry(0)]);
}

/// A file that is cut loses its end; what is before it is read, and the writer goes on.
#[test]
fn a_file_that_is_cut_anywhere_is_read_as_far_as_possible_and_written_on() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), (0..3000).map(entry));
    let file = folder.path().join("2024-11-18.0.db");
    let whole = fs::read(&file).unwrap();
    let mut most = 0;
    for part in 0..24 {
        let copy = tempfile::tempdir().unwrap();
        // Not only at the ends of pages.
        let length = whole.len() * part / 24 + part * 7;
        fs::write(copy.path().join("2024-11-18.0.db"), &whole[..length]).unwrap();
        most = most.max(check_damaged(copy.path(), length));
    }
    assert!(most > 1000, "at most {most} entries of a cut file were read");
}

/// The same for a WAL, of which no transaction but the last is lost.
#[test]
fn a_wal_that_is_cut_anywhere_is_read_up_to_there() {
    let running = copy_of_running(1500, &["", "-wal"]);
    let name = |end: &str| format!("2024-11-18.0.db{end}");
    let wal = fs::read(running.path().join(name("-wal"))).unwrap();
    let mut counts = Vec::new();
    for part in 0..=12 {
        let copy = tempfile::tempdir().unwrap();
        fs::copy(running.path().join(name("")), copy.path().join(name(""))).unwrap();
        fs::write(copy.path().join(name("-wal")), &wal[..wal.len() * part / 12]).unwrap();
        counts.push(check_damaged(copy.path(), part));
    }
    assert!(counts.is_sorted(), "{counts:?}");
    assert_eq!(counts.last(), Some(&1500), "{counts:?}");
}

/// Bytes in the middle that are something else.
#[test]
fn a_file_with_foreign_bytes_is_read_and_written_on() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), (0..3000).map(entry));
    let whole = fs::read(folder.path().join("2024-11-18.0.db")).unwrap();
    for part in 0..24 {
        let copy = tempfile::tempdir().unwrap();
        let mut bytes = whole.clone();
        let at = whole.len() * part / 24;
        bytes[at..(at + 3000).min(whole.len())].fill(0xA5);
        fs::write(copy.path().join("2024-11-18.0.db"), bytes).unwrap();
        check_damaged(copy.path(), at);
    }
}

/// Reads, writes on, and reads what was written. Returns how many entries were readable at first.
fn check_damaged(folder: &Path, at: usize) -> usize {
    let read = all(folder, &Filter::default());
    assert!(read.is_sorted_by_key(|entry| entry.ended_us), "{at}");
    let oldest_first = {
        let mut count = 0;
        Reader::open(folder).unwrap().for_each(&Filter::default(), |_| {
            count += 1;
            std::ops::ControlFlow::Continue(())
        });
        count
    };
    let subject = Subject { container: Some("report-1".into()), ..Subject::default() };
    for at_us in [None, Some(BEGIN + SECOND)] {
        let question = Question { subject: subject.clone(), at_us, precision_us: 0 };
        let _ = Reader::open(folder).unwrap().why(&question);
    }
    // A page with foreign bytes may look different from both sides.
    assert!(read.len().abs_diff(oldest_first) < 100, "{at}: {} and {oldest_first}", read.len());
    write(folder, [entry(50_000)]);
    assert_eq!(all(folder, &Filter::default()).last(), Some(&entry(50_000)), "cut at {at}");
    read.len()
}

/// The first row is of a version that did not count what became of the bytes.
#[test]
fn what_became_of_the_bytes_is_read_as_it_was_written_and_is_unknown_in_older_rows() {
    let fate = Fate { delivered: 60, lost: 30, discarded: 7, unknown: 3, refused: 5 };
    let numbered = Stream { bytes: 100, fate: Some(fate), ..entry(1).streams[0].clone() };
    let older = Stream { fate: None, ..numbered.clone() };
    let streams = vec![older, numbered];
    let folder = history(&[Entry { streams: streams.clone(), ..ran(7, 0, 10) }]);
    let Answer::Found { entry, .. } = ask(folder.path(), Some(5), 1) else { panic!() };
    assert_eq!(entry.streams, streams);
    let file = listing(folder.path()).into_iter().find(|(name, ..)| name.ends_with(".db")).unwrap();
    let connection = rusqlite::Connection::open(folder.path().join(file.0)).unwrap();
    let stored: String =
        connection.query_row("SELECT streams FROM entries", [], |row| row.get(0)).unwrap();
    let stored: Vec<Vec<serde_json::Value>> = serde_json::from_str(&stored).unwrap();
    assert_eq!(stored.iter().map(Vec::len).collect::<Vec<_>>(), [5, 9]);
}

/// The measure: how long a question takes among many entries, and what each takes on disk.
#[test]
#[ignore = "writes a million entries: run it alone, in a release build"]
fn a_question_among_many_is_answered_at_once() {
    let rows: i64 =
        std::env::var("TRACER_HISTORY_ROWS").map_or(1_000_000, |rows| rows.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let writer = Writer::start(folder.path(), ROOMY).unwrap();
    writer.attached("all", BEGIN);
    let begin = Instant::now();
    for index in 0..rows {
        writer.add(if index % 1000 == 7 { lost(index) } else { entry(index) });
    }
    writer.detached(BEGIN + rows * SECOND / 100, "SIGTERM");
    assert!(writer.close(Duration::from_secs(600)));
    let rate = rows as f64 / begin.elapsed().as_secs_f64();
    let size: u64 = listing(folder.path()).iter().map(|(_, size, _)| size).sum();
    let files = listing(folder.path()).len();
    eprintln!(
        "{rows} entries in {files} files: {:.1} B each, {rate:.0}/s",
        size as f64 / rows as f64
    );
    for (container, at) in [
        ("report-7", Some(0.5)),
        ("report-8", Some(0.01)),
        ("report-9", Some(0.999)),
        ("report-7", None),
        ("report-8", None),
        ("unknown", Some(0.5)),
    ] {
        let at_us = at.map(|part| BEGIN + (rows as f64 * part) as i64 * SECOND / 100);
        let subject = Subject { container: Some(container.into()), ..Subject::default() };
        let question = Question { subject, at_us, precision_us: 59 * SECOND };
        let begin = Instant::now();
        let answer = Reader::open(folder.path()).unwrap().why(&question);
        let took = begin.elapsed();
        let is_found = matches!(answer, Answer::Found { .. });
        eprintln!("{container} at {at:?}: {took:?}, found: {is_found}");
        assert_eq!(is_found, container != "unknown");
        assert!(took < Duration::from_millis(100), "{took:?}");
    }
}
