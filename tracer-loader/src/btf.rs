//! Kernel facts from the kernel's own type information (`/sys/kernel/btf/vmlinux`).
//!
//! Rust eBPF has no CO-RE relocations. So this module looks up member offsets, and the loader patches them into the
//! programs as constants. It does not use aya.

mod members;
mod raw;
#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};

use tracer_common::offsets::{MISSING, OFFSETS, settings::INODE_WINDOW_BYTES};

use self::raw::{Raw, Record, kind};

/// Where the kernel publishes its types (`CONFIG_DEBUG_INFO_BTF`).
pub const DEFAULT_PATH: &str = "/sys/kernel/btf/vmlinux";
/// Environment variable that names another BTF file, for kernels whose BTF is in a separate package.
pub const PATH_VARIABLE: &str = "TRACER_BTF_PATH";

/// Why the kernel's types cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file is missing, unreadable, or no BTF.
    #[error(
        "cannot read the kernel's type information at {}: {reason}; tracer needs a kernel built \
         with CONFIG_DEBUG_INFO_BTF=y",
        path.display()
    )]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// The kernel does not have a member that every trace needs.
    #[error(
        "this kernel has no {strukt}.{member}: tracer does not know this kernel's layout; report it \
         with the output of `uname -r`"
    )]
    Missing {
        /// Kernel struct.
        strukt: &'static str,
        /// Member, or a dotted path of members.
        member: &'static str,
    },
}

/// The kernel's types, from a BTF file of some megabytes.
pub struct KernelTypes {
    types: Raw,
}

impl KernelTypes {
    /// Path of the BTF file: [`PATH_VARIABLE`], else [`DEFAULT_PATH`].
    #[must_use]
    pub fn path() -> PathBuf {
        std::env::var_os(PATH_VARIABLE)
            .filter(|path| !path.is_empty())
            .map_or_else(|| PathBuf::from(DEFAULT_PATH), PathBuf::from)
    }

    /// Reads a BTF file.
    ///
    /// # Errors
    /// [`BtfError::Unreadable`].
    pub fn read(path: &Path) -> Result<Self, BtfError> {
        let unreadable = |reason: String| BtfError::Unreadable { path: path.to_owned(), reason };
        let data = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
        let types = Raw::parse(data).map_err(|reason| unreadable(format!("it {reason}")))?;
        Ok(Self { types })
    }

    /// All offsets that the eBPF programs need, each with the name of its constant.
    ///
    /// # Errors
    /// [`BtfError::Missing`] for a required member.
    pub fn offsets(&self) -> Result<Vec<(&'static str, u64)>, BtfError> {
        OFFSETS
            .iter()
            .map(|offset| {
                let found = members::offset(&self.types, offset.strukt, offset.member);
                match found {
                    Some(value) => Ok((offset.global, value)),
                    None if offset.required => {
                        Err(BtfError::Missing { strukt: offset.strukt, member: offset.member })
                    }
                    None => Ok((offset.global, MISSING)),
                }
            })
            .collect()
    }

    /// Offset of a member of a struct, in bytes.
    #[must_use]
    pub fn offset_in(&self, strukt: &str, member: &str) -> Option<u64> {
        members::offset(&self.types, strukt, member)
    }

    /// Whether one read of [`INODE_WINDOW_BYTES`] covers the members of `struct inode` that identify an object.
    #[must_use]
    pub fn inode_fits_window(&self) -> bool {
        ["i_mode", "i_rdev", "i_ino", "i_sb"].iter().all(|member| {
            members::offset(&self.types, "inode", member)
                .is_some_and(|offset| offset + 8 <= INODE_WINDOW_BYTES)
        })
    }

    /// Number of arguments of a tracepoint, without the leading `void *__data`; `None` if the kernel has no such
    /// tracepoint.
    #[must_use]
    pub fn tracepoint_arguments(&self, name: &str) -> Option<usize> {
        // A typedef declares the arguments (`include/trace/bpf_probe.h`).
        let (_, typedef) = self.named(&format!("btf_trace_{name}"), kind::TYPEDEF)?;
        let pointer = self.types.record(typedef.size_or_type)?;
        let prototype = self.types.record(pointer.size_or_type)?;
        if pointer.kind != kind::PTR || prototype.kind != kind::FUNC_PROTO {
            return None;
        }
        prototype.count.checked_sub(1)
    }

    fn named(&self, name: &str, kind: u32) -> Option<(u32, Record)> {
        self.types.named(name).find(|(_, record)| record.kind == kind)
    }

    /// BTF id of a kernel struct.
    #[must_use]
    pub fn struct_id(&self, name: &str) -> Option<u32> {
        Some(self.named(name, kind::STRUCT)?.0)
    }

    /// BTF id of `bpf_rdonly_cast` (Linux 6.2).
    #[must_use]
    pub fn rdonly_cast_id(&self) -> Option<u32> {
        Some(self.named("bpf_rdonly_cast", kind::FUNC)?.0)
    }

    /// Value of an enumerator, for instance `memory_cgrp_id` of `enum cgroup_subsys_id`.
    #[must_use]
    pub fn enumerator(&self, enumeration: &str, name: &str) -> Option<u32> {
        self.types.named(enumeration).filter(|(_, found)| found.kind == kind::ENUM).find_map(
            |(_, found)| {
                let mut enumerators = self.types.enumerators(&found);
                enumerators.find_map(|(known, value)| (known == name.as_bytes()).then_some(value))
            },
        )
    }
}
