//! `tracer top` in a real terminal: on a recording, on a running trace, and with a command of its own.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tempfile::tempdir;
use tracer_tests::{deadline::OwnedChild, terminal::Terminal, tracer::binary};

const SIZE: (u16, u16) = (80, 24);

fn recording(name: &str) -> PathBuf {
    let trees = Path::new(env!("CARGO_MANIFEST_DIR")).join("sessions/trees");
    trees.join(format!("{name}.session"))
}

/// A shell line that runs `tracer top`.
fn top(arguments: &str) -> Result<String> {
    Ok(format!("{} top {arguments}", binary()?.display()))
}

fn top_recording(name: &str, directory: &Path) -> Result<Terminal> {
    Terminal::run(&top(&recording(name).display().to_string())?, SIZE, directory)
}

/// The screen as it was before, and the exit code.
fn is_restored(screen: &str, code: u32) -> bool {
    screen.starts_with("before\n") && screen.contains(&format!("\nEXIT {code}\n"))
}

#[test]
#[ignore = "needs root"]
fn a_recording_is_looked_through_and_played() -> Result<()> {
    let directory = tempdir()?;
    let terminal = top_recording("make", directory.path())?;
    let first = terminal.wait_for("the verdict", |screen| screen.starts_with("✗ ./app --long"))?;
    ensure!(first.contains("refused     └ ./app --long"), "the lost is not there:\n{first}");
    terminal.press(&["n", "Enter"])?;
    terminal.wait_for("the page of the command", |screen| {
        screen.contains("pid 14518 · started at +3.22 s") && screen.contains("lost 69,618 B")
    })?;
    terminal.press(&["q", "?"])?;
    terminal.wait_for("the keys", |screen| screen.contains("one screen"))?;
    terminal.press(&["q", "0"])?;
    terminal.wait_for("the start", |screen| screen.contains("· 0 ms of 5.35 s, paused"))?;
    terminal.press(&["."])?;
    terminal.wait_for("a step", |screen| !screen.contains("· 0 ms of"))?;
    terminal.press(&["]", "]", "]", "Space"])?;
    terminal.wait_for("a moment in the middle", |screen| screen.contains("plays at 8x"))?;
    terminal.wait_for("the end", |screen| screen.contains("5.35 s of 5.35 s, paused at 8x"))?;
    terminal.press(&["q"])?;
    terminal.wait_for("the shell", |screen| is_restored(screen, 1)).map(drop)
}

#[test]
#[ignore = "needs root"]
fn the_screen_fits_every_size_and_is_restored() -> Result<()> {
    let directory = tempdir()?;
    let terminal = top_recording("tmux", directory.path())?;
    let before = terminal.wait_for("the list", |screen| screen.contains("paused at 1x"))?;
    terminal.resize(38, 9)?;
    terminal.wait_for("the size", |screen| screen.starts_with("tracer needs 40x10\nhere: 38x9"))?;
    terminal.resize(130, 40)?;
    terminal.wait_for("a wide screen", |screen| {
        let titles = screen.lines().find(|line| line.contains("COMMAND"));
        titles.is_some_and(|titles| titles.find("COMMAND") > Some(60))
    })?;
    terminal.resize(SIZE.0, SIZE.1)?;
    terminal.wait_for("the same screen", |screen| screen == before)?;
    rustix::process::kill_process(pid(terminal.program()?)?, Signal::TERM)?;
    // 128 + SIGTERM.
    terminal.wait_for("the shell", |screen| is_restored(screen, 143)).map(drop)
}

fn pid(number: u32) -> Result<rustix::process::Pid> {
    rustix::process::Pid::from_raw(number.try_into()?).context("no pid")
}

#[test]
#[ignore = "needs root"]
fn without_colours_there_are_none() -> Result<()> {
    let directory = tempdir()?;
    let line = top(&recording("make").display().to_string())?;
    let is_color = |styled: &str| styled.contains("38;5;") || styled.contains("\x1b[31m");
    for (line, has_colors) in [
        (line.clone(), true),
        (format!("NO_COLOR=1 {line}"), false),
        (format!("{line} --color never"), false),
    ] {
        let terminal = Terminal::run(&line, SIZE, directory.path())?;
        terminal.wait_for("the list", |screen| screen.contains("█xxxxx"))?;
        let styled = terminal.styled()?;
        ensure!(is_color(&styled) == has_colors, "{line}:\n{styled:?}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_report_is_saved_in_a_new_private_file() -> Result<()> {
    let directory = tempdir()?;
    let terminal = top_recording("make", directory.path())?;
    terminal.wait_for("the list", |screen| screen.contains("COMMAND"))?;
    for number in 1..=2 {
        terminal.press(&["s"])?;
        terminal.wait_for("the name", |screen| screen.contains(&format!("-{number}.txt.")))?;
    }
    let mut saved = fs::read_dir(directory.path())?.collect::<Result<Vec<_>, _>>()?;
    saved.sort_by_key(fs::DirEntry::file_name);
    ensure!(saved.len() == 2, "{saved:?}");
    for file in saved {
        let text = fs::read_to_string(file.path())?;
        ensure!(text.starts_with("✗ ./app --long (pid 14518) could not write"), "{text}");
        ensure!(file.metadata()?.permissions().mode() & 0o777 == 0o600);
    }
    Ok(())
}

/// A shell with some 200 processes below it: pipelines that write a line now and then, and one whose reader sleeps.
fn crowd() -> Result<OwnedChild> {
    let script = "
        for n in $(seq 1 80); do
            (while :; do echo line; sleep 2; done) | cat >/dev/null &
        done
        yes stuck-output | sleep 1000 &
        wait";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    OwnedChild::spawn(&mut shell, "the crowd")
}

#[test]
#[ignore = "needs root"]
fn a_stuck_writer_among_200_processes_is_on_the_first_screen() -> Result<()> {
    let (directory, crowd) = (tempdir()?, crowd()?);
    let line = top(&format!("--pid {}", crowd.pid()))?;
    let terminal = Terminal::run(&line, SIZE, directory.path())?;
    // Without any key.
    let screen = terminal.wait_for("the stuck writer", |screen| {
        screen.lines().any(|line| line.contains("STUCK") && line.contains("yes stuck-output"))
    })?;
    ensure!(screen.starts_with("! yes stuck-output"), "the verdict is another one:\n{screen}");
    let running = screen.split(" running").next().and_then(|text| text.rsplit(' ').next());
    let running: u32 = running.unwrap_or_default().parse().with_context(|| screen.clone())?;
    ensure!(running >= 200, "{running} processes");
    terminal.press(&["n", "Enter"])?;
    terminal.wait_for("its page", |screen| {
        screen.contains(" of 65,536 B\n") && screen.contains("can be read by sleep")
    })?;
    terminal.press(&["Escape"])?;
    terminal.press(&["q"])?;
    // The report goes to standard output.
    terminal.wait_for("the report", |screen| screen.contains("\nEXIT 1\n")).map(drop)
}

#[test]
#[ignore = "needs root"]
fn a_signal_restores_the_screen_and_leads_to_the_report() -> Result<()> {
    let (directory, mut sleeper) = (tempdir()?, Command::new("sleep"));
    let sleeper = OwnedChild::spawn(sleeper.arg("1000"), "sleep")?;
    let line = top(&format!("--pid {}", sleeper.pid()))?;
    let terminal = Terminal::run(&line, SIZE, directory.path())?;
    terminal.wait_for("the list", |screen| screen.contains("runs      sleep 1000"))?;
    rustix::process::kill_process(pid(terminal.program()?)?, Signal::INT)?;
    let screen = terminal.wait_for("the shell", |screen| screen.contains("\nEXIT "))?;
    ensure!(screen.starts_with("before\n") && screen.contains("sleep 1000 (pid"), "{screen}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn the_output_of_a_command_comes_after_the_view() -> Result<()> {
    let directory = tempdir()?;
    let line = top("-- sh -c 'echo to stdout; echo to stderr >&2; test -t 1'")?;
    let terminal = Terminal::run(&line, SIZE, directory.path())?;
    let screen = terminal.wait_for("the end of the trace", |screen| {
        screen.contains("ended after") && screen.contains("exit 0    sh -c")
    })?;
    ensure!(!screen.contains("\nto stdout"), "{screen}");
    terminal.press(&["q"])?;
    let screen = terminal.wait_for("the shell", |screen| is_restored(screen, 0))?;
    ensure!(screen.starts_with("before\nto stdout\nto stderr\n✓ sh -c"), "{screen}");

    let line = top("-- sh -c 'echo to stdout; echo to stderr >&2' >out 2>err")?;
    let terminal = Terminal::run(&line, SIZE, directory.path())?;
    terminal.wait_for("the end of the trace", |screen| screen.contains("ended after"))?;
    terminal.press(&["q"])?;
    let screen = terminal.wait_for("the shell", |screen| is_restored(screen, 0))?;
    ensure!(screen.starts_with("before\n✓ sh -c"), "{screen}");
    ensure!(fs::read_to_string(directory.path().join("out"))? == "to stdout\n");
    ensure!(fs::read_to_string(directory.path().join("err"))? == "to stderr\n");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn what_cannot_be_shown_is_refused_in_one_sentence() -> Result<()> {
    let directory = tempdir()?;
    let terminal = Terminal::run(&top("-- true >out")?, SIZE, directory.path())?;
    let screen = terminal.wait_for("the shell", |screen| is_restored(screen, 2))?;
    ensure!(screen.contains("tracer: the command's stderr is the terminal"), "{screen}");

    let terminal =
        Terminal::run(&format!("TERM=dumb {}", top("--pid 1")?), SIZE, directory.path())?;
    let screen = terminal.wait_for("the shell", |screen| is_restored(screen, 2))?;
    ensure!(screen.contains("tracer: there is no terminal for the view (TERM"), "{screen}");

    let output = Command::new("setsid")
        .arg("--wait")
        .env("TERM", "xterm")
        .arg(binary()?)
        .arg("top")
        .arg(recording("make"))
        .output()?;
    let sentence = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(2), "{:?}: {sentence}", output.status);
    ensure!(sentence.starts_with("tracer: there is no terminal") && sentence.lines().count() == 1);
    Ok(())
}
