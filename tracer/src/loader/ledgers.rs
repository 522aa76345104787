//! Reads the ledger and the losses.

use aya::maps::{HashMap, MapError, PerCpuArray};
use tracer_common::{
    id::ProcessId,
    ledger::{LedgerKey, LedgerRow},
    loss::{self, LossCell},
    names,
    object::{EndKey, ReadEnd},
};

use super::{Loader, LoaderError, hooks::HOOKS};

impl Loader {
    /// Takes one row out of the ledger: its final value, when it is there.
    ///
    /// # Errors
    /// [`LoaderError::Map`].
    pub fn take_row(&mut self, key: &LedgerKey) -> Result<Option<LedgerRow>, LoaderError> {
        let mut ledger = self.ledger()?;
        match ledger.get(key, 0) {
            Ok(row) => {
                // Gone already is fine: nobody else takes rows out.
                let _ = ledger.remove(key);
                Ok(Some(row))
            }
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(LoaderError::map("read", names::MAP_LEDGER, error)),
        }
    }

    /// Forgets a reading end of a process that has ended.
    pub fn forget_read_end(&mut self, process: ProcessId, fd: i32) {
        let Some(map) = self.bpf.map_mut(names::MAP_READ_ENDS) else { return };
        let Ok(mut ends) = HashMap::<_, EndKey, ReadEnd>::try_from(map) else { return };
        let key = EndKey { tgid: process.tgid, fd };
        // A process of the same pid that came later keeps its own.
        if ends.get(&key, 0).is_ok_and(|end| end.start_ns == process.start_ns) {
            // Gone already is fine.
            let _ = ends.remove(&key);
        }
    }

    /// Every row that is still in the ledger.
    ///
    /// # Errors
    /// [`LoaderError::Map`].
    pub fn rows(&mut self) -> Result<Vec<(LedgerKey, LedgerRow)>, LoaderError> {
        let ledger = self.ledger()?;
        let keys: Vec<LedgerKey> = ledger
            .keys()
            .collect::<Result<_, _>>()
            .map_err(|error| LoaderError::map("walk", names::MAP_LEDGER, error))?;
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            match ledger.get(&key, 0) {
                Ok(row) => rows.push((key, row)),
                Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(LoaderError::map("read", names::MAP_LEDGER, error)),
            }
        }
        Ok(rows)
    }

    /// What the kernel side could not record, by reason, summed over all CPUs.
    ///
    /// # Errors
    /// [`LoaderError::Map`].
    pub fn losses(&self) -> Result<Vec<(&'static str, LossCell)>, LoaderError> {
        let map = self.bpf.map(names::MAP_LOSSES).ok_or(LoaderError::NoObject)?;
        let cells: PerCpuArray<_, LossCell> = PerCpuArray::try_from(map)
            .map_err(|error| LoaderError::map("open", names::MAP_LOSSES, error))?;
        (0..loss::COUNT)
            .map(|reason| {
                let values = cells
                    .get(&reason, 0)
                    .map_err(|error| LoaderError::map("read", names::MAP_LOSSES, error))?;
                let sum = values.iter().fold(LossCell::default(), |sum, cell| LossCell {
                    events: sum.events + cell.events,
                    bytes: sum.bytes + cell.bytes,
                });
                Ok((loss::NAMES[reason as usize], sum))
            })
            .collect()
    }

    /// How often the kernel skipped a program because it was running already on that CPU
    /// (`recursion_misses`, Linux 5.12): facts that no program could count.
    #[must_use]
    pub fn skipped_runs(&self) -> u64 {
        HOOKS.iter().filter_map(|hook| self.recursion_misses(hook.program)).sum()
    }

    fn recursion_misses(&self, program: &str) -> Option<u64> {
        use std::os::fd::{AsFd as _, AsRawFd as _};
        let fd = self.bpf.program(program)?.fd().ok()?.as_fd().as_raw_fd();
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
        let value = info.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?;
        value.trim().parse().ok()
    }

    fn ledger(
        &mut self,
    ) -> Result<HashMap<&mut aya::maps::MapData, LedgerKey, LedgerRow>, LoaderError> {
        let map = self.bpf.map_mut(names::MAP_LEDGER).ok_or(LoaderError::NoObject)?;
        HashMap::try_from(map).map_err(|error| LoaderError::map("open", names::MAP_LEDGER, error))
    }
}
