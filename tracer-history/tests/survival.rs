//! A history outlives its writer, and can be read while another process writes it.

#![allow(clippy::unwrap_used, reason = "everything here is a test")]

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tracer_history::{Entry, Filter, Limits, Reader, Writer, reason};

/// Names the folder to a process that writes.
const FOLDER: &str = "TRACER_HISTORY_TEST_FOLDER";
const PATIENCE: Duration = Duration::from_secs(60);

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros().try_into().unwrap()
}

fn entry(number: u32) -> Entry {
    Entry {
        began_us: now() - 1000,
        ended_us: now(),
        pid: number,
        name: "report".into(),
        sentence: format!("report ({number}) wrote 312 B"),
        report: number.is_multiple_of(100).then(|| vec![b'x'; 20_000]),
        ..Entry::default()
    }
}

/// Not a test by itself: the process that the tests start. It writes until it is killed.
#[test]
fn writing_process() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let writer = Writer::start(Path::new(&folder), Limits::default()).unwrap();
    writer.attached("all", now());
    for number in 0.. {
        writer.add(entry(number));
        writer.alive(now());
        thread::sleep(Duration::from_micros(500));
    }
}

fn start(folder: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "writing_process", "--nocapture"]).env(FOLDER, folder);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn read(folder: &Path) -> Vec<Entry> {
    Reader::open(folder)
        .map_or_else(|_| Vec::new(), |it| it.entries(&Filter::default(), usize::MAX))
}

fn wait_for(folder: &Path, least: usize) -> Vec<Entry> {
    let begin = Instant::now();
    loop {
        let entries = read(folder);
        if entries.len() >= least {
            return entries;
        }
        assert!(begin.elapsed() < PATIENCE, "only {} entries", entries.len());
        thread::sleep(Duration::from_millis(50));
    }
}

/// The numbers of entries without a hole. A writer begins again from 0 each time.
fn check_order(entries: &[Entry]) {
    for (before, after) in entries.iter().zip(&entries[1..]) {
        assert!(before.ended_us <= after.ended_us);
        assert!(after.pid == before.pid + 1 || after.pid == 0, "{} {}", before.pid, after.pid);
    }
}

#[test]
fn a_killed_writer_leaves_all_but_the_last_second_and_the_next_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut before = 0;
    for round in 0..4 {
        let mut child = start(folder.path());
        wait_for(folder.path(), before + 600);
        // At different moments of the interval between two transactions.
        thread::sleep(Duration::from_millis(270 * round));
        let killed = now();
        child.kill().unwrap();
        child.wait().unwrap();
        let entries = read(folder.path());
        check_order(&entries);
        let missing =
            Duration::from_micros((killed - entries.last().unwrap().ended_us).unsigned_abs());
        // The machine may be busy; without that it is one second.
        assert!(missing < Duration::from_secs(4), "{missing:?} are missing");
        before = entries.len();
    }
    let gaps = Reader::open(folder.path()).unwrap().gaps(0, i64::MAX);
    assert_eq!(gaps.len(), 3, "{gaps:?}");
    assert!(gaps.iter().all(|gap| gap.reason == reason::NOT_RUNNING && gap.from_us < gap.until_us));
}

#[test]
fn a_history_is_read_while_another_process_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = start(folder.path());
    let mut seen = 0;
    let begin = Instant::now();
    wait_for(folder.path(), 1);
    while begin.elapsed() < Duration::from_secs(4) {
        let reader = Reader::open(folder.path()).unwrap();
        let entries = reader.entries(&Filter::default(), usize::MAX);
        check_order(&entries);
        assert!(entries.len() >= seen, "{} after {seen}", entries.len());
        assert!(reader.gaps(0, i64::MAX).is_empty() && reader.coverage().len() == 1);
        seen = entries.len();
    }
    assert!(child.try_wait().unwrap().is_none(), "the writer ended");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(seen > 100, "{seen} entries");
}
