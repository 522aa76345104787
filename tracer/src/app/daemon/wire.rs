//! What a view and the recorder say to each other on a unix socket. The view sends one byte for each snapshot that it
//! wants, and gets a length (4 bytes, little-endian) and an [`Answer`] as JSON. A length of 0 means that there is no room
//! for a further view.

use serde::{Deserialize, Serialize};
use tracer_core::snapshot::Snapshot;

/// What a view sends for the next snapshot.
pub(in crate::app) const WANTED: u8 = b'?';
/// The longest answer, in bytes.
pub(super) const LONGEST: usize = 16 << 20;
/// Bytes of a length.
const HEAD: usize = 4;

/// What the recorder answers.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::app) struct Answer {
    /// The version of tracer that records.
    pub(in crate::app) version: String,
    /// What runs now, and what was lost lately.
    pub(in crate::app) snapshot: Snapshot,
}

/// An answer that has arrived.
#[derive(Debug, PartialEq)]
pub(in crate::app) enum Arrived {
    /// Not all of it.
    Part,
    /// There is no room for this view.
    NoRoom,
    /// An answer as JSON.
    Answer(Vec<u8>),
    /// Something that is no answer.
    Garbage,
}

/// Puts the length before an answer. `None` if it is too long.
pub(super) fn framed(json: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(json.len()).ok().filter(|_| json.len() <= LONGEST)?;
    Some([&length.to_le_bytes()[..], json].concat())
}

/// Takes an answer out of what has arrived.
pub(in crate::app) fn take(buffer: &mut Vec<u8>) -> Arrived {
    let Some((head, rest)) = buffer.split_first_chunk::<HEAD>() else { return Arrived::Part };
    let length = u32::from_le_bytes(*head) as usize;
    match rest.get(..length) {
        _ if length == 0 => Arrived::NoRoom,
        _ if length > LONGEST => Arrived::Garbage,
        None => Arrived::Part,
        Some(json) => {
            let json = json.to_vec();
            buffer.drain(..HEAD + length);
            Arrived::Answer(json)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_arrives_whole() {
        let sent = framed(b"{}").unwrap();
        let mut buffer = Vec::new();
        for byte in sent {
            assert_eq!(take(&mut buffer), Arrived::Part);
            buffer.push(byte);
        }
        buffer.push(7);
        assert_eq!(take(&mut buffer), Arrived::Answer(b"{}".to_vec()));
        assert_eq!(buffer, [7]);
    }

    #[test]
    fn what_is_no_answer_is_not_waited_for() {
        assert_eq!(take(&mut vec![0; 4]), Arrived::NoRoom);
        assert_eq!(take(&mut vec![0xff; 9]), Arrived::Garbage);
        assert_eq!(framed(&vec![b' '; LONGEST + 1]), None);
    }

    #[test]
    fn a_snapshot_survives_the_way() {
        let answer = Answer { version: "1".to_owned(), snapshot: Snapshot::default() };
        let json = serde_json::to_vec(&answer).unwrap();
        let back: Answer = serde_json::from_slice(&json).unwrap();
        assert_eq!(back.snapshot, answer.snapshot);
    }
}
