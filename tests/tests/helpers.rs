//! What scripts do with helpers and terminals every day, and what they lose there.

use anyhow::Result;
use tracer_tests::scenario::trace_command;

#[test]
#[ignore = "needs root"]
fn a_script_that_ends_its_silent_helpers_has_lost_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let trace = |script| trace_command(folder.path(), &["sh", "-c", script]);
    trace("perl -e 'sleep 60' & sleep 0.3; echo done; kill $!; wait $! || :")?
        .headline("delivered")?;
    let watchdog = "mkfifo fifo; while read -r x; do :; done <fifo & \
                    echo beat >fifo; sleep 0.3; kill $!; rm fifo; echo done";
    trace(watchdog)?.has_no_finding("kept_back")
}

#[test]
#[ignore = "needs root"]
fn a_copy_to_dev_null_is_not_lost_but_the_only_output_is() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let trace = |script| trace_command(folder.path(), &["sh", "-c", script]);
    let tee = trace("seq 1 10 | tee one other >/dev/null")?;
    anyhow::ensure!(tee.headline("discarded")?.severity == "info", "{tee:?}");
    let cat = trace("seq 1 10 | cat >/dev/null")?;
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
    let folder = tempfile::tempdir()?;
    let report = trace_command(folder.path(), &["python3", "-c", program])?;
    report.headline("unread")?.expect("discarded", 291)?;
    Ok(())
}
