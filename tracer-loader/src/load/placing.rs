//! Puts constants and kernel functions into the object before it is loaded.
//!
//! Rust eBPF has neither relocations for kernel types nor calls of kernel functions: the object has a
//! marker where it wants one ([`tracer_common::offsets::marker`]), and this replaces it. Nothing of it is
//! left to be done at run time.

use tracer_common::offsets::{marker, settings};

use crate::btf::KernelTypes;

/// Bytes of an instruction (`struct bpf_insn`, `include/uapi/linux/bpf.h`): opcode, registers, offset (2),
/// immediate (4).
const INSTRUCTION: usize = 8;
/// `BPF_LD | BPF_DW | BPF_IMM`: loads 64 bits, the upper half out of the instruction behind it.
const LOAD_WIDE: u8 = 0x18;
/// `BPF_JMP | BPF_CALL`.
const CALL: u8 = 0x85;
/// `BPF_PSEUDO_KFUNC_CALL` as the source register, which is the high half of the byte.
const KERNEL_FUNCTION: u8 = 2 << 4;
/// `BPF_ALU64 | BPF_MOV | BPF_X`.
const MOVE: u8 = 0xbf;
/// r1 as the source, r0 as the destination.
const R1_TO_R0: u8 = 1 << 4;

/// `bpf_rdonly_cast` (Linux 6.2): makes a typed pointer of any address, so that the programs read kernel
/// structs with plain loads instead of a helper call for each member. As BTF ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RdonlyCast {
    /// The kernel function.
    pub(crate) function: u32,
    /// `struct file`.
    pub(crate) file: u32,
    /// `struct task_struct`.
    pub(crate) task: u32,
    /// `struct timespec64`.
    pub(crate) timespec: u32,
}

impl RdonlyCast {
    /// `None` on kernels that do not have it.
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
#[derive(Clone, Debug)]
pub(crate) struct Constants([u64; settings::COUNT]);

impl Constants {
    /// All zero.
    pub(crate) fn new() -> Self {
        Self([0; settings::COUNT])
    }

    /// Sets one. A number that no constant has is none.
    pub(crate) fn set(&mut self, number: u32, value: u64) {
        if let Some(constant) = self.0.get_mut(number as usize) {
            *constant = value;
        }
    }
}

/// The object with everything in its place. Where the kernel has no [`RdonlyCast`], a move stands there,
/// and the verifier knows that it is never reached.
pub(crate) fn place(object: &[u8], constants: &Constants, cast: Option<RdonlyCast>) -> Vec<u8> {
    let mut placed = object.to_vec();
    // Sections of instructions begin at multiples of 8 bytes.
    let (words, _) = placed.as_chunks_mut::<INSTRUCTION>();
    let call = with_immediate([CALL, 0, 0, 0], marker::RDONLY_CAST);
    let mut index = 0;
    while let Some(word) = words.get_mut(index) {
        if *word == call {
            *word = cast_or_move(cast);
        } else if let Some([first, second]) =
            words.get_mut(index..).and_then(<[_]>::first_chunk_mut)
            && let Some(value) = wanted(first, second).and_then(|number| constants.0.get(number))
        {
            put(first, *value as u32);
            put(second, (value >> 32) as u32);
        }
        index += 1;
    }
    placed
}

/// The number of the constant that two halves of an instruction ask for.
fn wanted(first: &[u8; INSTRUCTION], second: &[u8; INSTRUCTION]) -> Option<usize> {
    let [LOAD_WIDE, registers, 0, 0, a, b, c, d] = *first else { return None };
    let [0, 0, 0, 0, high @ ..] = *second else { return None };
    // A source register other than 0 stands for a map.
    let is_marker =
        registers >> 4 == 0 && u64::from(u32::from_le_bytes(high)) == marker::CONSTANT >> 32;
    is_marker.then(|| u32::from_le_bytes([a, b, c, d]) as usize)
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

    fn marked(number: u32) -> Vec<u8> {
        let mut code = with_immediate([LOAD_WIDE, 3, 0, 0], number as i32).to_vec();
        code.extend(with_immediate([0; 4], (marker::CONSTANT >> 32) as i32));
        code
    }

    #[test]
    fn a_constant_comes_whole_into_its_instruction() {
        let mut constants = Constants::new();
        constants.set(7, 0x1122_3344_5566_7788);
        let placed = place(&marked(7), &constants, None);
        assert_eq!(placed[..8], with_immediate([LOAD_WIDE, 3, 0, 0], 0x5566_7788));
        assert_eq!(placed[8..], with_immediate([0; 4], 0x1122_3344));
    }

    #[test]
    fn loads_of_maps_and_numbers_that_no_constant_has_are_left_alone() {
        let mut map = marked(7);
        map[1] = 1 << 4 | 3;
        let unknown = marked(settings::COUNT as u32);
        let mut constants = Constants::new();
        constants.set(settings::COUNT as u32, 5);
        for code in [map, unknown] {
            assert_eq!(place(&code, &constants, None), code);
        }
    }

    #[test]
    fn the_cast_is_a_call_where_the_kernel_has_it_and_a_move_elsewhere() {
        let code = with_immediate([CALL, 0, 0, 0], marker::RDONLY_CAST);
        let cast = RdonlyCast { function: 9, file: 1, task: 3, timespec: 2 };
        let called = place(&code, &Constants::new(), Some(cast));
        assert_eq!(called, [0x85, 0x20, 0, 0, 9, 0, 0, 0]);
        assert_eq!(place(&code, &Constants::new(), None), [0xbf, 0x10, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn other_helpers_are_left_alone() {
        let code = with_immediate([CALL, 0, 0, 0], 5);
        assert_eq!(place(&code, &Constants::new(), None), code);
    }
}
