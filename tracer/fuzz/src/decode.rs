//! Records of the rings: give an event or a chunk with the values of the record, or a named error. What is shown of
//! them is harmless.

use bytes::Bytes;
use tracer::render::{Show, Style};
use tracer_common::capture::KIND;
use tracer_core::{
    capture::chunk,
    event::{self, DecodeError, Event},
    report,
    session::{Session, Target},
    text::redact::Redact,
};

use crate::{
    layout::{check_chunk, check_event},
    oracle::{check_report, check_sentence, harmless},
};

/// Takes any bytes as records, each after its length in two bytes.
pub fn check(input: &[u8]) {
    let mut session = Session::default();
    let mut views = [None, Some(())].map(|hides| {
        let redact = hides.and_then(|()| Redact::new(&["token=\\S+"]).ok());
        (Show::new(Style { color: false, width: 80 }, false, redact), Vec::new())
    });
    for record in records(input) {
        if let Ok(event) = event(record) {
            session.apply(&event);
        }
        let Ok(chunk) = chunk::decode(&Bytes::copy_from_slice(record)) else { continue };
        check_chunk(record, &chunk);
        for (show, out) in &mut views {
            show.see(&chunk, out).expect("memory takes everything");
            if chunk.lost % 4 == 0 {
                show.idle(out).expect("memory takes everything");
            }
        }
    }
    for (mut show, mut out) in views {
        show.end(&mut out).expect("memory takes everything");
        harmless(&String::from_utf8(out).expect("what is shown is UTF-8"));
    }
    let start = jiff::Timestamp::UNIX_EPOCH;
    let target = Target { kind: "pid".into(), name: "--pid 1".into(), pids: vec![1], doubt: None };
    check_report(&report::build(&session, target, start, &[1, 2]).0);
}

/// Decodes one record, and checks the event or the error.
fn event(record: &[u8]) -> Result<Event, DecodeError> {
    let decoded = event::decode(record);
    match &decoded {
        Ok(event) => check_event(record, event),
        Err(error @ DecodeError::TooShort { length }) => {
            assert_eq!(*length, record.len());
            check_sentence(&error.to_string());
        }
        Err(error @ DecodeError::UnknownKind { kind }) => {
            assert!(*kind == 0 || *kind > 10, "{kind} is known");
            assert!(*kind != KIND || record.len() >= 16);
            check_sentence(&error.to_string());
        }
    }
    decoded
}

/// Splits an input into records, each after its length in two bytes.
pub(crate) fn records(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, behind) = rest.split_first_chunk()?;
        let length = usize::from(u16::from_le_bytes(*length)).min(behind.len());
        let (record, others) = behind.split_at(length);
        rest = others;
        Some(record)
    })
}
