//! Written lines are read again, and no input does harm.

use std::{
    cell::{Cell, RefCell},
    io::{self, Write},
};

use proptest::prelude::*;

use super::*;

fn head() -> Line {
    Line::Capture(Head::new(Some(9), Keep::Last))
}

fn declared(comm: &str) -> Line {
    Line::Stream(Declared {
        stream: 1,
        process: ProcessId::new(71, 5),
        comm: comm.to_owned(),
        fd: -1,
        object: ObjectId { ino: 88, dev: 9, discriminator: 0 },
        file: "docker-71.stdout".to_owned(),
    })
}

fn written(lines: &[Line]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes);
    let lengths: u64 = lines.iter().map(|line| writer.write(line).unwrap()).sum();
    writer.flush().unwrap();
    drop(writer);
    assert_eq!(lengths, bytes.len() as u64);
    bytes
}

/// The lines, the number of damaged lines, and whether the file is cut.
fn read(bytes: &[u8]) -> (Vec<Line>, u64, bool) {
    let mut reader = Reader::new(bytes).unwrap();
    let lines = reader.by_ref().collect();
    (lines, reader.damaged(), reader.is_cut())
}

#[test]
fn a_hostile_name_puts_no_control_character_into_the_file() {
    let hostile = "a\x1b]0;x\x07\n\u{202e}\u{9b}\"";
    let bytes = written(&[head(), declared(hostile)]);
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(text.chars().all(|character| character == '\n' || (' '..='~').contains(&character)));
    assert_eq!(text.lines().count(), 2);
    assert_eq!(read(&bytes).0, [declared(hostile)]);
}

#[test]
fn damaged_lines_are_counted_and_unknown_ones_skipped() {
    let mut bytes = written(&[head()]);
    bytes.extend(b"{\"type\":\"weather\",\"rain\":1}\n\xff\xfe\n{\"type\":\"gap\"}\n[]\n\n");
    bytes.extend(vec![b'x'; LINE_LIMIT + 5]);
    bytes.extend(b"\n");
    let whole = written(&[declared("sh")]);
    bytes.extend(&whole);
    assert_eq!(read(&bytes), (vec![declared("sh")], 5, false));
    bytes.extend(&whole[..whole.len() - 9]);
    assert_eq!(read(&bytes), (vec![declared("sh")], 5, true));
}

#[test]
fn amounts_that_cannot_be_real_are_damage() {
    let gap = |offset, length| {
        Line::Gap(Missing {
            stream: 1,
            offset,
            length,
            time_ns: 5,
            reason: Reason::Limit,
            source: None,
        })
    };
    let half = 1 << 55;
    let bytes = written(&[
        head(),
        gap(0, half),
        gap(u64::MAX, 1),
        gap(0, u64::MAX),
        gap(0, half),
        gap(0, 1),
    ]);
    assert_eq!(read(&bytes), (vec![gap(0, half), gap(0, half)], 3, false));
}

#[test]
fn another_file_is_no_index() {
    let session = br#"{"type":"session","schema":"tracer.session/1"}"#;
    for bytes in [&b""[..], b"\n", b"{", b"\x7fELF", session, &[b'x'; LINE_LIMIT + 5]] {
        assert!(matches!(Reader::new(bytes), Err(ReadError::NotAnIndex)), "{bytes:?}");
    }
    let later = br#"{"type":"capture","schema":"tracer.capture/2","tracer":"9.1"}"#;
    let error = Reader::new(&later[..]).unwrap_err();
    assert!(error.to_string().contains("tracer 9.1 as tracer.capture/2"), "{error}");
}

/// A disk with room for `room` bytes.
#[derive(Default)]
struct Disk {
    room: Cell<usize>,
    taken: RefCell<Vec<u8>>,
}

impl Write for &Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.room.get());
        if taken == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.room.set(self.room.get() - taken);
        self.taken.borrow_mut().extend(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_disk_that_is_full_for_a_while_damages_no_line() {
    let disk = Disk::default();
    disk.room.set(1000);
    let mut writer = Writer::new(&disk);
    let mut lines = 0;
    writer.write(&head()).unwrap();
    while writer.make_room().is_ok() {
        writer.write(&declared("sh")).unwrap();
        lines += 1;
    }
    assert!(lines > 500, "the buffer");
    disk.room.set(usize::MAX);
    writer.make_room().unwrap();
    writer.write(&declared("docker")).unwrap();
    writer.flush().unwrap();
    let (read, damaged, is_cut) = read(&disk.taken.borrow());
    assert_eq!((read.len(), damaged, is_cut), (lines + 1, 0, false));
}

fn line() -> impl Strategy<Value = Line> {
    let small = || 0u64..1 << 40;
    prop_oneof![
        any::<String>().prop_map(|comm| declared(&comm)),
        (small(), small(), any::<u64>()).prop_map(|(offset, length, time_ns)| {
            let syscall = "write".to_owned();
            Line::Write(Written { stream: 1, offset, length, time_ns, tid: 7, syscall })
        }),
        (small(), small(), any::<Option<String>>()).prop_map(|(offset, length, source)| {
            let reason = Reason::Copied;
            Line::Gap(Missing { stream: 1, offset, length, time_ns: 5, reason, source })
        }),
        (small(), small()).prop_map(|(kept, cut)| {
            Line::End(Total { stream: 1, written: kept + cut, kept, cut, missing: 0 })
        }),
    ]
}

proptest! {
    #[test]
    fn every_line_comes_back(lines in proptest::collection::vec(line(), 0..20)) {
        let mut all = vec![head()];
        all.extend(lines.clone());
        prop_assert_eq!(read(&written(&all)), (lines, 0, false));
    }

    #[test]
    fn any_bytes_are_read_to_their_end(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut all = written(&[head()]);
        let newlines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        all.extend(bytes);
        let (lines, damaged, _) = read(&all);
        prop_assert!(lines.len() as u64 + damaged <= newlines + 1);
    }

    #[test]
    fn a_cut_index_gives_a_beginning(lines in proptest::collection::vec(line(), 1..9), cut in 1usize..999) {
        let mut all = vec![head()];
        all.extend(lines.clone());
        let bytes = written(&all);
        let start = written(&[head()]).len();
        let (read, damaged, _) = read(&bytes[..start.max(bytes.len().saturating_sub(cut))]);
        prop_assert_eq!(damaged, 0);
        prop_assert_eq!(&read[..], &lines[..read.len()]);
    }
}
