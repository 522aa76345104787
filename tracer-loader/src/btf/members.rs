//! Byte offsets of struct members. Anonymous structs and unions, and dotted paths, are followed.

use super::raw::{Raw, Record, kind};

/// How many types one path may go through. It ends the search in a file whose types refer to each other in a circle.
const DEEPEST: u32 = 16;

/// Offset of `path` in `struct name`, or the size of the struct if `path` is empty.
pub(super) fn offset(types: &Raw, name: &str, path: &str) -> Option<u64> {
    types.named(name).find_map(|(_, found)| {
        if !is_struct(&found) {
            return None;
        }
        if path.is_empty() {
            return Some(u64::from(found.size_or_type));
        }
        in_struct(types, &found, path, DEEPEST)
    })
}

fn is_struct(record: &Record) -> bool {
    matches!(record.kind, kind::STRUCT | kind::UNION)
}

/// Offset of a dotted path in a struct or union.
fn in_struct(types: &Raw, strukt: &Record, path: &str, depth: u32) -> Option<u64> {
    let depth = depth.checked_sub(1)?;
    let (head, rest) = match path.split_once('.') {
        Some((head, rest)) => (head, Some(rest)),
        None => (path, None),
    };
    types.members(strukt).find_map(|member| {
        let within = |path| in_struct(types, &strukt_of(types, member.id)?, path, depth);
        let name = types.name_of(&member);
        if name.is_empty() {
            return Some(member.offset + within(path)?);
        }
        if name != head.as_bytes() {
            return None;
        }
        Some(member.offset + rest.map_or(Some(0), within)?)
    })
}

/// The struct or union that a type stands for: typedefs and qualifiers are followed.
fn strukt_of(types: &Raw, mut id: u32) -> Option<Record> {
    for _ in 0..DEEPEST {
        let found = types.record(id)?;
        match found.kind {
            kind::STRUCT | kind::UNION => return Some(found),
            kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                id = found.size_or_type;
            }
            _ => return None,
        }
    }
    None
}
