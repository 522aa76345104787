//! One record of the capture ring: the bytes of a write, or why they are missing.

use bytes::Bytes;
use tracer_common::{
    capture::{self as layout, gap},
    event::Header,
    id::ProcessId,
    ledger::LedgerKey,
    object::ObjectId,
    op,
};

use super::Reason;
use crate::event::{DecodeError, Record, name};

/// The bytes of one write, or of a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// When the write returned, nanoseconds since boot; the same for all parts of one write.
    pub time_ns: u64,
    /// Its ledger row.
    pub key: LedgerKey,
    /// The thread that wrote.
    pub tid: u32,
    /// Name of the process.
    pub comm: String,
    /// The system call, or io_uring.
    pub syscall: &'static str,
    /// Bytes of this row that found no room in the ring before this record. Records of several threads may overtake
    /// each other, so only an increase over the maximum so far counts.
    pub lost: u64,
    /// The bytes.
    pub content: Content,
}

/// Bytes, or why they are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The written bytes, a slice of the batch that the record came in.
    Bytes(Bytes),
    /// The bytes are missing.
    Missing {
        /// Number of bytes.
        length: u64,
        /// The reason.
        reason: Reason,
        /// Where the bytes came from, for [`Reason::Copied`].
        source: Option<Source>,
    },
}

/// The fd that a copy within the kernel came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its number in the writing process.
    pub fd: i32,
    /// The object that it leads to; [`ObjectId::NONE`] if that could not be read.
    pub object: ObjectId,
}

impl Chunk {
    /// The process that wrote.
    #[must_use]
    pub fn process(&self) -> ProcessId {
        self.key.process
    }

    /// Number of bytes of the stream that it stands for.
    #[must_use]
    pub fn length(&self) -> u64 {
        match &self.content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Missing { length, .. } => *length,
        }
    }
}

/// Decodes one record without copying its bytes.
///
/// # Errors
/// [`DecodeError`]; never panics, whatever the record.
pub fn decode(record: &Bytes) -> Result<Chunk, DecodeError> {
    let mut fields = Record::new(record);
    let Header { time_ns, kind, text_len } = fields.read()?;
    if kind != layout::KIND {
        return Err(DecodeError::UnknownKind { kind });
    }
    let layout::Chunk { key, lost, length, tid, op, gap, source_fd, source, comm } =
        fields.read()?;
    let content = match reason(gap) {
        None => Content::Bytes(record.slice_ref(fields.text(text_len)?)),
        Some(reason) => {
            let source = Source { fd: source_fd, object: source };
            let source = (reason == Reason::Copied).then_some(source);
            Content::Missing { length, reason, source }
        }
    };
    let syscall = op::NAMES.get(op as usize).copied().unwrap_or("other");
    Ok(Chunk { time_ns, key, tid, comm: name(&comm), syscall, lost, content })
}

/// The reason for a code of the kernel side; `None` if the bytes follow.
fn reason(code: u32) -> Option<Reason> {
    match code {
        gap::NONE => None,
        gap::COPIED => Some(Reason::Copied),
        gap::UNREADABLE => Some(Reason::Unreadable),
        gap::URING => Some(Reason::IoUring),
        gap::TOO_LARGE => Some(Reason::TooLarge),
        _ => Some(Reason::Unexplained),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tracer_common::ledger::WRITE;

    use super::*;

    fn record(gap: u32, length: u64, bytes: &[u8]) -> Bytes {
        let mut record = 7u64.to_ne_bytes().to_vec();
        record.extend(layout::KIND.to_ne_bytes());
        record.extend((bytes.len() as u32).to_ne_bytes());
        // The key: process, object, fd, direction.
        record.extend(5u64.to_ne_bytes());
        record.extend([71u32, 0].map(u32::to_ne_bytes).concat());
        record.extend(88u64.to_ne_bytes());
        record.extend([9u32, 0, 2, WRITE].map(u32::to_ne_bytes).concat());
        record.extend([30u64, length].map(u64::to_ne_bytes).concat());
        record.extend([72u32, op::SENDFILE, gap, 4].map(u32::to_ne_bytes).concat());
        record.extend(99u64.to_ne_bytes());
        record.extend([9u32, 0].map(u32::to_ne_bytes).concat());
        record.extend(b"docker\0\0\0\0\0\0\0\0\0\0");
        record.extend(bytes);
        Bytes::from(record)
    }

    #[test]
    fn bytes_are_a_slice_of_the_record() {
        let record = record(gap::NONE, 3, b"abc");
        let chunk = decode(&record).unwrap();
        let Content::Bytes(bytes) = &chunk.content else { panic!("{chunk:?}") };
        assert_eq!(&bytes[..], b"abc");
        assert_eq!(bytes.as_ptr(), record[record.len() - 3..].as_ptr(), "it was copied");
        assert_eq!((chunk.time_ns, chunk.lost, chunk.tid), (7, 30, 72));
        assert_eq!((chunk.process(), chunk.key.fd), (ProcessId::new(71, 5), 2));
        assert_eq!((chunk.comm.as_str(), chunk.syscall), ("docker", "sendfile"));
    }

    #[test]
    fn a_copy_names_its_source() {
        let chunk = decode(&record(gap::COPIED, 4096, b"")).unwrap();
        let object = ObjectId { ino: 99, dev: 9, discriminator: 0 };
        let source = Some(Source { fd: 4, object });
        assert_eq!(
            chunk.content,
            Content::Missing { length: 4096, reason: Reason::Copied, source }
        );
        assert_eq!(chunk.length(), 4096);
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_chunk_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode(&Bytes::from(bytes));
        }

        #[test]
        fn a_cut_record_is_an_error(keep in 0usize..123) {
            let whole = record(gap::NONE, 3, b"abc");
            prop_assert!(decode(&whole.slice(..keep.min(whole.len() - 1))).is_err());
        }
    }
}
