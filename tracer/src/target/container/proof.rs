//! Proof that a process is root's own on this machine. A program can have any name, and any user can serve a socket
//! or make a cgroup with a name like an engine's.

use std::{
    fs,
    io::{self, Error},
    os::{fd::AsRawFd as _, unix::net::UnixStream},
    path::{Path, PathBuf},
};

use super::cgroup_path::components;
use crate::{sys::bounded, target::Roots};

/// Inode number of the initial user namespace (`PROC_USER_INIT_INO`, `include/linux/proc_ns.h`).
pub(crate) const INITIAL_USER: &str = "user:[4026531837]";

/// The process at the other end of a socket: the one that called `listen(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its pid; 0 if it is not visible in this pid namespace.
    pub(crate) pid: u32,
    /// Its effective uid at that moment, in this user namespace.
    pub(crate) uid: u32,
}

impl Peer {
    /// `SO_PEERCRED` (`unix(7)`). rustix has it, but not for a pid of 0.
    #[allow(unsafe_code, reason = "getsockopt of a C structure has no safe form")]
    pub(crate) fn of(stream: &UnixStream) -> io::Result<Self> {
        let mut found = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
        let mut length = size_of::<libc::ucred>() as libc::socklen_t;
        // SAFETY: `found` has `length` bytes, of a type without invalid values.
        let status = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                (&raw mut found).cast(),
                &raw mut length,
            )
        };
        if status != 0 {
            return Err(Error::last_os_error());
        }
        Ok(Self { pid: u32::try_from(found.pid).unwrap_or(0), uid: found.uid })
    }

    /// Whether it is root or tracer's own user: what it says can cost tracer time and memory, as what its files say can.
    pub(super) fn is_as_mighty(self) -> bool {
        self.uid == 0 || self.uid == rustix::process::geteuid().as_raw()
    }

    /// Why this peer is not believed; `None` for root's own process. systemd listens for an engine that it starts on
    /// demand, so the peer can be pid 1.
    pub(crate) fn doubt(self, roots: &Roots, socket: &Path) -> Option<String> {
        let socket = socket.display();
        match self {
            Self { uid, .. } if uid != roots.root_uid => {
                Some(format!("{socket} is served by uid {uid}, not by root"))
            }
            Self { pid: 0, .. } => {
                Some(format!("{socket} is served by a process of another pid namespace"))
            }
            Self { pid: 1, .. } => None,
            Self { pid, .. } if !is_initial(roots, pid) => Some(format!(
                "{socket} is served by process {pid} of another user or mount namespace"
            )),
            _ => None,
        }
    }
}

/// Whether a process is root's, in the initial user and mount namespace.
pub(crate) fn is_roots_own(roots: &Roots, pid: u32) -> bool {
    let status = bounded::text(roots.proc.join(pid.to_string()).join("status"));
    let status = status.unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    let root = roots.root_uid.to_string();
    // Real, effective, saved and file system uid (`proc_pid_status(5)`).
    let is_root =
        uids.split_whitespace().count() == 4 && uids.split_whitespace().all(|uid| uid == root);
    is_root && is_initial(roots, pid)
}

/// Whether a process is in the initial user namespace and in the mount namespace of pid 1. Some sandboxes hide pid 1
/// also from root. tracer's own mount namespace is then the only one whose paths it knows.
fn is_initial(roots: &Roots, pid: u32) -> bool {
    let namespace = |process: &str, kind: &str| -> Option<PathBuf> {
        fs::read_link(roots.proc.join(process).join("ns").join(kind)).ok()
    };
    let pid = pid.to_string();
    let home = namespace("1", "mnt").or_else(|| namespace("self", "mnt"));
    let is_same_pid_namespace = namespace(&pid, "pid") == namespace("self", "pid");
    namespace(&pid, "user").is_some_and(|user| user == Path::new(INITIAL_USER))
        && home.is_some()
        && namespace(&pid, "mnt") == home
        && is_same_pid_namespace
}

/// Whether only root can write to a file, or replace it: root owns it and every directory above it, and no other user
/// may write to any of them. The path must have no symbolic link.
pub(crate) fn is_roots_alone(root_uid: u32, path: &Path) -> bool {
    is_roots_alone_below(root_uid, Path::new("/"), path)
}

/// The same for a file below a directory that only root can replace: `/run`, `/var/lib`. The directory is looked at too.
pub(crate) fn is_roots_alone_below(root_uid: u32, base: &Path, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    /// `S_IWGRP` and `S_IWOTH` (`inode(7)`).
    const BY_OTHERS: u32 = 0o022;
    path.is_absolute()
        && path.starts_with(base)
        && path.ancestors().take_while(|place| place.starts_with(base)).all(|place| {
            fs::symlink_metadata(place).is_ok_and(|found| {
                let is_link = found.file_type().is_symlink();
                found.uid() == root_uid && !is_link && found.mode() & BY_OTHERS == 0
            })
        })
}

/// The length of the part of a cgroup's path in which root gave every name, and the first directory in which others can give
/// names; `None` if there is none. `path` begins with `/` at the mount point.
///
/// Who may write to a cgroup's directory names the cgroups in it. systemd gives each user's manager such a directory
/// (`user@UID.service`, `Delegate=` of systemd.resource-control(5)), and an administrator can give one to anyone: a cgroup
/// below it can have the name of any container or unit. The owner of the named cgroup itself does not matter: engines and
/// systemd give some of them away after they have named them (user namespaces, `Delegate=` with `User=`).
pub(crate) fn named_by_root(
    root_uid: u32,
    mount_point: &Path,
    path: &str,
) -> (usize, Option<PathBuf>) {
    let (mut directory, mut end) = (mount_point.to_owned(), 0);
    for (name, upto) in components(path).filter(|(name, _)| !name.is_empty()) {
        let is_name = !matches!(name, "." | "..");
        if !is_name || !is_roots_alone_below(root_uid, &directory, &directory) {
            return (end, Some(directory));
        }
        end = upto.len();
        directory.push(name);
    }
    (end, None)
}

/// Why the cgroup with this path may not be what its name says; `None` if root gave the name.
pub(crate) fn doubt_of_path(root_uid: u32, mount_point: &Path, path: &str) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;

    let (_, of_others) = named_by_root(root_uid, mount_point, path);
    let directory = of_others?;
    let uid = fs::symlink_metadata(&directory).ok().map(|found| found.uid());
    let who = match uid.filter(|uid| *uid != root_uid) {
        Some(uid) => format!("uid {uid} owns"),
        None => "root alone does not control".to_owned(),
    };
    Some(format!("only the name of its cgroup says so, and {who} {}", directory.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::target::machine::Machine;

    #[test]
    fn a_peer_is_believed_only_as_root_in_the_initial_namespaces() {
        let machine = Machine::unified();
        let socket = machine.roots().run.join("docker.sock");
        let _listener = UnixListener::bind(&socket).unwrap();
        let peer = Peer::of(&UnixStream::connect(&socket).unwrap()).unwrap();
        assert_eq!(peer.pid, std::process::id());
        machine.make_namespaces(peer.pid, INITIAL_USER, "mnt:[5]");
        let doubt = |machine: &Machine| peer.doubt(&machine.roots(), &socket).unwrap_or_default();
        assert_eq!(doubt(&machine), "");
        machine.make_namespaces(peer.pid, "user:[7]", "mnt:[5]");
        assert!(doubt(&machine).contains("another user or mount namespace"));
        machine.make_namespaces(peer.pid, INITIAL_USER, "mnt:[6]");
        assert!(doubt(&machine).contains("another user or mount namespace"));
        let roots = Roots { root_uid: peer.uid + 1, ..machine.roots() };
        let doubt = peer.doubt(&roots, &socket).unwrap();
        assert!(doubt.ends_with(&format!("is served by uid {}, not by root", peer.uid)), "{doubt}");
        let hidden = Peer { pid: 0, ..peer }.doubt(&machine.roots(), &socket).unwrap();
        assert!(hidden.contains("another pid namespace"), "{hidden}");
    }

    #[test]
    fn a_file_that_another_user_can_replace_is_not_believed() {
        assert!(is_roots_alone(0, Path::new("/proc/version")));
        let file = tempfile::NamedTempFile::new().unwrap();
        // The directory for temporary files is open to all users.
        assert!(!is_roots_alone(0, file.path()));
        assert!(!is_roots_alone(0, Path::new("proc/version")));
        assert!(!is_roots_alone(1, Path::new("/proc/version")));
    }
}
