//! System calls by the 32-bit entry point (`int 0x80`) of x86, from 64-bit code. Numbers and pointer
//! size differ; in the 64-bit table the same numbers are other calls.

#[cfg(target_arch = "x86_64")]
use std::arch::asm;
use std::{
    ffi::{c_int, c_long},
    os::fd::RawFd,
    ptr::NonNull,
};

use anyhow::Result;
use tracer_tests::content;

use super::{plain::at_position, source};
use crate::{
    ledger::Ledger,
    sys::{self, Outcome, Unsupported},
};

const WRITE: u32 = 4;
const SOCKETCALL: u32 = 102;
const WRITEV: u32 = 146;
const PWRITE64: u32 = 181;
const SENDFILE64: u32 = 239;
const SENDTO: u32 = 369;

const GETPID: u32 = 20;

/// `SYS_SEND` of `socketcall(2)`.
const SEND: u32 = 9;

/// `mmap` flag for an address below 2 GiB, which fits a 32-bit pointer.
#[cfg(target_arch = "x86_64")]
const LOW: c_int = libc::MAP_32BIT;
#[cfg(not(target_arch = "x86_64"))]
const LOW: c_int = 0;

/// `write`, number 4.
pub(crate) fn write(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    let arena = Arena::map()?;
    each(ledger, fd, sizes, |rest| {
        arena.fill(rest);
        int80(WRITE, [fd as u32, arena.data(), rest, 0, 0, 0])
    })
}

/// `writev`, number 146, with two segments.
pub(crate) fn writev(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    let arena = Arena::map()?;
    each(ledger, fd, sizes, |rest| {
        let first = rest / 3;
        arena.fill(rest);
        let table = arena.table([arena.data(), first, arena.data() + first, rest - first]);
        int80(WRITEV, [fd as u32, table, 2, 0, 0, 0])
    })
}

/// `pwrite64`, number 181, which takes the position as two 32-bit halves.
pub(crate) fn pwrite64(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    let arena = Arena::map()?;
    at_position(ledger, fd, sizes, |bytes, position| {
        let (low, high) = (position as u32, (position >> 32) as u32);
        arena.put(bytes);
        int80(PWRITE64, [fd as u32, arena.data(), bytes.len() as u32, low, high, 0])
    })
}

/// `socketcall(SYS_SEND)`, number 102, which takes its arguments from memory.
pub(crate) fn socketcall_send(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    let arena = Arena::map()?;
    each(ledger, fd, sizes, |rest| {
        arena.fill(rest);
        let table = arena.table([fd as u32, arena.data(), rest, 0]);
        int80(SOCKETCALL, [SEND, table, 0, 0, 0, 0])
    })
}

/// `sendto`, number 369, which newer 32-bit libraries use instead of `socketcall`.
pub(crate) fn sendto(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    let arena = Arena::map()?;
    each(ledger, fd, sizes, |rest| {
        arena.fill(rest);
        int80(SENDTO, [fd as u32, arena.data(), rest, 0, 0, 0])
    })
}

/// `sendfile64`, number 239.
pub(crate) fn sendfile64(ledger: &mut Ledger, fd: RawFd, sizes: &[usize]) -> Result<()> {
    use std::os::fd::AsRawFd;
    ensure_entry()?;
    sizes.iter().try_for_each(|size| {
        let source = source::file(*size)?;
        let from = source.as_raw_fd() as u32;
        each(ledger, fd, &[*size], |rest| int80(SENDFILE64, [fd as u32, from, 0, rest, 0, 0]))
    })
}

fn each(
    ledger: &mut Ledger,
    fd: RawFd,
    sizes: &[usize],
    call: impl Fn(u32) -> Outcome,
) -> Result<()> {
    sizes.iter().try_for_each(|size| ledger.transfer(fd, *size, |_, rest| call(rest as u32)))
}

/// Fails with [`Unsupported`] if there is no 32-bit entry point.
fn ensure_entry() -> Result<()> {
    match int80(GETPID, [0; 6]) {
        Ok(_) => Ok(()),
        Err(errno) => Err(Unsupported(format!("no 32-bit entry point: errno {errno}")).into()),
    }
}

/// Memory below 2 GiB: the data, followed by a table of arguments.
#[derive(Debug)]
struct Arena(NonNull<u8>);

impl Arena {
    const DATA: usize = 128 * 1024;
    const SIZE: usize = Self::DATA + 4096;

    fn map() -> Result<Self> {
        ensure_entry()?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | LOW;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), Self::SIZE, protection, flags, -1, 0) };
        sys::check("mmap", if start == libc::MAP_FAILED { -1 } else { 0 as c_long })?;
        Ok(Self(NonNull::new(start.cast()).ok_or_else(|| anyhow::anyhow!("mapped at 0"))?))
    }

    fn data(&self) -> u32 {
        self.0.as_ptr() as usize as u32
    }

    /// Fills the data part with this many fresh bytes.
    fn fill(&self, size: u32) {
        self.put(content::fresh(size as usize));
    }

    /// Copies these bytes to the data part.
    fn put(&self, bytes: &[u8]) {
        assert!(bytes.len() <= Self::DATA, "{} bytes do not fit", bytes.len());
        // SAFETY: the data part is large enough, as checked above, and no reference to it exists.
        unsafe { self.0.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    /// Writes the table; returns its address.
    fn table(&self, words: [u32; 4]) -> u32 {
        // SAFETY: the table is in the mapping, after the data, and page-aligned.
        unsafe {
            let table = self.0.as_ptr().add(Self::DATA);
            table.cast::<[u32; 4]>().write_volatile(words);
            table as usize as u32
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: unmaps what `map` mapped; no pointer into it is used afterwards.
        unsafe { libc::munmap(self.0.as_ptr().cast(), Self::SIZE) };
    }
}

/// Other architectures have no such entry point.
#[cfg(not(target_arch = "x86_64"))]
fn int80(_: u32, _: [u32; 6]) -> Outcome {
    Err(libc::ENOSYS)
}

/// Makes a call by the 32-bit entry point: number in eax, arguments in ebx ecx edx esi edi ebp.
#[cfg(target_arch = "x86_64")]
fn int80(number: u32, arguments: [u32; 6]) -> Outcome {
    // `asm!` cannot have rbx and rbp as operands, so they are saved, loaded through r8 and restored.
    let in_rbx_and_rbp = [arguments[0], arguments[5]];
    let returned: i32;
    // SAFETY: rbx and rbp are restored; the calls made here only read memory, which is mapped.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "mov ebx, dword ptr [r8]",
            "mov ebp, dword ptr [r8 + 4]",
            "int 0x80",
            "pop rbp",
            "pop rbx",
            inlateout("eax") number => returned,
            inlateout("r8") in_rbx_and_rbp.as_ptr() => _,
            in("ecx") arguments[1],
            in("edx") arguments[2],
            in("esi") arguments[3],
            in("edi") arguments[4],
            lateout("r9") _,
            lateout("r10") _,
            lateout("r11") _,
        );
    }
    usize::try_from(returned).map_err(|_| -returned)
}
