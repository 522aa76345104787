//! Raw records to events: each struct is read in the layout that the kernel side writes.

use tracer_common::event::{self as layout, kind, text};
use zerocopy::FromBytes;

use super::{Event, EventKind, Exit, Image, Sighting};
use crate::text::Beginning;

/// Why a record is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The record ended inside its header, payload or text.
    #[error("a record of {length} B is too short")]
    TooShort {
        /// Its length.
        length: usize,
    },
    /// The tag is unknown.
    #[error("unknown record kind {kind}")]
    UnknownKind {
        /// The tag.
        kind: u32,
    },
}

/// Decodes one record.
///
/// # Errors
/// [`DecodeError`]; never panics, whatever the bytes.
pub fn decode(record: &[u8]) -> Result<Event, DecodeError> {
    let mut record = Record::new(record);
    let layout::Header { time_ns, kind, text_len } = record.read()?;
    let kind = match kind {
        kind::FORK => fork(record.read()?),
        kind::EXEC => image(record.read()?, record.text(text_len)?, true),
        kind::ADOPTED => image(record.read()?, record.text(text_len)?, false),
        kind::EXIT => exit(record.read()?),
        kind::OBJECT => object(record.read()?, record.text(text_len)?),
        kind::FIRST_IO => first_io(record.read()?),
        kind::FACT => {
            EventKind::Fact { fact: record.read()?, text: record.text(text_len)?.to_vec() }
        }
        kind::HOLDER => holder(record.read()?, Sighting::Open),
        kind::CLOSED => holder(record.read()?, Sighting::Closed),
        kind::CREATED => holder(record.read()?, Sighting::Created),
        kind::LEFT => holder(record.read()?, Sighting::Left),
        kind => return Err(DecodeError::UnknownKind { kind }),
    };
    Ok(Event { time_ns, kind })
}

fn fork(fork: layout::Fork) -> EventKind {
    let layout::Fork { parent, child, ns_pid, role: _, comm } = fork;
    EventKind::Fork { parent, child, ns_pid, comm: name(&comm) }
}

fn image(image: layout::Image, argv: &[u8], executed: bool) -> EventKind {
    let layout::Image { process, parent, ns_pid, role, argv_len, comm, stdio, .. } = image;
    let Beginning { arguments, is_cut } = Beginning::of(argv, argv_len.into());
    EventKind::Image(Image {
        process,
        parent,
        ns_pid,
        role,
        executed,
        late: false,
        comm: name(&comm),
        argv: arguments,
        argv_cut: is_cut,
        argv_bytes: if is_cut { argv_len.into() } else { 0 },
        stdio,
        kernel_written: known(image.written),
        cgroup: image.cgroup,
    })
}

fn exit(exit: layout::Exit) -> EventKind {
    let layout::Exit { process, status, role: _, comm, .. } = exit;
    let layout::Exit { stdio, queues, incoming, sizes, removed, .. } = exit;
    let layout::Exit { other_bytes, other_calls, other_failed, other_errno, .. } = exit;
    EventKind::Exit(Exit {
        process,
        status,
        is_status_unknown: false,
        comm: name(&comm),
        stdio,
        queues,
        incoming,
        sizes,
        removed,
        other_bytes,
        other_calls,
        other_failed,
        other_errno,
        interrupted: exit.interrupted.checked_sub(1).map(|fd| fd as i32),
        kernel_written: known(exit.written),
    })
}

/// A count of the kernel, if it keeps one.
fn known(count: u64) -> Option<u64> {
    (count != layout::NO_COUNT).then_some(count)
}

fn object(object: layout::Object, raw: &[u8]) -> EventKind {
    let name = match object.text_kind {
        text::COMPONENTS => path(raw),
        text::CUT_COMPONENTS => cut_path(raw),
        text::UNIX => unix_name(raw),
        _ => String::new(),
    };
    EventKind::Object { object, name }
}

fn first_io(first: layout::FirstIo) -> EventKind {
    EventKind::FirstIo { first, comm: name(&first.comm) }
}

fn holder(holder: layout::Holder, sighting: Sighting) -> EventKind {
    EventKind::Holder { holder, comm: name(&holder.comm), sighting }
}

/// A kernel name: the bytes before the first NUL.
pub(crate) fn name(raw: &[u8]) -> String {
    let end = raw.iter().position(|byte| *byte == 0).unwrap_or(raw.len());
    String::from_utf8_lossy(&raw[..end]).into_owned()
}

/// Strings that each end with NUL. A last one without NUL is kept.
fn strings(raw: &[u8]) -> Vec<String> {
    let body = raw.strip_suffix(&[0]).unwrap_or(raw);
    if body.is_empty() {
        return Vec::new();
    }
    body.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

/// Builds a path from its components, which arrive from the file upwards. The nameless root of a pseudo file system
/// (an anonymous pipe) has no path.
fn path(raw: &[u8]) -> String {
    strings(raw)
        .iter()
        .rev()
        .filter(|component| !component.is_empty() && *component != "/")
        .fold(String::new(), |path, component| path + "/" + component)
}

/// A path that does not begin at the root, because it is deeper than the kernel side looks.
fn cut_path(raw: &[u8]) -> String {
    format!("…{}", path(raw))
}

/// A unix socket's name as `ss(8)` shows it: `@` for the abstract namespace.
fn unix_name(raw: &[u8]) -> String {
    match raw.split_first() {
        Some((0, rest)) => format!("@{}", String::from_utf8_lossy(rest)),
        _ => name(raw),
    }
}

/// A record that is read from its front.
pub(crate) struct Record<'a> {
    rest: &'a [u8],
    short: DecodeError,
}

impl<'a> Record<'a> {
    /// A whole record.
    pub(crate) fn new(record: &'a [u8]) -> Self {
        Self { rest: record, short: DecodeError::TooShort { length: record.len() } }
    }

    /// The next struct.
    pub(crate) fn read<T: FromBytes>(&mut self) -> Result<T, DecodeError> {
        let (value, rest) = T::read_from_prefix(self.rest).map_err(|_| self.short)?;
        self.rest = rest;
        Ok(value)
    }

    /// The next bytes: as many as [`layout::Header::text_len`] says.
    pub(crate) fn text(&mut self, length: u32) -> Result<&'a [u8], DecodeError> {
        let (text, rest) = self.rest.split_at_checked(length as usize).ok_or(self.short)?;
        self.rest = rest;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tracer_common::id::ProcessId;

    use super::*;

    fn header(kind: u32, text_len: u32) -> Vec<u8> {
        let mut record = 7u64.to_ne_bytes().to_vec();
        record.extend(kind.to_ne_bytes());
        record.extend(text_len.to_ne_bytes());
        record
    }

    #[test]
    fn a_fork_is_decoded_field_by_field() {
        let mut record = header(kind::FORK, 0);
        for (start, tgid) in [(1u64, 10u32), (2, 11)] {
            record.extend(start.to_ne_bytes());
            record.extend(tgid.to_ne_bytes());
            record.extend(0u32.to_ne_bytes());
        }
        record.extend(5u32.to_ne_bytes());
        record.extend(1u32.to_ne_bytes());
        record.extend(b"docker\0\0\0\0\0\0\0\0\0\0");
        let event = decode(&record).unwrap();
        assert_eq!(event.time_ns, 7);
        assert_eq!(
            event.kind,
            EventKind::Fork {
                parent: ProcessId::new(10, 1),
                child: ProcessId::new(11, 2),
                ns_pid: 5,
                comm: "docker".into()
            }
        );
    }

    #[test]
    fn a_path_is_put_together_from_its_end() {
        assert_eq!(path(b"out\0log\0var\0"), "/var/log/out");
        assert_eq!(path(b"\0"), "");
    }

    #[test]
    fn an_abstract_socket_name_is_marked() {
        assert_eq!(unix_name(b"\0name"), "@name");
        assert_eq!(unix_name(b"/run/x.sock\0"), "/run/x.sock");
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_event_or_an_error(record in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode(&record);
        }

        #[test]
        fn any_payload_of_a_known_kind_is_total(
            kind in 1u32..11,
            text_len in 0u32..2000,
            payload in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            let mut record = header(kind, text_len);
            record.extend(payload);
            let _ = decode(&record);
        }
    }
}
