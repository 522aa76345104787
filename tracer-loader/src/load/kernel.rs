//! What loading needs to know of the kernel, until the programs are attached.

use aya::{Btf, Endianness};

use crate::{
    LoaderError,
    btf::KernelTypes,
    error::reason,
    hooks::{self, ITERATORS},
};

/// The kernel's types, and as much of them as aya needs.
pub(crate) struct Kernel {
    /// All of them.
    pub(crate) types: KernelTypes,
    /// Those that programs are attached by, with their ids.
    pub(crate) targets: Btf,
}

impl Kernel {
    /// Reads the kernel's types.
    ///
    /// # Errors
    /// [`LoaderError::Btf`].
    pub(crate) fn read() -> Result<Self, LoaderError> {
        let types = KernelTypes::read(&KernelTypes::path())?;
        let targets =
            targets(&types).map_err(|error| LoaderError::Object { reason: reason(&error) })?;
        Ok(Self { types, targets })
    }
}

/// The beginning of a BTF file: `struct btf_header` (`include/uapi/linux/btf.h`), and its length in bytes.
const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
const HEADER: u32 = 24;
/// `BTF_KIND_*` in their place in `struct btf_type.info`.
const FORWARD: u32 = 7 << 24;
const TYPEDEF: u32 = 8 << 24;
const FUNCTION: u32 = 12 << 24;

/// aya looks up by name in a BTF of its own what it attaches to, and takes the place of the type for
/// its id. All types of the kernel would cost it tens of megabytes; it gets those few, each in its place, and forward
/// declarations without a name between them.
fn targets(types: &KernelTypes) -> Result<Btf, aya::BtfError> {
    let tracepoints = hooks::tracepoints().filter_map(|name| {
        Some((types.tracepoint_id(name)?, TYPEDEF, format!("btf_trace_{name}")))
    });
    let iterators = ITERATORS.iter().filter_map(|iterator| {
        Some((types.iterator_id(iterator.kind)?, FUNCTION, format!("bpf_iter_{}", iterator.kind)))
    });
    let mut named: Vec<(u32, u32, String)> = tracepoints.chain(iterators).collect();
    named.sort_unstable();
    // A tracepoint may stand for both manners.
    named.dedup();
    let mut records: Vec<u32> = Vec::new();
    let mut strings = vec![0];
    for (id, kind, name) in &named {
        // Ids begin with 1, and a record has three words.
        while records.len() as u32 / 3 + 1 < *id {
            records.extend([0, FORWARD, 0]);
        }
        records.extend([strings.len() as u32, *kind, 0]);
        strings.extend(name.bytes().chain([0]));
    }
    let length = records.len() as u32 * 4;
    let header = [HEADER, 0, length, length, strings.len() as u32];
    let mut file: Vec<u8> = MAGIC.to_ne_bytes().into_iter().chain([VERSION, 0]).collect();
    file.extend(header.iter().chain(&records).flat_map(|word| word.to_ne_bytes()));
    file.extend(strings);
    Btf::parse(&file, Endianness::default())
}
