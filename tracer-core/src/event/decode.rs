//! Raw records to events: checked by length and tag, no casts.

use bytes::{Buf, Bytes};
use tracer_common::{
    event as layout,
    event::{kind, text},
    id::ProcessId,
    ledger::LedgerKey,
    limits,
    object::{FdState, ObjectId, PipeState, SocketState, TtyState},
};

use super::{Event, EventKind, Exit, Image, Sighting};

/// Why a record is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The record ended inside its header, payload or text.
    #[error("a record of {length} B is too short")]
    TooShort {
        /// Its length.
        length: usize,
    },
    /// The tag is none of ours.
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
    let mut fields = Fields::new(Bytes::copy_from_slice(record));
    let time_ns = fields.u64()?;
    let tag = fields.u32()?;
    let text_len = fields.u32()? as usize;
    let kind = match tag {
        kind::FORK => fork(&mut fields)?,
        kind::EXEC => image(&mut fields, text_len, true)?,
        kind::ADOPTED => image(&mut fields, text_len, false)?,
        kind::EXIT => exit(&mut fields)?,
        kind::OBJECT => object(&mut fields, text_len)?,
        kind::FIRST_IO => first_io(&mut fields)?,
        kind::FACT => fact(&mut fields, text_len)?,
        kind::HOLDER => holder(&mut fields, Sighting::Open)?,
        kind::CLOSED => holder(&mut fields, Sighting::Closed)?,
        kind::CREATED => holder(&mut fields, Sighting::Created)?,
        kind => return Err(DecodeError::UnknownKind { kind }),
    };
    Ok(Event { time_ns, kind })
}

fn fork(fields: &mut Fields) -> Result<EventKind, DecodeError> {
    let (parent, child) = (fields.process()?, fields.process()?);
    let ns_pid = fields.u32()?;
    let _role = fields.u32()?;
    Ok(EventKind::Fork { parent, child, ns_pid, comm: fields.comm()? })
}

fn image(fields: &mut Fields, text_len: usize, executed: bool) -> Result<EventKind, DecodeError> {
    let (process, parent) = (fields.process()?, fields.process()?);
    let ns_pid = fields.u32()?;
    let role = fields.u32()?;
    let argv_len = fields.u32()? as usize;
    let _zero = fields.u32()?;
    let comm = fields.comm()?;
    let stdio = [fields.fd_state()?, fields.fd_state()?, fields.fd_state()?];
    let raw = fields.text(text_len)?;
    let argv = strings(&raw);
    let argv_cut = argv_len > raw.len();
    Ok(EventKind::Image(Image {
        process,
        parent,
        ns_pid,
        role,
        executed,
        comm,
        argv,
        argv_cut,
        stdio,
    }))
}

fn exit(fields: &mut Fields) -> Result<EventKind, DecodeError> {
    let process = fields.process()?;
    let status = fields.u32()?;
    let _role = fields.u32()?;
    let comm = fields.comm()?;
    let stdio = [fields.fd_state()?, fields.fd_state()?, fields.fd_state()?];
    let pipes = [fields.pipe()?, fields.pipe()?, fields.pipe()?];
    let sizes = [fields.u64()?, fields.u64()?, fields.u64()?];
    let (other_bytes, other_calls) = (fields.u64()?, fields.u64()?);
    Ok(EventKind::Exit(Exit {
        process,
        status,
        comm,
        stdio,
        pipes,
        sizes,
        other_bytes,
        other_calls,
    }))
}

fn object(fields: &mut Fields, text_len: usize) -> Result<EventKind, DecodeError> {
    let mut object = layout::Object {
        id: fields.object()?,
        process: fields.process()?,
        fd: fields.i32()?,
        mode: fields.u32()?,
        rdev: fields.u32()?,
        flags: fields.u32()?,
        size: fields.u64()?,
        in_flight: fields.u64()?,
        magic: fields.u64()?,
        nlink: fields.u32()?,
        text_kind: fields.u32()?,
        ..layout::Object::default()
    };
    object.pipe = fields.pipe()?;
    object.tty = TtyState {
        index: fields.u32()?,
        major: fields.u32()?,
        valid: fields.u32()?,
        zero: fields.u32()?,
    };
    object.socket = SocketState {
        peer_ino: fields.u64()?,
        local: fields.array()?,
        remote: fields.array()?,
        family: fields.u16()?,
        kind: fields.u16()?,
        local_port: fields.u16()?,
        remote_port: fields.u16()?,
    };
    object.joined = fields.object()?;
    object.hop = fields.u32()?;
    let _zero = fields.u32()?;
    let raw = fields.text(text_len)?;
    let name = match object.text_kind {
        text::COMPONENTS => path(&raw),
        text::UNIX => unix_name(&raw),
        _ => String::new(),
    };
    Ok(EventKind::Object { object, name })
}

fn first_io(fields: &mut Fields) -> Result<EventKind, DecodeError> {
    let key = fields.ledger_key()?;
    let result = fields.u64()? as i64;
    let (op, role) = (fields.u32()?, fields.u32()?);
    let raw: [u8; limits::COMM] = fields.array()?;
    let first = layout::FirstIo { key, result, op, role, comm: raw };
    Ok(EventKind::FirstIo { first, comm: name(&raw) })
}

fn fact(fields: &mut Fields, text_len: usize) -> Result<EventKind, DecodeError> {
    let fact = layout::Fact {
        process: fields.process()?,
        fact: fields.u32()?,
        fd: fields.i32()?,
        errno: fields.u32()?,
        detail: fields.u32()?,
        state: fields.fd_state()?,
    };
    Ok(EventKind::Fact { fact, text: fields.text(text_len)?.to_vec() })
}

fn holder(fields: &mut Fields, sighting: Sighting) -> Result<EventKind, DecodeError> {
    let process = fields.process()?;
    let state = fields.fd_state()?;
    let (fd, role) = (fields.i32()?, fields.u32()?);
    let comm: [u8; limits::COMM] = fields.array()?;
    let pipe = fields.pipe()?;
    let (size, peer_ino) = (fields.u64()?, fields.u64()?);
    let holder = layout::Holder { process, state, fd, role, comm, pipe, size, peer_ino };
    Ok(EventKind::Holder { holder, comm: name(&comm), sighting })
}

/// A kernel name: the bytes before the first NUL.
fn name(raw: &[u8]) -> String {
    let end = raw.iter().position(|byte| *byte == 0).unwrap_or(raw.len());
    String::from_utf8_lossy(&raw[..end]).into_owned()
}

/// Strings that are each ended by NUL; a last one without it is kept as it is.
fn strings(raw: &[u8]) -> Vec<String> {
    let body = raw.strip_suffix(&[0]).unwrap_or(raw);
    if body.is_empty() {
        return Vec::new();
    }
    body.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

/// A path from its components, which come from the file upwards. The nameless root of a pseudo file
/// system (an anonymous pipe) has no path.
fn path(raw: &[u8]) -> String {
    strings(raw)
        .iter()
        .rev()
        .filter(|component| !component.is_empty() && *component != "/")
        .fold(String::new(), |path, component| path + "/" + component)
}

/// A unix socket's name as `ss(8)` shows it: `@` for the abstract namespace.
fn unix_name(raw: &[u8]) -> String {
    match raw.split_first() {
        Some((0, rest)) => format!("@{}", String::from_utf8_lossy(rest)),
        _ => name(raw),
    }
}

/// Takes fields off the front of a record.
pub(crate) struct Fields {
    rest: Bytes,
    short: DecodeError,
}

impl Fields {
    /// The fields of one record, from its beginning.
    pub(crate) fn new(record: Bytes) -> Self {
        let short = DecodeError::TooShort { length: record.len() };
        Self { rest: record, short }
    }

    fn need(&self, length: usize) -> Result<(), DecodeError> {
        if self.rest.len() < length { Err(self.short) } else { Ok(()) }
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.need(2)?;
        Ok(self.rest.get_u16_ne())
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.need(4)?;
        Ok(self.rest.get_u32_ne())
    }

    pub(crate) fn i32(&mut self) -> Result<i32, DecodeError> {
        self.need(4)?;
        Ok(self.rest.get_i32_ne())
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.need(8)?;
        Ok(self.rest.get_u64_ne())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.need(N)?;
        let mut array = [0; N];
        self.rest.copy_to_slice(&mut array);
        Ok(array)
    }

    pub(crate) fn text(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        self.need(length)?;
        Ok(self.rest.split_to(length))
    }

    pub(crate) fn comm(&mut self) -> Result<String, DecodeError> {
        Ok(name(&self.array::<{ limits::COMM }>()?))
    }

    fn process(&mut self) -> Result<ProcessId, DecodeError> {
        Ok(ProcessId { start_ns: self.u64()?, tgid: self.u32()?, zero: self.u32()? })
    }

    pub(crate) fn object(&mut self) -> Result<ObjectId, DecodeError> {
        Ok(ObjectId { ino: self.u64()?, dev: self.u32()?, discriminator: self.u32()? })
    }

    fn fd_state(&mut self) -> Result<FdState, DecodeError> {
        Ok(FdState { object: self.object()?, mode: self.u32()?, flags: self.u32()? })
    }

    fn pipe(&mut self) -> Result<PipeState, DecodeError> {
        Ok(PipeState {
            unread: self.u64()?,
            slots: self.u32()?,
            readers: self.u32()?,
            writers: self.u32()?,
            valid: self.u32()?,
        })
    }

    pub(crate) fn ledger_key(&mut self) -> Result<LedgerKey, DecodeError> {
        Ok(LedgerKey {
            process: self.process()?,
            object: self.object()?,
            fd: self.i32()?,
            direction: self.u32()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    #[test]
    fn an_empty_argument_survives() {
        assert_eq!(strings(b"sh\0-c\0\0"), ["sh", "-c", ""]);
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
