//! Patches constants and calls of kernel functions into the object before it is loaded.
//!
//! Rust eBPF has neither relocations for kernel types nor calls of kernel functions. The object has a marker in each
//! of these places ([`tracer_common::offsets::marker`]), and this module replaces it by a value.
//!
//! A value in the wrong place makes wrong counts. So the markers that are found must be those that the build script
//! counted when it embedded the object (`build.rs`), each of them must have a value, and no part of a marker may be
//! left.

use tracer_common::offsets::{marker, settings};

use crate::{LoaderError, btf::KernelTypes};

/// Bytes of an instruction (`struct bpf_insn`, `include/uapi/linux/bpf.h`): opcode, registers, offset (2),
/// immediate (4).
const INSTRUCTION: usize = 8;
/// `BPF_LD | BPF_DW | BPF_IMM`: loads 64 bits. The upper half is in the 8 bytes that follow.
const LOAD_WIDE: u8 = 0x18;
/// Upper half of a constant's marker.
const CONSTANT: u32 = (marker::CONSTANT >> 32) as u32;
/// `BPF_JMP | BPF_CALL`.
const CALL: u8 = 0x85;
/// `BPF_PSEUDO_KFUNC_CALL` as the source register, which is the upper half of the byte.
const KERNEL_FUNCTION: u8 = 2 << 4;
/// `BPF_ALU64 | BPF_MOV | BPF_X`.
const MOVE: u8 = 0xbf;
/// Source register r1, destination register r0.
const R1_TO_R0: u8 = 1 << 4;

/// BTF ids for `bpf_rdonly_cast` (Linux 6.2). The function turns any address into a typed pointer, so that the
/// programs read kernel structs with plain loads instead of a helper call for each member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RdonlyCast {
    /// Id of the kernel function.
    pub(crate) function: u32,
    /// Id of `struct file`.
    pub(crate) file: u32,
    /// Id of `struct task_struct`.
    pub(crate) task: u32,
    /// Id of `struct timespec64`.
    pub(crate) timespec: u32,
}

impl RdonlyCast {
    /// The ids; `None` on kernels without the function.
    pub(crate) fn find(types: &KernelTypes) -> Option<Self> {
        Some(Self {
            function: types.rdonly_cast_id()?,
            file: types.struct_id("file")?,
            task: types.struct_id("task_struct")?,
            timespec: types.struct_id("timespec64")?,
        })
    }
}

/// The values of all constants, by number.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Constants([Option<u64>; settings::COUNT]);

impl Constants {
    /// Constants without values.
    pub(crate) fn new() -> Self {
        Self([None; settings::COUNT])
    }

    /// Sets the value of a constant.
    pub(crate) fn set(&mut self, number: u32, value: u64) {
        self.0[number as usize] = Some(value);
    }
}

/// How many markers of each kind an object has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Markers {
    /// Markers of each constant, by its number.
    pub(crate) constants: [u32; settings::COUNT],
    /// Markers of calls of [`RdonlyCast::function`].
    pub(crate) casts: u32,
}

/// Replaces every marker of an object. On a kernel without [`RdonlyCast`] a move takes the place of the call. It is
/// never executed, and the verifier knows that.
///
/// # Errors
/// [`LoaderError::Patch`] if the object has other markers than `expected`, or a marker of a constant without a value.
pub(crate) fn patch(
    object: &[u8],
    constants: &Constants,
    cast: Option<RdonlyCast>,
    expected: &Markers,
) -> Result<Vec<u8>, LoaderError> {
    let refused = |reason: String| LoaderError::Patch { reason };
    let mut patched = object.to_vec();
    let mut found = Markers { constants: [0; settings::COUNT], casts: 0 };
    // Sections with instructions begin at multiples of 8 bytes.
    let (words, _) = patched.as_chunks_mut::<INSTRUCTION>();
    let mut words = words.iter_mut().peekable();
    while let Some(first) = words.next() {
        if *first == with_immediate([CALL, 0, 0, 0], marker::RDONLY_CAST) {
            *first = cast_or_move(cast);
            found.casts += 1;
        } else if let Some(number) = words.peek().and_then(|second| number(first, second))
            && let Some(second) = words.next()
        {
            let constant = constants.0.get(number).copied().flatten();
            let value =
                constant.ok_or_else(|| refused(format!("constant {number} has no value")))?;
            put(first, value as u32);
            put(second, (value >> 32) as u32);
            found.constants[number] += 1;
        } else if is_part_of_marker(first) {
            return Err(refused(format!("{first:x?} is no whole marker")));
        }
    }
    if found != *expected {
        return Err(refused("its markers are not those that were counted in it".into()));
    }
    Ok(patched)
}

/// The number of the constant, if these two halves of an instruction are its marker.
fn number(first: &[u8; INSTRUCTION], second: &[u8; INSTRUCTION]) -> Option<usize> {
    let [LOAD_WIDE, registers, 0, 0, low @ ..] = *first else { return None };
    let [0, 0, 0, 0, high @ ..] = *second else { return None };
    // A source register other than 0 means that the instruction loads the address of a map.
    let is_marker = registers >> 4 == 0 && u32::from_le_bytes(high) == CONSTANT;
    is_marker.then(|| u32::from_le_bytes(low) as usize)
}

fn is_part_of_marker([_, _, _, _, immediate @ ..]: &[u8; INSTRUCTION]) -> bool {
    [CONSTANT, marker::RDONLY_CAST as u32].contains(&u32::from_le_bytes(*immediate))
}

fn put(instruction: &mut [u8; INSTRUCTION], immediate: u32) {
    let [_, _, _, _, a, b, c, d] = instruction;
    [*a, *b, *c, *d] = immediate.to_le_bytes();
}

fn cast_or_move(cast: Option<RdonlyCast>) -> [u8; INSTRUCTION] {
    match cast {
        Some(cast) => with_immediate([CALL, KERNEL_FUNCTION, 0, 0], cast.function as i32),
        None => with_immediate([MOVE, R1_TO_R0, 0, 0], 0),
    }
}

fn with_immediate([code, registers, low, high]: [u8; 4], immediate: i32) -> [u8; INSTRUCTION] {
    let [a, b, c, d] = immediate.to_le_bytes();
    [code, registers, low, high, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAST: RdonlyCast = RdonlyCast { function: 9, file: 1, task: 3, timespec: 2 };

    /// The marker of a constant.
    fn constant(number: u32) -> Vec<u8> {
        let mut code = with_immediate([LOAD_WIDE, 3, 0, 0], number as i32).to_vec();
        code.extend(with_immediate([0; 4], CONSTANT as i32));
        code
    }

    fn call(helper: i32) -> Vec<u8> {
        with_immediate([CALL, 0, 0, 0], helper).to_vec()
    }

    /// This many markers of constant 7 and of the call.
    fn markers(sevens: u32, casts: u32) -> Markers {
        let mut constants = [0; settings::COUNT];
        constants[7] = sevens;
        Markers { constants, casts }
    }

    /// Patches an object. Constant 7 has a value, and no other constant has one.
    fn patched(object: &[u8], expected: Markers) -> Result<Vec<u8>, String> {
        let mut constants = Constants::new();
        constants.set(7, 0x1122_3344_5566_7788);
        patch(object, &constants, Some(CAST), &expected).map_err(|error| error.to_string())
    }

    #[test]
    fn a_constant_comes_whole_into_its_instruction() {
        let patched = patched(&constant(7), markers(1, 0)).unwrap();
        assert_eq!(patched[..8], with_immediate([LOAD_WIDE, 3, 0, 0], 0x5566_7788));
        assert_eq!(patched[8..], with_immediate([0; 4], 0x1122_3344));
    }

    #[test]
    fn the_cast_is_a_call_where_the_kernel_has_it_and_a_move_elsewhere() {
        let code = call(marker::RDONLY_CAST);
        assert_eq!(patched(&code, markers(0, 1)).unwrap(), [0x85, 0x20, 0, 0, 9, 0, 0, 0]);
        let moved = patch(&code, &Constants::new(), None, &markers(0, 1)).unwrap();
        assert_eq!(moved, [0xbf, 0x10, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn other_instructions_are_left_alone() {
        let load = [with_immediate([LOAD_WIDE, 3, 0, 0], 7), [0; 8]].concat();
        let code = [load, call(5)].concat();
        assert_eq!(patched(&code, markers(0, 0)).unwrap(), code);
    }

    #[test]
    fn an_object_with_a_marker_too_few_or_too_many_is_refused() {
        let code = [constant(7), constant(7), call(marker::RDONLY_CAST)].concat();
        assert!(patched(&code, markers(2, 1)).is_ok());
        for expected in [markers(1, 1), markers(3, 1), markers(2, 0), markers(2, 2)] {
            let refused = patched(&code, expected).unwrap_err();
            assert!(refused.contains("not those that were counted"), "{refused}");
        }
    }

    #[test]
    fn a_constant_without_a_value_or_of_an_unknown_number_is_refused() {
        for number in [8, settings::COUNT as u32] {
            let refused = patched(&constant(number), markers(0, 0)).unwrap_err();
            assert!(refused.contains(&format!("constant {number} has no value")), "{refused}");
        }
    }

    #[test]
    fn a_part_of_a_marker_is_refused() {
        let mut of_a_map = constant(7);
        of_a_map[1] = 1 << 4 | 3;
        let loose = with_immediate([MOVE, 0, 0, 0], marker::RDONLY_CAST).to_vec();
        for code in [of_a_map, constant(7)[8..].to_vec(), loose] {
            let refused = patched(&code, markers(0, 0)).unwrap_err();
            assert!(refused.contains("is no whole marker"), "{refused}");
        }
    }
}
