//! Tests on the running kernel, if it has type information, and on files made here.

use super::*;

fn kernel() -> Option<KernelTypes> {
    KernelTypes::read(Path::new(DEFAULT_PATH)).ok()
}

#[test]
fn every_required_member_is_found_in_the_running_kernel() {
    let Some(kernel) = kernel() else { return };
    let offsets = kernel.offsets().unwrap();
    assert_eq!(offsets.len(), OFFSETS.len());
}

#[test]
fn anonymous_unions_are_walked() {
    let Some(kernel) = kernel() else { return };
    let pipe = members::offset(&kernel.types, "inode", "i_pipe");
    assert!(pipe.is_some_and(|offset| offset > 64), "{pipe:?}");
}

#[test]
fn a_missing_file_is_one_sentence() {
    let Err(error) = KernelTypes::read(Path::new("/nonexistent")) else { panic!("no error") };
    assert!(error.to_string().starts_with("cannot read the kernel's type information at /non"));
}

#[test]
fn tracepoint_arguments_are_counted_without_the_data_pointer() {
    let Some(kernel) = kernel() else { return };
    assert_eq!(kernel.tracepoint_arguments("sys_exit"), Some(2));
    assert_eq!(kernel.tracepoint_arguments("no_such_tracepoint"), None);
}

/// `btf-rs` finds the same offset of each direct member.
#[test]
fn another_reader_finds_the_same_members() {
    use btf_rs::{Btf, Type};
    let Some(kernel) = kernel() else { return };
    let other = Btf::from_file(DEFAULT_PATH).unwrap();
    for wanted in OFFSETS.iter().filter(|wanted| !wanted.member.contains('.')) {
        let found = members::offset(&kernel.types, wanted.strukt, wanted.member);
        let structs = other.resolve_types_by_name(wanted.strukt).unwrap();
        let direct = structs.into_iter().find_map(|found| {
            let (Type::Struct(found) | Type::Union(found)) = found else { return None };
            if wanted.member.is_empty() {
                return Some(found.size() as u64);
            }
            let member = found.members.iter().find(|member| {
                other.resolve_name(*member).is_ok_and(|name| name == wanted.member)
            })?;
            Some(u64::from(member.bit_offset() / 8))
        });
        // A member of an anonymous struct has no direct offset.
        if direct.is_some() {
            assert_eq!(found, direct, "{}.{}", wanted.strukt, wanted.member);
        }
    }
    if let Some(id) = kernel.rdonly_cast_id() {
        assert!(other.resolve_ids_by_name("bpf_rdonly_cast").unwrap().contains(&id));
    }
}

/// A BTF file that a test puts together. Names are appended one after another.
#[derive(Default)]
struct Made {
    types: Vec<u32>,
    strings: Vec<u8>,
}

impl Made {
    fn name(&mut self, name: &str) -> u32 {
        if self.strings.is_empty() {
            self.strings.push(0);
        }
        let at = self.strings.len() as u32;
        self.strings.extend(name.bytes().chain([0]));
        at
    }

    fn file(&self) -> Vec<u8> {
        let types: Vec<u8> = self.types.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let (type_length, length) = (types.len() as u32, self.strings.len() as u32);
        let mut file: Vec<u8> = 0xeb9f_u16.to_ne_bytes().into_iter().chain([1, 0]).collect();
        let header = [24, 0, type_length, type_length, length];
        file.extend(header.iter().flat_map(|word| word.to_ne_bytes()));
        [file, types, self.strings.clone()].concat()
    }
}

/// A kernel that has only this struct. Each member has 8 bytes.
pub(crate) fn kernel_with(name: &str, members: &[&str]) -> KernelTypes {
    let mut made = Made::default();
    let (name, count) = (made.name(name), members.len() as u32);
    made.types.extend([name, kind::STRUCT << 24 | count, 8 * count]);
    for (index, member) in (0..).zip(members) {
        let name = made.name(member);
        made.types.extend([name, 0, 64 * index]);
    }
    KernelTypes { types: Raw::parse(made.file()).unwrap() }
}

/// `struct outer { struct { int inside; struct outer; }; }`, which contains itself. The first member's offset carries
/// the width of a bit field.
fn odd() -> Made {
    let mut made = Made::default();
    let (outer, inside) = (made.name("outer"), made.name("inside"));
    // Id 1.
    made.types.extend([outer, 1 << 31 | kind::STRUCT << 24 | 1, 64]);
    made.types.extend([0, 2, 3 << 24 | 128]);
    // Id 2.
    made.types.extend([0, kind::STRUCT << 24 | 2, 32]);
    made.types.extend([inside, 99, 64, 0, 1, 0]);
    made
}

#[test]
fn a_circle_of_types_ends() {
    let types = Raw::parse(odd().file()).unwrap();
    assert_eq!(members::offset(&types, "outer", "nowhere"), None);
    assert_eq!(members::offset(&types, "outer", ""), Some(64));
}

#[test]
fn the_width_of_a_bit_field_is_no_part_of_its_offset() {
    let types = Raw::parse(odd().file()).unwrap();
    assert_eq!(members::offset(&types, "outer", "inside"), Some(16 + 8));
}

#[test]
fn a_file_that_is_cut_anywhere_is_refused_or_has_less() {
    let whole = odd().file();
    for length in 0..whole.len() {
        if let Ok(types) = Raw::parse(whole[..length].to_vec()) {
            let _ = members::offset(&types, "outer", "inside");
        }
    }
    let mut unknown = odd();
    unknown.types.extend([0, 31 << 24, 0]);
    assert!(Raw::parse(unknown.file()).is_err());
}
