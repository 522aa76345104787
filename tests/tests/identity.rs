//! Two objects are never reported as one, and one is never reported as two.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tracer_tests::{
    cgroup::ScratchCgroup,
    expect::{self, MatchBy},
    gated::Gated,
    report::{Object, Report},
    scenario::{Traced, trace, trace_together, trace_with},
    stdio::Kind,
    tracer::Tracer,
    workload::Workload,
};

/// Traces a workload in this folder; `None` if it was skipped.
fn traced_in(name: &str, folder: &Path) -> Result<Option<Traced>> {
    let traced = trace(&Workload::new(name).arg(&folder.display().to_string()))?;
    expect::exact(&traced)?;
    Ok(traced.workload.skipped.is_none().then_some(traced))
}

/// The objects of this kind that were written to, by bytes.
fn written<'a>(report: &'a Report, kind: &str) -> Vec<(u64, &'a Object)> {
    let of_kind = report.objects.iter().filter(|object| object.kind == kind);
    let mut found: Vec<_> = of_kind
        .filter_map(|object| Some((object.written.filter(|bytes| *bytes > 0)?, object)))
        .collect();
    found.sort_by_key(|(bytes, _)| *bytes);
    found
}

/// Checks that files with these sums of bytes were written, each with a name of its own.
fn files_are(report: &Report, sums: &[u64]) -> Result<()> {
    objects_are(report, "file", sums)
}

/// The same for objects of another kind.
fn objects_are(report: &Report, kind: &str, sums: &[u64]) -> Result<()> {
    let files = written(report, kind);
    let found: Vec<u64> = files.iter().map(|(bytes, _)| *bytes).collect();
    ensure!(found == sums, "{kind}s of {found:?} bytes, not {sums:?}: {:#?}", report.objects);
    for (_, file) in &files {
        let namesakes = files.iter().filter(|(_, other)| other.id == file.id);
        ensure!(namesakes.count() == 1, "two files are named {}", file.id);
    }
    Ok(())
}

/// What the workload writes to its six files.
const ROTATED: [u64; 6] = [3000, 6000, 9000, 12_000, 15_000, 18_000];

#[test]
#[ignore = "needs root"]
fn files_on_an_overlay_that_get_the_same_inode_number_are_several() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let Some(traced) = traced_in("overlay-rotate", directory.path())? else { return Ok(()) };
    files_are(&traced.report, &ROTATED)
}

#[test]
#[ignore = "needs root"]
fn files_on_a_usual_file_system_are_several_too() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let Some(traced) = traced_in("folder-rotate", directory.path())? else { return Ok(()) };
    files_are(&traced.report, &ROTATED)
}

#[test]
#[ignore = "needs root"]
fn fifos_that_get_the_same_inode_number_are_several() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let traced = traced_in("fifos", directory.path())?.context("it was skipped")?;
    objects_are(&traced.report, "fifo", &[1000, 2000, 3000, 4000])
}

#[test]
#[ignore = "needs root"]
fn files_that_another_process_created_on_an_overlay_are_several() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let Some(traced) = traced_in("overlay-handed", directory.path())? else { return Ok(()) };
    files_are(&traced.report, &[1000, 2000, 3000, 4000])
}

#[test]
#[ignore = "needs root"]
fn a_file_on_an_overlay_stays_one_when_it_is_copied_up_and_loaded_again() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let Some(traced) = traced_in("overlay-one", directory.path())? else { return Ok(()) };
    files_are(&traced.report, &[1050])?;
    let (_, file) = written(&traced.report, "file")[0];
    ensure!(file.read == Some(500), "{file:#?}");
    Ok(())
}

/// The kernel gives the device number of an unmounted overlay to the next one, which has the same lower file.
#[test]
#[ignore = "needs root"]
fn a_lower_file_of_two_overlays_is_two_files() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let folder = directory.path().display().to_string();
    let workloads = ["a", "b"].map(|own| Workload::new("overlay-lower").arg(&folder).arg(own));
    let together = trace_together(&workloads)?;
    expect::exact_together(&together, MatchBy::Fd)?;
    if together.workloads.iter().any(|(_, finished)| finished.skipped.is_some()) {
        return Ok(());
    }
    files_are(&together.report, &[400, 400])
}

/// A mounted file system, unmounted when dropped.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

/// Runs a program of the machine. Returns `false`, and says so, if there is none or it fails.
fn runs(program: &str, words: &[&Path]) -> bool {
    let output = Command::new(program).args(words).output();
    let failed = match &output {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    eprintln!("SKIPPED: {program}: {failed}");
    false
}

fn folders<const COUNT: usize>(of: &TempDir, names: [&str; COUNT]) -> Result<[PathBuf; COUNT]> {
    let paths = names.map(|name| of.path().join(name));
    paths.iter().try_for_each(fs::create_dir)?;
    Ok(paths)
}

#[test]
#[ignore = "needs root"]
fn files_on_fuse_that_get_the_same_inode_number_are_several() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let [source, target] = folders(&directory, ["source", "target"])?;
    if !runs("bindfs", &[&source, &target]) {
        return Ok(());
    }
    let mounted = Mounted(target);
    let Some(traced) = traced_in("folder-rotate", &mounted.0)? else { return Ok(()) };
    files_are(&traced.report, &ROTATED)
}

/// A snapshot has the inode numbers and generations of its origin, on the same device.
#[test]
#[ignore = "needs root"]
fn a_file_and_its_copy_in_a_btrfs_snapshot_are_two() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let [target] = folders(&directory, ["target"])?;
    let image = directory.path().join("image");
    fs::File::create(&image)?.set_len(256 << 20)?;
    if !runs("mkfs.btrfs", &[&image]) || !runs("mount", &[Path::new("-oloop"), &image, &target]) {
        return Ok(());
    }
    let mounted = Mounted(target);
    let [origin, snapshot] = ["origin", "snapshot"].map(|name| mounted.0.join(name));
    let subvolume = ["subvolume", "create"].map(Path::new);
    ensure!(runs("btrfs", &[&subvolume[..], &[&origin]].concat()), "no subvolume");
    fs::write(origin.join("log"), "old")?;
    let subvolume = ["subvolume", "snapshot"].map(Path::new);
    ensure!(runs("btrfs", &[&subvolume[..], &[&origin, &snapshot]].concat()), "no snapshot");
    let (origin, snapshot) = (origin.display(), snapshot.display());
    let line =
        format!("exec >>{origin}/log 2>>{snapshot}/log; printf 1234567; printf 123 >&2; printf 12");
    let mut shell = Gated::onto(&line, fs::File::create(directory.path().join("first"))?.into())?;
    let report = shell.trace(Tracer::on_pid(shell.pid()))?.report()?;
    files_are(&report, &[3, 9])
}

#[test]
#[ignore = "needs root"]
fn a_terminal_is_one_object_under_both_names_and_another_one_in_another_devpts() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let Some(traced) = traced_in("terminals", directory.path())? else { return Ok(()) };
    let terminals = written(&traced.report, "pty");
    let sums: Vec<_> = terminals.iter().map(|(bytes, object)| (*bytes, object.read)).collect();
    ensure!(sums == [(601, Some(601)), (2001, Some(2001))], "{:#?}", traced.report.objects);
    let [one, other] = [0, 1].map(|index| &terminals[index].1.joined);
    ensure!(one.is_some() && other.is_some() && one != other, "{one:?} and {other:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn terminals_that_have_the_same_number_in_turn_are_several() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let folder = directory.path().display().to_string();
    let traced = trace(&Workload::new("terminals-in-turn").arg(&folder))?;
    if traced.workload.skipped.is_some() {
        return Ok(());
    }
    expect::no_losses(&traced.report)?;
    let terminals = written(&traced.report, "pty");
    let sums: Vec<_> = terminals.iter().map(|(bytes, object)| (*bytes, object.read)).collect();
    let expected = [100, 200, 300, 400, 500].map(|size| (2 * size, Some(size)));
    ensure!(sums == expected, "{:#?}", traced.report.objects);
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn no_hop_leads_through_eventfds_of_strangers() -> Result<()> {
    let traced =
        trace_with(&Workload::new("eventfds"), |tracer| tracer.args(["--follow-readers", "3"]))?;
    expect::no_losses(&traced.report)?;
    let relay = traced.workload.pid;
    for object in traced.report.objects.iter().filter(|object| object.id.contains("[eventfd]")) {
        let of_relay = object.writers.iter().any(|writer| writer.pid == relay);
        let readers = object.readers.iter().filter(|reader| reader.pid != relay);
        ensure!(!of_relay || readers.count() == 0, "{object:#?}");
    }
    let chain = traced.report.hops.iter().find(|chain| chain.subject_pid != relay);
    let chain = chain.with_context(|| format!("no chain: {:#?}", traced.report.hops))?;
    let beyond = chain.writers().into_iter().filter(|step| step.pid != chain.subject_pid);
    ensure!(beyond.clone().all(|step| step.pid == relay), "{chain:#?}");
    Ok(())
}

/// Nothing has described what the child inherits from a parent outside the cgroup.
#[test]
#[ignore = "needs root"]
fn a_child_that_is_born_into_the_cgroup_is_reported_with_its_stdio() -> Result<()> {
    for kind in [Kind::File, Kind::Pipe] {
        let cgroup = ScratchCgroup::create("tracer-test-into")?;
        let folder = cgroup.path().display().to_string();
        let mut running = Workload::new("into-cgroup").arg(&folder).on(kind).gated().spawn()?;
        let tracer = Tracer::on_cgroup(cgroup.path()).start()?;
        running.open_gate()?;
        let finished = running.finish()?;
        // Without members tracer may have ended already, which the test does not require.
        let _ = tracer.interrupt();
        let report = tracer.finish()?.report()?;
        expect::rows_agree(&report, &finished.truth, MatchBy::Fd)?;
        expect::no_losses(&report)?;
        report.has_no_finding("elsewhere")?;
        let headline = report.headline("delivered")?;
        ensure!(headline.confidence == "certain", "{headline:?}");
        headline.expect("stdout_bytes", 1307)?.expect("stderr_bytes", 45)?;
    }
    Ok(())
}

/// A process that has left the cgroup stays a target, and so do the children that it starts then.
#[test]
#[ignore = "needs root"]
fn a_process_that_leaves_the_cgroup_stays_a_target_with_its_children() -> Result<()> {
    for (word, has_children) in [("fork", true), ("direct", false)] {
        let cgroup = ScratchCgroup::create("tracer-test-left")?;
        let mut running = Workload::new("write").arg(word).gated().spawn()?;
        cgroup.admit(running.pid())?;
        let tracer = Tracer::on_cgroup(cgroup.path()).start()?;
        cgroup.dismiss(running.pid())?;
        running.open_gate()?;
        let finished = running.finish()?;
        let _ = tracer.interrupt();
        let report = tracer.finish()?.report()?;
        expect::rows_agree(&report, &finished.truth, MatchBy::Fd)?;
        expect::no_losses(&report)?;
        ensure!((finished.truth.processes.len() > 1) == has_children);
    }
    Ok(())
}
