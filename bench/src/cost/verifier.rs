//! How many instructions the verifier walked through for each program: a cost of attaching, and a
//! number without noise. The ones in `verifier.json` are compared, so that a regression is seen.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use xtask::command;

use super::{
    comparison::contender::Contender,
    load::{Load, Plan},
};
use crate::harness::{
    place::Place,
    procfs::field,
    table::{Table, number},
    tool::Tool,
};

/// More than this much more is a regression.
const TOLERANCE: f64 = 0.10;

/// What is checked in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// Where it was counted: verifiers of other kernels count otherwise.
    pub(crate) kernel: String,
    /// By program, and by how it was loaded.
    pub(crate) programs: BTreeMap<String, Counts>,
}

/// Verified instructions of one program. A switch that is off takes code away before it is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Without capture.
    pub(crate) counting: u64,
    /// With it; 0 where that was not looked at.
    pub(crate) capture: u64,
}

/// Counts, compares or updates, and prints; an error if something regressed.
pub(crate) fn check(place: &Place, file: &Path, kernel: &str, update: bool) -> Result<String> {
    let now = Stored { kernel: kernel.to_owned(), programs: count(place)? };
    if update {
        let mut text = serde_json::to_string_pretty(&now).context("cannot make JSON")?;
        text.push('\n');
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
        return Ok(table(&now, &now));
    }
    let text = fs::read_to_string(file).with_context(|| {
        format!("no {}: make it with `cargo xtask bench --verifier --update`", file.display())
    })?;
    let before: Stored =
        serde_json::from_str(&text).with_context(|| format!("{} is broken", file.display()))?;
    let text = table(&before, &now);
    let worse = regressions(&before, &now);
    ensure!(
        worse.is_empty(),
        "more than {:.0} % more verified instructions: {} (if that is meant: `cargo xtask bench \
         --verifier --update`)\n{text}",
        TOLERANCE * 100.0,
        worse.join(", ")
    );
    Ok(text)
}

/// Loads everything once without capture and once with it.
fn count(place: &Place) -> Result<BTreeMap<String, Counts>> {
    let mut programs: BTreeMap<String, Counts> = BTreeMap::new();
    for contender in [Contender::Tracer, Contender::Undisturbed, Contender::Capture] {
        let plan = Plan { name: "getppid", calls: 0, sleepers: 0, objects: 0, command: &[] };
        let load = Load::start(&place.load, &plan)?;
        let attached = contender.attach(place, load.pid())?;
        let counted = programs_of(attached.pid().context("tracer has no pid")?)?;
        attached.finish(load.pid())?;
        load.finish()?;
        for (name, instructions) in counted {
            let counts = programs.entry(name).or_default();
            match contender {
                Contender::Capture => counts.capture = instructions,
                _ => counts.counting = instructions,
            }
        }
    }
    for (name, counting) in on_a_cgroup(place)? {
        // Only what nothing else loads: the others are counted where most runs have them.
        programs.entry(name).or_insert(Counts { counting, capture: 0 });
    }
    Ok(programs)
}

/// The programs of a trace of a cgroup, which is new and stays empty.
fn on_a_cgroup(place: &Place) -> Result<BTreeMap<String, u64>> {
    let cgroup = Cgroup::create()?;
    let mut tracer = Command::new(&place.tracer);
    tracer.arg("--cgroup").arg(&cgroup.0).args(["--format", "json"]);
    let mut tool = Tool::start("tracer", &mut tracer)?;
    tool.wait_for("tracer: attached")?;
    let counted = programs_of(tool.pid())?;
    tool.interrupt()?;
    tool.finish()?;
    Ok(counted)
}

/// A cgroup of the unified hierarchy, removed when dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    fn create() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/mounts").context("cannot read /proc/mounts")?;
        let root =
            mounts.lines().find_map(unified).context("no unified cgroup hierarchy is mounted")?;
        let path = root.join(format!("tracer-bench-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            command::say(&format!("cannot remove {}: {error}", self.0.display()));
        }
    }
}

/// Where a line of `/proc/mounts` says that the unified hierarchy is.
fn unified(line: &str) -> Option<PathBuf> {
    let words: Vec<_> = line.split(' ').collect();
    (*words.get(2)? == "cgroup2").then(|| PathBuf::from(words[1]))
}

/// The programs that a process holds, by name.
fn programs_of(pid: u32) -> Result<BTreeMap<String, u64>> {
    let names = names()?;
    let directory = format!("/proc/{pid}/fdinfo");
    let fds = fs::read_dir(&directory).with_context(|| format!("cannot list {directory}"))?;
    let infos = fds.flatten().filter_map(|fd| fs::read_to_string(fd.path()).ok());
    let programs: BTreeMap<_, _> = infos
        .filter_map(|info| program(&info))
        .filter_map(|(id, instructions)| Some((names.get(&id)?.clone(), instructions)))
        .collect();
    ensure!(!programs.is_empty(), "{directory} shows no program with verified_insns (Linux 5.16)");
    Ok(programs)
}

/// Id and verified instructions in a program's fdinfo.
fn program(info: &str) -> Option<(u64, u64)> {
    let value = |name| field(info, name)?.parse().ok();
    Some((value("prog_id:")?, value("verified_insns:")?))
}

/// Names of all loaded programs by id. The kernel keeps 15 characters of each.
fn names() -> Result<BTreeMap<u64, String>> {
    let bpftool = command::find("bpftool").context("bpftool is not installed")?;
    let json = command::capture(Command::new(bpftool).args(["prog", "show", "-j"]))?;
    let programs: Vec<serde_json::Value> =
        serde_json::from_str(&json).context("bpftool's JSON is not understood")?;
    let name = |program: &serde_json::Value| {
        Some((program["id"].as_u64()?, program["name"].as_str()?.to_owned()))
    };
    Ok(programs.iter().filter_map(name).collect())
}

/// What is worse than tolerated, in words.
fn regressions(before: &Stored, now: &Stored) -> Vec<String> {
    let mut worse = Vec::new();
    for (name, counts) in &now.programs {
        let Some(old) = before.programs.get(name) else { continue };
        for (how, old, new) in
            [("", old.counting, counts.counting), (" with capture", old.capture, counts.capture)]
        {
            if new as f64 > old as f64 * (1.0 + TOLERANCE) {
                worse.push(format!("{name}{how} {old} → {new}"));
            }
        }
    }
    worse
}

fn table(before: &Stored, now: &Stored) -> String {
    let mut table = Table::new(&["program", "counting", "change", "capture", "change"]);
    for (name, counts) in &now.programs {
        let old = before.programs.get(name).copied();
        let cells = |new: u64, old: Option<u64>| {
            let change = old.filter(|old| *old > 0).map_or_else(
                || "new".to_owned(),
                |old| format!("{:+.1} %", (new as f64 / old as f64 - 1.0) * 100.0),
            );
            if new == 0 {
                return ["–".to_owned(), "–".to_owned()];
            }
            [number(new as f64), change]
        };
        let mut row = vec![name.clone()];
        row.extend(cells(counts.counting, old.map(|old| old.counting)));
        row.extend(cells(counts.capture, old.map(|old| old.capture)));
        table.add(row);
    }
    let mut text = table.render();
    for name in before.programs.keys().filter(|name| !now.programs.contains_key(*name)) {
        text += &format!("{name} is no longer loaded\n");
    }
    if before.kernel != now.kernel {
        text +=
            &format!("stored on {}, counted on {}: kernels differ\n", before.kernel, now.kernel);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(counting: u64, capture: u64) -> Stored {
        let programs = BTreeMap::from([("sys_exit".to_owned(), Counts { counting, capture })]);
        Stored { kernel: "6.18".into(), programs }
    }

    #[test]
    fn a_tenth_more_is_tolerated_and_a_little_more_than_that_is_not() {
        let before = stored(1000, 2000);
        assert!(regressions(&before, &stored(1100, 2200)).is_empty());
        assert!(regressions(&before, &stored(1, 1)).is_empty());
        assert_eq!(regressions(&before, &stored(1101, 2000)), ["sys_exit 1000 → 1101"]);
        assert_eq!(regressions(&before, &stored(1, 2201)), ["sys_exit with capture 2000 → 2201"]);
    }

    #[test]
    fn new_and_gone_programs_are_told_and_are_no_regression() {
        let (before, now) = (stored(1, 1), Stored::default());
        assert!(regressions(&now, &before).is_empty());
        assert!(table(&now, &before).contains("new"));
        assert!(table(&before, &now).contains("sys_exit is no longer loaded"));
        assert!(table(&before, &now).contains("kernels differ"));
    }

    #[test]
    fn the_unified_hierarchy_is_found() {
        let line = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0";
        assert_eq!(unified(line), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(unified("cgroup /sys/fs/cgroup/cpu cgroup rw 0 0"), None);
    }

    #[test]
    fn fdinfo_is_read() {
        let info = "prog_type:\t26\nprog_id:\t812\nverified_insns:\t4711\n";
        assert_eq!(program(info), Some((812, 4711)));
        assert_eq!(program("map_type:\t1\nmap_id:\t3\n"), None);
    }
}
