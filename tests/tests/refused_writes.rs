//! Writes inside a command whose reader had left: of copies, FIFOs and commands that never read.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use tracer_tests::{report::Report, scenario::trace_command};

/// The report about a script, which runs in this folder.
fn traced(folder: &Path, script: &str) -> Result<Report> {
    trace_command(folder, &["bash", "-c", script])
}

#[test]
#[ignore = "needs root"]
fn a_copy_ends_with_the_reader_of_another_copy() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let report = traced(folder.path(), "seq 1 100000 | tee >(head -n1 >first) >log; exit 0")?;
    let finding =
        report.headline("reader_gone")?.expect("comm", "tee")?.expect("closer_comm", "head")?;
    let size = fs::metadata(folder.path().join("log"))?.len();
    ensure!(size < 588_895, "tee ended too late");
    finding.expect("written", size)?;
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_writer_without_a_copy_ends_with_its_reader_as_meant() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let lines = "seq 1 100000 | cat | head -n1; mkfifo ff; head -n1 <ff & seq 1 100000 >ff; wait";
    traced(folder.path(), &format!("{lines}; seq 1 9 | tee -p >(head -n1 >first) >log"))?
        .has_no_loss()
}

#[test]
#[ignore = "needs root"]
fn a_fifo_that_a_script_redirects_itself_to_is_looked_at() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let reader = "mkfifo ff; { read -r line; } <ff & ";
    let writer = "trap '' PIPE; exec >ff; echo one; wait $!; echo two 2>/dev/null; exit 0";
    let report = traced(folder.path(), &format!("{reader}{writer}"))?;
    let finding = report.headline("reader_gone")?;
    ensure!(finding.message.contains("(EPIPE, 4 B refused) after 4 B"), "{finding:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn the_command_that_should_have_read_is_named() -> Result<()> {
    let closed = "wc (pid ";
    let missing = "its command was not found";
    for (line, says) in [("wc -l <&-", closed), ("no-such-command", missing)] {
        let folder = tempfile::tempdir()?;
        let report = traced(folder.path(), &format!("seq 1 5 | {line}; exit 0"))?;
        let finding = report.findings.iter().find(|finding| finding.severity == "loss");
        ensure!(finding.is_some_and(|finding| finding.message.contains(says)), "{finding:?}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_relay_that_splices_wrote_what_it_read() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let script = "import os, subprocess\n\
                  r, w = os.pipe()\n\
                  subprocess.run(['seq', '1', '300'], stdout=w)\n\
                  os.close(w)\n\
                  os.splice(r, os.open('log', os.O_CREAT | os.O_WRONLY), 65536)\n";
    fs::write(folder.path().join("relay.py"), script)?;
    let report = traced(folder.path(), "exec python3 relay.py")?;
    ensure!(fs::metadata(folder.path().join("log"))?.len() == 1092);
    let of_seq = report.findings.iter().find(|finding| finding.message.starts_with("seq 1 300"));
    ensure!(of_seq.is_some_and(|of_seq| !of_seq.message.contains(" less")), "{of_seq:?}");
    Ok(())
}
