//! Load-time constants: the loader writes their values into the instructions.
//!
//! The verifier sees each value as a constant and removes the branches that can never run.

use tracer_common::{
    kernel_offsets, kernel_settings,
    offsets::{number, settings},
};

/// The constant with this number (see [`tracer_common::offsets`]).
#[derive(Clone, Copy)]
pub(crate) struct Constant<const NUMBER: u32>;

impl<const NUMBER: u32> Constant<NUMBER> {
    /// Its value. Each use has its own instruction: a value kept in a register may be spilled to the stack,
    /// which has only 512 bytes.
    #[inline(always)]
    pub(crate) fn load(self) -> u64 {
        #[cfg(target_arch = "bpf")]
        // SAFETY: moves an immediate into a register.
        unsafe {
            let value: u64;
            core::arch::asm!(
                "{value} = {marker} ll",
                value = out(reg) value,
                marker = const tracer_common::offsets::marker::CONSTANT | NUMBER as u64,
                options(nomem, nostack, preserves_flags),
            );
            value
        }
        #[cfg(not(target_arch = "bpf"))]
        u64::from(NUMBER)
    }

    /// Its value, truncated to 32 bits.
    #[inline(always)]
    pub(crate) fn load32(self) -> u32 {
        self.load() as u32
    }
}

macro_rules! declare_offsets {
    ($($name:ident $strukt:literal $member:literal $required:expr;)*) => {
        $(
            #[doc = concat!("Byte offset of `", $strukt, ".", $member, "`.")]
            #[allow(dead_code, reason = "some are used on one architecture only")]
            pub(crate) const $name: Constant<{ number::$name }> = Constant;
        )*
    };
}
kernel_offsets!(declare_offsets);

macro_rules! declare_settings {
    ($($name:ident $doc:literal;)*) => {
        $(
            #[doc = $doc]
            pub(crate) const $name: Constant<{ settings::$name }> = Constant;
        )*
    };
}
kernel_settings!(declare_settings);
