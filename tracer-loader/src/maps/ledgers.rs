//! Reads the ledger and the losses.

use std::borrow::Borrow;

use aya::{
    Pod,
    maps::{Array, HashMap, MapData, MapError, PerCpuArray},
};
use tracer_common::{
    id::ProcessId,
    ledger::{FdKey, FdRow, LedgerKey, LedgerRow},
    loss::{LossCell, Reason},
    names,
    object::{EndKey, ReadEnd},
};

use crate::{Loader, LoaderError, hooks::HOOKS};

impl Loader {
    /// Takes the rows of a key out of the ledger: mostly one, and two where two threads opened it at the same moment. Each
    /// is given to `keep` before it leaves the kernel.
    ///
    /// # Errors
    /// [`LoaderError::Map`].
    pub fn take_rows(
        &mut self,
        key: &LedgerKey,
        mut keep: impl FnMut(&LedgerRow),
    ) -> Result<Vec<LedgerRow>, LoaderError> {
        let _real_time = self.real_time.enter();
        let found = [
            self.take_slotted(key, &mut keep)?,
            self.take_by_fd(key, &mut keep)?,
            self.take_later(key, &mut keep)?,
        ];
        Ok(found.into_iter().flatten().collect())
    }

    fn take_by_fd(
        &mut self,
        key: &LedgerKey,
        keep: &mut impl FnMut(&LedgerRow),
    ) -> Result<Option<LedgerRow>, LoaderError> {
        let mut by_fd: HashMap<_, FdKey, FdRow> = self.map_mut(names::MAP_FD_ROWS)?;
        let short = FdKey::from(key);
        if let Some(found) = known(by_fd.get(&short, 0), names::MAP_FD_ROWS)?
            && found.key == *key
        {
            keep(&found.row);
            // An error means that the row is gone, and only this process takes rows out.
            let _ = by_fd.remove(&short);
            return Ok(Some(found.row));
        }
        Ok(None)
    }

    fn take_later(
        &mut self,
        key: &LedgerKey,
        keep: &mut impl FnMut(&LedgerRow),
    ) -> Result<Option<LedgerRow>, LoaderError> {
        let mut ledger: HashMap<_, LedgerKey, LedgerRow> = self.map_mut(names::MAP_LEDGER)?;
        let row = known(ledger.get(key, 0), names::MAP_LEDGER)?;
        if let Some(row) = &row {
            keep(row);
            let _ = ledger.remove(key);
        }
        Ok(row)
    }

    fn take_slotted(
        &mut self,
        key: &LedgerKey,
        keep: &mut impl FnMut(&LedgerRow),
    ) -> Result<Option<LedgerRow>, LoaderError> {
        let slot = FdKey::from(key).slot();
        let mut slots: Array<_, FdRow> = self.map_mut(names::MAP_ROW_SLOTS)?;
        let found = read_slot(&slots, slot)?;
        if found.key != *key {
            return Ok(None);
        }
        keep(&found.row);
        slots
            .set(slot, FdRow::default(), 0)
            .map_err(|error| LoaderError::map("clear", names::MAP_ROW_SLOTS, error))?;
        // After this, another row may use the slot.
        let mut taken: HashMap<_, u32, u32> = self.map_mut(names::MAP_TAKEN_SLOTS)?;
        let _ = taken.remove(&slot);
        Ok(Some(found.row))
    }

    /// Takes out the read end of a process that has ended.
    pub fn forget_read_end(&mut self, process: ProcessId, fd: i32) {
        let _real_time = self.real_time.enter();
        let ends = self.map_mut::<HashMap<_, EndKey, ReadEnd>>(names::MAP_READ_ENDS);
        let Ok(mut ends) = ends else { return };
        let key = EndKey { tgid: process.tgid, fd };
        // A later process with the same pid keeps its read end.
        if ends.get(&key, 0).is_ok_and(|end| end.start_ns == process.start_ns) {
            // An error means that it is gone.
            let _ = ends.remove(&key);
        }
    }

    /// Every row in the ledger. A key can have two rows, because a row is stored by fd or by its full key. The caller
    /// adds them up.
    ///
    /// # Errors
    /// [`LoaderError::Map`].
    pub fn rows(&self) -> Result<Vec<(LedgerKey, LedgerRow)>, LoaderError> {
        let slots: Array<_, FdRow> = self.map(names::MAP_ROW_SLOTS)?;
        let taken: HashMap<_, u32, u32> = self.map(names::MAP_TAKEN_SLOTS)?;
        let taken = keys(&taken, names::MAP_TAKEN_SLOTS)?;
        let mut found = self.each(&taken, |slot| read_slot(&slots, *slot).map(Some))?;
        // A row whose process is not set yet: its slot has just been taken.
        found.retain(|row| row.key.process.start_ns != 0);
        found.extend(self.all::<FdKey, FdRow>(names::MAP_FD_ROWS)?.into_iter().map(|(_, row)| row));
        let mut rows: Vec<_> = found.into_iter().map(|found| (found.key, found.row)).collect();
        rows.extend(self.all(names::MAP_LEDGER)?);
        Ok(rows)
    }

    /// Everything in a map. It reads all keys first, because iteration starts over if the key at which it stands has
    /// gone.
    pub(super) fn all<K: Pod, V: Pod>(
        &self,
        name: &'static str,
    ) -> Result<Vec<(K, V)>, LoaderError> {
        let map: HashMap<_, K, V> = self.map(name)?;
        self.each(&keys(&map, name)?, |key: &K| {
            Ok(known(map.get(key, 0), name)?.map(|value| (*key, value)))
        })
    }

    /// The values of these keys, a few at a time as a real-time task.
    fn each<K, V>(
        &self,
        keys: &[K],
        mut look: impl FnMut(&K) -> Result<Option<V>, LoaderError>,
    ) -> Result<Vec<V>, LoaderError> {
        let mut found = Vec::with_capacity(keys.len());
        for some in keys.chunks(AT_ONCE) {
            let _real_time = self.real_time.enter();
            for key in some {
                found.extend(look(key)?);
            }
        }
        Ok(found)
    }

    /// What the kernel side could not record, by reason, summed over all CPUs.
    ///
    /// # Errors
    /// [`LoaderError::Map`].
    pub fn losses(&self) -> Result<Vec<(Reason, LossCell)>, LoaderError> {
        let cells: PerCpuArray<_, LossCell> = self.map(names::MAP_LOSSES)?;
        Reason::ALL
            .into_iter()
            .map(|reason| {
                let values = cells
                    .get(&(reason as u32), 0)
                    .map_err(|error| LoaderError::map("read", names::MAP_LOSSES, error))?;
                let sum = values.iter().fold(LossCell::default(), |sum, cell| LossCell {
                    events: sum.events + cell.events,
                    bytes: sum.bytes + cell.bytes,
                });
                Ok((reason, sum))
            })
            .collect()
    }

    /// How often the kernel skipped a program because that program was already running on the same CPU
    /// (`recursion_misses`, Linux 5.12). No program can count these.
    #[must_use]
    pub fn skipped_runs(&self) -> u64 {
        let programs = HOOKS.iter().map(|hook| hook.attachment(self.mode).program);
        let tracepoints: u64 = programs.filter_map(|program| self.recursion_misses(program)).sum();
        tracepoints + self.functions.skipped_runs()
    }

    pub(crate) fn recursion_misses(&self, program: &str) -> Option<u64> {
        use std::os::fd::{AsFd as _, AsRawFd as _};
        let fd = self.bpf.program(program)?.fd().ok()?.as_fd().as_raw_fd();
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
        let value = info.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?;
        value.trim().parse().ok()
    }
}

/// How many rows are read before the thread stops being a real-time task for a moment.
const AT_ONCE: usize = 16;

fn read_slot(slots: &Array<impl Borrow<MapData>, FdRow>, slot: u32) -> Result<FdRow, LoaderError> {
    slots.get(&slot, 0).map_err(|error| LoaderError::map("read", names::MAP_ROW_SLOTS, error))
}

/// A value from a map; a missing key is no error.
fn known<V>(found: Result<V, MapError>, map: &'static str) -> Result<Option<V>, LoaderError> {
    match found {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(LoaderError::map("read", map, error)),
    }
}

pub(crate) fn keys<K: Pod, V: Pod>(
    map: &HashMap<&MapData, K, V>,
    name: &'static str,
) -> Result<Vec<K>, LoaderError> {
    let keys = map.keys().collect::<Result<_, _>>();
    keys.map_err(|error| LoaderError::map("walk", name, error))
}
