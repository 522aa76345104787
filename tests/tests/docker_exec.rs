//! `docker exec` and `docker start` as the command of a trace: what they start is a target from its first instruction on,
//! and what runs in the container besides is none.
//!
//! Needs a running `dockerd` and, in `TRACER_TEST_IMAGE`, an image in a registry on this machine.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tempfile::NamedTempFile;
use tracer_tests::{
    deadline::{DEADLINE, wait_until},
    docker::{Container, Traced, docker, image, trace, written},
    expect,
    procfs::children_of,
    report::{Exit, Process, Report},
    terminal::Terminal,
    tracer::{Tracer, binary, parse},
};

/// A container whose first process writes all the time.
fn busy(name: &str) -> Result<Container> {
    let container = Container::named(name);
    let line = "while :; do echo noise; sleep 0.02; done";
    docker(&["run", "--detach", "--name", container.name(), &image()?, "sh", "-c", line])?;
    Ok(container)
}

/// The process with these words.
fn with_argv<'a>(report: &'a Report, words: &[&str]) -> Result<&'a Process> {
    let found = report.processes.iter().find(|process| process.argv == words);
    found.with_context(|| format!("no {words:?}: {:#?}", report.processes))
}

fn is_docker(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "docker\n")
}

/// Bytes written by the children of a shell. Busybox executes no program for them.
fn by_children(report: &Report, shell: &Process) -> u64 {
    let children = report.processes.iter().filter(|process| process.ppid == Some(shell.pid));
    children.map(written).sum()
}

/// Only the client, and what began with these words, is in the report.
fn nothing_else(report: &Report, words: &[&str]) -> Result<()> {
    let command = with_argv(report, words)?.pid;
    for process in &report.processes {
        let mut top = process;
        while let Some(above) = report.processes.iter().find(|above| Some(above.pid) == top.ppid) {
            top = above;
        }
        ensure!(top.pid == command || top.comm == "docker", "a stranger: {process:#?}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and docker"]
fn the_command_of_an_exec_is_seen_from_its_first_instruction_and_nothing_else() -> Result<()> {
    let container = busy("exec")?;
    let line = "echo hi; echo err >&2; seq 1 9; exit 3";
    for _ in 0..5 {
        let Traced { stdout, stderr, report } =
            trace(&[], &["exec", container.name(), "sh", "-c", line])?;
        ensure!(stdout.starts_with("hi\n1\n") && stderr.contains("\nerr"), "{stdout:?} {stderr:?}");
        ensure!(!stderr.contains("client only"), "{stderr}");
        expect::no_losses(&report)?;
        let shell = with_argv(&report, &["sh", "-c", line])?;
        ensure!(written(shell) == 7 && !shell.attached_late, "{shell:#?}");
        ensure!(by_children(&report, shell) == 18, "{:#?}", report.processes);
        report.check_exit(shell.pid, Exit { code: Some(3), signal: None })?;
        nothing_else(&report, &["sh", "-c", line])?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and docker"]
fn a_loss_in_an_exec_is_named() -> Result<()> {
    let container = busy("loss")?;
    let line = "seq 1 1000 | sleep 0.3";
    let Traced { report, .. } = trace(&[], &["exec", container.name(), "sh", "-c", line])?;
    expect::loss_of_seq(&report)
}

/// By the beginning of the id, with options before and behind, in another folder and as another user.
#[test]
#[ignore = "needs root and docker"]
fn an_exec_with_options_is_followed() -> Result<()> {
    let container = busy("options")?;
    let id = docker(&["inspect", "--format", "{{.Id}}", container.name()])?;
    let words = ["sh", "-c", "id -u; pwd; echo $A", "-u", "x"];
    let options =
        ["--log-level", "info", "container", "exec", "-iu", "7", "--env=A=b", "-w", "/tmp", "--"];
    let arguments = [&options[..], &[&id[..12]], &words].concat();
    let Traced { stdout, report, .. } = trace(&[], &arguments)?;
    ensure!(stdout == "7\n/tmp\nb\n", "{stdout:?}");
    expect::no_losses(&report)?;
    let command = with_argv(&report, &words)?;
    let all = by_children(&report, command) + written(command);
    ensure!(all == 9, "{:#?}", report.processes);
    nothing_else(&report, &words)
}

/// The client ends at once; the trace ends with the command, not with the container.
#[test]
#[ignore = "needs root and docker"]
fn a_detached_exec_is_traced_to_its_end() -> Result<()> {
    let container = busy("detached")?;
    let line = "sleep 1; echo late; exit 4";
    let began = Instant::now();
    let Traced { report, .. } = trace(&[], &["exec", "-d", container.name(), "sh", "-c", line])?;
    ensure!(began.elapsed() < *DEADLINE, "{:?}", began.elapsed());
    expect::no_losses(&report)?;
    let shell = with_argv(&report, &["sh", "-c", line])?;
    ensure!(written(shell) == 5, "{shell:#?}");
    report.check_exit(shell.pid, Exit { code: Some(4), signal: None })?;
    nothing_else(&report, &["sh", "-c", line])
}

/// A user types into a shell on a terminal.
#[test]
#[ignore = "needs root and docker"]
fn an_exec_on_a_terminal_is_followed() -> Result<()> {
    let container = busy("terminal")?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("report.json");
    let (tracer, name) = (binary()?, container.name());
    let line = format!(
        "{} --format json -o {} -- docker exec -it {name} sh",
        tracer.display(),
        file.display()
    );
    let terminal = Terminal::run(&line, (80, 24), folder.path())?;
    terminal.wait_for("the shell's prompt", |screen| screen.contains("/ #"))?;
    terminal.press(&["echo $((40+2))x; exit 5", "Enter"])?;
    terminal.wait_for("the end", |screen| screen.contains("EXIT "))?;
    ensure!(terminal.screen()?.contains("42x"), "{}", terminal.screen()?);
    let report = parse(&fs::read_to_string(&file)?)?;
    expect::no_losses(&report)?;
    let shell = with_argv(&report, &["sh"])?;
    ensure!(written(shell) > 4, "{shell:#?}");
    report.check_exit(shell.pid, Exit { code: Some(5), signal: None })?;
    nothing_else(&report, &["sh"])
}

/// What does not start was not missed, and no other process takes its place.
#[test]
#[ignore = "needs root and docker"]
fn a_command_that_does_not_exist_ends_the_trace() -> Result<()> {
    let container = busy("none")?;
    for options in [&["exec"][..], &["exec", "-d"]] {
        let arguments = [options, &[container.name(), "no-such-program", "x"]].concat();
        let Traced { stderr, stdout, report } = trace(&[], &arguments)?;
        ensure!((stdout + &stderr).contains("no-such-program"), "{stderr}");
        expect::no_losses(&report)?;
        ensure!(report.processes.iter().all(|process| process.comm == "docker"));
    }
    Ok(())
}

/// One line says what is not followed and what to do. Nothing counts as missed.
#[test]
#[ignore = "needs root and docker"]
fn what_cannot_be_followed_is_told_in_one_line_with_the_cure() -> Result<()> {
    let container = busy("told")?;
    let (stopped, other) = (Container::named("stopped"), Container::named("other"));
    for container in [&stopped, &other] {
        docker(&["create", "--name", container.name(), &image()?, "true"])?;
    }
    let (name, running) = (stopped.name(), container.name());
    for (arguments, words) in [
        (vec!["exec", name, "ls"], "does not run (its engine says: created): start it first"),
        (vec!["exec", "tracer-no-such", "ls"], "list them with `docker ps`"),
        (vec!["start", running], "runs already, so `docker start` starts nothing: trace it with"),
        (vec!["start", name, other.name()], "one container of a `docker start`: start each with"),
    ] {
        for (options, lines) in [(&[][..], 1), (&["-q"], 0)] {
            let Traced { stderr, report, .. } = trace(options, &arguments)?;
            let told: Vec<_> =
                stderr.lines().filter(|line| line.contains("traces the client only: ")).collect();
            ensure!(told.len() == lines, "{arguments:?}: {stderr}");
            ensure!(told.iter().all(|line| line.contains(words)), "{told:?}");
            expect::no_losses(&report)?;
        }
    }
    Ok(())
}

/// All of the container is traced already, so its own processes are targets.
#[test]
#[ignore = "needs root and docker"]
fn an_exec_into_a_named_container_is_traced_with_it() -> Result<()> {
    let container = busy("named")?;
    let arguments = ["exec", container.name(), "seq", "1", "9"];
    let Traced { stderr, report, .. } = trace(&["--container", container.name()], &arguments)?;
    ensure!(!stderr.contains("client only"), "{stderr}");
    expect::no_losses(&report)?;
    ensure!(written(with_argv(&report, &["seq", "1", "9"])?) == 18);
    ensure!(nothing_else(&report, &["seq", "1", "9"]).is_err(), "{:#?}", report.processes);
    Ok(())
}

/// Nothing tells which of them is the client's.
#[test]
#[ignore = "needs root and docker"]
fn the_same_words_of_another_client_at_the_same_moment_are_traced_and_told() -> Result<()> {
    let container = busy("twice")?;
    let words = ["sh", "-c", "sleep 1; echo q"];
    let is_over = AtomicBool::new(false);
    let traced = thread::scope(|scope| {
        let strangers = scope.spawn(|| -> Result<()> {
            let arguments = [&["exec", "-d", container.name()], &words[..]].concat();
            while !is_over.load(Ordering::Relaxed) {
                docker(&arguments)?;
            }
            Ok(())
        });
        let running = Tracer::default().args(["-o", "-", "--", "docker", "exec"]);
        let running = running.arg(container.name()).args(words).start()?;
        let client = || Ok(children_of(running.pid())?.into_iter().find(|pid| is_docker(*pid)));
        let ended = wait_until("the client", client)
            .and_then(|client| wait_until("its end", || Ok((!is_docker(client)).then_some(()))));
        is_over.store(true, Ordering::Relaxed);
        strangers.join().map_err(|_| anyhow::anyhow!("a panic"))??;
        ended.and_then(|()| running.finish())
    })?;
    let line = "another client had the same command started in the container at the same time";
    ensure!(traced.stderr.contains(line), "{}", traced.stderr);
    Ok(())
}

/// A tracer that is stopped finds the command when it has written.
#[test]
#[ignore = "needs root and docker"]
fn a_command_that_is_found_late_or_not_at_all_is_told() -> Result<()> {
    let container = busy("late")?;
    for (line, is_found) in
        [("echo early; touch /late; sleep 3; echo late", true), ("touch /late", false)]
    {
        let file = NamedTempFile::new()?;
        let tracer = Tracer::default().arg("-o").arg(file.path()).args(["--", "docker", "exec"]);
        let running = tracer.args([container.name(), "sh", "-c", line]).start()?;
        wait_until("the client runs", || {
            Ok(children_of(running.pid())?.into_iter().any(is_docker).then_some(()))
        })?;
        running.signal(Signal::STOP)?;
        wait_until("the command has run", || {
            Ok(docker(&["exec", container.name(), "rm", "/late"]).is_ok().then_some(()))
        })?;
        running.signal(Signal::CONT)?;
        running.finish()?;
        let report = parse(&fs::read_to_string(file.path())?)?;
        let losses = report.losses();
        ensure!(losses.iter().any(|(name, _)| name == "container_missed"), "{line}: {losses:?}");
        let shell = with_argv(&report, &["sh", "-c", line]);
        ensure!(shell.is_ok() == is_found, "{shell:#?}");
        if let Ok(shell) = shell {
            ensure!(shell.attached_late && written(shell) == 5, "{shell:#?}");
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and docker"]
fn a_container_that_is_started_is_seen_from_its_first_instruction() -> Result<()> {
    let container = Container::named("start");
    let line = "echo hi; echo err >&2; exit 3";
    docker(&["create", "--name", container.name(), &image()?, "sh", "-c", line])?;
    let id = docker(&["inspect", "--format", "{{.Id}}", container.name()])?;
    for arguments in [
        vec!["start", "-a", container.name()],
        vec!["container", "start", &id[..10], "--attach"],
        vec!["start", container.name()],
    ] {
        let Traced { stderr, report, .. } = trace(&[], &arguments)?;
        ensure!(!stderr.contains("client only"), "{stderr}");
        expect::no_losses(&report)?;
        let shell = with_argv(&report, &["sh", "-c", line])?;
        ensure!(written(shell) == 7 && !shell.attached_late, "{shell:#?}");
        report.check_exit(shell.pid, Exit { code: Some(3), signal: None })?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and docker"]
fn a_container_that_cannot_be_started_is_not_missed() -> Result<()> {
    let container = Container::named("broken");
    docker(&["create", "--name", container.name(), &image()?, "no-such-program"])?;
    let Traced { stderr, report, .. } = trace(&[], &["start", "-a", container.name()])?;
    ensure!(stderr.contains("no-such-program"), "{stderr}");
    expect::no_losses(&report)
}
