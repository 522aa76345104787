//! Virtual machines: Debian's cloud kernels in qemu's software emulation, with an initramfs that contains busybox and
//! static programs.
//!
//! `cargo xtask vm` runs tests in them, `cargo xtask bench --instructions` counts instructions.

mod architecture;
mod archive;
mod cross;
mod guest;
mod initramfs;
mod kernel;
mod machine;
mod programs;

pub use self::{
    architecture::Architecture,
    guest::{Guests, Order},
    initramfs::Script,
    kernel::{ALL, Kernel, NEWEST, Series},
    machine::{Boot, Clock},
    programs::{Contents, Programs},
};
