//! A line on the terminal while tracer attaches for more than a second.

use std::{
    fs,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tracer_tests::{
    deadline::{OwnedChild, wait_until},
    procfs::children_of,
    tracer::{Tracer, binary},
};

/// Erases the line.
const ERASE: &str = "\r\x1b[K";
/// Longer than an attach may take without a line.
const SLOW: Duration = Duration::from_millis(1200);

/// Something to trace.
fn target() -> Result<OwnedChild> {
    OwnedChild::spawn(Command::new("sleep").arg("1000").stdout(Stdio::null()), "sleep")
}

/// Names of a process's threads.
fn threads(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let comms = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    comms.map(|comm| comm.trim().to_owned()).collect()
}

fn send(pid: u32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(pid)?).context("no pid")?;
    Ok(kill_process(pid, signal)?)
}

/// Stops a tracer for some time when it has begun to attach. Returns whether it has a thread for the line.
fn slow_down(pid: u32, script: Option<u32>) -> Result<bool> {
    let began = || Ok(threads(pid).iter().any(|name| name == "tracer-stderr").then_some(()));
    wait_until("tracer begins", began)?;
    let has_thread = || threads(pid).iter().any(|name| name == "tracer-progress");
    let mut seen = false;
    for _ in 0..200 {
        seen |= has_thread();
        if seen {
            break;
        }
        sleep(Duration::from_millis(1));
    }
    send(pid, Signal::STOP)?;
    sleep(SLOW);
    send(pid, Signal::CONT)?;
    // `script` stops when its child does.
    script.map_or(Ok(()), |script| send(script, Signal::CONT))?;
    Ok(seen)
}

/// What tracer shows on a terminal when its attach is slow, with these options, and whether it has a thread for that.
fn shown(options: &str) -> Result<(String, bool)> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("shown");
    let (tracer, target) = (binary()?, target()?);
    let (tracer, pid) = (tracer.display(), target.pid());
    let line = format!("exec {tracer} {options} -o /dev/null --duration 100ms --pid {pid}");
    let mut command = Command::new("script");
    command.args(["-qefc", &line]).arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
    let mut script = OwnedChild::spawn(&mut command, "script")?;
    let child = || Ok(children_of(script.pid())?.first().copied());
    let has_thread = slow_down(wait_until("script's child", child)?, Some(script.pid()))?;
    script.wait()?;
    Ok((String::from_utf8_lossy(&fs::read(&file)?).into_owned(), has_thread))
}

#[test]
#[ignore = "needs root"]
fn a_slow_attach_has_a_line_that_is_erased() -> Result<()> {
    let (text, has_thread) = shown("")?;
    ensure!(has_thread, "no thread writes the line");
    let line = format!("{ERASE}tracer: attaching");
    let begin = text.find(&line).with_context(|| format!("no line: {text:?}"))?;
    let attached = text.find("tracer: attached to").with_context(|| format!("{text:?}"))?;
    ensure!(begin < attached, "{text:?}");
    ensure!(text[begin + line.len()..attached].ends_with(ERASE), "not erased: {text:?}");
    ensure!(!text[attached..].contains("attaching"), "{text:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_quiet_tracer_and_one_without_a_terminal_have_no_line() -> Result<()> {
    let (text, has_thread) = shown("-q")?;
    ensure!(!has_thread && !text.contains("attaching"), "{text:?}");
    let target = target()?;
    let tracer = Tracer::on_pid(target.pid()).args(["-o", "/dev/null", "--duration", "100ms"]);
    let running = tracer.launch()?;
    ensure!(!slow_down(running.pid(), None)?);
    let outcome = running.finish()?;
    ensure!(!outcome.stderr.contains("attaching"), "{}", outcome.stderr);
    ensure!(outcome.stderr.contains("tracer: attached to"), "{}", outcome.stderr);
    Ok(())
}
