//! A machine in a temporary directory: procfs, cgroup hierarchies, state of engines.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{Roots, container::proof::INITIAL_USER};

/// The directory is removed when this is dropped.
pub(crate) struct Machine {
    directory: TempDir,
}

impl Machine {
    /// Version 1 controllers, and version 2 beside them.
    pub(crate) fn hybrid() -> Self {
        Self::with_mounts(&[
            ("cpu,cpuacct", "cgroup", "rw,cpu,cpuacct"),
            ("memory", "cgroup", "rw,memory"),
            ("pids", "cgroup", "rw,pids"),
            ("systemd", "cgroup", "rw,xattr,name=systemd"),
            ("unified", "cgroup2", "rw,nsdelegate"),
        ])
    }

    /// Version 2 only.
    pub(crate) fn unified() -> Self {
        Self::with_mounts(&[("", "cgroup2", "rw,nsdelegate")])
    }

    /// Nothing mounted.
    pub(crate) fn without_cgroups() -> Self {
        Self::with_mounts(&[])
    }

    fn with_mounts(mounts: &[(&str, &str, &str)]) -> Self {
        let machine = Self { directory: TempDir::new().unwrap() };
        let roots = machine.roots();
        let mut mountinfo = String::from("22 27 0:21 / /proc rw - proc proc rw\n");
        for (place, kind, options) in mounts {
            let point =
                if place.is_empty() { roots.cgroup.clone() } else { roots.cgroup.join(place) };
            fs::create_dir_all(&point).unwrap();
            writeln!(mountinfo, "31 22 0:29 / {} rw - {kind} cgroup {options}", point.display())
                .unwrap();
        }
        if roots.cgroup.join("cpu,cpuacct").exists() {
            symlink("cpu,cpuacct", roots.cgroup.join("cpuacct")).unwrap();
        }
        machine.write("proc/1/mountinfo", &mountinfo);
        symlink("1", roots.proc.join("self")).unwrap();
        machine.make_namespaces(1, INITIAL_USER, "mnt:[5]");
        machine.make_namespaces(std::process::id(), INITIAL_USER, "mnt:[5]");
        for directory in [&roots.run, &roots.var_lib, &roots.cgroup] {
            fs::create_dir_all(directory).unwrap();
        }
        machine
    }

    pub(crate) fn roots(&self) -> Roots {
        // The path of a temporary directory may contain a link, which resolved paths do not.
        let root = self.directory.path().canonicalize().unwrap();
        Roots {
            proc: root.join("proc"),
            cgroup: root.join("cgroup"),
            run: root.join("run"),
            var_lib: root.join("var/lib"),
            etc: root.join("etc"),
            docker_host: None,
            root_uid: rustix::process::geteuid().as_raw(),
        }
    }

    /// Writes a file, and creates its directories.
    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Creates a cgroup in the hierarchy that is mounted at `hierarchy`.
    pub(crate) fn make_cgroup(&self, hierarchy: &str, path: &str) -> PathBuf {
        let mut directory = self.roots().cgroup;
        directory.extend([hierarchy, path].iter().filter(|part| !part.is_empty()));
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    /// Puts a process into these namespaces, and into the pid namespace of all others.
    pub(crate) fn make_namespaces(&self, pid: u32, user: &str, mount: &str) {
        let namespaces = self.roots().proc.join(pid.to_string()).join("ns");
        fs::create_dir_all(&namespaces).unwrap();
        for (name, link) in [("user", user), ("mnt", mount), ("pid", "pid:[4]")] {
            let _ = fs::remove_file(namespaces.join(name));
            symlink(link, namespaces.join(name)).unwrap();
        }
    }

    /// Creates a process with a parent and the lines of its `cgroup` file.
    pub(crate) fn make_process(&self, pid: u32, parent: u32, cgroups: &[&str]) {
        let lines: String = cgroups.iter().map(|line| format!("{line}\n")).collect();
        self.write(&format!("proc/{pid}/cgroup"), &lines);
        let counters = "0 ".repeat(48);
        self.write(&format!("proc/{pid}/stat"), &format!("{pid} (init) S {parent} {counters}"));
    }
}
