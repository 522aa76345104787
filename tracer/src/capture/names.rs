//! Names in a capture: of the streams' files, and of the sources of copies.

use std::{collections::HashMap, fs, os::unix::fs::MetadataExt as _, path::PathBuf};

use tracer_common::{ledger::LedgerKey, object::ObjectId};
use tracer_core::capture::chunk::Source;

use crate::observe::inode_of_fd;

/// How many sources are remembered.
const SOURCES: usize = 256;

/// The names of the files: `docker-71.stderr`, then `docker-71.stderr.2`.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    taken: HashMap<String, u32>,
}

impl Names {
    /// A name that no other stream has.
    pub(super) fn name(&mut self, comm: &str, key: &LedgerKey) -> String {
        let stream = match key.fd {
            1 => "stdout".to_owned(),
            2 => "stderr".to_owned(),
            fd => format!("fd{fd}"),
        };
        let name = format!("{}-{}.{stream}", plain(comm), key.process.tgid);
        let times = self.taken.entry(name.clone()).or_insert(0);
        *times += 1;
        // No name ends in `.` and a number without this suffix, so the result is unique as well.
        if *times == 1 { name } else { format!("{name}.{times}") }
    }
}

/// The process chose its name. The result leads to no other directory and is no hidden file.
fn plain(comm: &str) -> String {
    let mut plain: String = comm
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' })
        .collect();
    if plain.starts_with('.') {
        plain.replace_range(..1, "_");
    }
    if plain.is_empty() { "unknown".to_owned() } else { plain }
}

/// The names of sources of copies within the kernel.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    known: HashMap<ObjectId, String>,
}

impl Sources {
    /// The path that the fd leads to, if it still leads to that object; else the object's identity.
    pub(super) fn name(&mut self, process: u32, source: &Source) -> String {
        let Source { fd, object } = *source;
        if object.is_none() {
            return format!("fd {fd}");
        }
        if let Some(name) = self.known.get(&object) {
            return name.clone();
        }
        let Some(name) = path_behind(process, fd, &object) else {
            return format!("{}:{}", object.dev, object.ino);
        };
        if self.known.len() >= SOURCES {
            self.known.clear();
        }
        self.known.insert(object, name.clone());
        name
    }
}

/// The path of an fd that leads to this object. `stat(2)` could wait for a file system that stands still, so it is used
/// only on kernels that show no inode without it (before Linux 5.14).
fn path_behind(process: u32, fd: i32, object: &ObjectId) -> Option<String> {
    let link = PathBuf::from(format!("/proc/{process}/fd/{fd}"));
    let path = fs::read_link(&link).ok()?;
    let asked = || fs::metadata(&link).ok().map(|found| found.ino());
    let is_same = inode_of_fd(process, fd).or_else(asked)? == object.ino;
    is_same.then(|| path.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use tracer_common::id::ProcessId;

    use super::*;

    fn key(fd: i32) -> LedgerKey {
        LedgerKey { process: ProcessId::new(71, 5), fd, ..LedgerKey::default() }
    }

    #[test]
    fn a_file_is_named_after_process_and_stream() {
        let mut names = Names::default();
        let mut name = |comm, fd| names.name(comm, &key(fd));
        assert_eq!(name("docker", 1), "docker-71.stdout");
        assert_eq!(name("docker", 2), "docker-71.stderr");
        assert_eq!(name("docker", 7), "docker-71.fd7");
        assert_eq!(name("docker", -1), "docker-71.fd-1");
        assert_eq!(name("docker", 1), "docker-71.stdout.2");
        assert_eq!(name("docker", 1), "docker-71.stdout.3");
    }

    #[test]
    fn a_hostile_name_stays_within_the_folder() {
        let mut names = Names::default();
        let cases = [
            ("../../etc/cron", "_._.._etc_cron-71.stdout"),
            (".", "_-71.stdout"),
            ("a/b\n\x1b[2J", "a_b___2J-71.stdout"),
            ("Größe", "Gr__e-71.stdout"),
            ("", "unknown-71.stdout"),
        ];
        for (comm, name) in cases {
            assert_eq!(names.name(comm, &key(1)), name, "{comm:?}");
        }
    }

    #[test]
    fn a_source_is_its_path_only_while_the_fd_leads_there() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let found = file.as_file().metadata().unwrap();
        let object = ObjectId { ino: found.ino(), dev: 9, discriminator: 0 };
        let other = ObjectId { ino: found.ino() + 1, ..object };
        let (own, fd) = (std::process::id(), file.as_raw_fd());
        let mut sources = Sources::default();
        let path = file.path().to_str().unwrap();
        assert_eq!(sources.name(own, &Source { fd, object: other }), format!("9:{}", other.ino));
        assert_eq!(sources.name(own, &Source { fd, object }), path);
        assert_eq!(sources.name(own, &Source { fd: -1, object }), path, "remembered");
        assert_eq!(sources.name(own, &Source { fd: 4, object: ObjectId::NONE }), "fd 4");
    }
}
