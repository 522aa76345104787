//! A FUSE file system with one file, `f`, that stops answering, and a program on it.
//!
//! `stillfs silent DIRECTORY` writes to the file until tracer has seen it. Once `DIRECTORY/still` exists, the file
//! system answers nothing any more.
//!
//! `stillfs empty DIRECTORY` does the same with an empty file, and writes nothing.
//!
//! `stillfs slow DIRECTORY` does so too, and takes [`SLOW`] for each [`PAGE`] of a write. It never stands still.
//!
//! `stillfs mute DIRECTORY` writes nothing either, and never answers a read.
//!
//! `stillfs locked DIRECTORY` holds the lock of its own memory: one thread faults on a page whose write-back the file
//! system never completes, and another unmaps that page. Each read of its arguments or environment waits for them.
//!
//! All use the device `DIRECTORY/fuse` and the mount point `DIRECTORY/mnt`, and create `DIRECTORY/ready` when they are
//! ready. The server is a child process of its own.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::fd::AsRawFd as _,
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    io::{FdFlags, fcntl_setfd},
    mm::{MapFlags, ProtFlags, mmap, munmap},
    mount::{MountFlags, mount},
};

/// The size of the file, and of everything that is mapped.
const PAGE: usize = 4096;
/// How long a slow file system takes for a page.
const SLOW: Duration = Duration::from_millis(20);
/// The longest life of both processes, so that neither outlives a broken test.
const LIFETIME: u32 = 60;

/// Numbers of requests (`include/uapi/linux/fuse.h`).
mod op {
    pub(super) const LOOKUP: u32 = 1;
    pub(super) const FORGET: u32 = 2;
    pub(super) const GETATTR: u32 = 3;
    pub(super) const SETATTR: u32 = 4;
    pub(super) const OPEN: u32 = 14;
    pub(super) const READ: u32 = 15;
    pub(super) const WRITE: u32 = 16;
    pub(super) const RELEASE: u32 = 18;
    pub(super) const FLUSH: u32 = 25;
    pub(super) const INIT: u32 = 26;
    pub(super) const BATCH_FORGET: u32 = 42;
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [mode, directory] = words.as_slice() else { bail!("usage: stillfs MODE DIRECTORY") };
    let directory = PathBuf::from(directory);
    let mode = match mode.as_str() {
        "locked" => Mode::Locked,
        "silent" => Mode::Silent,
        "empty" => Mode::Empty,
        "slow" => Mode::Slow,
        "mute" => Mode::Mute,
        other => bail!("unknown mode {other}"),
    };
    arm_watchdog();
    let file = start(&Server { directory: directory.clone(), mode })?;
    if mode == Mode::Locked {
        hold_own_memory(&file)?;
    } else if mode == Mode::Silent {
        // SAFETY: takes no pointer; the standard library does not own fd 1.
        unsafe { libc::dup2(file.as_raw_fd(), 1) };
        (&file).write_all(b"before\n")?;
    }
    fs::write(directory.join("ready"), "")?;
    while !directory.join("end").exists() {
        thread::sleep(Duration::from_millis(20));
        if mode == Mode::Silent && !directory.join("still").exists() {
            (&file).write_all(b"hello\n")?;
        }
    }
    Ok(())
}

fn arm_watchdog() {
    // SAFETY: takes no pointer.
    unsafe { libc::alarm(LIFETIME) };
}

/// Mounts, starts the server and opens the file.
fn start(server: &Server) -> Result<File> {
    let (directory, mode) = (server.directory.clone(), server.mode);
    let device = OpenOptions::new().read(true).write(true).open(directory.join("fuse"))?;
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let options = format!(
        "fd={},rootmode=40000,user_id={uid},group_id={gid},allow_other\0",
        device.as_raw_fd()
    );
    let options = std::ffi::CStr::from_bytes_with_nul(options.as_bytes())?;
    let place = directory.join("mnt");
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("stillfs", &place, "fuse", flags, options).context("mount")?;
    fcntl_setfd(&device, FdFlags::CLOEXEC)?;
    // SAFETY: this process has one thread, so the child may run ordinary code.
    if unsafe { libc::fork() } == 0 {
        arm_watchdog();
        let served = server.serve(&device);
        std::process::exit(i32::from(served.is_err()));
    }
    drop(device);
    // A program that someone has open for writing cannot be executed.
    let writes = mode != Mode::Mute;
    OpenOptions::new().read(true).write(writes).open(place.join("f")).context("open")
}

/// Holds the lock of this process's memory with two threads that wait for ever.
fn hold_own_memory(file: &File) -> Result<()> {
    let flags = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address that the kernel chooses.
    let page = unsafe { mmap(std::ptr::null_mut(), PAGE, flags, MapFlags::SHARED, file, 0)? };
    let address = page as usize;
    // SAFETY: the page is mapped and writable.
    unsafe { page.cast::<u8>().write_volatile(1) };
    // SAFETY: takes no pointer.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 4096, libc::SYNC_FILE_RANGE_WRITE) };
    let lag = Duration::from_millis(200);
    thread::sleep(lag);
    thread::spawn(move || {
        // SAFETY: the page is mapped until the other thread unmaps it, which waits for this access.
        unsafe { (address as *mut u8).write_volatile(2) };
    });
    thread::sleep(lag);
    thread::spawn(move || {
        // SAFETY: nothing accesses the page after this.
        unsafe { munmap(address as *mut _, PAGE) }
    });
    thread::sleep(lag);
    Ok(())
}

/// What the file system does, and the program on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Locked,
    Silent,
    Empty,
    Slow,
    Mute,
}

/// The server.
struct Server {
    directory: PathBuf,
    mode: Mode,
}

impl Server {
    fn serve(&self, mut device: &File) -> io::Result<()> {
        let mut request = vec![0; 1 << 20];
        loop {
            let length = match device.read(&mut request) {
                // The request was interrupted before it was read.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => continue,
                other => other?,
            };
            if self.directory.join("still").exists() {
                loop {
                    thread::park();
                }
            }
            self.answer(device, &request[..length])?;
        }
    }

    fn answer(&self, device: &File, request: &[u8]) -> io::Result<()> {
        let number = |at: usize| {
            let bytes = request.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_ne_bytes)
        };
        // `struct fuse_in_header`: length, opcode, unique (8 bytes), node (8 bytes), uid, gid, pid, padding.
        let (opcode, node) = (number(4), number(16));
        let unique: [u8; 8] = request[8..16].try_into().unwrap_or_default();
        let is_file = request.get(40..).is_some_and(|body| body.starts_with(b"f\0"));
        let is_empty = matches!(self.mode, Mode::Empty | Mode::Slow);
        let mut body = Vec::new();
        match opcode {
            // `struct fuse_init_out`: version 7.31, read-ahead, no flags, limits, the longest write, 32 pages at once.
            op::INIT => {
                let most = if self.mode == Mode::Slow { PAGE as u32 } else { 0x20000 };
                words(&mut body, &[7, 31, 0x20000, 0, 12 | 10 << 16, most, 1, 32]);
                body.resize(64, 0);
            }
            op::LOOKUP if is_file => {
                // `struct fuse_entry_out`: node 2, no generation, nothing is cached.
                words(&mut body, &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
                attributes(&mut body, 2, is_empty);
            }
            op::LOOKUP => return Self::reply(device, unique, -libc::ENOENT, &[]),
            op::GETATTR | op::SETATTR => {
                words(&mut body, &[0, 0, 0, 0]);
                attributes(&mut body, node, is_empty);
            }
            // `struct fuse_open_out`: a handle; FOPEN_KEEP_CACHE for what is mapped, else FOPEN_DIRECT_IO.
            op::OPEN => words(&mut body, &[1, 0, if self.mode == Mode::Locked { 2 } else { 1 }, 0]),
            op::READ if self.mode == Mode::Mute => return Ok(()),
            op::READ => body = vec![b'a'; PAGE],
            op::WRITE if self.mode == Mode::Locked => return Ok(()),
            // `struct fuse_write_in` has the size at byte 16.
            op::WRITE => {
                if self.mode == Mode::Slow {
                    thread::sleep(SLOW);
                }
                words(&mut body, &[number(40 + 16), 0]);
            }
            op::FLUSH | op::RELEASE => {}
            op::FORGET | op::BATCH_FORGET => return Ok(()),
            _ => return Self::reply(device, unique, -libc::ENOSYS, &[]),
        }
        Self::reply(device, unique, 0, &body)
    }

    /// Writes `struct fuse_out_header` and a body.
    fn reply(mut device: &File, unique: [u8; 8], error: i32, body: &[u8]) -> io::Result<()> {
        let mut answer = Vec::new();
        words(&mut answer, &[16 + body.len() as u32, error as u32]);
        answer.extend(unique);
        answer.extend(body);
        match device.write(&answer) {
            // The request was interrupted.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            result => result.map(drop),
        }
    }
}

fn words(into: &mut Vec<u8>, words: &[u32]) {
    into.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
}

/// `struct fuse_attr` of the directory (node 1) or the file.
fn attributes(into: &mut Vec<u8>, node: u32, is_empty: bool) {
    let size = if node == 1 || is_empty { 0 } else { PAGE as u32 };
    let mode = if node == 1 { 0o40777 } else { 0o100_777 };
    // Inode, size, blocks, three times, three parts of a second; mode, links, owner, device, block size, flags.
    words(into, &[node, 0, size, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0]);
}
