//! A disk that is full for a while.

#![allow(clippy::unwrap_used, reason = "everything here is a test")]

use std::{
    ffi::CString,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tracer_history::{Entry, Filter, Limits, Reader, Writer, reason};

const PATIENCE: Duration = Duration::from_secs(60);

/// A tmpfs that ends with the test.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(bytes: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = CString::new(format!("size={bytes},mode=0700")).unwrap();
        mount("tmpfs", folder.path(), "tmpfs", MountFlags::empty(), options.as_c_str()).unwrap();
        Self(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

fn entry(number: u32) -> Entry {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let ended_us = now.try_into().unwrap();
    Entry { began_us: ended_us, ended_us, pid: number, ..Entry::default() }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn pids(folder: &Path) -> Vec<u32> {
    let reader = Reader::open(folder).unwrap();
    reader.entries(&Filter::default(), usize::MAX).iter().map(|entry| entry.pid).collect()
}

#[test]
#[ignore = "needs root: mounts a small disk"]
fn what_a_full_disk_does_not_take_is_a_gap_of_the_true_time() {
    let disk = SmallDisk::mount(4 << 20);
    let folder = disk.0.path().join("history");
    let writer = Writer::start(&folder, Limits::default()).unwrap();
    writer.add(entry(1));
    wait_until("the first entry", || pids(&folder) == [1]);
    let filler = disk.0.path().join("filler");
    assert!(fs::write(&filler, vec![0; 8 << 20]).is_err());
    let missed = [entry(2), entry(3)];
    missed.iter().for_each(|entry| writer.add(entry.clone()));
    // A large one does not fit into what the file system has left.
    writer.add(Entry { command: "x".repeat(64 << 10), ..entry(4) });
    thread::sleep(Duration::from_millis(2500));
    fs::remove_file(&filler).unwrap();
    writer.add(entry(5));
    wait_until("the entry after it", || pids(&folder) == [1, 5]);
    assert!(writer.close(PATIENCE));
    let gaps = Reader::open(&folder).unwrap().gaps(0, i64::MAX);
    let [gap] = gaps.as_slice() else { panic!("{gaps:?}") };
    assert_eq!((gap.reason.as_str(), gap.events), (reason::DISK_FULL, 3));
    assert_eq!(gap.from_us, missed[0].ended_us);
}
