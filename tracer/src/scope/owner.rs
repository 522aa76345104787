//! A cgroup's path, and which names in it root gave ([`named_by_root`]): only those tell what the cgroup is.

use std::path::Path;

use crate::target::{Roots, container::proof::named_by_root};

/// The path of a cgroup from the root of its hierarchy, and how much of it is proven.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CgroupPath {
    path: String,
    /// Length in bytes of the part that root named.
    proven: usize,
}

impl CgroupPath {
    /// Looks at the owners of the cgroups above it. A cgroup that is gone was root's if the one above it is, but what was
    /// in it is not proven any more, so look early.
    #[must_use]
    pub fn look(roots: &Roots, mount_point: &Path, path: &str) -> Self {
        let (proven, _) = named_by_root(roots.root_uid, mount_point, path);
        Self { path: path.to_owned(), proven }
    }

    /// One that root named.
    #[cfg(test)]
    pub(crate) fn of_root(path: &str) -> Self {
        Self { path: path.to_owned(), proven: path.len() }
    }

    /// The whole path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.path
    }

    /// The part of which root gave every name.
    pub(super) fn proven(&self) -> &str {
        self.path.get(..self.proven).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::target::{container::proof::doubt_of_path, machine::Machine};

    fn look(machine: &Machine, path: &str) -> String {
        let roots = machine.roots();
        CgroupPath::look(&roots, &roots.cgroup, path).proven().to_owned()
    }

    #[test]
    fn a_name_is_proven_as_far_as_root_alone_can_give_names() {
        let machine = Machine::unified();
        let user = machine.make_cgroup("", "user.slice/user@7.service");
        machine.make_cgroup("", "user.slice/user@7.service/a.slice/nginx.service");
        let path = "/user.slice/user@7.service/a.slice/nginx.service";
        assert_eq!(look(&machine, path), path);
        for mode in [0o775, 0o757, 0o777] {
            fs::set_permissions(&user, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(look(&machine, path), "/user.slice/user@7.service", "{mode:o}");
        }
        let roots = machine.roots();
        let doubt_of = |roots: &Roots, path| doubt_of_path(roots.root_uid, &roots.cgroup, path);
        let why = doubt_of(&roots, path).unwrap();
        assert!(why.ends_with(&format!("does not control {}", user.display())), "{why}");
        assert_eq!(doubt_of(&roots, "/user.slice/user@7.service"), None, "root named it");
        let of_another = Roots { root_uid: roots.root_uid + 1, ..roots.clone() };
        let why = doubt_of(&of_another, path).unwrap();
        assert!(why.contains(&format!("uid {} owns ", roots.root_uid)), "{why}");
        assert_eq!(CgroupPath::look(&of_another, &roots.cgroup, path).proven(), "");
    }

    #[test]
    fn of_what_is_gone_only_the_first_name_is_proven() {
        let machine = Machine::unified();
        machine.make_cgroup("", "docker");
        assert_eq!(look(&machine, "/docker/gone"), "/docker/gone");
        assert_eq!(look(&machine, "/docker/gone/below"), "/docker/gone");
        for path in ["", "/", "/..", "/docker/../x", "/./docker"] {
            let expected = if path.starts_with("/docker") { "/docker" } else { "" };
            assert_eq!(look(&machine, path), expected, "{path}");
        }
    }
}
