//! Random sequences of calls on random objects. `workload random SEED STEPS` does the same for the same seed.

mod channel;
mod reading;
pub(super) mod widths;

use std::{
    env,
    os::fd::{AsFd as _, AsRawFd as _},
    path::PathBuf,
    thread,
};

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tracer_tests::{
    kernel::{URING_IS_COUNTED, is_at_least},
    truth::path_from_env,
};

use self::channel::{Channel, Kind, write_plainly};
use super::{answered, identity::overlay};
use crate::{
    identity::{receive, send},
    ledger::Ledger,
    paths, process,
    sys::{self, Unsupported},
};

/// How many objects are open at once.
const OPEN: usize = 5;
/// Size of a block of `head`.
const BLOCK: usize = 1024;

/// Calls that write to any object.
const ANYWHERE: [&str; 8] = [
    "write",
    "writev",
    "sendfile",
    "uring-write",
    "uring-writev",
    "uring-write-fixed",
    "uring-async",
    "uring-registered-file",
];

/// Further calls that write to objects of a kind.
fn further(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Pipe => &["splice", "tee", "vmsplice", "uring-splice"],
        Kind::Stream | Kind::Tcp => {
            &["sendto", "sendmsg", "sendmmsg", "uring-send", "uring-sendmsg"]
        }
        Kind::Seqpacket => &["sendto", "sendmsg", "sendmmsg"],
        Kind::File => &["pwrite64", "pwritev", "pwritev2", "copy_file_range", "splice"],
        // copy_file_range cannot copy from another file system to this one.
        Kind::Overlay => &["pwrite64", "pwritev", "pwritev2", "splice"],
        Kind::Terminal => &[],
    }
}

/// One process and the objects that it has open.
struct World {
    random: Rng,
    channels: Vec<Channel>,
    traps: bool,
    /// Whether tracer counts io_uring on this kernel.
    rings: bool,
    /// Where files are.
    directory: PathBuf,
    /// Where files on an overlay are, if the kernel has any.
    overlay: Option<PathBuf>,
}

/// Runs a random sequence.
pub(crate) fn run(ledger: &mut Ledger) -> Result<()> {
    let mut numbers = env::args().skip(2).map(|word| word.parse::<u64>());
    let mut next =
        || numbers.next().context("usage: workload random SEED STEPS")?.context("a number");
    let (seed, steps) = (next()?, next()?);
    let (random, rings) = (Rng::with_seed(seed), is_at_least(URING_IS_COUNTED)?);
    let directory = path_from_env()?.parent().context("no directory")?.to_owned();
    let overlay = match overlay(&directory.join(format!("overlay-{seed}"))) {
        Err(error) if error.is::<Unsupported>() => None,
        mounted => Some(mounted?),
    };
    let channels = Vec::new();
    let mut world = World { random, channels, traps: false, rings, directory, overlay };
    for step in 0..steps {
        world.step(ledger).with_context(|| format!("step {step} of seed {seed}"))?;
    }
    for channel in std::mem::take(&mut world.channels) {
        channel.publish(ledger)?;
    }
    Ok(())
}

impl World {
    fn step(&mut self, ledger: &mut Ledger) -> Result<()> {
        if self.channels.is_empty() {
            return self.open();
        }
        match self.random.u32(..100) {
            0..5 if self.channels.len() < OPEN => self.open(),
            0..8 => self.close(ledger),
            8..55 => self.write(ledger),
            55..85 => self.read(),
            85..91 => self.fork(ledger),
            91..94 => self.exec(ledger),
            94..97 => self.in_a_thread(ledger),
            97..98 => self.trapped(ledger),
            98..99 => self.replace(),
            _ => self.hand_over(ledger),
        }
    }

    fn open(&mut self) -> Result<()> {
        let kind = Kind::ANYWHERE.get(self.random.usize(..=Kind::ANYWHERE.len())).copied();
        let channel = match (kind, &self.overlay) {
            (Some(kind), _) => Channel::open(kind, &self.directory),
            (None, Some(overlay)) => Channel::open(Kind::Overlay, overlay),
            (None, None) => Channel::open(Kind::File, &self.directory),
        }?;
        channel.put_on(self.standard_fd(), &mut self.random)?;
        self.channels.push(channel);
        Ok(())
    }

    /// Closes an object with what is inside.
    fn close(&mut self, ledger: &mut Ledger) -> Result<()> {
        let index = self.random.usize(..self.channels.len());
        let channel = self.channels.swap_remove(index);
        for fd in [1, 2] {
            if channel.is_on(fd) {
                process::put_null_on(fd)?;
            }
        }
        channel.publish(ledger)
    }

    fn standard_fd(&mut self) -> i32 {
        self.random.i32(1..=2)
    }

    fn any(&mut self) -> usize {
        self.random.usize(..self.channels.len())
    }

    /// Writes through fd 1 or 2, or through the object's own fd.
    fn write(&mut self, ledger: &mut Ledger) -> Result<()> {
        let index = self.any();
        let (standard, own) = (self.standard_fd(), self.random.u32(..4) == 0);
        let channel = &mut self.channels[index];
        let size = channel.make_room(&mut self.random)?;
        let fd = if own {
            channel.writer()
        } else {
            channel.put_on(standard, &mut self.random)?;
            standard
        };
        if self.random.u32(..4) == 0 {
            widths::write(ledger, fd, size, &mut self.random)?;
            channel.wrote(size);
            return Ok(());
        }
        let kinds = ANYWHERE.len() + further(channel.kind()).len();
        let pick = self.random.usize(..kinds);
        let name = ANYWHERE.into_iter().chain(further(channel.kind()).iter().copied()).nth(pick);
        let name = name.context("no such call")?;
        // A signal lets requests to a terminal fail before they have begun.
        let rings = self.rings && channel.kind() != Kind::Terminal;
        let name = if rings || !name.starts_with("uring") { name } else { "write" };
        let path = paths::find(name).context(name)?;
        match path(ledger, fd, &[size]) {
            // The kernel lacks this call.
            Err(error) if error.is::<Unsupported>() => write_plainly(ledger, fd, size),
            done => done.with_context(|| format!("{name} of {size} B to {channel:?}")),
        }?;
        channel.wrote(size);
        Ok(())
    }

    fn read(&mut self) -> Result<()> {
        let index = self.any();
        let channel = &mut self.channels[index];
        reading::some(channel, &mut self.random, self.rings)
    }

    /// Puts another object on fd 1 or 2.
    fn replace(&mut self) -> Result<()> {
        let (index, fd) = (self.any(), self.standard_fd());
        self.channels[index].put_on(fd, &mut self.random)
    }

    /// A child writes, and reads nothing.
    fn fork(&mut self, ledger: &mut Ledger) -> Result<()> {
        let (index, fd) = (self.any(), self.standard_fd());
        let size = self.channels[index].make_room(&mut self.random)?;
        let (first, forks) = (size / 2, self.random.bool());
        self.channels[index].put_on(fd, &mut self.random)?;
        let child = process::fork(ledger, |own| {
            write_plainly(own, fd, first)?;
            if forks {
                let grandchild = process::fork(own, |last| write_plainly(last, fd, size - first))?;
                return process::wait_success(grandchild);
            }
            write_plainly(own, fd, size - first)
        })?;
        process::wait_success(child)?;
        self.channels[index].wrote(size);
        Ok(())
    }

    /// A child that is older than an object gets it over a socket, twice, and writes through both fds.
    fn hand_over(&mut self, ledger: &mut Ledger) -> Result<()> {
        if self.channels.len() == OPEN {
            self.close(ledger)?;
        }
        let kind = SocketType::STREAM;
        let (here, there) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        // Any object takes this many bytes.
        let size = self.random.usize(2..300);
        let ends_of_parent = here.as_raw_fd();
        let child = process::fork(ledger, |own| {
            sys::close(ends_of_parent)?;
            let [first, second] = receive(there.as_fd())?;
            write_plainly(own, first, size / 2)?;
            write_plainly(own, second, size - size / 2)
        })?;
        self.open()?;
        let channel = self.channels.last_mut().context("nothing was opened")?;
        send(here.as_fd(), &[channel.as_writer(), channel.as_writer()])?;
        process::wait_success(child)?;
        channel.wrote(size);
        Ok(())
    }

    /// Another program writes.
    fn exec(&mut self, ledger: &mut Ledger) -> Result<()> {
        let (index, fd) = (self.any(), self.standard_fd());
        let size = self.channels[index].make_room(&mut self.random)?;
        // `head` writes blocks, and the last one must not have the size that seccomp traps.
        let size = if size % BLOCK == answered::SELECTED { size + 1 } else { size };
        self.channels[index].put_on(fd, &mut self.random)?;
        process::write_by_program(ledger, fd, size)?;
        self.channels[index].wrote(size);
        Ok(())
    }

    fn in_a_thread(&mut self, ledger: &mut Ledger) -> Result<()> {
        let index = self.any();
        let size = self.channels[index].make_room(&mut self.random)?;
        let fd = self.channels[index].writer();
        let mut own = ledger.fresh()?;
        let thread = thread::spawn(move || {
            let written = sys::write(fd, &vec![b't'; size]);
            ensure!(own.note(fd, size, written) == Ok(size), "a thread wrote {written:?}");
            Ok(own)
        });
        ledger.absorb(thread.join().ok().context("the thread panicked")??);
        self.channels[index].wrote(size);
        Ok(())
    }

    /// A write that seccomp traps.
    fn trapped(&mut self, ledger: &mut Ledger) -> Result<()> {
        if !self.traps {
            answered::trap_selected()?;
            self.traps = true;
        }
        let index = self.any();
        self.channels[index].put_on(1, &mut self.random)?;
        answered::write_trapped(ledger);
        Ok(())
    }
}
