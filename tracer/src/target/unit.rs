//! A unit of systemd, by its name: the cgroup that systemd made for it.
//!
//! systemd names a unit's cgroup after the unit and puts it below the cgroups of its slices, so the tree itself shows
//! which units run: `system.slice/foo.service`, `user.slice/user-1000.slice/user@1000.service/app.slice/foo.service`.
//! A cgroup of that name anywhere else, such as inside of a container, is not systemd's.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tracer_common::limits;

use super::{
    CgroupTarget, Roots, TargetError,
    hierarchy::{CgroupMounts, MountKind},
};

/// Suffixes of the units that have a cgroup (`systemd.unit(5)`).
const SUFFIXES: [&str; 6] = [".service", ".scope", ".slice", ".socket", ".mount", ".swap"];

/// How many cgroups are looked at. A user can make any number below their own manager.
const MOST_CGROUPS: usize = 1 << 16;

/// Finds the cgroup of a unit: of the system's manager, else of a user's.
pub(super) fn resolve(roots: &Roots, typed: &str) -> Result<CgroupTarget, TargetError> {
    let unit = full_name(typed.trim())?;
    let mounts = CgroupMounts::read(&roots.proc, &roots.cgroup)?;
    if mounts.usable().next().is_none() {
        return Err(TargetError::NoCgroupMount { root: roots.cgroup.clone() });
    }
    let mut instances = Vec::new();
    for (hierarchy, mount) in mounts.usable() {
        let mut found = Found::of(&unit, &mount.mount_point);
        if let Some(place) = found.only(&unit)? {
            let label = unit.clone();
            let doubt = place.user.map(|user| {
                format!("user {user} can give this name to any cgroup below their own manager")
            });
            let target = CgroupTarget::at(place.directory, hierarchy.clone(), label)?;
            return Ok(CgroupTarget { doubt, ..target });
        }
        instances.append(&mut found.instances);
    }
    instances.sort();
    instances.dedup();
    let is_unmatched = mounts.iter().any(|mount| {
        matches!(mount.kind, MountKind::Named(_))
            && !Found::of(&unit, &mount.mount_point).places.is_empty()
    });
    Err(match (is_unmatched, instances.is_empty()) {
        (true, _) => TargetError::UnitWithoutController { unit },
        (false, false) => TargetError::UnitTemplate { unit, instances },
        (false, true) => TargetError::UnitNotRunning { unit, root: roots.cgroup.clone() },
    })
}

/// The unit's name with its suffix: as for `systemctl`, a name without one is a service.
pub(crate) fn full_name(typed: &str) -> Result<String, TargetError> {
    if typed.is_empty() {
        return Err(TargetError::EmptyName { what: "unit name" });
    }
    if typed.contains('/') {
        return Err(TargetError::NotAUnit { name: typed.to_owned() });
    }
    let has_suffix = SUFFIXES.iter().any(|suffix| typed.ends_with(suffix));
    Ok(if has_suffix { typed.to_owned() } else { format!("{typed}.service") })
}

/// A cgroup of the unit.
struct Place {
    directory: PathBuf,
    /// The user whose manager made it; `None` for the system's manager.
    user: Option<String>,
}

/// What a hierarchy has for a unit.
#[derive(Default)]
struct Found {
    places: Vec<Place>,
    /// Units that a template of this name has started.
    instances: Vec<String>,
}

impl Found {
    fn of(unit: &str, root: &Path) -> Self {
        let mut found = Self::default();
        let mut left = MOST_CGROUPS;
        found.search(unit, root, None, limits::CGROUP_DEPTH, &mut left);
        found
    }

    /// Searches in slices and below managers of users.
    fn search(
        &mut self,
        unit: &str,
        directory: &Path,
        user: Option<&str>,
        depth: u32,
        left: &mut usize,
    ) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
            if *left == 0 || depth == 0 {
                return;
            }
            *left -= 1;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            // A name that the kernel uses itself gets a `_` (`cg_escape`, src/basic/cgroup-util.c of systemd).
            let name = name.strip_prefix('_').unwrap_or(name);
            if name == unit {
                let user = user.map(str::to_owned);
                self.places.push(Place { directory: entry.path(), user });
            } else if is_instance(name, unit) {
                self.instances.push(name.to_owned());
            }
            let manager = name.strip_prefix("user@").and_then(|rest| rest.strip_suffix(".service"));
            if manager.is_some() || name.ends_with(".slice") {
                self.search(unit, &entry.path(), user.or(manager), depth - 1, left);
            }
        }
    }

    /// The unit's only cgroup: the system's manager comes before those of users.
    fn only(&mut self, unit: &str) -> Result<Option<Place>, TargetError> {
        if self.places.iter().any(|place| place.user.is_none()) {
            self.places.retain(|place| place.user.is_none());
        }
        let first = self.places.pop();
        match (&first, self.places.is_empty()) {
            (Some(first), false) => {
                let others = self.places.drain(..).map(|place| place.directory);
                let places = others.chain([first.directory.clone()]).collect();
                Err(TargetError::UnitAmbiguous { unit: unit.to_owned(), places })
            }
            _ => Ok(first),
        }
    }
}

/// Whether a unit is an instance of the template that was named, `foo@.service`, or of one with the name `foo`.
fn is_instance(name: &str, unit: &str) -> bool {
    let Some((stem, suffix)) = unit.rsplit_once('.') else { return false };
    let stem = stem.strip_suffix('@').unwrap_or(stem);
    let rest = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('@'));
    rest.and_then(|rest| rest.strip_suffix(suffix)).is_some_and(|rest| rest.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{Hierarchy, machine::Machine};

    const USER: &str = "user.slice/user-1000.slice/user@1000.service";

    fn resolve_on(machine: &Machine, name: &str) -> Result<CgroupTarget, TargetError> {
        resolve(&machine.roots(), name)
    }

    #[test]
    fn a_unit_of_the_system_is_found_with_and_without_its_suffix() {
        let machine = Machine::unified();
        let foo = machine.make_cgroup("", "system.slice/foo.service");
        let nested = machine.make_cgroup("", "system.slice/system-a.slice/a@1.service");
        let slice = machine.make_cgroup("", "user.slice/user-1000.slice");
        for (name, path) in
            [("foo", &foo), ("foo.service", &foo), ("a@1", &nested), ("user-1000.slice", &slice)]
        {
            let target = resolve_on(&machine, name).unwrap();
            assert_eq!((&target.path, target.doubt), (path, None), "{name}");
        }
    }

    #[test]
    fn a_version_1_machine_has_it_where_its_controller_is_on() {
        let machine = Machine::hybrid();
        machine.make_cgroup("systemd", "system.slice/foo.service");
        let error = resolve_on(&machine, "foo").unwrap_err().to_string();
        assert!(
            error.ends_with("systemctl set-property foo.service MemoryAccounting=yes`"),
            "{error}"
        );
        let pids = machine.make_cgroup("pids", "system.slice/foo.service");
        let target = resolve_on(&machine, "foo").unwrap();
        assert_eq!(target.path, pids);
        assert_eq!(target.hierarchy, Hierarchy::V1 { controller: "pids".to_owned() });
    }

    #[test]
    fn a_users_unit_is_found_but_does_not_hide_the_systems() {
        let machine = Machine::unified();
        let of_user = machine.make_cgroup("", &format!("{USER}/app.slice/foo.service"));
        let target = resolve_on(&machine, "foo").unwrap();
        assert_eq!(target.path, of_user);
        assert!(target.doubt.unwrap().contains("user 1000"));
        let of_system = machine.make_cgroup("", "system.slice/foo.service");
        assert_eq!(resolve_on(&machine, "foo").unwrap().path, of_system);
    }

    #[test]
    fn a_unit_of_several_users_is_ambiguous() {
        let machine = Machine::unified();
        machine.make_cgroup("", &format!("{USER}/app.slice/foo.service"));
        machine.make_cgroup("", &format!("{}/app.slice/foo.service", USER.replace("1000", "7")));
        let error = resolve_on(&machine, "foo").unwrap_err().to_string();
        assert!(error.contains("user@1000.service") && error.contains("user@7.service"), "{error}");
        assert!(error.ends_with("name one of them with --cgroup PATH"), "{error}");
    }

    #[test]
    fn a_cgroup_that_systemd_did_not_make_is_no_unit() {
        let machine = Machine::unified();
        machine.make_cgroup("", "docker/ab/system.slice/foo.service");
        machine.make_cgroup("", "system.slice/docker.service/foo.service");
        let error = resolve_on(&machine, "foo").unwrap_err();
        assert!(matches!(error, TargetError::UnitNotRunning { .. }), "{error}");
        assert!(error.to_string().contains("`systemctl start foo.service`"), "{error}");
    }

    #[test]
    fn a_template_is_told_from_its_instances() {
        let machine = Machine::unified();
        for instance in ["getty@tty1", "getty@tty2"] {
            machine.make_cgroup("", &format!("system.slice/system-getty.slice/{instance}.service"));
        }
        for name in ["getty", "getty@", "getty@.service"] {
            let error = resolve_on(&machine, name).unwrap_err().to_string();
            let cure = "name one of its instances: getty@tty1.service or getty@tty2.service";
            assert!(error.ends_with(cure), "{error}");
        }
    }

    #[test]
    fn a_name_that_no_unit_can_have_is_a_mistake_on_the_command_line() {
        let machine = Machine::unified();
        for name in ["", " ", "a/b"] {
            assert!(resolve_on(&machine, name).unwrap_err().is_usage(), "{name}");
        }
    }
}
