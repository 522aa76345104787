use bytes::Bytes;
use proptest::prelude::*;
use tracer_common::ledger::LedgerKey;

use super::*;

const LIMITS: TailLimits = TailLimits { stream: 8, total: 64 << 10 };

fn object(ino: u64) -> ObjectId {
    ObjectId { ino, dev: 9, discriminator: 0 }
}

fn process(pid: u32) -> ProcessId {
    ProcessId::new(pid, 5)
}

fn chunk(pid: u32, ino: u64, content: Content, lost: u64) -> Chunk {
    let key =
        LedgerKey { process: process(pid), object: object(ino), fd: 1, ..LedgerKey::default() };
    let (comm, syscall) = ("sh".to_owned(), "write");
    Chunk { time_ns: 7, key, tid: pid, comm, syscall, lost, content }
}

fn bytes(pid: u32, ino: u64, content: &[u8]) -> Chunk {
    chunk(pid, ino, Content::Bytes(Bytes::copy_from_slice(content)), 0)
}

fn gap(pid: u32, length: u64, reason: Reason) -> Chunk {
    chunk(pid, 1, Content::Missing { length, reason, source: None }, 0)
}

/// The bytes that are kept, with `?` for each gap.
fn text(tails: &Tails, ino: u64) -> String {
    let parts = tails.kept(&object(ino)).unwrap_or_default().parts;
    let parts = parts.into_iter().map(|part| match part {
        TailPart::Bytes(_, bytes) => String::from_utf8(bytes).unwrap(),
        TailPart::Gap(..) => "?".to_owned(),
    });
    parts.collect()
}

#[test]
fn the_last_bytes_are_kept_in_their_order() {
    let mut tails = Tails::new(LIMITS);
    tails.see(&bytes(1, 1, b"abcde"));
    assert_eq!(
        (text(&tails, 1).as_str(), tails.kept(&object(1)).unwrap().is_cut),
        ("abcde", false)
    );
    tails.see(&bytes(2, 1, b"fgh"));
    tails.see(&bytes(1, 1, b"ij"));
    let kept = tails.kept(&object(1)).unwrap();
    let expected = [
        TailPart::Bytes(process(1), b"cde".to_vec()),
        TailPart::Bytes(process(2), b"fgh".to_vec()),
        TailPart::Bytes(process(1), b"ij".to_vec()),
    ];
    assert_eq!((kept.parts.as_slice(), kept.is_cut), (&expected[..], true));
    tails.see(&bytes(1, 1, b"0123456789"));
    assert_eq!(text(&tails, 1), "23456789");
    assert_eq!(text(&tails, 2), "");
}

#[test]
fn what_is_missing_is_a_gap_at_its_place() {
    let mut tails = Tails::new(LIMITS);
    tails.see(&bytes(1, 1, b"ab"));
    tails.see(&gap(1, 40, Reason::Copied));
    tails.see(&chunk(1, 1, Content::Bytes(Bytes::from_static(b"cd")), 30));
    tails.see(&chunk(1, 1, Content::Bytes(Bytes::from_static(b"e")), 10));
    let kept = tails.kept(&object(1)).unwrap();
    let expected = [
        TailPart::Bytes(process(1), b"ab".to_vec()),
        TailPart::Gap(process(1), 40, Reason::Copied),
        TailPart::Gap(process(1), 30, Reason::RingFull),
        TailPart::Bytes(process(1), b"cde".to_vec()),
    ];
    assert_eq!(kept.parts, expected);
    assert_eq!(kept.lost, [(process(1), 1, 30)]);
    // A gap leaves with the bytes before it.
    tails.see(&bytes(1, 1, b"0123456"));
    assert_eq!(text(&tails, 1), "e0123456");
}

#[test]
fn the_bytes_of_a_command_leave_and_those_of_others_stay() {
    let mut tails = Tails::new(LIMITS);
    tails.see(&bytes(1, 1, b"ab"));
    tails.see(&bytes(2, 1, b"cd"));
    tails.see(&gap(2, 9, Reason::Copied));
    tails.see(&bytes(1, 1, b"ef"));
    tails.forget(&object(1), |id| *id == process(1));
    assert_eq!(text(&tails, 1), "cd?");
    tails.forget(&object(1), |id| *id == process(2));
    assert_eq!((tails.len(), tails.held()), (0, 0));
}

#[test]
fn without_room_a_ring_is_shorter_and_a_further_object_has_none() {
    let limits = TailLimits { stream: 1 << 20, total: 4 << 10 };
    let mut tails = Tails::new(limits);
    tails.see(&bytes(1, 1, &[b'a'; 10_000]));
    let kept = tails.kept(&object(1)).unwrap();
    let length: u64 = kept.parts.iter().map(TailPart::length).sum();
    assert!(kept.is_cut && kept.is_short && (1_000..4_096).contains(&length), "{length}");
    for ino in 2..100 {
        tails.see(&bytes(1, ino, b"bcdefgh"));
    }
    assert!(tails.held() <= limits.total + 256, "{}", tails.held());
    assert_eq!(tails.kept(&object(99)), None);
    // There is room again.
    (1..100).for_each(|ino| tails.forget(&object(ino), |_| true));
    assert_eq!((tails.len(), tails.held()), (0, 0));
    tails.see(&bytes(1, 99, b"bcdefgh"));
    assert_eq!(text(&tails, 99), "bcdefgh");
}

#[test]
fn rings_of_objects_that_are_gone_leave_when_nothing_is_new() {
    let mut tails = Tails::new(LIMITS);
    (1..=3).for_each(|ino| tails.see(&bytes(1, ino, b"a")));
    tails.retain(7, |_| false);
    assert_eq!(tails.len(), 3);
    tails.retain(8, |id| id.ino == 2);
    assert_eq!((tails.len(), text(&tails, 2).as_str()), (1, "a"));
}

proptest! {
    /// Compares with all bytes, of which the end must be kept.
    #[test]
    fn any_writes_leave_the_end_of_the_stream(
        writes in proptest::collection::vec((1_u32..4, 0_usize..40), 0..200),
        stream in 1_usize..300,
    ) {
        let mut tails = Tails::new(TailLimits { stream, total: 1 << 20 });
        let (mut all, mut next) = (Vec::new(), 0_u8);
        for (pid, length) in writes {
            let content: Vec<u8> = (0..length).map(|at| next.wrapping_add(at as u8)).collect();
            next = next.wrapping_add(length as u8);
            all.extend(content.iter().map(|byte| (pid, *byte)));
            tails.see(&bytes(pid, 1, &content));
            let kept = tails.kept(&object(1)).unwrap_or_default();
            let kept: Vec<(u32, u8)> = kept
                .parts
                .iter()
                .flat_map(|part| match part {
                    TailPart::Bytes(id, bytes) => bytes.iter().map(|byte| (id.tgid, *byte)).collect(),
                    TailPart::Gap(..) => Vec::new(),
                })
                .collect();
            prop_assert!(kept.len() <= stream);
            prop_assert!(all.ends_with(&kept));
            // Marks can run out before bytes do.
            prop_assert!(kept.len() >= stream.min(all.len()).min(16));
            prop_assert!(tails.held() <= EACH + 2 * stream.max(64) + 128 * 32);
        }
        tails.forget(&object(1), |id| id.tgid == 2);
        tails.forget(&object(1), |id| id.tgid != 2);
        prop_assert_eq!((tails.len(), tails.held()), (0, 0));
    }
}
