//! Tells which cgroups a recorder has to record: those that are there, and each one that appears or goes.
//!
//! A thread of its own waits for the kernel (`inotify(7)`) and looks at what has changed within a fraction of a millisecond:
//! a container's program runs some ten milliseconds after the engine made its cgroup.

mod tree;

use std::{
    fmt,
    io::{self, PipeReader, PipeWriter, pipe},
    mem::MaybeUninit,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify::{ReadFlags, Reader},
    io::Errno,
};
use tokio::sync::mpsc::{Receiver, channel};

use self::tree::{Closed, Tree};
use super::wanted::{Place, ScopeError, Wanted};
use crate::{
    sys::privileges::{Rights, spawn},
    target::{CgroupTarget, Hierarchy, Roots},
};

/// How many wanted cgroups there can be at a time: the room that the loader needs.
pub const MOST_MATCHES: usize = 4096;
/// How many directories are watched.
const MOST_WATCHED: usize = 8192;
/// Of both, the part for directories of other users than root, who can make any number of them.
const SHARE_OF_USERS: usize = 4;
/// How many events wait for the receiver. Beyond them, the kernel's queue has 16,384 (`fs.inotify.max_queued_events`).
const WAITING: usize = 256;
/// How often to look whether there is room again for what was left out.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(20);
/// Size in bytes of the buffer for events, of which each has up to 272.
const EVENTS: usize = 16 << 10;

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CgroupEvent {
    /// A wanted cgroup is there. Its label is its path from the root of the hierarchy. Of nested ones only the topmost is
    /// told, because a target has what is below it.
    Appeared(CgroupTarget),
    /// It is no longer there, or has another path.
    Gone {
        /// The id with which it appeared.
        id: u64,
        /// Its directory.
        path: PathBuf,
    },
    /// The kernel's queue has overflowed, and the tree is listed again. Cgroups that came and went meanwhile are not told.
    /// What else has changed follows.
    Lost,
    /// Not all wanted cgroups are told: a limit was reached. Each limit is told once. When there is room again, what was left
    /// out appears.
    Limit(Limit),
}

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The number of wanted cgroups at a time, [`MOST_MATCHES`].
    Matches,
    /// The number of directories that are watched at a time, 8,192.
    Directories,
    /// A quarter of these limits, for cgroups that other users than root made.
    OfUsers,
    /// The kernel watches no more directories for root (`fs.inotify.max_user_watches`).
    Kernel,
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matches => write!(
                formatter,
                "more than {MOST_MATCHES} cgroups are wanted at a time: name fewer with --cgroup or --unit, or one above them"
            ),
            Self::Directories => write!(
                formatter,
                "more than {MOST_WATCHED} cgroups would have to be watched: name those above the wanted ones with --cgroup"
            ),
            Self::OfUsers => write!(
                formatter,
                "users other than root have made more than {} cgroups: those left out are not recorded",
                MOST_MATCHES / SHARE_OF_USERS
            ),
            Self::Kernel => formatter.write_str(
                "the kernel watches no more directories: raise `sysctl fs.inotify.max_user_watches`",
            ),
        }
    }
}

/// The thread that watches. It ends when this is dropped.
#[derive(Debug)]
pub struct CgroupWatch {
    events: Receiver<CgroupEvent>,
    hierarchy: Hierarchy,
    mount_point: PathBuf,
    /// Its end wakes the thread.
    _stop: PipeWriter,
}

impl CgroupWatch {
    /// Starts to watch. What is there already is told first.
    ///
    /// # Errors
    /// [`ScopeError`] if a pattern is none, no hierarchy is mounted, or the system allows no further inotify instance or
    /// thread.
    pub fn start(wanted: &Wanted) -> Result<Self, ScopeError> {
        Self::start_in(&Roots::host(), wanted)
    }

    /// The same below other directories.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_in(roots: &Roots, wanted: &Wanted) -> Result<Self, ScopeError> {
        let place = Place::choose(roots, wanted)?;
        let (hierarchy, mount_point) = (place.hierarchy.clone(), place.mount_point.clone());
        let failed = |source: io::Error| ScopeError::Watch { source };
        let (tell, events) = channel(WAITING);
        let (stopped, stop) = pipe().map_err(failed)?;
        let tree = Tree::new(place, tell).map_err(|error| failed(error.into()))?;
        drop(spawn("tracer-cgroups", Rights::Look, move || watch(tree, &stopped)).map_err(failed)?);
        Ok(Self { events, hierarchy, mount_point, _stop: stop })
    }

    /// The hierarchy of all cgroups that are told.
    #[must_use]
    pub const fn hierarchy(&self) -> &Hierarchy {
        &self.hierarchy
    }

    /// Where it is mounted.
    #[must_use]
    pub fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// The next event; `None` if there will be none. Can be cancelled without a loss.
    pub async fn next(&mut self) -> Option<CgroupEvent> {
        self.events.recv().await
    }
}

/// Looks until the receiver of the events is gone.
fn watch(mut tree: Tree, stopped: &PipeReader) {
    match follow(&mut tree, stopped) {
        Ok(()) | Err(Ended::Closed(Closed)) => {}
        Err(Ended::Failed(error)) => {
            tracing::warn!("cgroups that appear from now on are not recorded: {error}");
        }
    }
}

/// Why the thread ends.
enum Ended {
    Closed(Closed),
    Failed(Errno),
}

impl From<Closed> for Ended {
    fn from(closed: Closed) -> Self {
        Self::Closed(closed)
    }
}

fn follow(tree: &mut Tree, stopped: &PipeReader) -> Result<(), Ended> {
    tree.list()?;
    let inotify = tree.inotify();
    let mut buffer = [MaybeUninit::uninit(); EVENTS];
    let mut reader = Reader::new(&*inotify, &mut buffer);
    let mut again_at = Instant::now() + LOOK_FOR_ROOM;
    loop {
        if tree.is_cut() && Instant::now() >= again_at {
            tree.list()?;
            again_at = Instant::now() + LOOK_FOR_ROOM;
        }
        let room = Timespec { tv_sec: LOOK_FOR_ROOM.as_secs() as i64, tv_nsec: 0 };
        let mut waits =
            [PollFd::new(&inotify, PollFlags::IN), PollFd::new(stopped, PollFlags::empty())];
        match poll(&mut waits, tree.is_cut().then_some(&room)) {
            Ok(_) if !waits[1].revents().is_empty() => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Ended::Failed(error)),
        }
        take_events(tree, &mut reader)?;
    }
}

/// Looks at everything that the waiting events name.
fn take_events<F: rustix::fd::AsFd>(
    tree: &mut Tree,
    reader: &mut Reader<'_, F>,
) -> Result<(), Ended> {
    loop {
        match reader.next() {
            Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => tree.list_again()?,
            Ok(event) if event.events().contains(ReadFlags::IGNORED) => {
                tree.has_ended(event.wd())?;
            }
            Ok(event) => tree.has_changed(event.wd(), event.file_name())?,
            Err(Errno::AGAIN) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(Ended::Failed(error)),
        }
    }
}

#[cfg(test)]
mod tests;
