//! Captures of real programs have exactly the bytes that they print on both streams.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use tracer_tests::{
    deadline::describe,
    docker::{image, remove_image},
    program::{Captured, Program},
    refusal,
};

const LONG: Duration = Duration::from_secs(80);

fn succeeds(captured: &Captured) -> Result<()> {
    ended_well(captured)?;
    captured.check()
}

fn ended_well(captured: &Captured) -> Result<()> {
    let words = captured.received.each_ref().map(|bytes| String::from_utf8_lossy(bytes));
    ensure!(captured.status.success(), "it ended with {}: {words:?}", describe(captured.status));
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_shell_script() -> Result<()> {
    let script = "for i in $(seq 1 200); do echo line $i; printf '%s\\n' warning >&2; done; \
                  seq 1 5000 | tail -n 3; (echo a subshell); cat /etc/passwd; ls -l / >&2";
    let captured = Program::new(&["sh", "-c", script]).capture()?;
    // Bytes copied in the kernel cannot be captured, and `cat` may copy that way.
    let copied: u64 =
        captured.capture.streams.values().map(|stream| stream.missing_for("copied")).sum();
    ensure!(copied == 0, "{copied} bytes were copied inside the kernel");
    succeeds(&captured)
}

#[test]
#[ignore = "needs root"]
fn inner_pipes_of_a_pipeline_are_not_captured() -> Result<()> {
    let captured = Program::new(&["sh", "-c", "seq 1 100000 | sort -rn | head -n 5"]).capture()?;
    ensure!(captured.received[0] == b"100000\n99999\n99998\n99997\n99996\n", "{captured:?}");
    succeeds(&captured)
}

#[test]
#[ignore = "needs root"]
fn python_with_and_without_buffers() -> Result<()> {
    let script = "import sys, os\n\
                  for i in range(3000):\n    \
                      print('line', i, 'grüße 漢字')\n    \
                      if i % 10 == 0: print('warning', i, file=sys.stderr)\n\
                  sys.stdout.flush()\n\
                  sys.stdout.buffer.write(bytes(range(256)) * 700)\n\
                  os.write(2, b'\\xff\\xfe raw\\n')\n";
    for flags in [&["python3", "-c", script][..], &["python3", "-u", "-c", script]] {
        let captured = Program::new(flags).env("PYTHONIOENCODING", "utf-8").capture()?;
        ensure!(captured.received[0].len() > 256 * 700, "{}", captured.received[0].len());
        ensure!(captured.received[1].ends_with(b"\xff\xfe raw\n"), "{:?}", captured.received[1]);
        succeeds(&captured)?;
    }
    Ok(())
}

fn git(directory: &Path, arguments: &[&str]) -> Result<()> {
    let identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"];
    let output = refusal::run_command(
        Command::new("git").args(identity).arg("-C").arg(directory).args(arguments),
    )?;
    ensure!(output.status.success(), "git {arguments:?}: {:?}", String::from_utf8(output.stderr));
    Ok(())
}

/// Several processes write progress lines with carriage returns to one pipe.
#[test]
#[ignore = "needs root"]
fn git_clone_with_progress() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let source = directory.path().join("source");
    fs::create_dir(&source)?;
    git(&source, &["init", "--quiet"])?;
    for number in 0..300 {
        fs::write(source.join(format!("file-{number}")), format!("{number}\n").repeat(number))?;
    }
    git(&source, &["add", "."])?;
    git(&source, &["commit", "--quiet", "--message", "all"])?;
    let from = format!("file://{}", source.display());
    let to = directory.path().join("clone").display().to_string();
    let captured = Program::new(&["git", "clone", "--progress", &from, &to]).capture()?;
    let text = String::from_utf8(captured.received[1].clone())?;
    ensure!(text.contains("remote: ") && text.contains('\r'), "{text}");
    ensure!(text.contains("Receiving objects: 100%"), "{text}");
    ended_well(&captured)?;
    // One process forwards messages of the remote while another one prints progress.
    captured.check_merged()
}

#[test]
#[ignore = "needs root and docker"]
fn docker_pull() -> Result<()> {
    let image = image()?;
    remove_image(&image)?;
    let captured = Program::new(&["docker", "pull", &image]).within(LONG).capture()?;
    ensure!(captured.received[0].windows(8).any(|window| window == b"Digest: "), "{captured:?}");
    succeeds(&captured)
}

#[test]
#[ignore = "needs root and docker"]
fn docker_build() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let dockerfile =
        format!("FROM {}\nRUN echo built; echo loud >&2\nCMD [\"/bin/true\"]\n", image()?);
    fs::write(directory.path().join("Dockerfile"), dockerfile)?;
    let path = directory.path().display().to_string();
    let captured = Program::new(&["docker", "build", "--no-cache", "--force-rm", &path])
        .env("DOCKER_BUILDKIT", "0")
        .within(LONG)
        .capture()?;
    let text = String::from_utf8_lossy(&captured.received[0]).into_owned();
    ensure!(text.contains("Successfully built"), "{text}");
    succeeds(&captured)
}

/// The message of the original bug report, which was never shown.
#[test]
#[ignore = "needs root and docker"]
fn docker_pull_with_an_unknown_flag() -> Result<()> {
    let image = image()?;
    let captured = Program::new(&["docker", "pull", "--progress=plain", &image]).capture()?;
    captured.check()?;
    let stderr = captured.capture.stream(captured.pid, 2).context("stderr")?;
    ensure!(stderr.bytes.starts_with(b"unknown flag: --progress\n"), "{stderr:?}");
    ensure!(captured.status.code() == Some(125), "{captured:?}");
    Ok(())
}
