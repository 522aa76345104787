//! The process as a thread: what it stores, reads back and removes, and what becomes of both when the other is gone.

use std::{fs, os::unix::net::UnixStream, sync::mpsc, thread};

use tempfile::tempdir;
use tracer_core::capture::{INDEX, index::Line};

use super::*;
use crate::capture::{
    folder::Folder,
    sample::{key, lines, read_again, record, row},
    stored::Index,
    writer::{Capture, Source},
};

/// A ring that has these records.
struct Ring(Vec<Bytes>);

impl Source for Ring {
    fn wait(&mut self, _: Duration) -> io::Result<()> {
        thread::sleep(Duration::from_millis(1));
        Ok(())
    }

    fn drain(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.0)
    }
}

/// A process with this folder, and the folder of `--recover` beside it.
fn process(path: &Path) -> CaptureProcess {
    let (socket, end) = UnixStream::pair().unwrap();
    let (served, recover) = (path.to_owned(), path.with_extension("back"));
    thread::spawn(move || serve::serve(&end, &served, Some(&recover)));
    of_thread(socket, path)
}

fn of_thread(socket: UnixStream, path: &Path) -> CaptureProcess {
    let (pipe, _) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
    let log = Log { pipe, tell: drop };
    CaptureProcess { helper: Some(Helper::of_thread(socket)), log, path: path.to_owned() }
}

fn records(fd: i32, count: usize) -> Vec<Bytes> {
    (0..count)
        .map(|number| record(&key(fd), 0, &vec![number as u8; number % 5_000]).into())
        .collect()
}

#[test]
fn everything_is_stored_and_read_back() {
    let parent = tempdir().unwrap();
    let path = parent.path().join("out");
    let mut process = process(&path);
    process.open().unwrap();
    let feed = process.store(Options::default()).unwrap();
    let sent = records(1, 3_000);
    let bytes: u64 = (0..3_000u64).map(|number| number % 5_000).sum();
    let capture = Capture::feed(Ring(sent), feed, None).unwrap();
    let rows = vec![(key(1), row(bytes, 0))];
    assert!(capture.stop(|_| true));
    let (summary, is_cut) = process.finish(&rows, |_| true).unwrap();
    assert!(!is_cut);
    let [stream] = &summary.streams[..] else { panic!("{summary:?}") };
    assert_eq!((stream.total.written, stream.total.kept, stream.total.missing), (bytes, bytes, 0));
    assert_eq!(read_again(&Folder::open(&path).unwrap()), summary.streams);
    let mut waits = |_| false;
    let late = process.stored(&mut waits).read(INDEX, 0, 1).unwrap_err().to_string();
    assert!(late.starts_with("cannot read all of "), "each answer is there at once: {late}");
    let mut waits = |_| true;
    let mut stored = process.stored(&mut waits);
    let mut index = Vec::new();
    Index::new(&mut stored).buffered().read_to_end(&mut index).unwrap();
    assert_eq!(index, fs::read(path.join(INDEX)).unwrap());
    let file = stream.declared.file.clone();
    let part = |offset, length| FilePart { file: file.clone(), offset, length };
    let all = fs::read(path.join(&file)).unwrap();
    assert_eq!(stored.read_part(&part(70, 90)).unwrap(), all[70..160]);
    let short = stored.read_part(&part(bytes, 1)).unwrap_err().to_string();
    assert!(short.contains("it was cut or changed"), "{short}");
    let saved = stored.recover(&file, &[part(5, 3), part(100, 2)]).unwrap().unwrap();
    assert_eq!(saved, format!("{}/1-{file}", path.with_extension("back").display()));
    assert_eq!(fs::read(saved).unwrap(), [&all[5..8], &all[100..102]].concat());
}

#[test]
fn what_was_sent_is_stored_when_tracer_is_killed() {
    let parent = tempdir().unwrap();
    let path = parent.path().join("out");
    let (socket, end) = UnixStream::pair().unwrap();
    let served = path.clone();
    let serves = thread::spawn(move || serve::serve(&end, &served, None));
    let mut process = of_thread(socket, &path);
    process.open().unwrap();
    let mut feed = process.store(Options::default()).unwrap();
    feed.push(&[record(&key(1), 0, b"abc").into(), record(&key(2), 0, b"de").into()]);
    drop((feed, process));
    assert!(serves.join().unwrap().is_err());
    let lines = lines(&Folder::open(&path).unwrap());
    let written = lines.iter().filter(|line| matches!(line, Line::Write(_))).count();
    assert_eq!(written, 2, "{lines:?}");
    assert!(!lines.iter().any(|line| matches!(line, Line::End(_))), "{lines:?}");
}

#[test]
fn a_process_that_neither_answers_nor_takes_anything_is_given_up() {
    let refused = |rows: &[_]| {
        let (socket, end) = UnixStream::pair().unwrap();
        let mut process = of_thread(socket, Path::new("/disk/out"));
        let refused = process.finish(rows, |idle| idle < 3 * TURN).unwrap_err().to_string();
        assert_eq!(refused, "cannot use /disk/out: its file system does not answer");
        (process, refused, end)
    };
    // More than the socket holds.
    refused(&vec![(key(1), row(1, 0)); 10_000]);
    let (mut process, refused, end) = refused(&[]);
    // Nothing is asked or waited for any more.
    let mut waits = |_| panic!("it is waited for");
    let read = process.stored(&mut waits).read(INDEX, 0, 1).unwrap_err().to_string();
    assert_eq!(read, refused);
    drop(end);
}

#[test]
fn progress_is_no_answer_and_begins_the_wait_again() {
    let (socket, end) = UnixStream::pair().unwrap();
    let mut process = of_thread(socket, Path::new("/disk/out"));
    let (goes_on, waits) = mpsc::channel::<()>();
    let slow = thread::spawn(move || {
        for _ in 0..10 {
            thread::sleep(Duration::from_millis(30));
            wire::send(&end, Kind::Progress, &[]).unwrap();
        }
        wire::send_json(&end, Kind::Json, &Ok::<_, String>(Summary::default())).unwrap();
        let _ = waits.recv();
    });
    let (summary, _) = process.finish(&[], |idle| idle < Duration::from_millis(250)).unwrap();
    assert_eq!(summary, Summary::default());
    drop(goes_on);
    slow.join().unwrap();
}

#[test]
fn a_run_that_did_not_begin_leaves_no_folder() {
    let parent = tempdir().unwrap();
    let path = parent.path().join("out");
    let mut process = process(&path);
    process.open().unwrap();
    process.store(Options::default()).unwrap();
    assert!(path.join(INDEX).exists() && path.with_extension("back").exists());
    process.take_back(&[INDEX]);
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}
