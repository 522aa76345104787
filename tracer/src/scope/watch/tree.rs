//! The cgroups that are known, and the directories that are watched.
//!
//! An event only says where to look: what is told follows from what is there when it is looked at. So it does not matter
//! whether an event is old, or whether a directory was found by an event or by listing the one above. A directory is
//! watched first and listed then, so one that is made meanwhile is found by one or the other.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::CStr,
    fs::symlink_metadata,
    ops::Bound::{Excluded, Included},
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::Path,
    sync::Arc,
};

use rustix::{
    fs::inotify::{self, CreateFlags, WatchFlags},
    io::Errno,
};
use tokio::sync::mpsc::Sender;
use tracer_common::limits;

use super::{
    super::wanted::{Place, children, directory},
    CgroupEvent, Limit, MOST_MATCHES, MOST_WATCHED, SHARE_OF_USERS,
};
use crate::target::CgroupTarget;

/// The receiver of the events is gone.
#[derive(Debug)]
pub(super) struct Closed;

/// A directory that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    kind: Kind,
    /// Another user than root made it.
    is_users: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It leads to wanted cgroups, and has this number.
    Watched(i32),
    /// It is wanted, and has this id.
    Wanted(u64),
}

/// How many directories of one kind are known.
#[derive(Debug, Default)]
struct Count {
    all: usize,
    of_users: usize,
}

#[derive(Debug)]
pub(super) struct Tree {
    place: Place,
    tell: Sender<CgroupEvent>,
    inotify: Arc<OwnedFd>,
    /// By path from the root of the hierarchy.
    known: BTreeMap<String, Known>,
    /// Paths by the numbers of their watches.
    watched: HashMap<i32, String>,
    watches: Count,
    matches: Count,
    /// Something was left out since the tree was listed.
    is_cut: bool,
    told: Vec<Limit>,
}

impl Tree {
    pub(super) fn new(place: Place, tell: Sender<CgroupEvent>) -> Result<Self, Errno> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self {
            place,
            tell,
            inotify: Arc::new(inotify),
            known: BTreeMap::new(),
            watched: HashMap::new(),
            watches: Count::default(),
            matches: Count::default(),
            is_cut: false,
            told: Vec::new(),
        })
    }

    /// What its events are read from.
    pub(super) fn inotify(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.inotify)
    }

    /// Whether something was left out.
    pub(super) const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Looks at everything: what is known, and what is there.
    pub(super) fn list(&mut self) -> Result<(), Closed> {
        self.is_cut = false;
        let known: Vec<String> = self.known.keys().cloned().collect();
        for path in known {
            // What was above may have gone meanwhile, and this with it.
            if self.known.contains_key(&path) {
                self.look(&path, false)?;
            }
        }
        self.look("", true)
    }

    /// Events were lost.
    pub(super) fn list_again(&mut self) -> Result<(), Closed> {
        self.say(CgroupEvent::Lost)?;
        self.list()
    }

    /// Something was made or removed in a watched directory.
    pub(super) fn has_changed(&mut self, watch: i32, name: Option<&CStr>) -> Result<(), Closed> {
        let parent = self.watched.get(&watch);
        let Some((parent, name)) = parent.zip(name.and_then(|name| name.to_str().ok())) else {
            return Ok(());
        };
        let path = format!("{parent}/{name}");
        self.look(&path, false)
    }

    /// The kernel has ended a watch: the directory has gone. Another one may have its path.
    pub(super) fn has_ended(&mut self, watch: i32) -> Result<(), Closed> {
        let Some(path) = self.watched.get(&watch).cloned() else { return Ok(()) };
        self.forget(&path)?;
        self.look(&path, false)
    }

    /// Looks at a cgroup and at what is below it. What is watched already is listed only `again`.
    fn look(&mut self, path: &str, again: bool) -> Result<(), Closed> {
        let mut open = vec![path.to_owned()];
        while let Some(path) = open.pop() {
            let directory = directory(&self.place.mount_point, &path);
            let is_new = if self.place.matcher.is_match(&path) {
                self.look_at_wanted(&path, &directory)?;
                false
            } else if self.place.matcher.leads_to(&path) && !is_deep(&path) {
                self.look_above(&path, &directory)?
            } else {
                false
            };
            if is_new || again && self.is_watched(&path) {
                open.extend(children(&self.place.mount_point, &path));
            }
        }
        Ok(())
    }

    fn is_watched(&self, path: &str) -> bool {
        matches!(self.known.get(path), Some(Known { kind: Kind::Watched(_), .. }))
    }

    /// Looks at a cgroup that is wanted if it is there.
    fn look_at_wanted(&mut self, path: &str, directory: &Path) -> Result<(), Closed> {
        let found = symlink_metadata(directory).ok().filter(|found| found.is_dir());
        let Some(found) = found else { return self.forget(path) };
        let kind = Kind::Wanted(found.ino());
        if self.known.get(path).is_some_and(|known| known.kind == kind) {
            return Ok(());
        }
        self.forget(path)?;
        let is_users = found.uid() != self.place.matcher.roots.root_uid;
        if !self.matches.has_room(is_users, MOST_MATCHES) {
            return self.leave_out(if is_users { Limit::OfUsers } else { Limit::Matches });
        }
        let hierarchy = self.place.hierarchy.clone();
        let label = if path.is_empty() { "/" } else { path }.to_owned();
        let Ok(target) = CgroupTarget::at(directory.to_owned(), hierarchy, label) else {
            return Ok(());
        };
        self.matches.add(is_users);
        // The directory may have been replaced just now. Its event is yet to come.
        self.known.insert(path.to_owned(), Known { kind: Kind::Wanted(target.id), is_users });
        let doubt = self.place.matcher.doubt(&self.place.mount_point, path);
        self.say(CgroupEvent::Appeared(CgroupTarget { doubt, ..target }))
    }

    /// Looks at a cgroup that leads to wanted ones. Returns whether it is watched only now.
    fn look_above(&mut self, path: &str, directory: &Path) -> Result<bool, Closed> {
        // Watched before it is looked at: what replaces it later has an event.
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        let watch = match inotify::add_watch(&*self.inotify, directory, flags) {
            Ok(watch) => watch,
            Err(Errno::NOSPC | Errno::NOMEM) => {
                self.forget(path)?;
                return self.leave_out(Limit::Kernel).map(|()| false);
            }
            Err(_) => return self.forget(path).map(|()| false),
        };
        let kind = Kind::Watched(watch);
        if self.known.get(path).is_some_and(|known| known.kind == kind) {
            return Ok(false);
        }
        self.forget(path)?;
        // A cgroup that was renamed has its watch still.
        if let Some(before) = self.watched.get(&watch).cloned() {
            self.forget(&before)?;
            return self.look_above(path, directory);
        }
        let owner = symlink_metadata(directory).map(|found| found.uid());
        let is_users = owner.is_ok_and(|uid| uid != self.place.matcher.roots.root_uid);
        if !self.watches.has_room(is_users, MOST_WATCHED) {
            let _ = inotify::remove_watch(&*self.inotify, watch);
            let limit = if is_users { Limit::OfUsers } else { Limit::Directories };
            return self.leave_out(limit).map(|()| false);
        }
        self.watches.add(is_users);
        self.watched.insert(watch, path.to_owned());
        self.known.insert(path.to_owned(), Known { kind, is_users });
        Ok(true)
    }

    /// A cgroup is no longer there, and nothing below it.
    fn forget(&mut self, path: &str) -> Result<(), Closed> {
        // `0` follows `/`.
        let (first, last) = (format!("{path}/"), format!("{path}0"));
        let below = self.known.range::<str, _>((Included(&*first), Excluded(&*last)));
        let mut gone: Vec<String> = below.map(|(path, _)| path.clone()).collect();
        gone.push(path.to_owned());
        for path in gone {
            let Some(Known { kind, is_users }) = self.known.remove(&path) else { continue };
            match kind {
                Kind::Watched(watch) => {
                    self.watches.subtract(is_users);
                    self.watched.remove(&watch);
                    // The kernel has ended the watch of a directory that is removed.
                    let _ = inotify::remove_watch(&*self.inotify, watch);
                }
                Kind::Wanted(id) => {
                    self.matches.subtract(is_users);
                    let path = directory(&self.place.mount_point, &path);
                    self.say(CgroupEvent::Gone { id, path })?;
                }
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, limit: Limit) -> Result<(), Closed> {
        self.is_cut = true;
        if self.told.contains(&limit) {
            return Ok(());
        }
        self.told.push(limit);
        self.say(CgroupEvent::Limit(limit))
    }

    fn say(&self, event: CgroupEvent) -> Result<(), Closed> {
        self.tell.blocking_send(event).map_err(|_| Closed)
    }
}

impl Count {
    const fn has_room(&self, is_users: bool, most: usize) -> bool {
        self.all < most && (!is_users || self.of_users < most / SHARE_OF_USERS)
    }

    fn add(&mut self, is_users: bool) {
        self.all += 1;
        self.of_users += usize::from(is_users);
    }

    fn subtract(&mut self, is_users: bool) {
        self.all -= 1;
        self.of_users -= usize::from(is_users);
    }
}

/// Whether the eBPF programs do not look at what is below: they go up from a process by [`limits::CGROUP_DEPTH`] cgroups.
fn is_deep(path: &str) -> bool {
    path.matches('/').count() >= limits::CGROUP_DEPTH as usize
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::sync::mpsc::channel;

    use super::*;
    use crate::{scope::Wanted, target::machine::Machine};

    #[test]
    fn what_came_and_went_leaves_nothing_behind() {
        let machine = Machine::unified();
        let place = Place::choose(&machine.roots(), &Wanted::Containers).unwrap();
        let (tell, mut events) = channel(64);
        let mut tree = Tree::new(place, tell).unwrap();
        machine.make_cgroup("", "docker");
        for round in 0..10 {
            let pod = machine.make_cgroup("", &format!("kubepods/pod{round}"));
            fs::create_dir(pod.join(format!("{round:064x}"))).unwrap();
            tree.list().unwrap();
            assert_eq!((tree.known.len(), tree.watched.len()), (5, 4));
            fs::remove_dir_all(machine.roots().cgroup.join("kubepods")).unwrap();
            tree.list().unwrap();
            assert_eq!((tree.known.len(), tree.watched.len()), (2, 2), "the root and docker");
            assert_eq!((tree.watches.all, tree.matches.all), (2, 0));
            assert!(matches!(events.try_recv(), Ok(CgroupEvent::Appeared(_))));
            assert!(matches!(events.try_recv(), Ok(CgroupEvent::Gone { .. })));
        }
    }
}
