use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Coverage, Entry, Filter, Gap, Limits, Reader, Writer,
    entry::reason,
    names::FileName,
    sample::{BEGIN, ROOMY, SECOND, entry, lost, write},
    time::{DAY_US, now},
};

const PATIENCE: Duration = Duration::from_secs(60);

fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn all(folder: &Path) -> Vec<Entry> {
    Reader::open(folder).unwrap().entries(&Filter::default(), usize::MAX)
}

fn gaps(folder: &Path) -> Vec<Gap> {
    Reader::open(folder).unwrap().gaps(0, i64::MAX)
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_is_added_is_read_again_in_the_order_of_time() {
    let folder = tempfile::tempdir().unwrap();
    let entries: Vec<Entry> = (0..50).map(entry).collect();
    write(folder.path(), entries.iter().rev().cloned());
    assert_eq!(all(folder.path()), entries);
    let newest = Reader::open(folder.path()).unwrap().entries(&Filter::default(), 3);
    assert_eq!(newest, entries[47..]);
}

#[test]
fn entries_of_one_moment_are_all_kept() {
    let folder = tempfile::tempdir().unwrap();
    let same = |index| Entry { ended_us: BEGIN, ..entry(index) };
    write(folder.path(), (0..1500).map(same));
    write(folder.path(), (1500..1600).map(same));
    assert_eq!(all(folder.path()).len(), 1600);
}

#[test]
fn each_day_has_files_and_a_full_one_is_followed_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { file_bytes: 400 << 10, ..ROOMY };
    let writer = Writer::start(folder.path(), limits).unwrap();
    let next_day = |index| Entry { ended_us: BEGIN + DAY_US + index, ..entry(index) };
    for index in 0..6000 {
        writer.add(entry(index));
    }
    writer.add(next_day(1));
    assert!(writer.close(PATIENCE));
    let names = files(folder.path());
    assert!(names.contains(&"2024-11-18.0.db".to_owned()), "{names:?}");
    assert!(names.contains(&"2024-11-18.1.db".to_owned()), "{names:?}");
    assert!(names.contains(&"2024-11-19.0.db".to_owned()), "{names:?}");
    let ends: Vec<i64> = all(folder.path()).iter().map(|entry| entry.ended_us).collect();
    assert!(ends.len() == 6001 && ends.is_sorted());
}

#[test]
fn files_are_private_whatever_the_umask_and_earlier_mode() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), [entry(0)]);
    let file = folder.path().join("2024-11-18.0.db");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let writer = Writer::start(folder.path(), ROOMY).unwrap();
    writer.add(entry(1));
    let wal = folder.path().join("2024-11-18.0.db-wal");
    wait_until("a WAL", || fs::metadata(&wal).is_ok_and(|wal| wal.len() > 0));
    for name in files(folder.path()) {
        let mode = fs::metadata(folder.path().join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert!(writer.close(PATIENCE));
}

#[test]
fn the_oldest_files_are_removed_but_not_the_one_that_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let of_day = |day: i64, index| {
        let ended_us = BEGIN + day * DAY_US + index;
        Entry { began_us: ended_us - 5, ended_us, ..entry(index) }
    };
    for day in 0..4 {
        write(folder.path(), (0..500).map(|index| of_day(day, index)));
    }
    let broken = folder.path().join("2024-11-17.0.db.broken");
    fs::write(&broken, vec![0; 4 << 20]).unwrap();
    let size: u64 = files(folder.path())
        .iter()
        .filter(|name| !name.ends_with("broken"))
        .map(|name| fs::metadata(folder.path().join(name)).unwrap().len())
        .sum();
    let limits = Limits { bytes: size, ..ROOMY };
    let writer = Writer::start(folder.path(), limits).unwrap();
    writer.add(of_day(4, 1));
    assert!(writer.close(PATIENCE));
    let names = files(folder.path());
    assert!(!broken.exists() && !names.contains(&"2024-11-18.0.db".to_owned()), "{names:?}");
    assert!(names.contains(&"2024-11-21.0.db".to_owned()), "{names:?}");
    // Above any limit: the file that is written stays.
    let writer =
        Writer::start(folder.path(), Limits { bytes: 1, file_bytes: 1 << 20, ..ROOMY }).unwrap();
    writer.add(of_day(4, 2));
    assert!(writer.close(PATIENCE));
    assert_eq!(files(folder.path()), ["2024-11-22.1.db"]);
}

#[test]
fn the_stand_is_that_of_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let writer = Writer::start(folder.path(), ROOMY).unwrap();
    (0..3).for_each(|index| writer.add(entry(index)));
    let begin = Instant::now();
    while writer.stand().entries < 3 {
        assert!(begin.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    }
    let stand = writer.stand();
    assert_eq!((stand.oldest_us, stand.limit), (Some(entry(0).ended_us), ROOMY.bytes));
    assert!(stand.bytes > 0 && stand.missed.values().all(|missed| *missed == 0), "{stand:?}");
}

#[test]
fn files_are_removed_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let at = |ended_us| Entry { began_us: ended_us, ended_us, ..entry(0) };
    write(folder.path(), [at(now() - 3 * DAY_US), at(now())]);
    let limits = Limits { age: Duration::from_secs(86_400), ..ROOMY };
    let writer = Writer::start(folder.path(), limits).unwrap();
    writer.add(at(now()));
    assert!(writer.close(PATIENCE));
    assert_eq!(files(folder.path()).len(), 1);
    assert_eq!(all(folder.path()).len(), 2);
}

#[test]
fn a_removed_file_and_a_removed_folder_are_made_again() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("history");
    let writer = Writer::start(&folder, ROOMY).unwrap();
    writer.attached("all", now());
    writer.add(entry(0));
    wait_until("the first entry", || Reader::open(&folder).is_ok() && all(&folder).len() == 1);
    fs::remove_file(folder.join("2024-11-18.0.db")).unwrap();
    writer.add(entry(1));
    wait_until("a new file", || all(&folder) == [entry(1)]);
    fs::remove_dir_all(&folder).unwrap();
    writer.add(entry(2));
    writer.alive(now());
    wait_until("a new folder", || folder.exists() && all(&folder) == [entry(2)]);
    assert!(writer.close(PATIENCE));
    assert_eq!(Reader::open(&folder).unwrap().coverage().len(), 1);
}

#[test]
fn what_a_full_disk_does_not_take_becomes_a_gap_with_its_time() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("history");
    let writer = Writer::start(&folder, ROOMY).unwrap();
    writer.add(entry(0));
    wait_until("the first entry", || Reader::open(&folder).is_ok() && all(&folder).len() == 1);
    // A file in the place of the folder: nothing can be written, also by root.
    let aside = parent.path().join("aside");
    fs::rename(&folder, &aside).unwrap();
    fs::write(&folder, "").unwrap();
    (1..=3).for_each(|index| writer.add(entry(index * 100)));
    thread::sleep(Duration::from_millis(2500));
    fs::remove_file(&folder).unwrap();
    fs::rename(&aside, &folder).unwrap();
    writer.add(entry(400));
    wait_until("the entry after it", || all(&folder).len() == 2);
    wait_until("the gap", || !gaps(&folder).is_empty());
    assert!(writer.close(PATIENCE));
    let gaps = gaps(&folder);
    let bytes = (1..=3).map(|index| entry(index * 100).streams[0].bytes).sum();
    let gap = Gap {
        from_us: BEGIN + SECOND,
        until_us: BEGIN + 3 * SECOND,
        reason: reason::FAILED.into(),
        events: 3,
        bytes,
        container: None,
    };
    assert_eq!(gaps, [gap]);
}

#[test]
fn a_queue_without_room_becomes_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { queue_entries: 10, ..ROOMY };
    let writer = Writer::start(folder.path(), limits).unwrap();
    let begin = Instant::now();
    (0..2000).for_each(|index| writer.add(lost(index)));
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert!(writer.close(PATIENCE));
    let gaps = gaps(folder.path());
    let missed: u64 = gaps.iter().map(|gap| gap.events).sum();
    assert!(gaps.iter().all(|gap| gap.reason == reason::FULL), "{gaps:?}");
    assert_eq!(missed as usize + all(folder.path()).len(), 2000);
    assert!(missed > 0);
}

#[test]
fn coverage_moves_on_and_its_holes_have_reasons() {
    let folder = tempfile::tempdir().unwrap();
    let run = |from: i64, until: i64, end: Option<&str>| {
        let writer = Writer::start(folder.path(), ROOMY).unwrap();
        writer.attached("all", from);
        writer.alive(until - 1);
        match end {
            Some(why) => writer.detached(until, why),
            None => writer.alive(until),
        }
        assert!(writer.close(PATIENCE));
    };
    run(BEGIN, BEGIN + 100, Some("SIGTERM"));
    run(BEGIN + 200, BEGIN + 300, None);
    run(BEGIN + 400, BEGIN + 500, Some("SIGTERM"));
    let reader = Reader::open(folder.path()).unwrap();
    let coverage = |from_us, until_us, ended: Option<&str>| Coverage {
        from_us: BEGIN + from_us,
        until_us: BEGIN + until_us,
        scope: "all".into(),
        ended: ended.map(str::to_owned),
    };
    let expected = [
        coverage(0, 100, Some("SIGTERM")),
        coverage(200, 300, None),
        coverage(400, 500, Some("SIGTERM")),
    ];
    assert_eq!(reader.coverage(), expected);
    let gaps = reader.gaps(0, i64::MAX);
    let gaps: Vec<_> = gaps
        .iter()
        .map(|gap| (gap.from_us - BEGIN, gap.until_us - BEGIN, gap.reason.as_str()))
        .collect();
    assert_eq!(gaps, [(100, 200, reason::STOPPED), (300, 400, reason::NOT_RUNNING)]);
}

#[test]
fn coverage_goes_on_when_a_file_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { file_bytes: 300 << 10, ..ROOMY };
    let writer = Writer::start(folder.path(), limits).unwrap();
    let begin = now();
    writer.attached("all", begin);
    for index in 0..6000 {
        let at = now();
        writer.add(Entry { began_us: at, ended_us: at, ..entry(index) });
        writer.alive(at);
    }
    let end = now();
    writer.detached(end, "SIGTERM");
    assert!(writer.close(PATIENCE));
    assert!(files(folder.path()).len() > 2, "{:?}", files(folder.path()));
    let coverage = Reader::open(folder.path()).unwrap().coverage();
    assert_eq!(coverage.len(), 1, "{coverage:?}");
    assert_eq!((coverage[0].from_us, coverage[0].until_us), (begin, end));
    assert_eq!(coverage[0].ended.as_deref(), Some("SIGTERM"));
}

#[test]
fn a_file_that_is_none_is_set_aside_and_its_day_is_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), [entry(0)]);
    for content in [&b""[..], b"this is no database, and long enough to be looked at"] {
        fs::write(folder.path().join("2024-11-10.0.db"), content).unwrap();
        write(folder.path(), [entry(1)]);
        let names = files(folder.path());
        assert!(names.contains(&"2024-11-10.0.db.broken".to_owned()), "{names:?}");
        assert!(!names.contains(&"2024-11-10.0.db".to_owned()), "{names:?}");
        let gap = gaps(folder.path()).remove(0);
        let name = FileName::parse("2024-11-10.0.db").unwrap();
        assert_eq!((gap.from_us, gap.until_us), name.span());
        assert_eq!(gap.reason, reason::DAMAGED);
    }
}

/// SQLite may not notice at once, because it has pages in memory. The next start does.
#[test]
fn a_file_that_breaks_while_it_is_written_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let writer = Writer::start(folder.path(), ROOMY).unwrap();
    (0..2000).for_each(|index| writer.add(entry(index)));
    wait_until("the first entries", || all(folder.path()).len() == 2000);
    fs::write(folder.path().join("2024-11-18.0.db"), vec![0x55; 1 << 20]).unwrap();
    writer.add(entry(2000));
    assert!(writer.close(PATIENCE));
    write(folder.path(), [entry(2001)]);
    assert!(all(folder.path()).contains(&entry(2001)), "{:?}", files(folder.path()));
    assert!(folder.path().join("2024-11-18.0.db.broken").exists());
    assert_eq!(gaps(folder.path())[0].reason, reason::DAMAGED);
}

#[test]
fn old_files_of_a_later_version_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), [entry(0)]);
    let file = folder.path().join("2024-11-18.0.db");
    rusqlite::Connection::open(&file).unwrap().pragma_update(None, "user_version", 9).unwrap();
    write(folder.path(), [entry(1)]);
    let names = files(folder.path());
    assert!(names.contains(&"2024-11-18.0.db".to_owned()), "{names:?}");
    assert!(names.contains(&"2024-11-18.1.db".to_owned()), "{names:?}");
    assert_eq!(all(folder.path()), [entry(1)]);
}

/// The measure: what an ordinary command takes on disk.
#[test]
fn an_ordinary_command_takes_little_room() {
    const ROWS: i64 = 100_000;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), (0..ROWS).map(entry));
    let size = |name: &String| fs::metadata(folder.path().join(name)).unwrap().len();
    let total: u64 = files(folder.path()).iter().map(size).sum();
    let each = total as f64 / ROWS as f64;
    eprintln!("{each:.1} B for each of {ROWS} entries");
    assert!(each <= 330.0, "{each} B");
}
