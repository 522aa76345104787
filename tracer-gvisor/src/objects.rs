//! What the fds of a sandbox lead to, by the names that gVisor gives: `pipe:[5]`, `host:[2]`, `/var/log/x`.

mod kind;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tracer_common::{
    event as layout,
    ledger::{LedgerKey, LedgerRow},
    object::{
        NULL_RDEV, ObjectId, PTY_MASTER_MAJOR, PTY_SLAVE_MAJOR, QueueState, SocketState, TtyState,
        mode,
    },
};
use tracer_core::session::{GUEST_HANDED_IN, GUEST_MAJOR};

pub(crate) use self::kind::Kind;

/// Most objects that are known of one sandbox.
const MOST: usize = 65_536;
/// Objects in use no more are forgotten when there is room for this many.
const SPARE: usize = 4096;
/// Most rows of an object that is not watched yet.
const MOST_EARLY_ROWS: usize = 64;
/// Default capacity of a pipe in bytes (gVisor's `pkg/sentry/kernel/pipe`, `DefaultPipeSize`).
const PIPE_BYTES: u64 = 65_536;
/// Bytes of a slot of a pipe.
const PAGE: u64 = 4096;

/// Index of an object in [`Objects`].
pub(crate) type Number = usize;

/// An object of a sandbox.
#[derive(Debug)]
pub(crate) struct Object {
    /// Number of objects of this sandbox when it was added.
    serial: u64,
    pub(crate) kind: Kind,
    /// Number of the container in which it has its name.
    container: u32,
    /// `None` until gVisor has told a name: it tells none when a pipe is created.
    pub(crate) id: Option<ObjectId>,
    pub(crate) name: String,
    pub(crate) is_watched: bool,
    /// When it was created, nanoseconds since boot; `None` if it was there before.
    pub(crate) created_ns: Option<u64>,
    /// The other socket of a pair, or the other side of a terminal.
    pub(crate) peer: Option<Number>,
    /// Capacity of a pipe in bytes.
    pub(crate) capacity: u64,
    /// `SOCK_STREAM` and its kin.
    socket: u16,
    /// Rows of ended processes, from before it was watched.
    pub(crate) early: Vec<(LedgerKey, LedgerRow)>,
    /// Bytes written to it and bytes read from it.
    pub(crate) moved: [u64; 2],
}

impl Object {
    /// Keeps a row until the object is watched. Returns whether there was room.
    pub(crate) fn keep(&mut self, key: LedgerKey, row: LedgerRow) -> bool {
        let has_room = self.early.len() < MOST_EARLY_ROWS;
        if has_room {
            self.early.push((key, row));
        }
        has_room
    }

    /// Whether its read end is worth knowing.
    pub(crate) fn passes_on(&self) -> bool {
        self.kind.passes_on()
    }

    /// What is in a pipe that a write of `count` waits for: such a write of more than a page fills the pipe. `None` if
    /// that is not known.
    pub(crate) fn full_queue(&self, count: u64, is_bytes: bool) -> Option<QueueState> {
        let is_known = self.kind == Kind::Pipe && self.created_ns.is_some();
        let [written, read] = self.moved;
        let counted = written.saturating_sub(read);
        let unread = if is_bytes && count > PAGE { self.capacity } else { counted };
        is_known.then(|| self.pipe_with(unread.max(counted)))
    }

    /// The state of a pipe with these bytes in it. gVisor does not tell how many ends it has.
    fn pipe_with(&self, unread: u64) -> QueueState {
        QueueState {
            slots: u32::try_from(self.capacity / PAGE).unwrap_or(u32::MAX),
            readers: 1,
            writers: 1,
            ..QueueState::holding(unread)
        }
    }

    /// File type, as in `inode.i_mode`.
    pub(crate) const fn mode(&self) -> u32 {
        match self.kind {
            Kind::Pipe | Kind::Fifo => mode::S_IFIFO,
            Kind::Socket => mode::S_IFSOCK,
            Kind::Host | Kind::Null | Kind::Terminal | Kind::Master | Kind::Other => mode::S_IFCHR,
            Kind::File => mode::S_IFREG,
        }
    }

    /// The description of a watched object, and its path.
    pub(crate) fn describe(&self, peer: Option<ObjectId>) -> (layout::Object, String) {
        let is_terminal = matches!(self.kind, Kind::Terminal | Kind::Master);
        let is_new = self.created_ns.is_some() && (self.passes_on() || is_terminal);
        let empty = match self.kind {
            Kind::Pipe => self.pipe_with(0),
            _ => QueueState::holding(0),
        };
        let index = self.name.strip_prefix("/dev/pts/").and_then(|index| index.parse().ok());
        let major = match self.kind {
            Kind::Terminal => PTY_SLAVE_MAJOR,
            Kind::Master => PTY_MASTER_MAJOR,
            _ => 0,
        };
        let seen = layout::Object {
            id: self.id.unwrap_or_default(),
            mode: self.mode(),
            rdev: if self.kind == Kind::Null { NULL_RDEV } else { 0 },
            nlink: 1,
            queue: if is_new { empty } else { QueueState::default() },
            tty: TtyState {
                index: index.unwrap_or(0),
                major,
                valid: u32::from(is_terminal && index.is_some()),
                zero: 0,
            },
            socket: SocketState { kind: self.socket, family: 1, ..SocketState::default() },
            joined: peer.unwrap_or_default(),
            ..layout::Object::default()
        };
        let has_path = !matches!(self.kind, Kind::Pipe | Kind::Socket);
        (seen, if has_path { self.name.clone() } else { String::new() })
    }
}

const _: () = assert!(Kind::Host as u32 + 1 == GUEST_HANDED_IN);

/// The identity of an object inside a sandbox. Pipes, sockets and files of the host have inode numbers of their own.
fn identity(sandbox: u32, kind: Kind, inode: u64) -> ObjectId {
    ObjectId { ino: inode, dev: GUEST_MAJOR << 20 | sandbox, discriminator: kind as u32 + 1 }
}

/// The identity of a standard stream of a sandbox's first container, which is a file of the host. gVisor's own number of
/// it is told later, and is not in the order of the fds.
#[must_use]
pub fn handed_in(sandbox: u32, fd: i32) -> ObjectId {
    identity(sandbox, Kind::Host, u64::MAX - u64::from(fd.unsigned_abs()))
}

/// The objects of one sandbox.
#[derive(Debug)]
pub(crate) struct Objects {
    sandbox: u32,
    all: Vec<Object>,
    by_name: HashMap<(u32, String), Number>,
    /// How many pseudo-terminals were opened in each container that was seen from its start.
    terminals: BTreeMap<u32, u32>,
    /// Places of [`Objects::all`] whose objects were forgotten.
    free: Vec<Number>,
    /// Number of objects so far: an object has another identity than the one that had its place before.
    serial: u64,
    /// Whether there may be objects that are in use no more.
    may_forget: bool,
    /// How many found no room.
    pub(crate) refused: u64,
}

impl Objects {
    pub(crate) fn new(sandbox: u32) -> Self {
        Self {
            sandbox,
            all: Vec::new(),
            by_name: HashMap::new(),
            terminals: BTreeMap::new(),
            free: Vec::new(),
            serial: 0,
            may_forget: true,
            refused: 0,
        }
    }

    pub(crate) fn get(&self, number: Number) -> Option<&Object> {
        self.all.get(number)
    }

    pub(crate) fn get_mut(&mut self, number: Number) -> Option<&mut Object> {
        self.all.get_mut(number)
    }

    pub(crate) fn id(&self, number: Number) -> Option<ObjectId> {
        self.get(number)?.id
    }

    /// The object with this name in a container. `None` if gVisor could not tell it, or if there is no room.
    pub(crate) fn named(&mut self, container: u32, name: &str) -> Option<Number> {
        if name.is_empty() || name.starts_with("[err:") {
            return None;
        }
        if let Some(known) = self.by_name.get(&key(container, name)) {
            return Some(*known);
        }
        let number = self.add(Kind::of(name), None)?;
        self.name(container, number, name);
        Some(number)
    }

    /// The object behind an open fd, by its name and its `st_mode`.
    pub(crate) fn open(&mut self, container: u32, name: &str, mode: u32) -> Option<Number> {
        let is_fifo = mode & mode::S_IFMT == mode::S_IFIFO && Kind::of(name) == Kind::File;
        if !is_fifo || self.by_name.contains_key(&key(container, name)) {
            return self.named(container, name);
        }
        let number = self.add(Kind::Fifo, None)?;
        self.name(container, number, name);
        Some(number)
    }

    /// A container is seen from its start on.
    pub(crate) fn container_started(&mut self, container: u32) {
        self.terminals.insert(container, 0);
    }

    /// The master of a new pseudo-terminal; its slave is known from now on. gVisor does not tell the number of a terminal,
    /// but it numbers those of a container in the order in which they are opened (`pkg/sentry/fsimpl/devpts/devpts.go`,
    /// `allocateTerminal`). `None` if the container was not seen from its start, or if there is no room.
    pub(crate) fn terminal_opened(&mut self, container: u32, time_ns: u64) -> Option<Number> {
        let index = self.terminals.get_mut(&container)?;
        let name = format!("/dev/pts/{index}");
        *index += 1;
        let slave = self.named(container, &name)?;
        let master = self.add(Kind::Master, Some(time_ns))?;
        let inode = self.serial;
        let (all, sandbox) = (&mut self.all, self.sandbox);
        (all[slave].created_ns, all[slave].peer) = (Some(time_ns), Some(master));
        (all[master].name, all[master].peer) = (name, Some(slave));
        all[master].id = Some(identity(sandbox, Kind::Master, inode));
        Some(master)
    }

    /// A standard stream of the first container, or of another one. Its name is not known yet.
    pub(crate) fn handed_in(&mut self, fd: i32, other_container: Option<&str>) -> Option<Number> {
        let number = self.add(Kind::Host, None)?;
        let serial = self.serial;
        // The first container has the last three numbers.
        let other = || identity(self.sandbox, Kind::Host, u64::MAX - 3 - serial);
        let id = other_container.map_or_else(|| handed_in(self.sandbox, fd), |_| other());
        let object = &mut self.all[number];
        object.id = Some(id);
        object.name = format!("fd {fd} of {}", other_container.unwrap_or("the container"));
        Some(number)
    }

    /// A pipe or socket that was created now. Its name is not known yet.
    pub(crate) fn created(&mut self, kind: Kind, socket: u16, time_ns: u64) -> Option<Number> {
        let number = self.add(kind, Some(time_ns))?;
        self.all[number].socket = socket;
        Some(number)
    }

    /// Gives an identity to one socket of a pair whose name no call has told yet: calls that gVisor tells by number tell no
    /// path.
    pub(crate) fn name_peer(&mut self, peer: Number, of: &str) {
        let sandbox = self.sandbox;
        if let Some(object) = self.get_mut(peer).filter(|object| object.id.is_none()) {
            object.id = Some(identity(sandbox, object.kind, u64::MAX - object.serial));
            object.name = format!("the other end of {of}");
        }
    }

    /// Notes the name of an fd's object, as a call on it told. Returns the object that the fd leads to.
    ///
    /// A file keeps its identity when it is renamed, because the fd still leads to it.
    pub(crate) fn seen(
        &mut self,
        container: u32,
        number: Option<Number>,
        name: &str,
    ) -> Option<Number> {
        let Some(number) = number else { return self.named(container, name) };
        let known = self.all.get(number)?;
        let is_master = known.kind == Kind::Master && name.ends_with("ptmx");
        if known.name == name || is_master || name.is_empty() || name.starts_with("[err:") {
            return Some(number);
        }
        let kind = Kind::of(name);
        let is_first_name = !known.name.contains(":[") && known.kind == kind && kind != Kind::File
            || known.id.is_none() && known.kind == kind;
        let is_renamed = known.kind == Kind::File && kind == Kind::File;
        if let Some(other) = self.by_name.get(&key(container, name)) {
            return Some(*other);
        }
        if is_renamed {
            self.by_name.remove(&key(known.container, &known.name));
        }
        if is_first_name || is_renamed {
            self.name(container, number, name);
            return Some(number);
        }
        // The table of fds missed a change.
        self.named(container, name)
    }

    fn add(&mut self, kind: Kind, created_ns: Option<u64>) -> Option<Number> {
        let is_full = self.free.is_empty() && self.all.len() >= MOST;
        if is_full {
            self.refused += 1;
            return None;
        }
        self.serial += 1;
        let object = Object {
            serial: self.serial,
            kind,
            container: 0,
            id: None,
            name: String::new(),
            is_watched: false,
            created_ns,
            peer: None,
            capacity: PIPE_BYTES,
            socket: 1,
            early: Vec::new(),
            moved: [0; 2],
        };
        if let Some(number) = self.free.pop() {
            self.all[number] = object;
            return Some(number);
        }
        self.all.push(object);
        Some(self.all.len() - 1)
    }

    /// Whether there is hardly room for more, so that it is time for [`Objects::forget`].
    pub(crate) fn are_too_many(&self) -> bool {
        self.may_forget && self.all.len() - self.free.len() >= MOST - SPARE
    }

    /// Forgets the objects that are not in use: no fd leads to them, and no row is about them. If most are in use, the
    /// next time comes when the table is full.
    pub(crate) fn forget(&mut self, in_use: &BTreeSet<Number>) {
        let forgotten: BTreeSet<Number> = self.free.iter().copied().collect();
        let is_used = |number: &Number, object: &Object| {
            let peer_is_used = object.peer.is_some_and(|peer| in_use.contains(&peer));
            in_use.contains(number) || peer_is_used
        };
        let unused: Vec<Number> = (0..self.all.len())
            .filter(|number| !forgotten.contains(number) && !is_used(number, &self.all[*number]))
            .collect();
        for number in &unused {
            let object = &mut self.all[*number];
            let name = std::mem::take(&mut object.name);
            (object.id, object.peer, object.early) = (None, None, Vec::new());
            let key = key(object.container, &name);
            if self.by_name.get(&key) == Some(number) {
                self.by_name.remove(&key);
            }
        }
        self.may_forget = unused.len() > SPARE;
        self.free.extend(unused);
    }

    fn name(&mut self, container: u32, number: Number, name: &str) {
        let in_brackets = name.split_once(":[").and_then(|(_, rest)| rest.strip_suffix(']'));
        let inode = in_brackets.and_then(|inode| inode.parse().ok());
        let object = &mut self.all[number];
        name.clone_into(&mut object.name);
        object.container = container;
        // Other names have no inode number.
        let inode = inode.unwrap_or(object.serial);
        object.id.get_or_insert(identity(self.sandbox, object.kind, inode));
        self.by_name.insert(key(container, name), number);
    }
}

/// Under which a name is known. Pipes and sockets have names of the whole sandbox, and each container has paths of its own.
fn key(container: u32, name: &str) -> (u32, String) {
    let is_path = name.starts_with('/');
    (if is_path { container } else { 0 }, name.to_owned())
}

#[cfg(test)]
mod tests;
