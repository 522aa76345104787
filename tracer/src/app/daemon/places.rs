//! Where jobs run: container, pod and unit.

mod names;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs, io,
    mem::replace,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel},
};

use tracer_common::id::ProcessId;
use tracer_core::{
    session::{Job, Process, Session},
    text::escape,
};
use tracer_history::Place;

use crate::{
    app::handover::{Handover, Item},
    render::place_of,
    scope::CgroupPath,
    sys::{
        bounded,
        privileges::{self, Rights},
        processes,
    },
    target::{CgroupTarget, Hierarchy, Roots},
};

/// How many cgroups that are gone are remembered: their processes may still have to be judged.
const MOST_GONE: usize = 4_096;

/// How many cgroups wait for their names: the disk that has them may stand still for days.
const MOST_ASKED: usize = 4_096;

/// The places of processes that have entered the recorder's cgroups.
pub(super) struct Places {
    hierarchy: Hierarchy,
    /// Where it is mounted.
    mount_point: PathBuf,
    roots: Roots,
    /// By cgroup path, as procfs has it.
    known: BTreeMap<String, Place>,
    /// The cgroup path of each process that entered one from outside.
    of: BTreeMap<ProcessId, String>,
    /// The cgroup path of each target cgroup, by the low half of its id.
    by_id: BTreeMap<u32, String>,
    /// Those that are gone, the oldest first.
    gone: VecDeque<u32>,
    /// Whether the log says that some cgroups are not named as they call themselves.
    has_doubted: bool,
    /// Reads the state of runtimes on a thread of its own: a disk may not answer.
    asks: SyncSender<CgroupPath>,
    /// Whether the log says that names are asked for faster than the disk has them.
    has_said_full: bool,
    /// Gets what the next recorder cannot find out any more.
    handover: Handover,
    answers: Receiver<(String, Place)>,
}

impl Places {
    /// Starts the thread that reads names.
    ///
    /// # Errors
    /// An error if the system allows no further thread.
    pub(super) fn start(
        hierarchy: Hierarchy,
        mount_point: &Path,
        handover: Handover,
    ) -> io::Result<Self> {
        let (asks, asked) = sync_channel(MOST_ASKED);
        let (answer, answers) = channel();
        privileges::spawn("names", Rights::Look, move || names::read(&asked, &answer))?;
        Ok(Self::new(hierarchy, mount_point, handover, (asks, answers)))
    }

    /// With the two ends to what reads names.
    fn new(
        hierarchy: Hierarchy,
        mount_point: &Path,
        handover: Handover,
        (asks, answers): (SyncSender<CgroupPath>, Receiver<(String, Place)>),
    ) -> Self {
        Self {
            hierarchy,
            mount_point: mount_point.to_owned(),
            roots: Roots::host(),
            known: BTreeMap::new(),
            of: BTreeMap::new(),
            by_id: BTreeMap::new(),
            gone: VecDeque::new(),
            has_doubted: false,
            asks,
            has_said_full: false,
            handover,
            answers,
        }
    }

    /// Takes over what an earlier recorder knew.
    pub(super) fn restore(&mut self, items: &[Item]) {
        for item in items {
            match item {
                Item::Cgroup(id, path) => {
                    self.by_id.insert(*id, path.clone());
                }
                Item::Named(path, place) => {
                    self.known.insert(path.clone(), place.clone());
                }
                Item::Entered(process, path) => {
                    self.of.insert(*process, path.clone());
                }
                _ => {}
            }
        }
    }

    /// Everything that [`Places::restore`] takes over.
    pub(super) fn items(&self) -> Vec<Item> {
        let cgroups = self.by_id.iter().map(|(id, path)| Item::Cgroup(*id, path.clone()));
        let named = self.known.iter().map(|(path, it)| Item::Named(path.clone(), it.clone()));
        let entered = self.of.iter().map(|(process, it)| Item::Entered(*process, it.clone()));
        cgroups.chain(named).chain(entered).collect()
    }

    /// A process, or one above it, has entered a cgroup.
    fn enters(&mut self, process: ProcessId, path: String) {
        self.handover.keep(|| Item::Entered(process, path.clone()));
        self.of.insert(process, path);
    }

    /// A cgroup has appeared. Its name is asked for at once: the files of a container that ends soon go with it.
    pub(super) fn appeared(&mut self, cgroup: &CgroupTarget) {
        if let Some(doubt) = &cgroup.doubt
            && !replace(&mut self.has_doubted, true)
        {
            tracing::warn!(
                "the cgroup {} is recorded by its path, not as a container or unit: {}; further ones like it are not told",
                escape(&cgroup.label),
                escape(doubt)
            );
        }
        let path = self.named(&cgroup.label);
        self.handover.keep(|| Item::Cgroup(cgroup.id as u32, path.clone()));
        self.by_id.insert(cgroup.id as u32, path);
    }

    /// A cgroup is gone. Its processes may still have to be judged.
    pub(super) fn gone(&mut self, cgroup: &CgroupTarget) {
        self.may_forget(cgroup.id as u32);
    }

    /// The path of this cgroup is kept for a while.
    fn may_forget(&mut self, cgroup: u32) {
        self.gone.push_back(cgroup);
        if self.gone.len() > MOST_GONE
            && let Some(oldest) = self.gone.pop_front()
        {
            self.by_id.remove(&oldest);
        }
    }

    /// A target was adopted, has entered a cgroup or executes a program. `cgroup` is the low half of the id of its cgroup.
    pub(super) fn meet(&mut self, process: ProcessId, cgroup: u32, session: &Session) {
        let path = self.by_id.get(&cgroup).cloned();
        // A cgroup below the one that is recorded has an id of its own, and with `--all` so has each.
        let path = path.or_else(|| {
            let path = self.cgroup_of(process.tgid)?;
            if self.has_id(&path, cgroup) {
                self.handover.keep(|| Item::Cgroup(cgroup, path.clone()));
                self.by_id.insert(cgroup, path.clone());
                self.may_forget(cgroup);
            }
            Some(path)
        });
        // What a process starts is where the process is.
        if let Some(path) = path.filter(|path| self.path_of(process, session) != Some(path)) {
            self.enters(process, path);
        }
    }

    /// Whether a cgroup has this id: a process may have moved on before procfs was read.
    fn has_id(&self, path: &str, low_half: u32) -> bool {
        let directory = self.mount_point.join(path.trim_start_matches('/'));
        fs::metadata(directory).is_ok_and(|found| found.ino() as u32 == low_half)
    }

    /// The cgroup of a process in the recorder's hierarchy, as procfs has it: its path. Its name is asked for.
    fn cgroup_of(&mut self, pid: u32) -> Option<String> {
        let lines = bounded::text(format!("/proc/{pid}/cgroup")).ok()?;
        let path = lines.lines().find_map(|line| path_in(line, &self.hierarchy))?;
        // A process that has ended and was not waited for is in the root.
        (path != "/" || processes::runs(pid)).then(|| self.named(path))
    }

    /// A cgroup path whose name is known, or asked for. Who gave it is looked at now: the cgroup may be gone soon.
    fn named(&mut self, path: &str) -> String {
        if !self.known.contains_key(path) {
            self.known
                .insert(path.to_owned(), Place { cgroup: path.to_owned(), ..Place::default() });
            let path = CgroupPath::look(&self.roots, &self.mount_point, path);
            // The thread lives as long as this.
            if let Err(TrySendError::Full(_)) = self.asks.try_send(path)
                && !replace(&mut self.has_said_full, true)
            {
                tracing::warn!(
                    "the disk with the names of containers does not answer: {MOST_ASKED} cgroups wait for theirs, and \
                     those that appear now are recorded by their paths"
                );
            }
        }
        path.to_owned()
    }

    /// Takes the names that were read.
    pub(super) fn take(&mut self) {
        for (path, place) in self.answers.try_iter() {
            if let Some(known) = self.known.get_mut(&path) {
                *known = place.clone();
                self.handover.keep(|| Item::Named(path, place));
            }
        }
    }

    /// A job is forgotten: what it has started, and what runs on as a job of its own, is where it was.
    pub(super) fn leaves(&mut self, job: &Job, session: &Session) {
        let Some(path) = self.path_of(job.root, session).cloned() else { return };
        let is_left = |process: &&Process| {
            job.members.contains(&process.parent) && !job.members.contains(&process.id)
        };
        for process in session.processes.values().filter(is_left) {
            if !self.of.contains_key(&process.id) {
                self.enters(process.id, path.clone());
            }
        }
    }

    /// Where a process runs: in the cgroup that it or a process above it has entered.
    pub(super) fn of(&self, process: ProcessId, session: &Session) -> Place {
        let place = self.path_of(process, session).and_then(|path| self.known.get(path));
        place.cloned().unwrap_or_default()
    }

    /// The name of the place of each process that has entered one; those that it started are there too.
    pub(super) fn names(&self) -> BTreeMap<ProcessId, String> {
        let named = self.of.iter().filter_map(|(process, path)| {
            let (name, _) = place_of(self.known.get(path)?);
            Some((*process, name))
        });
        named.filter(|(_, name)| !name.is_empty()).collect()
    }

    fn path_of(&self, process: ProcessId, session: &Session) -> Option<&String> {
        let of_line = |process: ProcessId| {
            let known = session.processes.get(&process)?;
            session.line_of(known).find_map(|process| self.of.get(&process.id))
        };
        // Nothing tells what has started a command in a running sandbox, but it is where gVisor's kernel is.
        let sentry = || session.sandboxes.get(&process.sandbox).map(|sandbox| sandbox.sentry);
        of_line(process).or_else(|| of_line(sentry()?))
    }

    /// Forgets processes that the session does not know any more, and cgroups without any.
    pub(super) fn retain(&mut self, session: &Session) {
        self.of.retain(|process, _| session.processes.contains_key(process));
        let used: BTreeSet<&String> = self.of.values().chain(self.by_id.values()).collect();
        self.known.retain(|path, _| used.contains(path));
    }
}

/// The path in a line of `/proc/PID/cgroup` (`cgroups(7)`): `4:memory:/docker/abc`, `0::/system.slice/x.service`.
fn path_in<'a>(line: &'a str, hierarchy: &Hierarchy) -> Option<&'a str> {
    let mut fields = line.splitn(3, ':');
    let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let is_it = match hierarchy {
        Hierarchy::V2 => number == "0" && controllers.is_empty(),
        Hierarchy::V1 { controller } => controllers.split(',').any(|name| name == controller),
    };
    is_it.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_names_nothing_keeps_a_limited_number_of_questions() {
        let ((asks, asked), (_, answers)) = (sync_channel(MOST_ASKED), channel());
        let (mount_point, handover) = (Path::new("/nonexistent"), Handover::default());
        let mut places = Places::new(Hierarchy::V2, mount_point, handover, (asks, answers));
        (0..MOST_ASKED).for_each(|number| drop(places.named(&format!("/{number}"))));
        assert!(!places.has_said_full);
        assert_eq!(places.named("/one-more"), "/one-more");
        assert!(places.has_said_full);
        assert_eq!(asked.try_iter().count(), MOST_ASKED);
    }

    #[test]
    fn the_path_is_that_of_the_hierarchy() {
        let memory = Hierarchy::V1 { controller: "memory".into() };
        assert_eq!(path_in("4:memory:/docker/abc", &memory), Some("/docker/abc"));
        assert_eq!(path_in("4:cpu,memory:/a:b", &memory), Some("/a:b"));
        assert_eq!(path_in("0::/user.slice", &memory), None);
        assert_eq!(path_in("0::/user.slice", &Hierarchy::V2), Some("/user.slice"));
        assert_eq!(path_in("4:memory:/x", &Hierarchy::V2), None);
        assert_eq!(path_in("broken", &Hierarchy::V2), None);
    }
}
