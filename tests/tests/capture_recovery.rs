//! Recovery of lost output: the report, the human report and the files have exactly the lost bytes.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tracer_tests::{
    capture::Capture,
    docker::image,
    goproc::{Behaviour, LogFormat},
    managed::{Goproc, Managed},
    refusal::{self, run},
    report::{Report, captured::Recovered},
    tracer::{binary, parse},
    workload::sibling_binary,
};

const LINES: [&str; 3] = ["seq", "1", "2000"];

/// The output of [`LINES`].
fn lines() -> Vec<u8> {
    (1..=2000).flat_map(|number| format!("{number}\n").into_bytes()).collect()
}

/// A traced manager with `--capture` and `--recover`.
struct Recovering {
    managed: Managed,
    directory: PathBuf,
    /// Removed when dropped.
    parent: TempDir,
}

impl Recovering {
    fn trace(goproc: &Goproc, argv: &[&str]) -> Result<Self> {
        let parent = tempfile::tempdir()?;
        let directory = parent.path().join("out");
        let goproc = goproc
            .clone()
            .tracer_arg("--capture")
            .tracer_arg(&directory)
            .tracer_arg("--recover")
            .tracer_arg(parent.path().join("lost"));
        let managed = goproc.trace(argv)?;
        managed.check()?;
        Capture::load(&directory)?.check_report(&managed.report)?;
        Ok(Self { managed, directory, parent })
    }

    /// Checks that exactly these bytes are recovered as this kind: in the report, in the file, and in a
    /// second report from the folder.
    fn check(&self, kind: &str, lost: &[u8]) -> Result<()> {
        check_recovered(&self.managed.report, kind, lost)?;
        let path = self.directory.display().to_string();
        let to = self.parent.path().join("again");
        let again =
            run(&["report", &path, "--format", "json", "--recover", &to.display().to_string()])?;
        ensure!(again.status.code() == self.managed.tracer.status.code(), "{again:?}");
        let again = parse(&String::from_utf8(again.stdout)?)?;
        check_recovered(&again, kind, lost)
    }

    /// The human report, generated from the folder.
    fn human(&self) -> Result<String> {
        let human = run(&["report", "--all", &self.directory.display().to_string()])?;
        ensure!(human.stderr.is_empty(), "{:?}", String::from_utf8_lossy(&human.stderr));
        Ok(String::from_utf8(human.stdout)?)
    }
}

fn check_recovered(report: &Report, kind: &str, lost: &[u8]) -> Result<()> {
    let recovered = report.recovered(kind)?;
    let Recovered { bytes, missing, exact, .. } = *recovered;
    ensure!((bytes, missing, exact) == (lost.len() as u64, 0, true), "{recovered:?}");
    let file = recovered.file.as_ref().context("no file was written")?;
    let written = fs::read(file).with_context(|| file.clone())?;
    ensure!(written == lost, "{file} has {} bytes, {} were lost", written.len(), lost.len());
    for path in [Path::new(file), Path::new(file).parent().context("no folder")?] {
        let mode = fs::metadata(path)?.permissions().mode() & 0o077;
        ensure!(mode == 0, "{} can be read by others", path.display());
    }
    ensure!(recovered.text_cut + recovered.text.len() as u64 == bytes, "{recovered:?}");
    ensure!(lost.ends_with(recovered.text.as_bytes()), "{recovered:?}");
    ensure!(!recovered.text.is_empty(), "{recovered:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn unread_output_is_the_end_of_the_stream() -> Result<()> {
    for read in [1, 100, 4000, 8888] {
        let goproc = Goproc::new(Behaviour::NoRead).bytes(read);
        let traced = Recovering::trace(&goproc, &LINES)?;
        ensure!(traced.managed.account.stdout.read == read as u64, "{:?}", traced.managed.account);
        let whole = lines();
        let (_, lost) = whole.split_at(read);
        traced.check("unread", lost).with_context(|| format!("{read} bytes were read"))?;
        let human = traced.human()?;
        let head = "B that were written to fd 1 stdout and never read, by seq";
        ensure!(human.contains("recovered ") && human.contains(head), "{human}");
        ensure!(human.contains("│ 2000\n"), "{human}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn if_nothing_was_read_the_whole_stream_is_recovered() -> Result<()> {
    let traced = Recovering::trace(&Goproc::new(Behaviour::NoRead), &LINES)?;
    traced.check("unread", &lines())
}

#[test]
#[ignore = "needs root"]
fn a_short_message_is_quoted_line_by_line() -> Result<()> {
    // A shell runs `echo … >&2` by making fd 1 the stderr pipe.
    let argv = ["cat", "/no/such/door", "/no/such/key"];
    let traced = Recovering::trace(&Goproc::new(Behaviour::NoRead).env("LC_ALL", "C"), &argv)?;
    let lines = argv[1..].iter().map(|path| format!("cat: {path}: No such file or directory\n"));
    let lost: String = lines.collect();
    traced.check("unread", lost.as_bytes())?;
    let human = traced.human()?;
    let head =
        format!("recovered {} B that were written to fd 2 stderr and never read", lost.len());
    ensure!(human.contains(&head), "{human}");
    for line in lost.lines() {
        ensure!(human.contains(&format!("  │ {line}\n")), "{human}");
    }
    Ok(())
}

/// Several processes write to one pipe; the lost bytes are from all of them.
#[test]
#[ignore = "needs root"]
fn lost_output_of_several_writers_is_in_the_order_of_their_writes() -> Result<()> {
    let argv = ["sh", "-c", "for i in 1 2 3; do echo sh $i; /bin/echo echo $i; done"];
    let traced = Recovering::trace(&Goproc::new(Behaviour::NoRead).bytes(3), &argv)?;
    let whole = b"sh 1\necho 1\nsh 2\necho 2\nsh 3\necho 3\n";
    traced.check("unread", &whole[3..])?;
    ensure!(
        traced.managed.report.recovered("unread")?.pids.len() == 4,
        "{:?}",
        traced.managed.report
    );
    Ok(())
}

/// The manager reads the whole stream and loses it.
#[test]
#[ignore = "needs root"]
fn a_stream_lost_in_the_manager_is_recovered_completely() -> Result<()> {
    for format in LogFormat::ALL {
        let goproc = Goproc::new(Behaviour::Retry).logging(format);
        let traced = Recovering::trace(&goproc, &LINES)?;
        traced.managed.headline("read_then_lost")?;
        traced.check("stream", &lines())?;
        let human = traced.human()?;
        ensure!(human.contains("wrote to fd 1 stdout, read by goproc"), "{human}");
        ensure!(human.contains("│ 2000\n"), "{human}");
    }
    Ok(())
}

/// A stream that was read can still be lost later, so it is recovered as `stream`, not as `unread`.
#[test]
#[ignore = "needs root"]
fn a_delivered_stream_is_recovered_as_a_stream() -> Result<()> {
    let goproc = Goproc::new(Behaviour::Faithful).logging(LogFormat::Json);
    let traced = Recovering::trace(&goproc, &["echo", "all is well"])?;
    traced.managed.headline("delivered")?;
    traced.check("stream", b"all is well\n")?;
    let captured = traced.managed.report.captured()?;
    ensure!(captured.recovered.len() == 1, "{captured:?}");
    let human = traced.human()?;
    ensure!(!human.contains("recovered ") && human.contains("│ all is well\n"), "{human}");
    Ok(())
}

/// The human report of the run itself, in which tracer starts the manager.
#[test]
#[ignore = "needs root"]
fn the_live_report_quotes_lost_output() -> Result<()> {
    let parent = tempfile::tempdir()?;
    let account = parent.path().join("account.json");
    let mut command = Command::new(binary()?);
    command
        .arg("--capture")
        .arg(parent.path().join("out"))
        .arg("--")
        .arg(sibling_binary("goproc")?)
        .args(["--behaviour", "no-read", "--bytes", "8", "--account"])
        .arg(&account)
        .args(["--", "sh", "-c", "echo 1234567; echo the important part; exit 4"]);
    let output = refusal::run_command(&mut command)?;
    let streams =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    let text = streams.concat();
    ensure!(
        text.contains("recovered 19 B that were written to fd 1 stdout and never read"),
        "{text}"
    );
    ensure!(text.contains("│ the important part\n"), "{text}");
    ensure!(!text.contains("│ 1234567"), "{text}");
    ensure!(output.status.code() == Some(1), "{:?}: {text}", output.status);
    Ok(())
}

/// The original bug report: the message was on stderr, which was not read.
#[test]
#[ignore = "needs root and docker"]
fn the_unread_message_of_a_docker_pull() -> Result<()> {
    let argv = ["docker", "pull", "--progress=plain", &image()?];
    let traced = Recovering::trace(&Goproc::new(Behaviour::NoRead), &argv)?;
    ensure!(traced.managed.account.code == Some(125), "{:?}", traced.managed.account);
    let recovered = traced.managed.report.recovered("unread")?;
    let unread = traced.managed.account.stderr.unread;
    ensure!(unread == Some(recovered.bytes) && recovered.exact, "{recovered:?}");
    ensure!(recovered.text.starts_with("unknown flag: --progress\n"), "{recovered:?}");
    traced.check("unread", recovered.text.clone().as_bytes())?;
    let human = traced.human()?;
    ensure!(human.contains("│ unknown flag: --progress\n"), "{human}");
    Ok(())
}

/// The same message, read by a manager that discards the output of failed commands.
#[test]
#[ignore = "needs root and docker"]
fn the_message_of_a_docker_pull_that_its_manager_discarded() -> Result<()> {
    let argv = ["docker", "pull", "--progress=plain", &image()?];
    let goproc = Goproc::new(Behaviour::DropOnFailure).logging(LogFormat::Console);
    let traced = Recovering::trace(&goproc, &argv)?;
    let recovered = traced.managed.report.recovered("stream")?;
    ensure!(recovered.text.starts_with("unknown flag: --progress\n"), "{recovered:?}");
    ensure!(recovered.bytes == traced.managed.account.stderr.read, "{recovered:?}");
    ensure!(recovered.text.contains("docker pull"), "{recovered:?}");
    Ok(())
}
