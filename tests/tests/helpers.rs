//! What scripts do with helpers and terminals every day, and what they lose there.

use std::{fs::File, io::Read as _, time::Duration};

use anyhow::Result;
use tracer_tests::{deadline::patient, report::Report, tracer::Tracer, tracer::parse};

/// The report about a command.
fn trace(command: &[&str]) -> Result<Report> {
    let report = tempfile::NamedTempFile::new()?;
    let tracer = Tracer::default().arg("-o").arg(report.path()).arg("--").args(command);
    tracer.launch()?.finish_within(patient(Duration::from_secs(30)))?;
    let mut text = String::new();
    File::open(report.path())?.read_to_string(&mut text)?;
    parse(&text)
}

#[test]
#[ignore = "needs root"]
fn a_script_that_ends_its_silent_helpers_has_lost_nothing() -> Result<()> {
    let silent = "perl -e 'sleep 60' & sleep 0.3; echo done; kill $!; wait $! || :";
    trace(&["sh", "-c", silent])?.headline("delivered")?;
    let watchdog = "mkfifo \"$0\"; while read -r x; do :; done <\"$0\" & \
                    echo beat >\"$0\"; sleep 0.3; kill $!; rm \"$0\"; echo done";
    let folder = tempfile::tempdir()?;
    let fifo = folder.path().join("fifo");
    trace(&["sh", "-c", watchdog, &fifo.to_string_lossy()])?.has_no_finding("kept_back")
}

#[test]
#[ignore = "needs root"]
fn a_copy_to_dev_null_is_not_lost_but_the_only_output_is() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
    let (one, other) = (one.to_string_lossy(), other.to_string_lossy());
    let tee = trace(&["sh", "-c", "seq 1 10 | tee \"$0\" \"$1\" >/dev/null", &one, &other])?;
    anyhow::ensure!(tee.headline("discarded")?.severity == "info", "{tee:?}");
    let cat = trace(&["sh", "-c", "seq 1 10 | cat >/dev/null"])?;
    anyhow::ensure!(cat.headline("discarded")?.severity == "warning", "{cat:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn what_a_manager_discards_in_its_terminal_is_lost() -> Result<()> {
    let program = r#"
import os, pty, termios, time
pid, master = pty.fork()
if pid == 0: os.execvp("sh", ["sh", "-c", "seq 1 100; sleep 0.6; echo end"])
time.sleep(0.3); termios.tcflush(master, termios.TCIFLUSH)
try:
    while os.read(master, 1000): pass
except OSError: pass
os.waitpid(pid, 0)"#;
    let report = trace(&["python3", "-c", program])?;
    report.headline("unread")?.expect("discarded", 291)?;
    Ok(())
}
