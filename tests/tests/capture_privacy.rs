//! Privacy of captured output: safe directories, permissions, redaction, and no capture without
//! `--capture`.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use tracer_tests::{
    capture::capture_with,
    deadline::OwnedChild,
    goproc::Behaviour,
    managed::Goproc,
    privilege::require_root,
    refusal::{ENVIRONMENT, USAGE, check, run},
    scenario::trace_with,
    tracer::Tracer,
    workload::{Workload, sibling_binary},
};

/// The secret of the workload `secret`, and its parts.
const SECRETS: [&str; 3] = ["hunter2-4711", "hunter", "2-4711 and"];

/// Checks that tracer refuses to capture into this path, names it in one line, and does not attach.
fn refused(directory: &Path, code: i32) -> Result<()> {
    require_root()?;
    let child = OwnedChild::spawn(Command::new("sleep").arg("60"), "sleep")?;
    let path = directory.display().to_string();
    let output = run(&["--pid", &child.pid().to_string(), "--capture", &path])?;
    check(&output, code, &[&path])?;
    ensure!(!String::from_utf8_lossy(&output.stderr).contains("attached"), "{output:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_symbolic_link_is_not_followed() -> Result<()> {
    let parent = tempfile::tempdir()?;
    let real = parent.path().join("real");
    fs::create_dir(&real)?;
    for (name, target) in [("link", &*real), ("dangling", Path::new("/nowhere/at/all"))] {
        let link = parent.path().join(name);
        symlink(target, &link)?;
        refused(&link, ENVIRONMENT)?;
        ensure!(fs::symlink_metadata(&link)?.is_symlink(), "the link is gone");
    }
    // A trailing slash would make the kernel follow the link.
    let slash = format!("{}/link/", parent.path().display());
    check(&run(&["--pid", "1", "--capture", &slash])?, ENVIRONMENT, &["link"])?;
    ensure!(fs::read_dir(&real)?.count() == 0, "a file was created behind the link");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_folder_that_is_not_empty_is_not_changed() -> Result<()> {
    let parent = tempfile::tempdir()?;
    fs::write(parent.path().join("index"), "mine")?;
    refused(parent.path(), ENVIRONMENT)?;
    ensure!(fs::read(parent.path().join("index"))? == b"mine", "it was overwritten");
    ensure!(fs::read_dir(parent.path())?.count() == 1, "a file was added");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_folder_of_another_user_is_refused() -> Result<()> {
    require_root()?;
    let parent = tempfile::tempdir()?;
    let directory = parent.path().join("theirs");
    fs::create_dir(&directory)?;
    chown(&directory, Some(65_534), None)?;
    refused(&directory, ENVIRONMENT)?;
    ensure!(fs::read_dir(&directory)?.count() == 0, "a file was created there");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_path_that_is_not_a_folder_is_refused() -> Result<()> {
    let parent = tempfile::tempdir()?;
    let file = parent.path().join("file");
    fs::write(&file, "mine")?;
    refused(&file, ENVIRONMENT)?;
    refused(&parent.path().join("none/out"), ENVIRONMENT)?;
    ensure!(fs::read(&file)? == b"mine", "it was overwritten");
    check(&run(&["--pid", "1", "--capture", ""])?, USAGE, &["--capture"])
}

#[test]
#[ignore = "needs root"]
fn an_empty_folder_of_the_user_becomes_private() -> Result<()> {
    let parent = tempfile::tempdir()?;
    let directory = parent.path().join("out");
    fs::create_dir(&directory)?;
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777))?;
    let add = |tracer: Tracer| tracer.arg("--capture").arg(&directory);
    trace_with(&Workload::new("secret"), add)?;
    // `load` checks all modes.
    tracer_tests::capture::Capture::load(&directory)?.is_complete()
}

fn secrets_in(text: &str) -> Option<&'static str> {
    SECRETS.into_iter().find(|secret| text.contains(secret))
}

/// Recording and report do not contain the output.
#[test]
#[ignore = "needs root"]
fn without_the_option_nothing_is_captured() -> Result<()> {
    let parent = tempfile::tempdir()?;
    let session = parent.path().join("session");
    let record = |tracer: Tracer| tracer.arg("--record").arg(&session);
    let traced = trace_with(&Workload::new("secret"), record)?;
    ensure!(traced.report.capture.is_none(), "{:?}", traced.report.capture);
    let recorded = fs::read_to_string(&session)?;
    let human = run(&["report", &session.display().to_string()])?;
    let human = String::from_utf8(human.stdout)?;
    for text in [&traced.tracer.stdout, &traced.tracer.stderr, &recorded, &human] {
        ensure!(secrets_in(text).is_none(), "{:?} is in {text}", secrets_in(text));
    }
    Ok(())
}

/// The live view shows the output without the redacted text, even if that is split between two writes.
#[test]
#[ignore = "needs root"]
fn redacted_text_is_not_shown() -> Result<()> {
    let plain = capture_with(&Workload::new("secret"), |tracer| tracer.arg("--show"))?;
    let plain = plain.context("skipped")?.traced.tracer.stderr;
    ensure!(plain.contains("token=hunter2-4711 and more"), "{plain}");
    ensure!(plain.contains("before") && plain.contains("after"), "{plain}");
    let hide = |tracer: Tracer| tracer.args(["--show", "--redact", "token=[^ ]+"]);
    let hidden = capture_with(&Workload::new("secret"), hide)?.context("skipped")?;
    let stderr = &hidden.traced.tracer.stderr;
    ensure!(secrets_in(stderr).is_none(), "{:?} is in {stderr}", secrets_in(stderr));
    ensure!(stderr.contains("[redacted] and more"), "{stderr}");
    ensure!(stderr.contains("before") && stderr.contains("on stderr"), "{stderr}");
    // The captured files are not redacted, as documented.
    hidden.check()
}

/// Recovered output in the JSON report and in the human report.
#[test]
#[ignore = "needs root"]
fn redacted_text_is_not_reported() -> Result<()> {
    let parent = tempfile::tempdir()?;
    let directory = parent.path().join("out");
    let workload = sibling_binary("workload")?;
    let goproc = Goproc::new(Behaviour::NoRead)
        .tracer_arg("--capture")
        .tracer_arg(&directory)
        .tracer_arg("--redact")
        .tracer_arg("token=[^ ]+");
    let managed = goproc.trace(&[&workload, "secret"])?;
    let captured = managed.report.captured()?;
    ensure!(captured.recovered.len() == 2, "{captured:?}");
    let text = &managed.tracer.stdout;
    ensure!(text.contains("[redacted] and more"), "{text}");
    ensure!(secrets_in(text).is_none(), "{:?} is in {text}", secrets_in(text));
    let path = directory.display().to_string();
    let human = |arguments: &[&str]| -> Result<String> {
        Ok(String::from_utf8(run(&[&["report", &*path], arguments].concat())?.stdout)?)
    };
    let hidden = human(&["--redact", "token=[^ ]+"])?;
    ensure!(secrets_in(&hidden).is_none() && hidden.contains("[redacted] and more"), "{hidden}");
    let shown = human(&[])?;
    ensure!(shown.contains("│ token=hunter2-4711 and more\n"), "{shown}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn the_report_names_the_folder_and_the_files_of_a_capture() -> Result<()> {
    let captured = capture_with(&Workload::new("secret"), |tracer| tracer)?.context("skipped")?;
    let path = captured.capture.directory.display().to_string();
    let human = String::from_utf8(run(&["report", "--all", &path])?.stdout)?;
    ensure!(human.contains(&format!("captured in {path}")), "{human}");
    for stream in captured.capture.streams.values() {
        ensure!(human.contains(&stream.file), "{} is not named: {human}", stream.file);
    }
    Ok(())
}
