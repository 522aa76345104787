//! The tables that a tracer has in the kernel, read from outside: how many entries each has.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, ensure};

/// Commands of `bpf(2)` (`enum bpf_cmd`, `include/uapi/linux/bpf.h`).
const MAP_LOOKUP_ELEM: libc::c_long = 1;
const MAP_GET_NEXT_KEY: libc::c_long = 4;
const MAP_GET_FD_BY_ID: libc::c_long = 14;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// Map types (`enum bpf_map_type`).
const HASH: u32 = 1;
const ARRAY: u32 = 2;

/// The tables of entries that come and go: hash tables, and the filters that count their entries.
const TABLES: [&str; 17] = [
    "PROCESSES",
    "TGID_FILTER",
    "OBJECTS",
    "FILES",
    "INODE_FILTER",
    "ROW_SLOTS",
    "TAKEN_SLOTS",
    "FD_ROWS",
    "LEDGER",
    "READ_ENDS",
    "URING",
    "URING_GROUPS",
    "URING_MEMORY",
    "INTERRUPTED",
    "THREAD_IO",
    "AWAITED",
    "OLD_CALLS",
];

/// How many entries each table has; of a filter, the sum of its slots.
pub type Entries = BTreeMap<&'static str, u64>;

/// The tables of one tracer.
#[derive(Debug)]
pub struct Tables(BTreeMap<&'static str, Table>);

#[derive(Debug)]
struct Table {
    map: OwnedFd,
    kind: u32,
    key_size: usize,
    value_size: usize,
    capacity: u32,
}

/// The front of `struct bpf_map_info`.
#[repr(C)]
#[derive(Default)]
struct Info {
    kind: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    name: [u8; 16],
}

impl Tables {
    /// Opens those of a running tracer.
    pub fn of(pid: u32) -> Result<Self> {
        let mut found = BTreeMap::new();
        for info in fs::read_dir(format!("/proc/{pid}/fdinfo"))?.flatten() {
            let Ok(text) = fs::read_to_string(info.path()) else { continue };
            let Some(id) = text.lines().find_map(|line| line.strip_prefix("map_id:")) else {
                continue;
            };
            let (name, table) = Table::open(id.trim().parse()?)?;
            if let Some(known) = TABLES.into_iter().find(|known| *known == name) {
                found.insert(known, table);
            }
        }
        for name in TABLES {
            ensure!(found.contains_key(name), "process {pid} has no table {name}");
        }
        Ok(Self(found))
    }

    /// How many entries each has now.
    pub fn entries(&self) -> Result<Entries> {
        self.0.iter().map(|(name, table)| Ok((*name, table.entries()?))).collect()
    }
}

impl Table {
    fn open(id: u32) -> Result<(String, Self)> {
        let fd = bpf(MAP_GET_FD_BY_ID, &[u64::from(id), 0]).context("open a map")?;
        // SAFETY: the call has just opened it for this process.
        let map = unsafe { OwnedFd::from_raw_fd(i32::try_from(fd)?) };
        let mut info = Info::default();
        let size = size_of::<Info>() as u64;
        let attributes = [map.as_raw_fd() as u64 | size << 32, (&raw mut info) as u64];
        bpf(OBJ_GET_INFO_BY_FD, &attributes).context("describe a map")?;
        let end = info.name.iter().position(|byte| *byte == 0).unwrap_or(info.name.len());
        let name = String::from_utf8_lossy(&info.name[..end]).into_owned();
        let (key_size, value_size) = (info.key_size as usize, info.value_size as usize);
        Ok((name, Self { map, kind: info.kind, key_size, value_size, capacity: info.max_entries }))
    }

    fn entries(&self) -> Result<u64> {
        match self.kind {
            HASH => self.keys(),
            ARRAY => self.sum(),
            other => anyhow::bail!("a table of type {other}"),
        }
    }

    fn keys(&self) -> Result<u64> {
        let (mut key, mut next) = (vec![0_u8; self.key_size], vec![0_u8; self.key_size]);
        let mut count = 0;
        loop {
            let from = if count == 0 { 0 } else { key.as_ptr() as u64 };
            let attributes = [self.map.as_raw_fd() as u64, from, next.as_mut_ptr() as u64];
            match bpf(MAP_GET_NEXT_KEY, &attributes) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(count),
                Err(error) => return Err(error.into()),
            }
            std::mem::swap(&mut key, &mut next);
            count += 1;
        }
    }

    /// Of filters, the sum of their slots; of slots with rows, how many are not empty.
    fn sum(&self) -> Result<u64> {
        let mut value = vec![0_u8; self.value_size];
        let mut sum = 0;
        for slot in 0..self.capacity {
            let key = (&raw const slot) as u64;
            bpf(
                MAP_LOOKUP_ELEM,
                &[self.map.as_raw_fd() as u64, key, value.as_mut_ptr() as u64, 0],
            )?;
            sum += match <[u8; 8]>::try_from(value.as_slice()) {
                Ok(number) => u64::from_ne_bytes(number),
                Err(_) => u64::from(value.iter().any(|byte| *byte != 0)),
            };
        }
        Ok(sum)
    }
}

fn bpf(command: libc::c_long, attributes: &[u64]) -> std::io::Result<libc::c_long> {
    let size = size_of_val(attributes);
    // SAFETY: the attributes are valid for their size, and what they point to is as large as the command says.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size) };
    if answer < 0 { Err(std::io::Error::last_os_error()) } else { Ok(answer) }
}
