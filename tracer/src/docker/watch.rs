//! Waits for what a client has its engine start: for a container, first for its id, then for its cgroup.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::fs::{Mode, OFlags, open};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{
    client::{cid_file_option, cid_files},
    entering::Entering,
};
use crate::{
    sys::{
        privileges::{Rights, spawn},
        processes::comm,
        run_folder::RunFolder,
    },
    target::{CgroupTarget, ContainerPlace, container::engine_api::EngineApi},
};

/// How often to look for the id: the client may load an image first.
const LOOK_FOR_ID: Duration = Duration::from_millis(4);
/// How often to look at the places where engines usually make a container's cgroup. Its program runs some ten
/// milliseconds after that.
pub(super) const LOOK_FOR_CGROUP: Duration = Duration::from_millis(1);
/// How often to look whether a restart of the container has made its cgroup anew.
const LOOK_FOR_RESTART: Duration = Duration::from_millis(8);
/// How often to look everywhere, at first. The longer the cgroup is not found, the less often.
const LOOK_EVERYWHERE: Duration = Duration::from_millis(10);
/// Which part of the time since the id came passes between two looks everywhere, once that is longer.
const SLOWER: u32 = 32;
/// How many events wait for the trace.
const WAITING: usize = 4;
/// Number of digits of an id.
const ID_LENGTH: usize = 64;

/// Names of the processes with which runc prepares a container (libcontainer/nsenter/nsexec.c).
pub(super) const STEPS: [&str; 3] = ["runc", "runc:[0:PARENT]", "runc:[1:CHILD]"];

/// What was found.
#[derive(Debug)]
pub enum ContainerEvent {
    /// The engine has created the container with this id.
    Created(String),
    /// Its cgroup: the first one, or another one after a restart.
    Cgroup(CgroupTarget),
    /// This process is in a container and will execute the program of a `docker exec`.
    Enters(u32),
    /// It has ended before it executed the program.
    Ended(u32),
}

/// What a command will have an engine start.
#[derive(Debug)]
pub struct Expected {
    /// tracer's own folder with the file for the id; `None` if the command can write no file there.
    folder: Option<RunFolder>,
    sought: Sought,
    /// The engine that is asked at the end if nothing was found.
    engine: Option<Engine>,
    /// Why the container may not be the one that is meant.
    doubt: Option<String>,
}

/// What the thread looks for.
#[derive(Debug)]
enum Sought {
    Container(Watch),
    Process(Entering),
}

/// A container that starts.
#[derive(Debug)]
struct Watch {
    id: Id,
    place: ContainerPlace,
}

/// Where its id comes from.
#[derive(Debug)]
enum Id {
    /// It is in one of these files, as soon as the container is created.
    In(Vec<PathBuf>),
    /// The container exists.
    Known(String),
}

/// An engine that knows whether it has started something.
#[derive(Debug)]
pub(crate) struct Engine {
    /// How to ask it.
    pub(crate) api: EngineApi,
    /// The container.
    pub(crate) id: String,
    /// The action in its events: `start`, or `exec_start` with the command.
    pub(crate) action: String,
}

impl Engine {
    /// Whether the engine says that it has done this between two times, in seconds since 1970. All questions together take
    /// `patience` at most.
    pub(crate) fn has_started(&self, between: [f64; 2], patience: Duration) -> bool {
        let began = Instant::now();
        let kind = self.action.split(':').next().unwrap_or_default();
        let actions = self.api.actions(&self.id, kind, between, patience);
        let actions = actions.inspect_err(|error| {
            tracing::warn!("cannot tell whether the container's program ran: {error}");
        });
        // Of a command without arguments, the engine's text ends with a blank.
        actions.unwrap_or_default().iter().any(|happened| {
            happened.action.trim_end() == self.action
                && self.api.has_run(happened, patience.saturating_sub(began.elapsed()))
        })
    }
}

impl Expected {
    /// `words` are the words of `docker run`. `may_write` says whether the client may write to a folder of root's alone.
    ///
    /// # Errors
    /// An error if tracer's folder cannot be made.
    pub fn new(words: &[OsString], place: ContainerPlace, may_write: bool) -> io::Result<Self> {
        let folder = may_write.then(|| RunFolder::make("docker")).transpose()?;
        let own = folder.as_ref().map(cid_file);
        // The client writes to no file that exists. Another run may have left it behind.
        let named = cid_files(words).into_iter().filter(|file| file.symlink_metadata().is_err());
        let id = Id::In(own.into_iter().chain(named).collect());
        Ok(Self {
            folder,
            sought: Sought::Container(Watch { id, place }),
            engine: None,
            doubt: None,
        })
    }

    /// A container that exists and will be started. Its id is no secret: any user who may make cgroups can have one ready
    /// with its name. So if there is no `doubt` about its engine, a cgroup counts only where root alone gives names.
    pub(crate) fn start(engine: Engine, place: ContainerPlace, doubt: Option<String>) -> Self {
        let id = Id::Known(engine.id.clone());
        let place = if doubt.is_none() { place.of_root() } else { place };
        let sought = Sought::Container(Watch { id, place });
        Self { folder: None, sought, engine: Some(engine), doubt }
    }

    /// A process that will start in a container that runs.
    pub(crate) fn exec(engine: Engine, entering: Entering) -> Self {
        let doubt = entering.cgroup.doubt.clone();
        Self { folder: None, sought: Sought::Process(entering), engine: Some(engine), doubt }
    }

    /// Why the container may not be the one that is meant; `None` if root's engine lists it, and for one that will be
    /// created.
    pub(crate) fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// The option for the client. If the user's own option follows, the client uses that one, whose file is looked at as
    /// well.
    #[must_use]
    pub fn option(&self) -> Option<OsString> {
        self.folder.as_ref().map(|folder| cid_file_option(&cid_file(folder)))
    }

    /// Whether the container's id will be known.
    #[must_use]
    pub fn has_file(&self) -> bool {
        match &self.sought {
            Sought::Container(Watch { id: Id::In(files), .. }) => !files.is_empty(),
            Sought::Container(_) | Sought::Process(_) => true,
        }
    }

    /// The place of the container's cgroup; `None` if a process is expected, not a container.
    #[must_use]
    pub const fn place(&self) -> Option<&ContainerPlace> {
        match &self.sought {
            Sought::Container(watch) => Some(&watch.place),
            Sought::Process(_) => None,
        }
    }

    /// Starts the thread that looks. It ends when the result is dropped. `client` is the pid of the command.
    ///
    /// # Errors
    /// An error if the system allows no further thread.
    pub fn watch(self, client: u32) -> io::Result<Watched> {
        let Self { folder, sought, engine, .. } = self;
        let (tell, events) = channel(WAITING);
        drop(spawn("tracer-docker", Rights::Look, move || match sought {
            Sought::Container(watch) => watch.look(&tell),
            Sought::Process(entering) => entering.look(client, &tell),
        })?);
        Ok(Watched { events, engine, _folder: folder })
    }
}

/// What is looked for.
#[derive(Debug)]
pub struct Watched {
    events: Receiver<ContainerEvent>,
    engine: Option<Engine>,
    /// Removed when this is dropped.
    _folder: Option<RunFolder>,
}

impl Watched {
    /// The next event; `None` if there will be none. Can be cancelled without a loss.
    pub async fn next(&mut self) -> Option<ContainerEvent> {
        self.events.recv().await
    }

    /// The engine that knows in the end whether what was looked for has started.
    pub(crate) const fn engine(&self) -> Option<&Engine> {
        self.engine.as_ref()
    }
}

impl Watch {
    fn look(&self, tell: &Sender<ContainerEvent>) {
        let Some(id) = self.wait_for_id(tell) else { return };
        if tell.blocking_send(ContainerEvent::Created(id.clone())).is_err() {
            return;
        }
        let Some(cgroup) = self.wait_for_cgroup(&id, tell) else { return };
        let mut told = None;
        while !tell.is_closed() {
            if let Some(now) = cgroup.again()
                && told != Some(now.id)
                && is_prepared(&now)
            {
                told = Some(now.id);
                if tell.blocking_send(ContainerEvent::Cgroup(now)).is_err() {
                    return;
                }
            }
            sleep(if told.is_some() { LOOK_FOR_RESTART } else { LOOK_FOR_CGROUP });
        }
    }

    fn wait_for_id(&self, tell: &Sender<ContainerEvent>) -> Option<String> {
        let files = match &self.id {
            Id::In(files) => files,
            Id::Known(id) => return Some(id.clone()),
        };
        while !tell.is_closed() {
            let id = files.iter().find_map(|file| read_id(file));
            if id.is_some() {
                return id;
            }
            sleep(LOOK_FOR_ID);
        }
        None
    }

    fn wait_for_cgroup(&self, id: &str, tell: &Sender<ContainerEvent>) -> Option<CgroupTarget> {
        let since = Instant::now();
        let mut everywhere_at = since;
        while !tell.is_closed() {
            let everywhere = Instant::now() >= everywhere_at;
            let found = self.place.find(id, everywhere);
            if found.is_some() {
                return found;
            }
            if everywhere {
                everywhere_at = Instant::now() + LOOK_EVERYWHERE.max(since.elapsed() / SLOWER);
            }
            sleep(LOOK_FOR_CGROUP);
        }
        None
    }
}

fn cid_file(folder: &RunFolder) -> PathBuf {
    folder.path().join("cid")
}

/// Whether the process that will execute the container's program is in the cgroup. Earlier, runc forks it in two steps,
/// and what the processes of these steps do is not the container's.
fn is_prepared(cgroup: &CgroupTarget) -> bool {
    let pids = cgroup.pids();
    let mut comms = pids.iter().map(|pid| comm(*pid));
    let is_step = |comm: &str| STEPS.contains(&comm);
    !pids.is_empty() && comms.all(|comm| comm.is_some_and(|comm| !is_step(&comm)))
}

/// Opens a file that may be anything that another program named, without waiting.
pub(super) fn open_any(path: &Path) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Some(File::from(open(path, flags, Mode::empty()).ok()?))
}

/// The id in a file, if it is complete.
fn read_id(path: &Path) -> Option<String> {
    let mut id = String::new();
    open_any(path)?.take(ID_LENGTH as u64 + 1).read_to_string(&mut id).ok()?;
    let is_id = id.len() == ID_LENGTH && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then_some(id)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::target::machine::Machine;

    const ID: &str = "aaaa456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn next(watched: &mut Watched) -> Option<ContainerEvent> {
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            match watched.events.try_recv() {
                Ok(event) => return Some(event),
                Err(_) => sleep(Duration::from_millis(1)),
            }
        }
        None
    }

    #[test]
    fn the_id_the_cgroup_and_the_cgroup_after_a_restart_are_told() {
        let machine = Machine::unified();
        let folder = tempfile::tempdir().unwrap();
        let (file, left) = (folder.path().join("cid"), folder.path().join("left"));
        fs::write(&left, ID.replace('a', "b")).unwrap();
        let words = [&left, &file].map(|file| cid_file_option(file));
        let place = ContainerPlace::expect(&machine.roots(), None).unwrap();
        let expected = Expected::new(&words, place, false).unwrap();
        assert!(expected.has_file() && expected.option().is_none());
        let mut watched = expected.watch(1).unwrap();
        fs::write(&file, &ID[..40]).unwrap();
        sleep(Duration::from_millis(20));
        assert!(watched.events.try_recv().is_err(), "half an id");
        fs::write(&file, ID).unwrap();
        assert!(matches!(next(&mut watched), Some(ContainerEvent::Created(id)) if id == ID));
        let cgroup = machine.make_cgroup("", &format!("docker/{ID}"));
        sleep(Duration::from_millis(20));
        assert!(watched.events.try_recv().is_err(), "no process is in it");
        let procs = format!("{}\n", std::process::id());
        fs::write(cgroup.join("cgroup.procs"), &procs).unwrap();
        let Some(ContainerEvent::Cgroup(first)) = next(&mut watched) else { panic!("no cgroup") };
        assert_eq!((&first.path, first.label.as_str()), (&cgroup, "aaaa456789ab"));
        fs::rename(&cgroup, cgroup.with_extension("removed")).unwrap();
        machine.make_cgroup("", &format!("docker/{ID}"));
        fs::write(cgroup.join("cgroup.procs"), &procs).unwrap();
        let Some(ContainerEvent::Cgroup(second)) = next(&mut watched) else {
            panic!("no other cgroup")
        };
        assert_eq!(second.path, cgroup);
        assert_ne!(second.id, first.id);
    }

    #[test]
    fn what_is_no_id_is_not_taken_for_one_and_does_not_block() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert_eq!(read_id(&path), None);
        for text in ["", "abc", &format!("{ID}0"), &ID.replace('a', "/"), &format!("{ID}\n")] {
            fs::write(&path, text).unwrap();
            assert_eq!(read_id(&path), None, "{text}");
        }
        fs::write(&path, ID).unwrap();
        assert_eq!(read_id(&path).as_deref(), Some(ID));
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        assert_eq!(read_id(&pipe), None);
        assert_eq!(read_id(Path::new("/dev/zero")), None);
    }
}
