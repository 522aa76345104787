//! Objects that are easily mistaken for each other: inode numbers that are used again, terminals with two names,
//! files that share an inode.

use std::{
    env,
    ffi::{CString, c_long},
    fs::{self, File, OpenOptions},
    os::{
        fd::{AsRawFd, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use tracer_tests::paths::Identity;

use crate::{
    ledger::Ledger,
    process::{self, Image},
    sys::{self, Unsupported},
};

/// Finds a scenario of this file by name.
pub(crate) fn find(name: &str) -> Option<fn(&mut Ledger) -> Result<()>> {
    Some(match name {
        "overlay-rotate" => overlay_rotate,
        "overlay-handed" => overlay_handed,
        "overlay-one" => overlay_one,
        "overlay-lower" => overlay_lower,
        "folder-rotate" => folder_rotate,
        "fifos" => fifos,
        "terminals" => terminals,
        "terminals-in-turn" => terminals_in_turn,
        "eventfds" => eventfds,
        "into-cgroup" => into_cgroup,
        _ => return None,
    })
}

/// The second word of the command line.
fn directory() -> Result<PathBuf> {
    Ok(env::args_os().nth(2).context("no directory")?.into())
}

fn c_string(text: impl AsRef<std::ffi::OsStr>) -> Result<CString> {
    Ok(CString::new(text.as_ref().as_bytes())?)
}

/// A mount namespace of this process's own.
fn own_mounts() -> Result<()> {
    // SAFETY: takes no pointer.
    sys::check("unshare", c_long::from(unsafe { libc::unshare(libc::CLONE_NEWNS) }))?;
    mount("none", Path::new("/"), "", libc::MS_REC | libc::MS_PRIVATE, "")
}

fn mount(source: &str, on: &Path, kind: &str, flags: libc::c_ulong, options: &str) -> Result<()> {
    let [source, kind, options] = [source, kind, options].map(c_string);
    let (source, on, kind, options) = (source?, c_string(on)?, kind?, options?);
    // SAFETY: all strings are valid during the call.
    let mounted = unsafe {
        libc::mount(source.as_ptr(), on.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast())
    };
    sys::check("mount", c_long::from(mounted)).map(drop)
}

/// Mounts an overlay of folders below `directory`.
pub(super) fn overlay(directory: &Path) -> Result<PathBuf> {
    own_mounts()?;
    let [lower, upper, work, merged] =
        ["lower", "upper", "work", "merged"].map(|name| directory.join(name));
    for folder in [&lower, &upper, &work, &merged] {
        fs::create_dir_all(folder)?;
    }
    let (lower, upper, work) = (lower.display(), upper.display(), work.display());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    mount("overlay", &merged, "overlay", 0, &options)
        .map_err(|error| Unsupported(format!("no overlay: {error:#}")))?;
    Ok(merged)
}

/// Writes to six files, one after the other, and removes each: by `dup2`, and by `open` after `close`.
fn rotate(ledger: &mut Ledger, folder: &Path) -> Result<()> {
    let stdout = sys::dup(1)?;
    for number in 1..=6 {
        // Every second file has the name of the one before.
        let path = folder.join(format!("log.{}", number / 2));
        if number % 3 == 0 {
            sys::close(1)?;
            let file = sys::into_raw(File::create(&path)?.into());
            ensure!(file == 1, "fd 1 became {file}");
        } else {
            sys::dup2(File::create(&path)?.as_raw_fd(), 1)?;
        }
        for _ in 0..3 {
            ledger.write(1, 1000 * number)?;
        }
        fs::remove_file(&path)?;
    }
    sys::dup2(stdout, 1)?;
    sys::close(stdout)
}

/// Files with the same inode number, one after the other, on an overlay.
fn overlay_rotate(ledger: &mut Ledger) -> Result<()> {
    let merged = overlay(&directory()?)?;
    rotate(ledger, &merged)
}

/// The same in any folder.
/// Four FIFOs, one after the other, each with the name of the one before. ext4 gives them the same inode number.
fn fifos(ledger: &mut Ledger) -> Result<()> {
    let (path, stdout) = (directory()?.join("fifo"), sys::dup(1)?);
    for number in 1..=4 {
        let name = c_string(&path)?;
        // SAFETY: the path is valid for the call.
        sys::check("mkfifo", c_long::from(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }))?;
        let both = File::options().read(true).write(true).open(&path)?;
        sys::dup2(both.as_raw_fd(), 1)?;
        ledger.write(1, 1000 * number)?;
        drop(both);
        fs::remove_file(&path)?;
    }
    sys::dup2(stdout, 1)?;
    sys::close(stdout)
}

fn folder_rotate(ledger: &mut Ledger) -> Result<()> {
    rotate(ledger, &directory()?)
}

/// Files that one process creates on an overlay, and another one, which did not see that, writes.
fn overlay_handed(ledger: &mut Ledger) -> Result<()> {
    let merged = overlay(&directory()?)?;
    for number in 1..=4 {
        let path = merged.join("log");
        let file = File::create(&path)?;
        let child = process::fork(ledger, |own| {
            sys::dup2(file.as_raw_fd(), 1)?;
            own.write(1, 1000 * number)
        })?;
        process::wait_success(child)?;
        fs::remove_file(&path)?;
    }
    Ok(())
}

/// One file on an overlay: read from the lower folder, copied to the upper one, freed by the kernel, opened again.
fn overlay_one(ledger: &mut Ledger) -> Result<()> {
    let directory = directory()?;
    fs::create_dir_all(directory.join("lower"))?;
    fs::write(directory.join("lower/data"), [b'd'; 500])?;
    let path = overlay(&directory)?.join("data");
    let (stdin, stdout) = (sys::dup(0)?, sys::dup(1)?);
    sys::dup2(File::open(&path)?.as_raw_fd(), 0)?;
    ensure!(sys::read(0, &mut [0; 500]) == Ok(500), "the lower file cannot be read");
    for size in [700, 300, 50] {
        sys::dup2(OpenOptions::new().append(true).open(&path)?.as_raw_fd(), 1)?;
        ledger.write(1, size)?;
        sys::dup2(stdin, 0)?;
        sys::dup2(stdout, 1)?;
        // SAFETY: takes no argument.
        unsafe { libc::sync() };
        fs::write("/proc/sys/vm/drop_caches", "2")?;
    }
    sys::close(stdin)?;
    sys::close(stdout)
}

/// Appends to a lower file of an overlay. The third word of the command line names its upper folder.
fn overlay_lower(ledger: &mut Ledger) -> Result<()> {
    let directory = directory()?;
    let own = directory.join(env::args_os().nth(3).context("no folder")?);
    let lower = own.join("lower");
    fs::create_dir_all(&lower)?;
    if !directory.join("data").exists() {
        fs::write(directory.join("data"), "lower")?;
    }
    // A link has the inode number of the file.
    fs::hard_link(directory.join("data"), lower.join("data"))?;
    let path = overlay(&own)?.join("data");
    sys::dup2(OpenOptions::new().append(true).open(path)?.as_raw_fd(), 1)?;
    ledger.write(1, 400)
}

/// A terminal of this devpts instance; returns its master and its number.
fn terminal(devpts: &Path) -> Result<(OwnedFd, u32)> {
    let master: OwnedFd =
        OpenOptions::new().read(true).write(true).open(devpts.join("ptmx"))?.into();
    let (unlocked, mut number) = (0_i32, 0_u32);
    // SAFETY: both pointers are valid during the calls.
    unsafe {
        let fd = master.as_raw_fd();
        sys::check("TIOCSPTLCK", c_long::from(libc::ioctl(fd, libc::TIOCSPTLCK, &unlocked)))?;
        sys::check("TIOCGPTN", c_long::from(libc::ioctl(fd, libc::TIOCGPTN, &mut number)))?;
    }
    Ok((master, number))
}

/// Opens a terminal without output processing.
fn open_raw(path: &Path) -> Result<OwnedFd> {
    use rustix::{
        fs::{Mode, OFlags},
        termios::{LocalModes, OptionalActions, OutputModes, tcgetattr, tcsetattr},
    };
    let slave = rustix::fs::open(path, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
    let mut modes = tcgetattr(&slave)?;
    modes.output_modes.remove(OutputModes::OPOST);
    modes.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&slave, OptionalActions::Now, &modes)?;
    Ok(slave)
}

/// Two terminals with the same number, of two devpts instances. A child of each writes to it under two names.
fn terminals(ledger: &mut Ledger) -> Result<()> {
    own_mounts()?;
    let instances = ["one", "two"].map(|name| directory().map(|of| of.join(name)));
    let mut masters = Vec::new();
    for (instance, size) in instances.into_iter().zip([1000, 300]) {
        let instance = instance?;
        fs::create_dir_all(&instance)?;
        mount("none", &instance, "devpts", 0, "newinstance,ptmxmode=0666")
            .map_err(|error| Unsupported(format!("no devpts: {error:#}")))?;
        let (master, number) = terminal(&instance)?;
        ensure!(number == 0, "the first terminal is number {number}");
        let slave = open_raw(&instance.join("0"))?;
        let child = process::fork(ledger, |own| {
            // SAFETY: take no pointer.
            unsafe {
                sys::check("setsid", c_long::from(libc::setsid()))?;
                let owned = libc::ioctl(slave.as_raw_fd(), libc::TIOCSCTTY, 0);
                sys::check("TIOCSCTTY", c_long::from(owned))?;
            }
            let own_terminal = OpenOptions::new().write(true).open("/dev/tty")?;
            sys::dup2(own_terminal.as_raw_fd(), 1)?;
            sys::dup2(slave.as_raw_fd(), 2)?;
            own.write(1, size)?;
            own.write(2, size + 1)
        })?;
        process::wait_success(child)?;
        // The terminal stays open, so that the next one is another one.
        masters.push((master, slave, 2 * size + 1));
    }
    for (master, _, size) in &masters {
        let mut rest = *size;
        while rest > 0 {
            let read = sys::read(master.as_raw_fd(), &mut vec![0; rest]);
            rest -= read.map_err(std::io::Error::from_raw_os_error)?;
        }
    }
    Ok(())
}

/// Five terminals with the same number, one after the other. A part of what is written to each is read. The kernel frees
/// the number with the last open file of the slave.
fn terminals_in_turn(ledger: &mut Ledger) -> Result<()> {
    own_mounts()?;
    let instance = directory()?.join("pts");
    fs::create_dir_all(&instance)?;
    mount("none", &instance, "devpts", 0, "newinstance,ptmxmode=0666")
        .map_err(|error| Unsupported(format!("no devpts: {error:#}")))?;
    let stdout = sys::dup(1)?;
    for size in [100, 200, 300, 400, 500] {
        let (master, number) = terminal(&instance)?;
        ensure!(number == 0, "the terminal is number {number}");
        let slave = open_raw(&instance.join("0"))?;
        sys::dup2(slave.as_raw_fd(), 1)?;
        ledger.write(1, 2 * size)?;
        let read = sys::read(master.as_raw_fd(), &mut vec![0; size]);
        ensure!(read == Ok(size), "{read:?}");
        drop((slave, master));
        sys::dup2(stdout, 1)?;
    }
    sys::close(stdout)
}

fn eventfd() -> Result<OwnedFd> {
    // SAFETY: takes no pointer.
    let fd = sys::check("eventfd", c_long::from(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) }))?;
    // SAFETY: the call above created this fd, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

fn wake_up(eventfd: RawFd) -> Result<()> {
    ensure!(sys::write(eventfd, &1_u64.to_ne_bytes()) == Ok(8), "eventfd accepts no number");
    ensure!(sys::read(eventfd, &mut [0; 8]) == Ok(8), "eventfd has no number");
    Ok(())
}

/// A process that reads output wakes itself by an eventfd. A stranger has one of its own at the same time, another one later.
fn eventfds(ledger: &mut Ledger) -> Result<()> {
    let (read, write) = sys::pipe()?;
    let event = eventfd()?;
    let writer = Image::of_self(&["write", Identity::Direct.word()])?;
    let writer = process::fork(ledger, |_| {
        sys::dup2(write.as_raw_fd(), 1)?;
        Err(writer.exec())
    })?;
    drop(write);
    while sys::read(read.as_raw_fd(), &mut [0; 4096]).is_ok_and(|bytes| bytes > 0) {}
    process::wait_success(writer)?;
    (0..3).try_for_each(|_| wake_up(event.as_raw_fd()))?;
    let stranger = || {
        process::fork(ledger, |_| {
            let event = eventfd()?;
            (0..40).try_for_each(|_| wake_up(event.as_raw_fd()))
        })
    };
    process::wait_success(stranger()?)?;
    drop(event);
    process::wait_success(stranger()?)
}

/// Starts a child in the cgroup whose folder is the second word of the command line.
fn into_cgroup(ledger: &mut Ledger) -> Result<()> {
    let cgroup = File::open(directory()?)?;
    let child = process::fork_into(cgroup.as_raw_fd(), ledger, |own| {
        own.write(1, 1300)?;
        own.write(1, 7)?;
        own.write(2, 45)
    })?;
    process::wait_success(child)
}
