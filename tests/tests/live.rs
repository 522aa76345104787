//! What tracer tells while a trace runs: lines of NDJSON before the report, and live lines.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{ChildStdout, Command, Stdio},
    sync::mpsc::Receiver,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tracer_tests::{
    deadline::{DEADLINE, OwnedChild, wait_until},
    gate::Gate,
    privilege::require_root,
    tracer::{binary, lines},
};

/// A shell line under tracer. `$0` is a FIFO from which it may read, `$1` a file that it may create.
struct Traced {
    tracer: OwnedChild,
    folder: TempDir,
    gate: Gate,
}

impl Traced {
    fn start(line: &str, options: &[&str]) -> Result<Self> {
        require_root()?;
        let folder = tempfile::tempdir()?;
        let gate = Gate::create()?;
        let mut command = Command::new(binary()?);
        command.args(options).args(["--", "sh", "-c", line]);
        command.arg(gate.path()).arg(folder.path().join("mark"));
        command.current_dir(folder.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let tracer = OwnedChild::spawn(&mut command, line)?;
        Ok(Self { tracer, folder, gate })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Waits for a line that has these words.
fn line_with(lines: &Receiver<String>, words: &str) -> Result<String> {
    loop {
        let line = lines.recv_timeout(*DEADLINE).with_context(|| format!("no line has {words}"))?;
        if line.contains(words) {
            return Ok(line);
        }
    }
}

fn parsed(text: &str) -> Result<Vec<Value>> {
    text.lines().map(|line| serde_json::from_str(line).context(line.to_owned())).collect()
}

fn of_type<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == kind).collect()
}

#[test]
#[ignore = "needs root"]
fn events_and_findings_come_as_ndjson_while_the_command_runs() -> Result<()> {
    let options = ["-q", "--format", "ndjson", "-o", "-"];
    let mut traced = Traced::start("echo x >/dev/full; read go <\"$0\"", &options)?;
    let arriving = lines(traced.tracer.take_stdout()?);
    let early = line_with(&arriving, "early_finding")?;
    let early: Value = serde_json::from_str(&early)?;
    ensure!(early["rule"] == "refused" && early["object"] == "/dev/full", "{early}");
    traced.gate.open()?;
    traced.tracer.wait()?;
    let rest: Vec<String> = arriving.iter().collect();
    let rest = parsed(&rest.join("\n"))?;
    let types: Vec<&str> = rest.iter().filter_map(|line| line["type"].as_str()).collect();
    let report = types.iter().position(|kind| *kind == "report").context("no report")?;
    ensure!(types[..report].contains(&"ended"), "{types:?}");
    ensure!(!types[report..].contains(&"ended") && types.contains(&"finding"), "{types:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_file_of_ndjson_grows_while_the_command_runs() -> Result<()> {
    let options = ["-q", "--format", "ndjson", "-o", "lines"];
    let mut traced = Traced::start("echo x >/dev/full; read go <\"$0\"", &options)?;
    let file = traced.path("lines");
    let text = || fs::read_to_string(&file).unwrap_or_default();
    let has = |words: &str| Ok(text().contains(words).then_some(()));
    wait_until("the early finding in the file", || has("early_finding"))?;
    ensure!(has("\"report\"")?.is_none(), "the report came before the end");
    traced.gate.open()?;
    traced.tracer.wait()?;
    let all = parsed(&text())?;
    ensure!(of_type(&all, "report").len() == 1 && all[0]["type"] == "started", "{all:#?}");
    Ok(())
}

/// How many processes start below the shell: more lines than can wait.
const PROCESSES: usize = 2600;

#[test]
#[ignore = "needs root"]
fn a_reader_that_stands_still_does_not_stop_the_trace_and_is_told_what_it_missed() -> Result<()> {
    let options = ["-q", "--format", "ndjson", "-o", "-"];
    let line =
        format!("i=0; while [ $i -lt {PROCESSES} ]; do /bin/true; i=$((i+1)); done; : >\"$1\"");
    let mut traced = Traced::start(&line, &options)?;
    let mut stdout: ChildStdout = traced.tracer.take_stdout()?;
    let mark = traced.path("mark");
    wait_until("the end of the command", || Ok(Path::new(&mark).exists().then_some(())))?;
    let mut text = String::new();
    stdout.read_to_string(&mut text)?;
    traced.tracer.wait()?;
    let all = parsed(&text)?;
    let left_out: Vec<u64> =
        of_type(&all, "left_out").iter().filter_map(|line| line["lines"].as_u64()).collect();
    let told = of_type(&all, "started").len() + of_type(&all, "ended").len();
    let others = ["first_write", "first_read", "progress"].map(|kind| of_type(&all, kind).len());
    let sum = left_out.iter().sum::<u64>() as usize + told + others.iter().sum::<usize>();
    ensure!(!left_out.is_empty() && sum >= 2 * PROCESSES + 2, "{left_out:?}, {told}, {others:?}");
    let losses = of_type(&all, "loss");
    ensure!(losses.iter().all(|loss| loss["events"] == 0), "{losses:?}");
    ensure!(of_type(&all, "process").len() == PROCESSES + 1, "the report is not complete");
    Ok(())
}

/// The process that reads the command's output is no target, so no line is about it.
#[test]
#[ignore = "needs root"]
fn live_lines_are_about_the_target_and_say_every_ten_seconds_how_far_it_is() -> Result<()> {
    let line = "echo hello; (seq 1 100000 | read first <\"$0\") 2>&1; echo x >/dev/full";
    let mut traced = Traced::start(line, &["--live", "-o", "report"])?;
    let (told, output) = (lines(traced.tracer.take_stderr()?), lines(traced.tracer.take_stdout()?));
    line_with(&output, "hello")?;
    let mut seen = vec![line_with(&told, "[stuck]")?];
    ensure!(seen[0].contains("seq 1 100000") && seen[0].contains("fd 1 stdout"), "{seen:?}");
    let progress = line_with(&told, " alive")?;
    let words = ["64.0 KiB written", "64.0 KiB unread", "6 B read"];
    let is_progress = words.iter().filter(|words| progress.contains(**words)).count() >= 2;
    ensure!(is_progress && progress.contains("/s)"), "{progress}");
    traced.gate.open()?;
    traced.tracer.wait()?;
    seen.extend(told.iter());
    ensure!(seen.iter().any(|line| line.contains("/dev/full: ENOSPC [refused]")), "{seen:#?}");
    let own = format!("({})", std::process::id());
    ensure!(!seen.iter().any(|line| line.contains(&own) && line.contains(" read ")), "{seen:#?}");
    Ok(())
}
