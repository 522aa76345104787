//! Byte offset of a struct member, walking anonymous structs and unions and dotted paths.

use btf_rs::{Btf, BtfType, Struct, Type};

/// Offset of `path` in `struct name`, or the struct's size when `path` is empty.
pub(super) fn offset(btf: &Btf, name: &str, path: &str) -> Option<u64> {
    btf.resolve_types_by_name(name).ok()?.into_iter().find_map(|found| {
        let (Type::Struct(found) | Type::Union(found)) = found else { return None };
        if path.is_empty() { Some(found.size() as u64) } else { in_struct(btf, &found, path) }
    })
}

/// Offset of a dotted path in a struct or union.
fn in_struct(btf: &Btf, strukt: &Struct, path: &str) -> Option<u64> {
    let (head, rest) = match path.split_once('.') {
        Some((head, rest)) => (head, Some(rest)),
        None => (path, None),
    };
    strukt.members.iter().find_map(|member| {
        let base = u64::from(member.bit_offset() / 8);
        let name = btf.resolve_name(member).unwrap_or_default();
        if name.is_empty() {
            return Some(base + in_struct(btf, &resolve(btf, member)?, path)?);
        }
        if name != head {
            return None;
        }
        match rest {
            None => Some(base),
            Some(rest) => Some(base + in_struct(btf, &resolve(btf, member)?, rest)?),
        }
    })
}

/// The struct or union behind a member, through typedefs and qualifiers.
fn resolve(btf: &Btf, member: &dyn BtfType) -> Option<Struct> {
    btf.chained_type_iter(member).find_map(|found| match found {
        Type::Struct(found) | Type::Union(found) => Some(found),
        _ => None,
    })
}
