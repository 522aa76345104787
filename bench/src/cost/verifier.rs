//! Counts the instructions that the verifier processes for each program: a cost of attaching that has no noise.
//! The counts are compared with those in `verifier.json`, so that a regression is visible.

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
    fixture::Fixture,
    procfs::{fdinfos, field},
    table::{Table, number},
    tool::Tool,
};

/// A larger relative increase is a regression.
const TOLERANCE: f64 = 0.10;

/// The content of `verifier.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// The kernel's release. Counts of other kernels differ.
    pub(crate) kernel: String,
    /// The counts of each program.
    pub(crate) programs: BTreeMap<String, Counts>,
}

/// Verified instructions of a program. The verifier does not see code of disabled features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Without `--capture`.
    pub(crate) counting: u64,
    /// With `--capture`; 0 if not counted.
    pub(crate) capture: u64,
}

/// Counts, then compares with `file` or updates it. Returns a table.
///
/// # Errors
///
/// A count increased by more than [`TOLERANCE`].
pub(crate) fn check(fixture: &Fixture, file: &Path, kernel: &str, update: bool) -> Result<String> {
    let now = Stored { kernel: kernel.to_owned(), programs: count(fixture)? };
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

/// Counts with each kind of hooks, with `--capture`, and with `--cgroup`.
fn count(fixture: &Fixture) -> Result<BTreeMap<String, Counts>> {
    let mut programs: BTreeMap<String, Counts> = BTreeMap::new();
    for contender in [Contender::Tracer, Contender::NonPreemptible, Contender::Capture] {
        let plan = Plan { name: "getppid", ..Plan::default() };
        let load = Load::start(&fixture.load, &plan)?;
        let attached = contender.attach(fixture, load.pid())?;
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
    for (name, counting) in on_a_cgroup(fixture)? {
        // Only programs that are not loaded without `--cgroup`.
        programs.entry(name).or_insert(Counts { counting, capture: 0 });
    }
    Ok(programs)
}

/// Counts the programs of a trace of a new, empty cgroup.
fn on_a_cgroup(fixture: &Fixture) -> Result<BTreeMap<String, u64>> {
    let cgroup = Cgroup::create()?;
    let mut tracer = Command::new(&fixture.tracer);
    tracer.arg("--cgroup").arg(&cgroup.0).args(["--format", "json"]);
    let mut tool = Tool::start("tracer", &mut tracer)?;
    tool.wait_for("tracer: attached")?;
    let counted = programs_of(tool.pid())?;
    tool.interrupt()?;
    tool.finish()?;
    Ok(counted)
}

/// A cgroup (version 2), removed when dropped.
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

/// The mount point in a line of `/proc/mounts` about cgroup2.
fn unified(line: &str) -> Option<PathBuf> {
    let words: Vec<_> = line.split(' ').collect();
    (*words.get(2)? == "cgroup2").then(|| PathBuf::from(words[1]))
}

/// Verified instructions of the programs that a process has open, by name.
fn programs_of(pid: u32) -> Result<BTreeMap<String, u64>> {
    let names = names()?;
    let programs: BTreeMap<_, _> = fdinfos(pid)?
        .filter_map(|info| program(&info))
        .filter_map(|(id, instructions)| Some((names.get(&id)?.clone(), instructions)))
        .collect();
    ensure!(
        !programs.is_empty(),
        "/proc/{pid}/fdinfo shows no program with verified_insns (Linux 5.16)"
    );
    Ok(programs)
}

/// The id and the verified instructions in a program's fdinfo.
fn program(info: &str) -> Option<(u64, u64)> {
    let value = |name| field(info, name)?.parse().ok();
    Some((value("prog_id:")?, value("verified_insns:")?))
}

/// The names of all loaded programs by id. The kernel truncates them to 15 characters.
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

/// Descriptions of the regressions.
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
    fn new_and_removed_programs_are_reported_and_are_no_regression() {
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
