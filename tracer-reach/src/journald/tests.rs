use std::{io::Read as _, os::unix::net::UnixDatagram};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tempfile::TempDir;
use tracer_history::{Fate, Place, Stream};

use super::*;

/// A place where entries are taken, and a journal that sends there.
fn listener() -> (TempDir, UnixDatagram, Journal) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixDatagram::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let journal = Journal::start_at(&path).unwrap();
    (folder, listener, journal)
}

fn finding(sentence: &str) -> Entry {
    Entry {
        sentence: sentence.into(),
        severity: "loss".into(),
        rule: "unread".into(),
        has_loss: true,
        pid: 7,
        ..Entry::default()
    }
}

/// The fields of an entry, parsed as journald does.
fn parsed(mut bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        let (name, value, rest) = match line.iter().position(|byte| *byte == b'=') {
            Some(at) => (&line[..at], &line[at + 1..], rest),
            None => {
                let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
                assert_eq!(rest[8 + length], b'\n');
                (line, &rest[8..8 + length], &rest[9 + length..])
            }
        };
        fields.push((String::from_utf8(name.into()).unwrap(), value.to_vec()));
        bytes = rest;
    }
    fields
}

fn one<'a>(fields: &'a [(String, Vec<u8>)], name: &str) -> Vec<&'a [u8]> {
    fields.iter().filter(|field| field.0 == name).map(|field| field.1.as_slice()).collect()
}

fn received(listener: &UnixDatagram) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 1 << 18];
    let length = listener.recv(&mut buffer).ok()?;
    buffer.truncate(length);
    Some(buffer)
}

#[test]
fn a_finding_has_its_fields_and_a_hostile_name_makes_no_other() {
    let (_folder, listener, journal) = listener();
    let fate = Some(Fate { lost: 5, ..Fate::default() });
    let streams = [1, 2].map(|fd| Stream { fd, fate, ..Stream::default() });
    let entry = Entry {
        name: "a\nPRIORITY=0\nb".into(),
        command: "a --password=secret".into(),
        streams: streams.to_vec(),
        place: Place {
            container: Some("web".into()),
            container_id: Some("0123456789abcdef".into()),
            unit: Some("a.service".into()),
            ..Place::default()
        },
        ..finding("a lost 10 B")
    };
    journal.entry(&Entry { severity: "info".into(), has_loss: false, ..entry.clone() });
    assert!(received(&listener).is_none());
    journal.entry(&entry);
    let bytes = received(&listener).unwrap();
    let fields = parsed(&bytes);
    for (name, values) in [
        ("MESSAGE", &["a lost 10 B"][..]),
        ("MESSAGE_ID", &[fields::LOSS]),
        ("PRIORITY", &["3"]),
        ("SYSLOG_IDENTIFIER", &["tracer"]),
        ("TRACER_RULE", &["unread"]),
        ("TRACER_COMM", &["a\nPRIORITY=0\nb"]),
        ("TRACER_LOST_BYTES", &["10"]),
        ("TRACER_STREAM", &["stdout", "stderr"]),
        ("CONTAINER_NAME", &["web"]),
        ("CONTAINER_ID", &["0123456789ab"]),
        ("CONTAINER_ID_FULL", &["0123456789abcdef"]),
        ("OBJECT_SYSTEMD_UNIT", &["a.service"]),
        ("OBJECT_PID", &[]),
        ("K8S_POD", &[]),
    ] {
        let values: Vec<_> = values.iter().map(|value| value.as_bytes()).collect();
        assert_eq!(one(&fields, name), values, "{name}");
    }
    assert!(!String::from_utf8_lossy(&bytes).contains("secret"));
}

#[test]
fn a_gap_and_a_warning_are_less_urgent() {
    let (_folder, listener, journal) = listener();
    journal.gap(&Gap { reason: "ring_full".into(), events: 3, ..Gap::default() }, "3 missed");
    let gap = parsed(&received(&listener).unwrap());
    assert_eq!(one(&gap, "MESSAGE_ID"), [fields::GAP.as_bytes()]);
    assert_eq!(one(&gap, "MESSAGE"), [b"3 missed"]);
    assert_eq!(one(&gap, "TRACER_GAP"), [b"ring_full"]);
    assert_eq!(one(&gap, "PRIORITY"), [b"4"]);
    journal.entry(&Entry { severity: "warning".into(), has_loss: false, ..finding("silent") });
    let warning = parsed(&received(&listener).unwrap());
    assert_eq!(one(&warning, "MESSAGE_ID"), [fields::WARNING.as_bytes()]);
    assert_eq!(one(&warning, "PRIORITY"), [b"4"]);
}

/// Takes no longer than a call that does not wait, however little is taken.
#[test]
fn what_is_not_taken_waits_within_bounds_and_then_is_counted() {
    let (_folder, listener, journal) = listener();
    let sentence = "x".repeat(1_000);
    let began = Instant::now();
    (0..3_000).for_each(|_| journal.entry(&finding(&sentence)));
    assert!(began.elapsed() < Duration::from_secs(5));
    let (dropped, bytes) = (journal.dropped(), journal.lock().bytes);
    assert!(dropped > 1_000 && bytes <= MOST_WAITING, "{dropped} {bytes}");
    let mut taken = 0;
    loop {
        let before = taken;
        while received(&listener).is_some() {
            taken += 1;
        }
        if taken == before {
            break;
        }
        journal.send_waiting();
    }
    assert_eq!((taken + dropped, journal.lock().bytes), (3_000, 0));
}

#[test]
fn journald_may_be_restarted() {
    let (folder, listener, journal) = listener();
    let path = folder.path().join("socket");
    drop(listener);
    journal.entry(&finding("while it was away"));
    std::fs::remove_file(&path).unwrap();
    journal.entry(&finding("while it was away"));
    let listener = UnixDatagram::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    assert!(received(&listener).is_none());
    journal.send_waiting();
    assert!(received(&listener).is_some() && received(&listener).is_some());
    assert_eq!(journal.dropped(), 0);
    assert!(Journal::start_at(&folder.path().join("nothing")).is_err());
}

#[test]
fn an_entry_that_is_too_large_for_a_datagram_goes_as_a_sealed_file() {
    let (_folder, listener, journal) = listener();
    journal.lock().socket.set_buffer(4_096);
    let text = "é".repeat(500);
    let place = Place {
        cgroup: text.clone(),
        container: Some(text.clone()),
        image: Some(text.clone()),
        namespace: Some(text.clone()),
        pod: Some(text.clone()),
        ..Place::default()
    };
    journal.entry(&Entry { place, ..finding(&"s".repeat(4_000)) });
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(&listener, &mut [], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    assert_eq!(got.bytes, 0);
    let mut fds = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => fds.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    let mut file = std::fs::File::from(fds.next().unwrap());
    let seals = rustix::fs::fcntl_get_seals(&file).unwrap();
    assert!(seals.contains(rustix::fs::SealFlags::WRITE | rustix::fs::SealFlags::SEAL));
    std::io::Seek::rewind(&mut file).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    let fields = parsed(&bytes);
    assert_eq!(one(&fields, "K8S_POD"), [text.as_bytes()]);
    assert_eq!(one(&fields, "MESSAGE")[0].len(), 4_000);
}
