//! Records for the ring buffer. They are built in per-CPU scratch memory, because they exceed the BPF stack.

use core::mem::size_of;

use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_boot_ns, bpf_ringbuf_output};
use tracer_common::{
    event::{Header, TEXT},
    loss::Reason,
};

use crate::{
    events::loss as losses,
    maps::{EVENTS, SCRATCH, SCRATCH_BYTES, Scratch},
};

/// A record under construction: header, payload, text.
#[repr(C)]
pub(crate) struct Record<P> {
    header: Header,
    /// The payload that the kind selects.
    pub(crate) payload: P,
    /// Text that follows the payload.
    pub(crate) text: [u8; TEXT],
}

/// Nanoseconds since boot.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: takes no argument.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// The number of the current clock tick (`jiffies`, `CONFIG_HZ` per second: 100 to 1000). This is one load;
/// [`now`] reads the clock hardware.
#[inline(always)]
pub(crate) fn tick() -> u64 {
    // SAFETY: takes no argument.
    unsafe { bpf_jiffies64() }
}

/// Starts a record of this kind in a scratch slot of the calling program. The payload is all zero; the text is
/// not cleared. Works in place, because payloads are too large for the BPF stack.
#[inline(always)]
pub(crate) fn start<P: Copy>(slot: u32, kind: u32) -> Option<&'static mut Record<P>> {
    const { assert!(size_of::<Record<P>>() <= SCRATCH_BYTES) };
    let scratch: *mut Scratch = SCRATCH.get_ptr_mut(slot)?;
    // SAFETY: the slot is larger than the record (checked above), aligned to 8, and belongs to this
    // program on this CPU; payloads are integers only, so all zero is valid.
    let record = unsafe {
        let record = scratch.cast::<Record<P>>();
        core::ptr::write_bytes(&raw mut (*record).payload, 0, 1);
        &mut *record
    };
    record.header = Header { time_ns: now(), kind, text_len: 0 };
    Some(record)
}

/// The record that [`start`] started in this slot. Exported functions use it, because they take integers only.
#[inline(always)]
pub(crate) fn resume<P: Copy>(slot: u32) -> Option<&'static mut Record<P>> {
    let scratch: *mut Scratch = SCRATCH.get_ptr_mut(slot)?;
    // SAFETY: as in `start`.
    Some(unsafe { &mut *scratch.cast::<Record<P>>() })
}

impl<P> Record<P> {
    /// Length of the text in bytes.
    #[inline(always)]
    pub(crate) fn text_len(&self) -> u32 {
        self.header.text_len
    }

    /// Sets the length of the text in bytes.
    #[inline(always)]
    pub(crate) fn set_text_len(&mut self, length: u32) {
        self.header.text_len = length;
    }

    /// Sends the record with the first `text_len` bytes of its text.
    #[inline(always)]
    pub(crate) fn send(&mut self, text_len: u32) {
        let text_len = if text_len as usize > TEXT { TEXT as u32 } else { text_len };
        self.header.text_len = text_len;
        let length = (size_of::<Header>() + size_of::<P>()) as u64 + u64::from(text_len);
        // SAFETY: `length` is at most the size of the record; the ring is a valid map.
        let failed = unsafe {
            bpf_ringbuf_output(
                (&raw const EVENTS).cast_mut().cast(),
                (self as *mut Self).cast(),
                length,
                0,
            )
        };
        if failed != 0 {
            losses::count(Reason::RingFull, 0);
        }
    }
}
