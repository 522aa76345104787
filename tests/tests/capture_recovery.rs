//! Output that nobody got, given back: exactly the bytes that were lost, everywhere they are told.

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

/// What [`LINES`] prints.
fn lines() -> Vec<u8> {
    (1..=2000).flat_map(|number| format!("{number}\n").into_bytes()).collect()
}

/// A manager's run with its output captured and what was lost written to files.
struct Recovering {
    managed: Managed,
    directory: PathBuf,
    // Gone with this.
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

    /// The one loss of this kind is exactly this: in the report, in its file, and when the folder is
    /// reported again.
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

    /// The report for people, made again from the folder.
    fn human(&self) -> Result<String> {
        let human = run(&["report", &self.directory.display().to_string()])?;
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
    ensure!(written == lost, "{file} has {} bytes, lost were {}", written.len(), lost.len());
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
fn what_nobody_read_is_the_end_of_the_stream() -> Result<()> {
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
fn when_nothing_was_read_it_is_all_of_the_stream() -> Result<()> {
    let traced = Recovering::trace(&Goproc::new(Behaviour::NoRead), &LINES)?;
    traced.check("unread", &lines())
}

/// A short message is shown whole.
#[test]
#[ignore = "needs root"]
fn a_short_message_is_quoted_line_by_line() -> Result<()> {
    // A shell's own `echo … >&2` goes through fd 1, which is the other pipe then.
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

/// Two processes wrote to the same pipe, and the loss has parts of both.
#[test]
#[ignore = "needs root"]
fn a_loss_by_several_writers_is_in_the_order_of_their_writes() -> Result<()> {
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

/// The manager read all of it and lost it above the pipe: the whole stream is given.
#[test]
#[ignore = "needs root"]
fn what_the_manager_read_and_lost_is_given_whole() -> Result<()> {
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

/// What the kernel saw delivered may still be lost above it: it is given as well, but not as unread.
#[test]
#[ignore = "needs root"]
fn what_was_delivered_is_given_as_what_was_read() -> Result<()> {
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

/// The report for people of the run itself, with the tracer as the one who starts the manager.
#[test]
#[ignore = "needs root"]
fn the_report_of_the_run_itself_quotes_the_loss() -> Result<()> {
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
    let said =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    let text = said.concat();
    ensure!(
        text.contains("recovered 19 B that were written to fd 1 stdout and never read"),
        "{text}"
    );
    ensure!(text.contains("│ the important part\n"), "{text}");
    ensure!(!text.contains("│ 1234567"), "{text}");
    ensure!(output.status.code() == Some(1), "{:?}: {text}", output.status);
    Ok(())
}

/// The case that began it all: the message was on stderr, and nobody read it.
#[test]
#[ignore = "needs root and docker"]
fn the_message_of_a_pull_that_nobody_read() -> Result<()> {
    let argv = ["docker", "pull", "--progress=plain", &image()?];
    let traced = Recovering::trace(&Goproc::new(Behaviour::NoRead), &argv)?;
    ensure!(traced.managed.account.code == Some(125), "{:?}", traced.managed.account);
    let recovered = traced.managed.report.recovered("unread")?;
    let unread = traced.managed.account.stderr.left_inside;
    ensure!(unread == Some(recovered.bytes) && recovered.exact, "{recovered:?}");
    ensure!(recovered.text.starts_with("unknown flag: --progress\n"), "{recovered:?}");
    traced.check("unread", recovered.text.clone().as_bytes())?;
    let human = traced.human()?;
    ensure!(human.contains("│ unknown flag: --progress\n"), "{human}");
    Ok(())
}

/// The same message, read by a manager that keeps nothing of a command that failed.
#[test]
#[ignore = "needs root and docker"]
fn the_message_of_a_pull_that_its_manager_dropped() -> Result<()> {
    let argv = ["docker", "pull", "--progress=plain", &image()?];
    let goproc = Goproc::new(Behaviour::DropOnFailure).logging(LogFormat::Console);
    let traced = Recovering::trace(&goproc, &argv)?;
    let recovered = traced.managed.report.recovered("stream")?;
    ensure!(recovered.text.starts_with("unknown flag: --progress\n"), "{recovered:?}");
    ensure!(recovered.bytes == traced.managed.account.stderr.read, "{recovered:?}");
    ensure!(recovered.text.contains("docker pull"), "{recovered:?}");
    Ok(())
}
