//! The files that are open for writing, and the limits of all of them.

use std::{io, time::Duration};

use crate::{
    Coverage, Gap,
    entry::reason,
    folder::Folder,
    names::FileName,
    store::{Fault, Store, StoreError},
    time::{DAY_US, now},
    writer::Limits,
};

/// How many files are open. More than one is written around midnight, and after the clock was set.
const MOST_OPEN: usize = 2;
/// How many files a limit of bytes has room for at least.
const LEAST_FILES: u64 = 4;

/// The files.
pub(super) struct Files {
    folder: Folder,
    limits: Limits,
    open: Vec<Store>,
    /// Gaps of files that were set aside.
    damaged: Vec<Gap>,
    /// When the first entry of the oldest file ended, in µs since 1970; `None` if it has none.
    oldest: Option<(FileName, Option<i64>)>,
}

impl Files {
    pub(super) fn new(folder: Folder, limits: Limits) -> Self {
        Self { folder, limits, open: Vec::new(), damaged: Vec::new(), oldest: None }
    }

    /// Opens every file, so that what a killed process left behind is complete, and sets damaged ones aside. Returns the
    /// coverage that reaches farthest.
    pub(super) fn look_through(&mut self) -> Option<Coverage> {
        let files = self.folder.files().unwrap_or_else(|error| {
            tracing::warn!("cannot list the files of the history: {error}");
            Vec::new()
        });
        let newest = files.iter().rfind(|name| !name.is_broken).copied();
        let mut last: Option<Coverage> = None;
        for name in files.into_iter().filter(|name| !name.is_broken) {
            match self.look_into(name, Some(name) == newest) {
                Ok(found) => last = last.into_iter().chain(found).max_by_key(|it| it.until_us),
                Err(error) => self.refuse(name, &error),
            }
        }
        last
    }

    /// The coverage of one file. Only the newest one is read as a whole.
    fn look_into(&self, name: FileName, is_newest: bool) -> Result<Option<Coverage>, StoreError> {
        let store = Store::open(&self.folder, name)?;
        if is_newest {
            store.examine()?;
        }
        store.last_coverage()
    }

    /// Sets a file aside if it is damaged, and tells that it is not used.
    fn refuse(&mut self, name: FileName, error: &StoreError) {
        let file = name.text();
        if error.fault() != Fault::Damaged {
            tracing::warn!("the file {file} of the history is not used: {error}");
            return;
        }
        match self.folder.set_aside(name) {
            Ok(()) => tracing::warn!("the file {file} of the history is set aside: {error}"),
            Err(error) => tracing::warn!("cannot set {file} of the history aside: {error}"),
        }
        let (from_us, until_us) = name.span();
        let reason = reason::DAMAGED.to_owned();
        self.damaged.push(Gap { from_us, until_us, reason, ..Gap::default() });
    }

    /// The gaps of files that were set aside since the last call.
    pub(super) fn take_damaged(&mut self) -> Vec<Gap> {
        std::mem::take(&mut self.damaged)
    }

    /// The file that takes what ended on a day.
    pub(super) fn of_day(&mut self, day: i64) -> Result<&mut Store, StoreError> {
        if self.folder.renew()? {
            self.open.clear();
        }
        let Self { folder, open, .. } = self;
        open.retain(|store| store.is_there(folder));
        let limit = self.limits.file_bytes.min(self.limits.bytes / LEAST_FILES);
        let has_room = |name| self.folder.size(name) < limit;
        let at = self.open.iter().position(|store| store.name().day == day);
        match at {
            Some(at) if has_room(self.open[at].name()) => Ok(&mut self.open[at]),
            at => {
                if let Some(at) = at {
                    self.open.remove(at);
                }
                let store = self.open_or_create(day, limit)?;
                if self.open.len() >= MOST_OPEN {
                    self.open.remove(0);
                }
                self.open.push(store);
                self.open.last_mut().ok_or(StoreError::Damaged)
            }
        }
    }

    fn open_or_create(&mut self, day: i64, limit: u64) -> Result<Store, StoreError> {
        let mut of_day = self.folder.files()?;
        of_day.retain(|name| name.day == day);
        let latest = of_day.iter().rfind(|name| !name.is_broken);
        if let Some(name) = latest.copied().filter(|name| self.folder.size(*name) < limit) {
            match Store::open(&self.folder, name) {
                Err(error) if error.fault() == Fault::DiskFull => return Err(error),
                Err(error) => self.refuse(name, &error),
                opened => return opened,
            }
        }
        let number = of_day.iter().map(|name| name.number + 1).max().unwrap_or(0);
        Store::create(&self.folder, FileName { day, number, is_broken: false })
    }

    /// Closes all files after an error. The file of a day is set aside if it is damaged.
    pub(super) fn give_up(&mut self, day: i64, error: &StoreError) {
        let name = self.open.iter().map(Store::name).find(|name| name.day == day);
        self.open.clear();
        if let Some(name) = name.filter(|_| error.fault() == Fault::Damaged) {
            self.refuse(name, error);
        }
    }

    /// When the first entry of a file ended, in µs since 1970. A file that is not written to is read only once.
    pub(super) fn oldest_us(&mut self, name: FileName) -> Option<i64> {
        let open = self.open.iter().find(|store| store.name() == name);
        let known = self
            .oldest
            .filter(|(known, oldest_us)| *known == name && (oldest_us.is_some() || open.is_none()));
        if let Some((_, oldest_us)) = known {
            return oldest_us;
        }
        let oldest_us = match open {
            Some(store) => store.oldest_us(),
            None => Store::open(&self.folder, name).and_then(|store| store.oldest_us()),
        };
        let oldest_us = oldest_us.ok().flatten();
        self.oldest = Some((name, oldest_us));
        oldest_us
    }

    /// Removes the oldest files, until the rest is within the limits. Returns the bytes of the rest, and the oldest file.
    pub(super) fn keep_within_limits(&self) -> io::Result<(u64, Option<FileName>)> {
        let files = self.folder.files()?;
        let sizes = files.iter().map(|name| (*name, self.folder.size(*name)));
        let sizes: Vec<(FileName, u64)> = sizes.collect();
        let mut total: u64 = sizes.iter().map(|(_, size)| size).sum();
        let (oldest, mut first) = (now().saturating_sub(micros(self.limits.age)), None);
        for (name, size) in sizes {
            let is_old = (name.day + 1) * DAY_US < oldest;
            let goes = is_old || total > self.limits.bytes;
            if goes && self.open.iter().all(|store| store.name() != name) {
                self.folder.remove(name)?;
                total -= size;
            } else if !name.is_broken {
                first = first.or(Some(name));
            }
        }
        Ok((total, first))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
