//! Both threads, with records from a channel instead of a ring.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize},
        mpsc::{self, Receiver, Sender},
    },
};

use tempfile::{TempDir, tempdir};
use tracer_core::capture::index::Line;

use super::*;
use crate::capture::{
    queue::ROOM,
    sample::{key, lines, read_again, record, row},
};

/// A ring that returns what is sent to it.
struct Feed {
    batches: Receiver<Vec<Bytes>>,
    taken: Arc<AtomicUsize>,
}

impl Source for Feed {
    fn wait(&mut self, _: Duration) -> io::Result<()> {
        thread::sleep(Duration::from_millis(1));
        Ok(())
    }

    fn drain(&mut self) -> Vec<Bytes> {
        let batch = self.batches.try_recv().unwrap_or_default();
        self.taken.fetch_add(usize::from(!batch.is_empty()), Ordering::Relaxed);
        batch
    }
}

fn feed() -> (Sender<Vec<Bytes>>, Arc<AtomicUsize>, Feed) {
    let (sender, batches) = mpsc::channel();
    let taken = Arc::new(AtomicUsize::new(0));
    (sender, Arc::clone(&taken), Feed { batches, taken })
}

/// A terminal that remembers what it saw, and that blocks while a test wants it.
#[derive(Clone, Default)]
struct Terminal {
    stands: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Terminal {
    fn note(&self, text: String) {
        while self.stands.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
        self.seen.lock().unwrap().push(text);
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Watcher for Terminal {
    fn see(&mut self, chunk: &Chunk) {
        self.note(match &chunk.content {
            Content::Bytes(bytes) => {
                String::from_utf8_lossy(&bytes[..bytes.len().min(9)]).into_owned()
            }
            Content::Missing { length, reason, .. } => format!("{reason:?} {length}"),
        });
    }

    fn idle(&mut self) {
        self.note("idle".to_owned());
    }

    fn end(&mut self) {
        self.note("end".to_owned());
    }
}

fn place() -> (TempDir, PathBuf) {
    let parent = tempdir().unwrap();
    let path = parent.path().join("out");
    (parent, path)
}

fn until(mut is_true: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_true() {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not happen");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_stop_takes_everything_that_is_there() {
    let (_parent, path) = place();
    let (sender, _, feed) = feed();
    let mut expected: BTreeMap<i32, Vec<u8>> = BTreeMap::new();
    for number in 0..5000u32 {
        let fd = 1 + (number % 3) as i32;
        let bytes = vec![number as u8; number as usize % 4000];
        expected.entry(fd).or_default().extend(&bytes);
        sender.send(vec![record(&key(fd), 0, &bytes).into()]).unwrap();
    }
    let folder = Some(Folder::create(&path).unwrap());
    let capture = Capture::start(feed, folder, Options::default(), None).unwrap();
    let rows = expected.iter().map(|(fd, all)| (key(*fd), row(all.len() as u64, 0))).collect();
    let summary = capture.finish(rows, |_| true).unwrap();
    assert_eq!(summary.streams.len(), 3);
    for stream in &summary.streams {
        let all = &expected[&stream.declared.fd];
        assert!(&fs::read(path.join(&stream.declared.file)).unwrap() == all);
        assert_eq!((stream.total.kept, stream.total.missing), (all.len() as u64, 0));
    }
    assert_eq!(read_again(&Folder::open(&path).unwrap()), summary.streams);
}

#[test]
fn the_live_view_sees_chunks_gaps_pauses_and_the_end() {
    let (sender, _, feed) = feed();
    let terminal = Terminal::default();
    let watcher: Box<dyn Watcher> = Box::new(terminal.clone());
    let options = Options { limit: Some(1), ..Options::default() };
    // Records come before the start, so that the view pauses after them.
    sender.send(vec![record(&key(1), 0, b"abc").into(), Bytes::from_static(b"junk")]).unwrap();
    let capture = Capture::start(feed, None, options, Some(watcher)).unwrap();
    until(|| terminal.seen().len() == 2);
    sender.send(vec![record(&key(1), 40, b"def").into()]).unwrap();
    until(|| terminal.seen().len() == 5);
    let summary = capture.finish(vec![(key(1), row(46, 40))], |_| true).unwrap();
    assert_eq!(terminal.seen(), ["abc", "idle", "RingFull 40", "def", "idle", "end"]);
    assert_eq!(summary.undecodable, 1);
    let total = &summary.streams[0].total;
    assert_eq!(
        (total.written, total.kept, total.missing),
        (46, 6, 40),
        "no limit without a folder"
    );
}

/// Bytes that count how many of them are alive.
struct Counted {
    bytes: Vec<u8>,
    alive: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.alive.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

const PIECE: usize = 16 << 10;
const PIECES: u64 = 64;

/// 1 MiB of pieces. Each begins with its number.
fn batch(first: u64, alive: &Arc<AtomicUsize>) -> Vec<Bytes> {
    let mut records: Vec<Vec<u8>> = Vec::new();
    for number in first..first + PIECES {
        let mut bytes = vec![b'.'; PIECE];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        let mut one = record(&key(1), 0, &bytes);
        // Different times make separate writes.
        one[..8].copy_from_slice(&number.to_ne_bytes());
        records.push(one);
    }
    let bytes = records.concat();
    alive.fetch_add(bytes.len(), Ordering::Relaxed);
    let mut all = Bytes::from_owner(Counted { bytes, alive: Arc::clone(alive) });
    records.iter().map(|record| all.split_to(record.len())).collect()
}

#[test]
fn a_slow_terminal_makes_gaps_of_the_right_length_and_no_memory() {
    let (_parent, path) = place();
    let (sender, taken, feed) = feed();
    let terminal = Terminal::default();
    terminal.stands.store(true, Ordering::Relaxed);
    let watcher: Box<dyn Watcher> = Box::new(terminal.clone());
    let folder = Some(Folder::create(&path).unwrap());
    let capture = Capture::start(feed, folder, Options::default(), Some(watcher)).unwrap();
    let alive = Arc::new(AtomicUsize::new(0));
    let mut most = 0;
    let mut send = |number: usize| {
        sender.send(batch(number as u64 * PIECES, &alive)).unwrap();
        until(|| taken.load(Ordering::Relaxed) == number + 1);
        most = most.max(alive.load(Ordering::Relaxed));
    };
    (0..100).for_each(&mut send);
    terminal.stands.store(false, Ordering::Relaxed);
    until(|| terminal.seen().last().is_some_and(|text| text == "idle"));
    (100..103).for_each(&mut send);
    assert!(most <= ROOM + (3 << 20), "{most} B were held");
    assert!(most > ROOM / 2, "the queue was not used: {most} B");
    let written = 103 * PIECES * PIECE as u64;
    let summary = capture.finish(vec![(key(1), row(written, 0))], |_| true).unwrap();
    assert_eq!(alive.load(Ordering::Relaxed), 0);
    let stream = &summary.streams[0];
    assert_eq!(stream.total.written, written);
    let [slow] = &stream.gaps[..] else { panic!("{:?}", stream.gaps) };
    assert_eq!((slow.bytes, slow.reason), (stream.total.missing, Reason::SlowOutput));
    assert!(
        slow.bytes > 60 << 20 && terminal.seen().contains(&format!("SlowOutput {}", slow.bytes))
    );
    let stored = fs::read(path.join(&stream.declared.file)).unwrap();
    assert_eq!(stored.len() as u64, stream.total.kept);
    check_places(&stored, &lines(&Folder::open(&path).unwrap()));
}

/// Checks that every gap in the index is at the place of missing pieces, and as long as they are.
fn check_places(stored: &[u8], lines: &[Line]) {
    let mut next = 0;
    for line in lines {
        match line {
            Line::Gap(gap) => next += gap.length / PIECE as u64,
            Line::Write(write) => {
                let at = write.offset as usize;
                let number = u64::from_le_bytes(stored[at..at + 8].try_into().unwrap());
                assert_eq!((number, write.length), (next, PIECE as u64));
                next += 1;
            }
            _ => {}
        }
    }
    assert_eq!(next, 103 * PIECES);
}

#[test]
fn many_small_batches_fit_as_well_as_a_large_one() {
    let (sender, taken, feed) = feed();
    let terminal = Terminal::default();
    terminal.stands.store(true, Ordering::Relaxed);
    let watcher: Box<dyn Watcher> = Box::new(terminal.clone());
    let capture = Capture::start(feed, None, Options::default(), Some(watcher)).unwrap();
    for _ in 0..10_000 {
        sender.send(vec![record(&key(2), 0, b"a line\n").into()]).unwrap();
    }
    until(|| taken.load(Ordering::Relaxed) == 10_000);
    terminal.stands.store(false, Ordering::Relaxed);
    let summary = capture.finish(vec![(key(2), row(70_000, 0))], |_| true).unwrap();
    assert_eq!((summary.streams[0].total.kept, summary.streams[0].total.missing), (70_000, 0));
}

#[test]
fn a_ring_that_cannot_be_waited_for_is_polled() {
    struct Broken(Option<Vec<Bytes>>);
    impl Source for Broken {
        fn wait(&mut self, _: Duration) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn drain(&mut self) -> Vec<Bytes> {
            self.0.take().unwrap_or_default()
        }
    }
    let source = Broken(Some(vec![record(&key(1), 0, b"abc").into()]));
    let capture = Capture::start(source, None, Options::default(), None).unwrap();
    assert_eq!(capture.finish(Vec::new(), |_| true).unwrap().streams[0].total.kept, 3);
}

#[test]
fn a_capture_that_is_dropped_stops() {
    let (sender, _, feed) = feed();
    let capture = Capture::start(feed, None, Options::default(), None).unwrap();
    drop(capture);
    // The feed ends with its thread.
    until(|| sender.send(Vec::new()).is_err());
}

#[test]
fn what_comes_between_the_last_look_and_the_stop_is_taken() {
    struct Late(Sender<()>, Vec<Vec<Bytes>>);
    impl Source for Late {
        fn wait(&mut self, _: Duration) -> io::Result<()> {
            Ok(())
        }
        fn drain(&mut self) -> Vec<Bytes> {
            if self.0.send(()).is_ok() {
                // The ring is empty, and the capture stops meanwhile.
                thread::sleep(Duration::from_millis(100));
                return Vec::new();
            }
            self.1.pop().unwrap_or_default()
        }
    }
    let (looked, looks) = mpsc::channel();
    let source = Late(looked, vec![vec![record(&key(1), 0, b"abc").into()]]);
    let capture = Capture::start(source, None, Options::default(), None).unwrap();
    looks.recv().unwrap();
    drop(looks);
    let summary = capture.finish(vec![(key(1), row(3, 0))], |_| true).unwrap();
    assert_eq!(summary.streams[0].total.kept, 3);
}
