//! The index of a capture folder (`tracer report DIR`): gives a sentence, or possible sums and pieces.

use bytes::Bytes;
use tracer_core::{
    capture::{
        index::{Line, Reader},
        recovery::{Part, Piece, Search, Want},
        summary::Tally,
    },
    report,
    session::Session,
    text::redact::Redact,
};

use crate::oracle::{check_report, check_sentence};

/// A session with losses of which the output can be recovered.
const SESSION: &[u8] = include_bytes!("../../../tests/sessions/unread.session");

/// Takes any bytes as an index.
pub fn check(input: &[u8]) {
    let reader = match Reader::new(input) {
        Ok(reader) => reader,
        Err(error) => return check_sentence(&error.to_string()),
    };
    let head = reader.head().clone();
    let lines: Vec<Line> = reader.collect();
    let wants = wants(&lines);
    let (mut tally, mut search) = (Tally::new(head.limit, head.keep), Search::new(&wants));
    for line in &lines {
        tally.add(line);
        search.see(line);
    }
    let streams = tally.finish();
    for stream in &streams {
        let total = stream.total;
        let sum = u128::from(total.kept) + u128::from(total.cut) + u128::from(total.missing);
        assert_eq!(sum, u128::from(total.written), "the account of a stream: {total:?}");
        search.assume_cut(stream.declared.stream, total.cut);
    }
    let recording =
        tracer_core::recording::read(SESSION, u64::MAX).expect("a session that was kept");
    let (mut report, _) = recording.report();
    let mut captured = report::captured(&Session::default(), "out".to_owned(), &head, &streams);
    let redact = Redact::new(&["token=\\S+"]).expect("a pattern");
    for (want, found) in wants.iter().zip(search.finish()) {
        let sum: u64 = found.parts.iter().filter_map(bytes_of).fold(0, u64::saturating_add);
        assert_eq!(sum, found.bytes, "{found:?}");
        let mut read = |piece: &Piece| some_bytes(piece);
        let hidden = (found.bytes % 2 == 0).then_some(&redact);
        let session = &recording.session;
        captured
            .recovered
            .extend(report::recovered(session, want, &found, &streams, hidden, &mut read));
    }
    report.capture = Some(captured);
    check_report(&report);
}

fn bytes_of(part: &Part) -> Option<u64> {
    match part {
        Part::Bytes(piece) => Some(piece.length),
        Part::Gap { .. } => None,
    }
}

/// Questions about the streams of an index.
fn wants(lines: &[Line]) -> Vec<Want> {
    let declared = lines.iter().filter_map(|line| match line {
        Line::Stream(declared) => Some(declared),
        _ => None,
    });
    let written = lines.iter().fold(0_u64, |sum, line| match line {
        Line::Write(write) => sum.saturating_add(write.length),
        _ => sum,
    });
    declared
        .take(4)
        .flat_map(|stream| {
            let (process, fd, object) = (stream.process, stream.fd, stream.object);
            let unread = written / 2;
            [
                Want::Stream { process, fd, object },
                Want::Tail { object, unread, in_flight: 0, written, is_sure: true },
                Want::Tail { object, unread: written, in_flight: 3, written, is_sure: false },
            ]
        })
        .collect()
}

/// A file whose content follows from the offset, some of it harmful to a terminal. A piece that is too large is
/// refused, as if the file did not have it.
fn some_bytes(piece: &Piece) -> Option<Bytes> {
    let length = usize::try_from(piece.length).ok().filter(|length| *length <= 128 << 10)?;
    let pattern = b"token=1 \x1b[2J\xff\xe2\x80\xae\r\n".iter();
    let at = usize::try_from(piece.offset % 16).ok()?;
    Some(pattern.cycle().skip(at).take(length).copied().collect())
}
