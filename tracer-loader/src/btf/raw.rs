//! The BTF file format (`Documentation/bpf/btf.rst`): one pass over the file, then lookups in place.
//!
//! This is own code for its memory and time. Parsed into objects, as `btf-rs` and aya do it, a kernel's types take
//! tens of megabytes. Mapped, as `btf-rs` can do it from Linux 6.16 on, each lookup of a name goes through the whole
//! file. Here a file of 5 MB takes its own size, 4 bytes for each type, and one pass.
//!
//! Total: a file that is cut or has wrong lengths gives an error or fewer types, and never a panic.

use std::ops::Range;

/// `BTF_MAGIC`.
const MAGIC: u16 = 0xeb9f;
/// Size of `struct btf_header`: magic, version, flags, then five words.
const HEADER: usize = 24;
/// Size of `struct btf_type`: name, info, size or type.
const RECORD: usize = 12;

/// `BTF_KIND_*` (`include/uapi/linux/btf.h`): the kinds that are read.
pub(super) mod kind {
    pub(in crate::btf) const STRUCT: u32 = 4;
    pub(in crate::btf) const UNION: u32 = 5;
    pub(in crate::btf) const ENUM: u32 = 6;
    pub(in crate::btf) const TYPEDEF: u32 = 8;
    pub(in crate::btf) const VOLATILE: u32 = 9;
    pub(in crate::btf) const CONST: u32 = 10;
    pub(in crate::btf) const RESTRICT: u32 = 11;
    pub(in crate::btf) const FUNC: u32 = 12;
    pub(in crate::btf) const FUNC_PROTO: u32 = 13;
    pub(in crate::btf) const PTR: u32 = 2;
    pub(in crate::btf) const TYPE_TAG: u32 = 18;
}

/// The only function that can be looked up by name. There are more functions than all other types together.
const FUNCTION: &[u8] = b"bpf_rdonly_cast";

/// All types of one file.
pub(super) struct Raw {
    data: Vec<u8>,
    strings: Range<usize>,
    /// Position of each type's record in the file, by type id. Id 0 is `void`.
    records: Vec<u32>,
    /// Hash of the name, and id, of each type that can be looked up by name; sorted.
    names: Vec<(u32, u32)>,
}

/// One type's record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// Offset of its name in the strings.
    name: u32,
    /// `BTF_KIND_*`.
    pub(super) kind: u32,
    /// Number of members, enumerators or parameters.
    pub(super) count: usize,
    /// Whether the upper byte of a member's offset is the width of a bit field.
    packed: bool,
    /// Size in bytes, or the id of the type that it refers to.
    pub(super) size_or_type: u32,
    /// Position of its members, enumerators or parameters in the file.
    rest: usize,
}

/// One member of a struct or union.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    name: u32,
    /// Id of its type.
    pub(super) id: u32,
    /// Its offset, in bytes.
    pub(super) offset: u64,
}

impl Raw {
    /// Reads a file in one pass. The error says what is wrong with the file.
    pub(super) fn parse(data: Vec<u8>) -> Result<Self, &'static str> {
        let cut = "is cut short";
        let word = |index: usize| word(&data, 8 + 4 * index).map(|word| word as usize).ok_or(cut);
        if data.len() < HEADER || u16::from_ne_bytes([data[0], data[1]]) != MAGIC {
            return Err("is no BTF file of this machine's kind");
        }
        // The lengths have 32 bits, so their sums fit into usize.
        let header = word_at_header(&data).ok_or(cut)?;
        let types = header + word(0)?..header + word(0)? + word(1)?;
        let strings = header + word(2)?..header + word(2)? + word(3)?;
        if types.end > data.len() || strings.end > data.len() {
            return Err(cut);
        }
        let mut raw = Self { data, strings, records: vec![0], names: Vec::new() };
        raw.index(types)?;
        Ok(raw)
    }

    /// Finds the beginning of each type, and adds types to the index of names.
    fn index(&mut self, types: Range<usize>) -> Result<(), &'static str> {
        let mut at = types.start;
        while at < types.end {
            let record = self.record_at(at).ok_or("is cut short")?;
            let length = rest_length(&record).ok_or("has a type of an unknown kind")?;
            let name = self.text(record.name);
            let has_name = !name.is_empty();
            let is_looked_up = match record.kind {
                kind::STRUCT | kind::UNION | kind::ENUM | kind::TYPEDEF => has_name,
                kind::FUNC => name == FUNCTION,
                _ => false,
            };
            if is_looked_up {
                self.names.push((hash(name), self.records.len() as u32));
            }
            self.records.push(at as u32);
            at = record.rest + length;
        }
        self.names.sort_unstable();
        Ok(())
    }

    /// Types with this name, in the order of their ids.
    pub(super) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (u32, Record)> + 'a {
        let hash = hash(name.as_bytes());
        let first = self.names.partition_point(|(known, _)| *known < hash);
        let same_hash = self.names[first..].iter().take_while(move |(known, _)| *known == hash);
        same_hash
            .filter_map(|(_, id)| Some((*id, self.record(*id)?)))
            .filter(move |(_, record)| self.text(record.name) == name.as_bytes())
    }

    /// The type with this id; `None` for `void`.
    pub(super) fn record(&self, id: u32) -> Option<Record> {
        let at = self.records.get(id as usize).filter(|_| id != 0)?;
        self.record_at(*at as usize)
    }

    fn record_at(&self, at: usize) -> Option<Record> {
        let info = word(&self.data, at + 4)?;
        Some(Record {
            name: word(&self.data, at)?,
            kind: info >> 24 & 0x1f,
            count: (info & 0xffff) as usize,
            packed: info >> 31 == 1,
            size_or_type: word(&self.data, at + 8)?,
            rest: at + RECORD,
        })
    }

    /// The members of a struct or union.
    pub(super) fn members<'a>(&'a self, of: &Record) -> impl Iterator<Item = Member> + 'a {
        let (rest, count, packed) = (of.rest, of.count, of.packed);
        (0..count).map_while(move |index| {
            let at = rest + 12 * index;
            let offset = word(&self.data, at + 8)?;
            let bits = if packed { offset & 0x00ff_ffff } else { offset };
            let (name, id) = (word(&self.data, at)?, word(&self.data, at + 4)?);
            Some(Member { name, id, offset: u64::from(bits / 8) })
        })
    }

    /// The enumerators of an `enum`: name and value.
    pub(super) fn enumerators<'a>(&'a self, of: &Record) -> impl Iterator<Item = (&'a [u8], u32)> {
        let (rest, count) = (of.rest, of.count);
        (0..count).map_while(move |index| {
            let at = rest + 8 * index;
            Some((self.text(word(&self.data, at)?), word(&self.data, at + 4)?))
        })
    }

    /// A member's name; empty for an anonymous member.
    pub(super) fn name_of(&self, member: &Member) -> &[u8] {
        self.text(member.name)
    }

    /// The string at an offset, without its final NUL; empty if there is none.
    fn text(&self, offset: u32) -> &[u8] {
        let from = self.strings.start.saturating_add(offset as usize);
        let rest = self.data.get(from..self.strings.end).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

/// Length of the header. The offsets of types and strings count from its end.
fn word_at_header(data: &[u8]) -> Option<usize> {
    word(data, 4).map(|length| length as usize)
}

/// Bytes that follow a type's record; `None` for a kind that is not known.
fn rest_length(record: &Record) -> Option<usize> {
    let each = match record.kind {
        1 | 14 | 17 => return Some(4),
        3 => return Some(12),
        4 | 5 | 15 | 19 => 12,
        6 | 13 => 8,
        2 | 7..=12 | 16 | 18 => 0,
        _ => return None,
    };
    Some(each * record.count)
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// FNV-1a. Names with equal hashes are compared as text.
fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
