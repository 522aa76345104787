//! What a recorder is to record, and the hierarchy in which it looks for it.

use std::{
    cmp::Reverse,
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
};

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use super::container;
use crate::{
    sys::limits::in_words,
    target::{
        ContainerPlace, Hierarchy, Roots, TargetError,
        container::proof::doubt_of_path,
        hierarchy::{CgroupMount, CgroupMounts, MountKind},
        unit::full_name,
    },
};

/// How many cgroups are looked at to choose a hierarchy.
const MOST_VISITED: usize = 16_384;

/// Which cgroups a recorder records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The containers of all engines, whatever their names.
    Containers,
    /// Cgroups by their paths below the root of the hierarchy: `*` and `?` stand for a part of one name, `**` for any
    /// number of names, `[…]` for one of several characters, `{a,b}` for one of several texts. A path that begins with a
    /// mount point, such as `/sys/fs/cgroup/…`, means that hierarchy.
    Globs(Vec<String>),
    /// Units of systemd, with the same placeholders; a name without a suffix is a service. Of system slices and of
    /// users' managers.
    Units(Vec<String>),
    /// The whole machine, as one cgroup: the root of the hierarchy.
    All,
}

/// Why there is nothing to record.
#[derive(Debug, thiserror::Error)]
pub enum ScopeError {
    /// The hierarchies cannot be read, or do not fit.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A pattern is none.
    #[error("`{}` is no pattern for a {what}: {reason}", tracer_core::text::escape(.pattern))]
    Pattern {
        /// `cgroup` or `unit`.
        what: &'static str,
        /// The pattern.
        pattern: String,
        /// What is wrong, and what to write.
        reason: String,
    },
    /// There is no pattern.
    #[error("no {what} is named: name at least one, such as `{example}`")]
    NoPattern {
        /// `cgroup` or `unit`.
        what: &'static str,
        /// A pattern.
        example: &'static str,
    },
    /// The kernel does not let this process watch directories.
    #[error(
        "cannot watch cgroups: {}; if there are too many instances of inotify, raise `sysctl fs.inotify.max_user_instances`",
        in_words(source)
    )]
    Watch {
        /// The system's error.
        source: io::Error,
    },
}

impl ScopeError {
    /// Whether it is a mistake on the command line, and not a fact about this machine.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Target(error) => error.is_usage(),
            Self::Pattern { .. } | Self::NoPattern { .. } => true,
            Self::Watch { .. } => false,
        }
    }
}

/// Decides which cgroups are wanted, by their paths from the root of the hierarchy: `""` for the root, else `/a/b`.
#[derive(Debug)]
pub(super) struct Matcher {
    pub(super) roots: Roots,
    rule: Rule,
}

#[derive(Debug)]
enum Rule {
    Containers,
    /// `above` has the cgroups below which the wanted ones are.
    Paths {
        wanted: GlobSet,
        above: GlobSet,
    },
    Units(GlobSet),
    All,
}

impl Matcher {
    /// Whether this is one of the wanted cgroups. For a unit, [`Self::leads_to`] holds for all cgroups above.
    pub(super) fn is_match(&self, path: &str) -> bool {
        match &self.rule {
            Rule::Containers => container::named(&self.roots, path).is_some(),
            Rule::Paths { wanted, .. } => !path.is_empty() && wanted.is_match(below_root(path)),
            Rule::Units(names) => !path.is_empty() && names.is_match(unit_name(path)),
            Rule::All => path.is_empty(),
        }
    }

    /// Whether wanted cgroups can be below this one.
    pub(super) fn leads_to(&self, path: &str) -> bool {
        match &self.rule {
            Rule::Containers | Rule::All => true,
            Rule::Paths { above, .. } => path.is_empty() || above.is_match(below_root(path)),
            Rule::Units(_) => path.is_empty() || has_units(unit_name(path)),
        }
    }

    /// Why a cgroup may not be what its name says.
    pub(super) fn doubt(&self, mount_point: &Path, path: &str) -> Option<String> {
        match &self.rule {
            Rule::Containers | Rule::Units(_) => {
                doubt_of_path(self.roots.root_uid, mount_point, path)
            }
            Rule::Paths { .. } | Rule::All => None,
        }
    }
}

fn below_root(path: &str) -> &str {
    path.trim_start_matches('/')
}

/// A name that the kernel uses itself gets a `_` (`cg_escape`, src/basic/cgroup-util.c of systemd).
fn unit_name(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.strip_prefix('_').unwrap_or(name)
}

/// Whether systemd puts units below a unit: slices, and managers of users.
fn has_units(name: &str) -> bool {
    name.ends_with(".slice") || name.starts_with("user@") && name.ends_with(".service")
}

/// Where a recorder looks.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) matcher: Matcher,
    pub(super) hierarchy: Hierarchy,
    pub(super) mount_point: PathBuf,
}

impl Place {
    /// Chooses the hierarchy: the one that a pattern names, else for containers the one in which engines always make a
    /// cgroup, else the one in which most of the wanted cgroups are now.
    pub(super) fn choose(roots: &Roots, wanted: &Wanted) -> Result<Self, ScopeError> {
        let mounts = CgroupMounts::read(&roots.proc, &roots.cgroup)?;
        let usual = ContainerPlace::expect(roots, None)?;
        let usual = (usual.hierarchy().clone(), usual.mount_point().to_owned());
        let (rule, named) = match wanted {
            Wanted::Containers => (Rule::Containers, Some(usual.clone())),
            Wanted::All => (Rule::All, Some(usual.clone())),
            Wanted::Globs(globs) => paths(roots, &mounts, globs)?,
            Wanted::Units(names) => (units(names)?, None),
        };
        let matcher = Matcher { roots: roots.clone(), rule };
        // Of units, version 2 has all.
        let first = matches!(wanted, Wanted::Globs(_)).then_some(&usual.0);
        let chosen = named.or_else(|| fullest(&matcher, &mounts, first));
        let (hierarchy, mount_point) = chosen.unwrap_or(usual);
        Ok(Self { matcher, hierarchy, mount_point })
    }
}

/// The hierarchy with most wanted cgroups. Of several, `first`, else version 2, memory and pids, in this order: the
/// other ones need not have every cgroup.
fn fullest(
    matcher: &Matcher,
    mounts: &CgroupMounts,
    first: Option<&Hierarchy>,
) -> Option<(Hierarchy, PathBuf)> {
    mounts
        .filled()
        .map(|(hierarchy, mount)| (hierarchy.clone(), mount.mount_point.clone()))
        .min_by_key(|(hierarchy, root)| (Reverse(count(matcher, root)), Some(hierarchy) != first))
}

/// How many wanted cgroups a hierarchy has, as far as [`MOST_VISITED`] tell.
fn count(matcher: &Matcher, root: &Path) -> usize {
    let (mut open, mut found) = (VecDeque::from([String::new()]), 0);
    for _ in 0..MOST_VISITED {
        let Some(path) = open.pop_front() else { break };
        if matcher.is_match(&path) {
            found += 1;
        } else if matcher.leads_to(&path) {
            open.extend(children(root, &path));
        }
    }
    found
}

/// The paths of the cgroups in a cgroup. One whose name is no UTF-8 is none that an engine or systemd made.
pub(super) fn children(root: &Path, path: &str) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(directory(root, path)).into_iter().flatten().flatten();
    let is_directory =
        |entry: &fs::DirEntry| entry.file_type().is_ok_and(|file_type| file_type.is_dir());
    let names =
        entries.filter(is_directory).filter_map(|entry| entry.file_name().into_string().ok());
    names.map(move |name| format!("{path}/{name}"))
}

/// The directory of a cgroup.
pub(super) fn directory(root: &Path, path: &str) -> PathBuf {
    root.join(below_root(path))
}

/// The patterns for units.
fn units(names: &[String]) -> Result<Rule, ScopeError> {
    if names.is_empty() {
        return Err(ScopeError::NoPattern { what: "unit", example: "nginx.service" });
    }
    let mut patterns = GlobSetBuilder::new();
    for name in names {
        patterns.add(glob("unit", &full_name(name.trim())?)?);
    }
    Ok(Rule::Units(built("unit", &patterns)?))
}

/// The patterns for paths, and the hierarchy that they name.
fn paths(
    roots: &Roots,
    mounts: &CgroupMounts,
    globs: &[String],
) -> Result<(Rule, Option<(Hierarchy, PathBuf)>), ScopeError> {
    if globs.is_empty() {
        return Err(ScopeError::NoPattern { what: "cgroup", example: "docker/*" });
    }
    let (mut wanted, mut above) = (GlobSetBuilder::new(), GlobSetBuilder::new());
    let mut has_root = false;
    let mut named: Option<(&str, &Hierarchy, &CgroupMount)> = None;
    for pattern in globs {
        if pattern.trim().is_empty() {
            return Err(TargetError::EmptyName { what: "cgroup path" }.into());
        }
        let mut below = pattern.as_str();
        if Path::new(pattern).starts_with(&roots.cgroup) {
            let (hierarchy, mount) = mount_of(mounts, pattern)?;
            if let Some((other, known, _)) = named.filter(|(_, known, _)| *known != hierarchy) {
                let places = [(other, known), (pattern, hierarchy)]
                    .map(|(path, hierarchy)| (path.to_owned(), hierarchy.clone()));
                return Err(TargetError::TwoHierarchies { places: Box::new(places) }.into());
            }
            named = Some((pattern, hierarchy, mount));
            below = below.strip_prefix(&*mount.mount_point.to_string_lossy()).unwrap_or(below);
        }
        let below = below.trim_matches('/');
        has_root |= below.is_empty();
        wanted.add(glob("cgroup", below)?);
        add_above(&mut above, below);
    }
    let rule = if has_root {
        Rule::All
    } else {
        Rule::Paths { wanted: built("cgroup", &wanted)?, above: built("cgroup", &above)? }
    };
    Ok((rule, named.map(|(_, hierarchy, mount)| (hierarchy.clone(), mount.mount_point.clone()))))
}

/// The mounted hierarchy that a path with patterns leads into.
fn mount_of<'a>(
    mounts: &'a CgroupMounts,
    pattern: &str,
) -> Result<(&'a Hierarchy, &'a CgroupMount), ScopeError> {
    let mount = mounts.containing(Path::new(pattern));
    match mount.map(|mount| (&mount.kind, mount)) {
        Some((MountKind::Usable(hierarchy), mount)) => Ok((hierarchy, mount)),
        found => Err(ScopeError::Pattern {
            what: "cgroup",
            pattern: pattern.to_owned(),
            reason: match found {
                Some((MountKind::Named(name), _)) => format!(
                    "it is in the cgroup v1 hierarchy `{name}`, which tracer cannot match; name the path in another one"
                ),
                _ => "no hierarchy is mounted there; write the path from a hierarchy's root, such as docker/*".to_owned(),
            },
        }),
    }
}

/// Adds the cgroups below which a pattern can match: what is before each `/` of it, and all below the part before `**`.
fn add_above(above: &mut GlobSetBuilder, pattern: &str) {
    for (at, _) in pattern.match_indices('/').chain([(pattern.len(), "")]) {
        let (before, rest) = pattern.split_at(at);
        let name = before.rsplit('/').next().unwrap_or_default();
        let is_any = name == "**";
        if rest.is_empty() && !is_any {
            return;
        }
        // If a `/` is within braces, the part is no pattern, and all cgroups are watched.
        let part = glob("cgroup", before).or_else(|_| glob("cgroup", "**"));
        drop(part.map(|part| above.add(part)));
        if is_any {
            // A pattern that ends with `/**` does not match what is before.
            return;
        }
    }
}

/// `*` does not match a `/`, and a backslash is a character: systemd's names have some.
fn glob(what: &'static str, pattern: &str) -> Result<Glob, ScopeError> {
    let mut builder = GlobBuilder::new(pattern);
    builder.literal_separator(true).backslash_escape(false);
    builder.build().map_err(|error| bad(what, pattern, &error))
}

fn built(what: &'static str, patterns: &GlobSetBuilder) -> Result<GlobSet, ScopeError> {
    patterns.build().map_err(|error| bad(what, error.glob().unwrap_or_default(), &error))
}

fn bad(what: &'static str, pattern: &str, error: &globset::Error) -> ScopeError {
    let reason = format!("{}; write * for a part of a name", error.kind());
    ScopeError::Pattern { what, pattern: pattern.to_owned(), reason }
}
