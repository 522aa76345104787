use super::*;

fn process(pid: u32) -> ProcessId {
    ProcessId::new(pid, 5)
}

fn bytes(pid: u32, content: &str) -> TailPart {
    TailPart::Bytes(process(pid), content.as_bytes().to_vec())
}

/// A stream to which process 1 has written.
fn stream(row: LedgerRow, lost: Option<u64>) -> LostStream {
    let key = LedgerKey { process: process(1), fd: 1, direction: WRITE, ..LedgerKey::default() };
    LostStream { fd: 1, rows: vec![(key, row)], lost, ..LostStream::default() }
}

fn wrote(bytes: u64) -> LedgerRow {
    LedgerRow { bytes, captured: bytes, ..LedgerRow::default() }
}

fn kept(parts: Vec<TailPart>, is_cut: bool) -> Option<Kept> {
    Some(Kept { parts, is_cut, ..Kept::default() })
}

fn shown(stream: &LostStream, kept: Option<Kept>, patterns: &[&str]) -> (Tail, String) {
    let redact = Redact::new(patterns).unwrap();
    let redact = (!patterns.is_empty()).then_some(&redact);
    let (tail, text) = tail(&Session::default(), stream, kept, redact);
    (tail, String::from_utf8(text).unwrap())
}

#[test]
fn exactly_the_lost_bytes_are_shown_if_their_number_is_known() {
    let parts = vec![bytes(1, "delivered\nlost a\n"), bytes(1, "lost b\n")];
    let (tail, text) = shown(&stream(wrote(24), Some(14)), kept(parts, false), &[]);
    assert_eq!(text, "lost a\nlost b\n");
    assert_eq!((tail.written, tail.lost, tail.kept, tail.missing), (24, Some(14), 14, 0));
    assert_eq!(tail.not_kept, None);
}

#[test]
fn what_others_wrote_is_not_shown_and_counts_for_the_place() {
    let parts = vec![bytes(1, "a\n"), bytes(2, "secret\n"), bytes(1, "b\n")];
    let (tail, text) = shown(&stream(wrote(4), Some(10)), kept(parts, false), &[]);
    assert_eq!((text.as_str(), tail.kept), ("\nb\n", 3));
}

#[test]
fn gaps_have_lines_and_those_that_no_record_told_are_told() {
    let row = LedgerRow { bytes: 120, uncaptured: 30, captured: 90, ..LedgerRow::default() };
    let parts = vec![bytes(1, "a"), TailPart::Gap(process(1), 9, Reason::Copied), bytes(1, "b")];
    let (tail, text) = shown(&stream(row, None), kept(parts, false), &[]);
    let expected = "[79 B missing: counted, and no record has them]\na\n\
                    [9 B missing: copied inside the kernel]\nb\n[30 B missing: the ring was full]\n";
    assert_eq!(text, expected);
    assert_eq!((tail.kept, tail.missing, tail.not_kept), (2, 118, None));
}

#[test]
fn why_no_more_was_kept_is_told() {
    let long = || kept(vec![bytes(1, "end")], true);
    let (tail, _) = shown(&stream(wrote(900), None), long(), &[]);
    assert_eq!((tail.kept, tail.not_kept), (3, Some(NotKept::Limit)));
    let short = long().map(|kept| Kept { is_short: true, ..kept });
    assert_eq!(shown(&stream(wrote(900), None), short, &[]).0.not_kept, Some(NotKept::NoRoom));
    let (tail, text) = shown(&stream(wrote(900), Some(9)), None, &[]);
    assert_eq!((tail.not_kept, text.as_str()), (Some(NotKept::NoRoom), ""));
    let row = LedgerRow { bytes: 5, ..LedgerRow::default() };
    assert_eq!(shown(&stream(row, None), None, &[]).0.not_kept, Some(NotKept::NotCaptured));
}

#[test]
fn a_blocked_write_is_a_gap_at_the_end() {
    let stream = LostStream { in_flight: 5, ..stream(wrote(6), Some(7)) };
    let (tail, text) = shown(&stream, kept(vec![bytes(1, "abcd\ne")], false), &[]);
    assert_eq!(text, "\ne\n[5 B missing: counted, and no record has them]\n");
    assert_eq!((tail.kept, tail.missing), (2, 5));
}

#[test]
fn patterns_see_whole_lines_and_a_line_that_is_not_whole_is_not_shown() {
    let parts = || vec![bytes(1, "word=abc\nx pass"), bytes(1, "word=abc y\nz\n")];
    let (_, text) = shown(&stream(wrote(28), Some(7)), kept(parts(), false), &["password=\\w+"]);
    assert_eq!(text, "[redacted] y\nz\n");
    // The beginning of the first line was overwritten: `pass` may have stood there.
    let (_, text) = shown(&stream(wrote(28), None), kept(parts(), true), &["password=\\w+"]);
    assert_eq!(text, "[redacted]\nx [redacted] y\nz\n");
    let torn = vec![
        bytes(1, "a\nx pass"),
        TailPart::Gap(process(1), 2, Reason::RingFull),
        bytes(1, "rd=abc\nb\n"),
    ];
    let (_, text) = shown(&stream(wrote(19), None), kept(torn, false), &["password=\\w+"]);
    assert_eq!(text, "a\n[redacted]\n[2 B missing: the ring was full]\n[redacted]\nb\n");
}
