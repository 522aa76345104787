//! Writes chunks into a folder, and reads the folder again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use tempfile::{TempDir, tempdir};
use tracer_core::capture::{index::Reader, summary::StreamSummary};

use super::*;
use crate::capture::sample::{chunk, copied, key, lines, read_again, record, row};

fn place() -> (TempDir, PathBuf) {
    let parent = tempdir().unwrap();
    let path = parent.path().join("out");
    (parent, path)
}

fn open(path: &Path, limit: Option<u64>, keep: Keep) -> Accounts {
    Accounts::open(
        Some(Folder::create(path).unwrap()),
        Options { limit, keep, ..Options::default() },
    )
    .unwrap()
}

fn gaps(stream: &StreamSummary) -> Vec<(Reason, u64, u64)> {
    stream.gaps.iter().map(|sum| (sum.reason, sum.bytes, sum.times)).collect()
}

fn sums(stream: &StreamSummary) -> (u64, u64, u64, u64) {
    let total = &stream.total;
    (total.written, total.kept, total.cut, total.missing)
}

#[test]
fn two_streams_have_two_files_and_one_order() {
    let (_parent, path) = place();
    let mut accounts = open(&path, None, Keep::First);
    for (fd, text) in [(1, "out 1\n"), (2, "err 1\n"), (1, "out 2\n")] {
        accounts.take(&chunk(record(&key(fd), 0, text.as_bytes())));
    }
    let summary = accounts.finish(vec![(key(1), row(12, 0)), (key(2), row(6, 0))], || ());
    assert_eq!(fs::read(path.join("docker-71.stdout")).unwrap(), b"out 1\nout 2\n");
    assert_eq!(fs::read(path.join("docker-71.stderr")).unwrap(), b"err 1\n");
    let folder = Folder::open(&path).unwrap();
    let order: Vec<(u32, u64)> = lines(&folder)
        .iter()
        .filter_map(|line| match line {
            Line::Write(write) => Some((write.stream, write.offset)),
            _ => None,
        })
        .collect();
    assert_eq!(order, [(1, 0), (2, 0), (1, 6)]);
    assert_eq!(
        summary.streams.iter().map(sums).collect::<Vec<_>>(),
        [(12, 12, 0, 0), (6, 6, 0, 0)]
    );
    assert_eq!(read_again(&folder), summary.streams);
}

#[test]
fn what_the_ring_lost_is_a_gap_where_it_was() {
    let (_parent, path) = place();
    let mut accounts = open(&path, None, Keep::First);
    assert_eq!(accounts.take(&chunk(record(&key(1), 0, b"abc"))), 0);
    assert_eq!(accounts.take(&chunk(record(&key(1), 40, b"def"))), 40);
    let summary = accounts.finish(vec![(key(1), row(56, 45))], || ());
    let found: Vec<(u64, u64, Reason)> = lines(&Folder::open(&path).unwrap())
        .into_iter()
        .filter_map(|line| match line {
            Line::Gap(gap) => Some((gap.offset, gap.length, gap.reason)),
            _ => None,
        })
        .collect();
    let expected =
        [(3, 40, Reason::RingFull), (6, 5, Reason::RingFull), (6, 5, Reason::Unexplained)];
    assert_eq!(found, expected);
    assert_eq!(sums(&summary.streams[0]), (56, 6, 0, 50));
}

#[test]
fn rows_without_a_chunk_are_streams_too_and_rows_in_parts_are_one() {
    let (_parent, path) = place();
    let accounts = open(&path, None, Keep::First);
    let other = LedgerKey { process: ProcessId::new(4, 5), ..key(1) };
    let reading = LedgerKey { direction: tracer_common::ledger::READ, ..key(3) };
    let rows = vec![
        (other, row(9, 0)),
        (key(2), row(10, 4)),
        (key(2), row(5, 3)),
        (key(3), row(0, 0)),
        (reading, row(7, 0)),
    ];
    let summary = accounts.finish(rows, || ());
    let found: Vec<_> = summary.streams.iter().map(|s| (s.declared.fd, gaps(s))).collect();
    let expected = [
        (1, vec![(Reason::Unexplained, 9, 1)]),
        (2, vec![(Reason::RingFull, 7, 1), (Reason::Unexplained, 8, 1)]),
    ];
    assert_eq!(found, expected);
    assert_eq!(read_again(&Folder::open(&path).unwrap()), summary.streams);
}

#[test]
fn the_last_bytes_are_exactly_the_last_ones() {
    let (_parent, path) = place();
    let mut accounts = open(&path, Some(100_000), Keep::Last);
    let mut all = Vec::new();
    for part in 0..50u8 {
        let bytes = vec![part; 16_000];
        accounts.take(&chunk(record(&key(2), 0, &bytes)));
        all.extend(bytes);
    }
    let before = read_again(&Folder::open(&path).unwrap());
    let on_disk = fs::read(path.join("docker-71.stderr")).unwrap();
    let at = before[0].total.cut as usize;
    assert!(at > 0, "the index of a killed run knows what was cut");
    assert_eq!(on_disk[..99], all[at..at + 99]);
    let summary = accounts.finish(vec![(key(2), row(all.len() as u64, 0))], || ());
    assert_eq!(fs::read(path.join("docker-71.stderr")).unwrap(), &all[700_000..]);
    assert_eq!(sums(&summary.streams[0]), (800_000, 100_000, 700_000, 0));
    assert_eq!(read_again(&Folder::open(&path).unwrap()), summary.streams);
}

#[test]
fn gaps_that_follow_each_other_are_one_line() {
    let (_parent, path) = place();
    let mut accounts = open(&path, Some(2), Keep::First);
    for _ in 0..9 {
        accounts.take(&chunk(record(&key(1), 0, b"abc")));
    }
    for _ in 0..5 {
        accounts.take(&chunk(copied(&key(1), 10)));
    }
    let summary = accounts.finish(Vec::new(), || ());
    let stream = &summary.streams[0];
    assert_eq!(gaps(stream), [(Reason::Limit, 25, 1), (Reason::Copied, 50, 1)]);
    assert_eq!(stream.gaps[1].source.as_deref(), Some("9:99"));
    assert_eq!(read_again(&Folder::open(&path).unwrap()), summary.streams);
}

#[test]
fn a_folder_that_is_gone_costs_bytes_and_no_count() {
    let (_parent, path) = place();
    let mut accounts = open(&path, None, Keep::First);
    accounts.take(&chunk(record(&key(1), 0, b"abc")));
    fs::remove_dir_all(&path).unwrap();
    accounts.take(&chunk(record(&key(1), 0, b"def")));
    accounts.take(&chunk(record(&key(2), 0, b"ghijk")));
    let summary = accounts.finish(vec![(key(1), row(6, 0)), (key(2), row(5, 0))], || ());
    assert_eq!(gaps(&summary.streams[1]), [(Reason::DiskError, 5, 1)]);
    assert_eq!(sums(&summary.streams[0]), (6, 6, 0, 0));
    assert_eq!(sums(&summary.streams[1]), (5, 0, 0, 5));
}

#[test]
fn nothing_is_stored_without_its_line_while_the_index_cannot_grow() {
    let (_parent, path) = place();
    let folder = Folder::create(&path).unwrap();
    // A pipe without a reader acts as a full disk, and the test can make it larger.
    let (end, index) = pipe_with(PipeFlags::NONBLOCK).unwrap();
    let index = File::from(index);
    let options = Options::default();
    let mut accounts = Accounts::new(Some((index.try_clone().unwrap(), folder)), options);
    let mut times = 0u64;
    while !accounts.is_stuck {
        let mut one = record(&key(1), 0, b"a");
        // A different time makes it a write of its own, with a line of its own.
        one[..8].copy_from_slice(&times.to_ne_bytes());
        accounts.take(&chunk(one));
        times += 1;
    }
    for fd in 2..1000 {
        accounts.take(&chunk(record(&key(fd), 3, b"bc")));
    }
    assert_eq!(fs::metadata(path.join("docker-71.stdout")).unwrap().len(), times - 1);
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "no bytes without a line");
    fcntl_setpipe_size(&index, 1 << 20).unwrap();
    accounts.take(&chunk(record(&key(2), 3, b"def")));
    let rows = vec![(key(1), row(times, 0)), (key(2), row(8, 3))];
    let summary = accounts.finish(rows, || ());
    assert!(!summary.is_index_incomplete);
    assert_eq!(sums(&summary.streams[0]), (times, times - 1, 0, 1));
    assert_eq!(sums(&summary.streams[1]), (8, 3, 0, 5));
    assert_eq!(gaps(&summary.streams[1]), [(Reason::RingFull, 3, 1), (Reason::DiskError, 2, 1)]);
    drop(index);
    let reader = Reader::new(io::BufReader::new(File::from(end))).unwrap();
    let mut tally = Tally::new(None, Keep::First);
    reader.for_each(|line| tally.add(&line));
    assert_eq!(tally.finish(), summary.streams);
}

#[test]
fn an_index_that_could_not_be_written_is_said_to_be_incomplete() {
    let (_parent, path) = place();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let options = Options::default();
    let mut accounts = Accounts::new(Some((full, Folder::create(&path).unwrap())), options);
    accounts.take(&chunk(record(&key(1), 0, b"abc")));
    let summary = accounts.finish(vec![(key(1), row(3, 0))], || ());
    assert!(summary.is_index_incomplete);
    assert_eq!(sums(&summary.streams[0]), (3, 3, 0, 0));
}

#[test]
fn the_whole_capture_has_a_limit_and_the_accounts_stay_exact() {
    let (_parent, path) = place();
    let folder = Folder::create(&path).unwrap();
    let options = Options { max: Some(5_000), reserve: Some(0), ..Options::default() };
    let mut accounts = Accounts::open(Some(folder), options).unwrap();
    for fd in 1..=4 {
        accounts.take(&chunk(record(&key(fd), 0, &[b'a'; 2_000])));
        accounts.flush();
    }
    let index = fs::metadata(path.join(INDEX)).unwrap().len();
    for _ in 0..10_000 {
        accounts.take(&chunk(record(&key(4), 0, b"b")));
    }
    accounts.flush();
    assert_eq!(fs::metadata(path.join(INDEX)).unwrap().len(), index, "lines about gaps wait");
    let rows = [2_000, 2_000, 2_000, 12_000];
    let rows = (1..=4).zip(rows).map(|(fd, bytes)| (key(fd), row(bytes, 0)));
    let summary = accounts.finish(rows.collect(), || ());
    let kept: u64 = summary.streams.iter().map(|stream| stream.total.kept).sum();
    assert!((3_000..=5_000).contains(&kept), "{kept} bytes");
    for (stream, expected) in summary.streams.iter().zip([2_000, 2_000, 2_000, 12_000]) {
        let (written, kept, cut, missing) = sums(stream);
        assert_eq!((written, cut, kept + missing), (expected, 0, expected));
        let expected = [(Reason::Total, missing, 1)];
        assert_eq!(gaps(stream), if missing > 0 { &expected[..] } else { &[] });
    }
    assert_eq!(sums(&summary.streams[3]).1, 0);
}

#[test]
fn the_reserve_of_the_disk_is_not_written_to() {
    let (_parent, path) = place();
    let folder = Folder::create(&path).unwrap();
    let options = Options { reserve: Some(u64::MAX), ..Options::default() };
    let mut accounts = Accounts::open(Some(folder), options).unwrap();
    accounts.take(&chunk(record(&key(1), 0, b"abc")));
    let summary = accounts.finish(vec![(key(1), row(3, 0))], || ());
    assert_eq!(gaps(&summary.streams[0]), [(Reason::Reserve, 3, 1)]);
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "nothing but the index");
}

/// A chunk: fd, bytes, lost bytes and time.
fn step() -> impl Strategy<Value = (i32, Vec<u8>, u64, u64)> {
    (1..4i32, proptest::collection::vec(any::<u8>(), 0..3000), 0u64..3, 0u64..50)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_stored_is_what_was_written(
        steps in proptest::collection::vec(step(), 0..120),
        limit in proptest::option::of(0u64..40_000),
        last in any::<bool>(),
        more in 0u64..9,
    ) {
        let (_parent, path) = place();
        let keep = if last { Keep::Last } else { Keep::First };
        let mut accounts = open(&path, limit, keep);
        let mut content: BTreeMap<i32, Vec<u8>> = BTreeMap::new();
        let mut missing: BTreeMap<i32, u64> = BTreeMap::new();
        let mut lost: BTreeMap<i32, u64> = BTreeMap::new();
        for (fd, bytes, increase, copies) in &steps {
            let lost = lost.entry(*fd).or_default();
            *lost += increase;
            accounts.take(&chunk(record(&key(*fd), *lost, bytes)));
            accounts.take(&chunk(copied(&key(*fd), *copies)));
            content.entry(*fd).or_default().extend(bytes);
            *missing.entry(*fd).or_default() += increase + copies;
        }
        let written = |fd: &i32| content[fd].len() as u64 + missing[fd] + more;
        let rows = content.keys().map(|fd| (key(*fd), row(written(fd), lost[fd]))).collect();
        let summary = accounts.finish(rows, || ());
        prop_assert_eq!(&read_again(&Folder::open(&path).unwrap()), &summary.streams);
        prop_assert_eq!(summary.streams.len(), content.len());
        for stream in &summary.streams {
            let all = &content[&stream.declared.fd];
            let kept = limit.map_or(all.len(), |limit| all.len().min(limit as usize));
            let expected = if last { &all[all.len() - kept..] } else { &all[..kept] };
            let stored = fs::read(path.join(&stream.declared.file)).unwrap_or_default();
            prop_assert!(stored == expected, "{} of {} B", stored.len(), expected.len());
            let (written_now, kept_now, cut, missing) = sums(stream);
            prop_assert_eq!(written_now, written(&stream.declared.fd));
            prop_assert_eq!(kept_now, stored.len() as u64);
            prop_assert_eq!(written_now, kept_now + cut + missing);
        }
    }
}
