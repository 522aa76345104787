//! The only reads of kernel memory.
//!
//! Two kinds. A *typed* load is a plain instruction and needs a pointer whose type the verifier
//! knows (a BTF argument, the current task, or what a typed load returned); an invalid address reads
//! as zero because the kernel handles the fault. A *probed* read goes through
//! `bpf_probe_read_kernel`, takes any address and reports a fault as `None`.

use aya_ebpf::{Global, helpers::bpf_probe_read_kernel};

/// An address in kernel memory.
#[derive(Clone, Copy)]
pub(crate) struct Kptr(pub(crate) u64);

impl Kptr {
    /// This address plus the offset that BTF gave for a member.
    #[inline(always)]
    pub(crate) fn at(self, offset: &Global<u64>) -> Self {
        Self(self.0.wrapping_add(offset.load()))
    }

    /// The address, unless it is NULL.
    #[inline(always)]
    pub(crate) fn non_null(self) -> Option<Self> {
        (self.0 != 0).then_some(self)
    }

    /// Reads a `T` at this address with a fault check.
    #[inline(always)]
    pub(crate) fn read<T: Copy>(self) -> Option<T> {
        // SAFETY: the helper checks the address and leaves nothing uninitialised when it succeeds;
        // `T` is an integer or an array of integers everywhere in this crate.
        unsafe { bpf_probe_read_kernel(self.0 as *const T) }.ok()
    }

    /// Reads a member with a fault check.
    #[inline(always)]
    pub(crate) fn member<T: Copy>(self, offset: &Global<u64>) -> Option<T> {
        self.at(offset).read()
    }

    /// Follows a pointer member with a fault check; `None` for NULL as well.
    #[inline(always)]
    pub(crate) fn follow(self, offset: &Global<u64>) -> Option<Self> {
        self.member::<u64>(offset).and_then(|address| Self(address).non_null())
    }

    /// Loads a member of a struct whose type the verifier knows at this pointer.
    #[inline(always)]
    pub(crate) fn typed<T: Copy>(self, offset: &Global<u64>) -> T {
        // SAFETY: callers only pass pointers that the verifier tracks as BTF pointers; it refuses
        // the program otherwise, and the kernel's exception table turns a bad address into zero.
        unsafe { *(self.at(offset).0 as *const T) }
    }

    /// Follows a pointer member of a struct whose type the verifier knows.
    #[inline(always)]
    pub(crate) fn typed_follow(self, offset: &Global<u64>) -> Self {
        // SAFETY: as for `typed`; loading as a pointer keeps the verifier's type of the member.
        Self(unsafe { *(self.at(offset).0 as *const *const u8) } as u64)
    }
}

/// Hides from the compiler that a value is already known to be small, so that it keeps the mask that
/// the verifier needs to see.
#[inline(always)]
pub(crate) fn bounded(value: u32) -> u32 {
    #[cfg(target_arch = "bpf")]
    // SAFETY: moves a register onto itself. (An empty template would break the line information.)
    unsafe {
        let mut value = u64::from(value);
        core::arch::asm!("{0} = {0}", inout(reg) value, options(nomem, nostack));
        value as u32
    }
    #[cfg(not(target_arch = "bpf"))]
    value
}
