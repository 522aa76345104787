//! Counts stay exact when entries leave the kernel's tables: what comes later is neither lost nor booked to others.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    fs::{CWD, Mode, mkfifoat},
    pipe::{PipeFlags, pipe_with},
};
use serde_json::Value;
use tracer_tests::{
    cgroup_trace::CgroupTrace,
    deadline::{OwnedChild, wait_until},
    expect::{self, MatchBy},
    gate::Gate,
    kernel::{URING_IS_COUNTED, is_at_least},
    reader::{Pace, Reader},
    report::{Object, Report},
    stdio::Kind,
    tracer::Tracer,
    workload::Workload,
};

/// Requests that post no completion, or two, stay in the table until the kernel uses their memory again. Another
/// program then has its requests there.
#[test]
#[ignore = "needs root"]
fn requests_at_the_address_of_an_ended_request_are_not_booked_to_its_process() -> Result<()> {
    if !is_at_least(URING_IS_COUNTED)? {
        eprintln!("SKIPPED: this kernel does not tell which file a request is about");
        return Ok(());
    }
    let mut trace = CgroupTrace::begin("tracer-test-silent")?;
    let silent = trace.run(&Workload::new("uring-silent"))?;
    let other = Workload::new("uring-own-file").run()?;
    ensure!(silent.skipped.is_none() && other.skipped.is_none(), "SKIPPED: no io_uring");
    ensure!(other.truth.total() > 10_000, "the other program wrote {:?}", other.truth);
    trace.is_as_before("workload uring-silent")?;
    let ended = trace.end()?;
    expect::rows_agree(&ended.report, &ended.truth, MatchBy::Fd)?;
    ensure!(ended.report.of_pid(other.pid).next().is_none(), "the other program is reported");
    let losses = ended.report.losses();
    ensure!(losses == [("uring_silent".to_owned(), Value::from(120))], "{losses:?}");
    Ok(())
}

/// `/dev/null` belongs to every process of the machine. A reader of the target's output is no target.
#[test]
#[ignore = "needs root"]
fn what_a_reader_writes_to_dev_null_is_not_counted() -> Result<()> {
    let (far, end) = pipe_with(PipeFlags::CLOEXEC)?;
    let reader = Workload::new("discards").on(Kind::Null).reading(far).spawn()?;
    let mut gate = Gate::create()?;
    let mut shell = Command::new("sh");
    shell.args(["-c", "read go <\"$0\"; echo one; read go <\"$0\"; echo two"]).arg(gate.path());
    shell.stdin(Stdio::null()).stdout(end).stderr(Stdio::null());
    let mut target = OwnedChild::spawn(&mut shell, "sh")?;
    drop(shell);
    let tracer = Tracer::on_pid(target.pid()).start()?;
    gate.open()?;
    wait_until("the reader to write to /dev/null", || Ok(reader.truth_so_far().ok()))?;
    gate.open()?;
    target.wait()?;
    let report = tracer.finish()?.report()?;
    let reader = reader.finish()?;
    ensure!(reader.skipped.is_none(), "SKIPPED: {:?}", reader.skipped);
    let has_read =
        |object: &Object| object.readers.iter().any(|endpoint| endpoint.pid == reader.pid);
    ensure!(report.objects.iter().any(has_read), "the reader was not seen: {:?}", report.objects);
    let mut discards = report.objects.iter().filter(|object| object.kind == "null");
    let counted = discards.find(|object| object.written != Some(0) || !object.writers.is_empty());
    ensure!(counted.is_none(), "{counted:?}");
    let mut steps = report.hops.iter().flat_map(|chain| chain.writers());
    let followed = steps.find(|step| step.object == "/dev/null");
    ensure!(followed.is_none(), "{followed:?}");
    Ok(())
}

/// The object of a path, with as many bytes written as these workloads counted.
fn object_at<'a>(report: &'a Report, path: &Path, written: u64) -> Result<&'a Object> {
    let id = path.to_str().context("the path is not UTF-8")?;
    let object = report.object(id).with_context(|| format!("{id}: {:#?}", report.objects))?;
    ensure!(object.written == Some(written), "{written} bytes were written: {object:#?}");
    Ok(object)
}

fn appending(path: &Path) -> Result<Workload> {
    Ok(Workload::new("append").arg(path.to_str().context("the path is not UTF-8")?))
}

fn fd_1_bytes(finished: &tracer_tests::workload::Finished) -> u64 {
    finished.truth.rows().filter(|(_, row)| row.fd == 1).map(|(_, row)| row.bytes).sum()
}

/// After the first writer's end, no process has the file open.
#[test]
#[ignore = "needs root"]
fn a_file_that_is_written_again_after_its_release_keeps_its_sum() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("log");
    let mut trace = CgroupTrace::begin("tracer-test-append")?;
    let mut written = 0;
    for _ in 0..3 {
        written += fd_1_bytes(&trace.leaves_nothing(&appending(&path)?)?);
    }
    ensure!(fs::metadata(&path)?.len() == written, "{written} bytes are not in the file");
    let ended = trace.end()?;
    ended.is_exact()?;
    let object = object_at(&ended.report, &path, written)?;
    ensure!(object.writers.len() == 3, "{object:#?}");
    Ok(())
}

/// A FIFO is empty and unbuffered between its last close and its next open.
#[test]
#[ignore = "needs root"]
fn a_fifo_that_is_opened_again_after_its_release_keeps_its_sums() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("fifo");
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR)?;
    let mut trace = CgroupTrace::begin("tracer-test-reopen")?;
    let mut written = 0;
    for _ in 0..3 {
        let mut running = trace.spawn(&appending(&path)?)?;
        running.open_gate()?;
        // Returns when the workload has opened its end.
        let received = Reader::spawn(File::open(&path)?.into(), Pace::Free).finish()?;
        let counted = fd_1_bytes(&trace.finish(running)?);
        ensure!(received.len() == counted, "{} bytes of {counted} arrived", received.len());
        written += counted;
        trace.is_as_before("a closed FIFO")?;
    }
    let ended = trace.end()?;
    ended.is_exact()?;
    let object = object_at(&ended.report, &path, written)?;
    ensure!(object.read == Some(written) && object.balanced != Some(false), "{object:#?}");
    Ok(())
}

/// A process that has a file as its stdin keeps it under watch: what others read from it is counted.
#[test]
#[ignore = "needs root"]
fn a_file_that_is_the_stdin_of_a_living_process_is_not_released() -> Result<()> {
    const SIZE: usize = 100_000;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("input");
    fs::write(&path, vec![b'x'; SIZE])?;
    let mut trace = CgroupTrace::begin("tracer-test-stdin")?;
    let reading =
        || Ok::<_, anyhow::Error>(Workload::new("read-stdin").reading(File::open(&path)?));
    let mut living = trace.spawn(&reading()?)?;
    let with_it = trace.at_rest()?;
    for _ in 0..2 {
        // Its end makes the file doubtful.
        trace.run(&reading()?)?;
        trace.returns_to(&with_it, "a process with the same stdin")?;
    }
    // Not in the cgroup.
    let mut other = Command::new("dd");
    other.arg("bs=1000").stdin(File::open(&path)?).stdout(Stdio::null()).stderr(Stdio::null());
    ensure!(OwnedChild::spawn(&mut other, "dd")?.wait()?.success(), "dd failed");
    living.open_gate()?;
    trace.finish(living)?;
    drop(other);
    trace.is_as_before("the last process with this stdin")?;
    let ended = trace.end()?;
    ended.is_exact()?;
    let object = object_at(&ended.report, &path, 0)?;
    ensure!(object.read == Some(4 * SIZE as u64), "{object:#?}");
    Ok(())
}
