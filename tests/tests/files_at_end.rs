//! What becomes of output in files: one that gets a name after all, and those that are cut or written over under a writer.

use std::{path::Path, process::Command};

use anyhow::{Result, ensure};
use tracer_tests::{privilege::require_root, refusal::run_command, tracer::binary};

/// The first sentence about a shell's command that runs in a directory, on one line, and tracer's exit code.
fn first_sentence(directory: &Path, line: &str) -> Result<(String, Option<i32>)> {
    require_root()?;
    let mut command = Command::new(binary()?);
    command.args(["-q", "-o", "-", "--", "bash", "-c", line]).current_dir(directory);
    let output = run_command(&mut command)?;
    let text = String::from_utf8(output.stdout)?;
    let words: Vec<&str> = text.split_whitespace().collect();
    Ok((words.join(" "), output.status.code()))
}

#[test]
#[ignore = "needs root"]
fn a_file_without_a_name_that_gets_one_has_the_output() -> Result<()> {
    // `linkat(AT_FDCWD, "/proc/self/fd/N", AT_FDCWD, "final", AT_SYMLINK_FOLLOW)`
    let link = "ctypes.CDLL(None).linkat(-100, b'/proc/self/fd/%d' % f, -100, b'final', 0x400)";
    for (after, expected) in [(link, ("✓ ", 0)), ("0", ("! seq 1 300 ", 1))] {
        let directory = tempfile::tempdir()?;
        let script = format!(
            "import ctypes, os, subprocess; f = os.open('.', os.O_TMPFILE | os.O_RDWR); \
             subprocess.run(['seq', '1', '300'], stdout=f); print({after})"
        );
        let line = format!("exec python3 -c \"{script}\"");
        let (text, code) = first_sentence(directory.path(), &line)?;
        // The command's own output comes first.
        let text = text.trim_start_matches("0 ");
        ensure!(text.starts_with(expected.0) && code == Some(expected.1), "{code:?}: {text}");
        ensure!(after == "0" || text.contains("/final (made without a name)"), "{text}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn only_what_a_process_cut_is_said_to_be_cut() -> Result<()> {
    let over = "written over, as dd of=log conv=notrunc ";
    let own = "cut the file, which it opened by its name and had as its own output.";
    let input = "has the file as its input and as its output, so it was cut before it was read.";
    let split = "written over, very likely: its stdout and stderr are two openings of the file.";
    let dd = "printf ZZZZ | dd of=log conv=notrunc 2>/dev/null";
    let writer = "bash -c 'echo aaaaaaaa; sleep .4; echo bbb' >log";
    for (line, expected) in [
        (format!("{writer} & sleep .2; {dd}; wait"), Some(over)),
        (format!("{writer}; {dd}"), None),
        ("bash -c 'echo one >/dev/stderr; echo two >/dev/stderr' 2>log".to_owned(), Some(own)),
        ("bash -c 'echo one >>/dev/stderr; echo two >&2' 2>>log".to_owned(), None),
        ("seq 1 9 >log; tr 1 2 <log >log".to_owned(), Some(input)),
        ("seq 1 9 >log; tr 1 2 <log >other; mv other log".to_owned(), None),
        ("bash -c 'echo aaaaaaaa; echo b >&2' >log 2>log".to_owned(), Some(split)),
        ("bash -c 'echo aaaaaaaa; echo b >&2' >log 2>&1".to_owned(), None),
        // No process has it open for a while, so that nothing shows who cuts it.
        ("echo a >log; (sleep .3; echo bc >log) & sleep .6; echo d >log; wait".to_owned(), None),
    ] {
        let directory = tempfile::tempdir()?;
        let (text, code) = first_sentence(directory.path(), &line)?;
        let is_said = expected.is_none_or(|expected| text.contains(expected));
        let is_loss = code == Some(i32::from(expected.is_some()));
        ensure!(is_said && is_loss, "{line}: {code:?}: {text}");
    }
    Ok(())
}
