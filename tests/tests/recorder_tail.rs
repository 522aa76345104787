//! `tracer daemon --keep-tail`: the text of output that was lost can be had afterwards, and no other text is written.

use std::{fs, io::Read as _, path::Path};

use anyhow::{Context as _, Result, ensure};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use tempfile::TempDir;
use tracer_tests::{
    cgroup::ScratchCgroup,
    recorder::{Recorder, entry, start_in, why},
};

/// Runs a command in a cgroup; reads the first `read` bytes of its stdout, or all, and closes it after its end.
fn run(cgroup: &ScratchCgroup, argv: &[&str], read: Option<usize>) -> Result<()> {
    let mut child = start_in(cgroup, argv)?;
    let mut stdout = child.take_stdout()?;
    match read {
        Some(read) => stdout.read_exact(&mut vec![0; read])?,
        None => {
            stdout.read_to_end(&mut Vec::new())?;
        }
    }
    child.wait()?;
    drop(stdout);
    Ok(())
}

/// What `tracer why` says to a person, and to a program.
fn answers(folder: &TempDir, name: &str) -> Result<(String, Value)> {
    let ask =
        |format: &str| why(folder.path(), &["--name", &format!("^{name}$"), "--format", format]);
    let human = String::from_utf8(ask("human")?.stdout)?;
    let json = serde_json::from_slice(&ask("json")?.stdout).context("no JSON")?;
    Ok((human, json))
}

/// Everything that is in the files of a history, also what is compressed in them.
fn contents(folder: &Path) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        all.extend(fs::read(&path)?);
        if path.extension().is_some_and(|extension| extension == "db") {
            all.extend(unpacked(&path)?);
        }
    }
    Ok(all)
}

/// The reports and tails of a file.
fn unpacked(path: &Path) -> Result<Vec<u8>> {
    let base = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut all = Vec::new();
    for (table, column) in [("entries", "report"), ("tails", "text")] {
        // A file in which no tail was kept has no table for them.
        let sql = format!("SELECT {column} FROM {table} WHERE {column} NOT NULL");
        let Ok(mut statement) = base.prepare(&sql) else { continue };
        let packed = statement.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
        for blob in packed {
            all.extend(zstd::decode_all(blob?.as_slice())?);
        }
    }
    Ok(all)
}

fn has(contents: &[u8], text: &str) -> bool {
    contents.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
#[ignore = "needs root"]
fn the_text_that_was_lost_is_in_the_answer() -> Result<()> {
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-tail")?);
    let recorder =
        Recorder::start(folder.path(), &["--cgroup", cgroup.name()?, "--keep-tail", "4KiB"])?;
    let line = "printf 'arrived\\nlost one\\n\\033[2Jlost two\\n'";
    run(&cgroup, &["dash", "-c", line], Some(8))?;
    // More than is kept.
    run(&cgroup, &["seq", "10000", "12000"], Some(6))?;
    let lost = entry(folder.path(), "dash")?;
    entry(folder.path(), "seq")?;
    recorder.stop()?;
    ensure!(lost["has_loss"] == true && lost["rule"] == "unread", "{lost:#}");
    ensure!(lost.get("tails").is_none(), "{lost:#}");
    let (human, json) = answers(&folder, "dash")?;
    let tail = &json["tails"][0];
    ensure!(tail["text"] == "lost one\n\u{1b}[2Jlost two\n", "{tail:#}");
    ensure!(tail["fd"] == 1 && tail["written"] == 30 && tail["lost"] == 22, "{tail:#}");
    ensure!(tail["kept"] == 22 && tail["missing"] == 0 && tail["not_kept"].is_null(), "{tail:#}");
    ensure!(json["tails"].as_array().map(Vec::len) == Some(1), "{json:#}");
    ensure!(human.contains("│ lost one") && human.contains("│ \\x1b[2Jlost two"), "{human}");
    ensure!(!human.contains("│ arrived") && !human.contains('\u{1b}'), "{human}");
    let (human, json) = answers(&folder, "seq")?;
    let tail = &json["tails"][0];
    ensure!(tail["kept"] == 4_096 && tail["written"] == 12_006, "{tail:#}");
    ensure!(tail["lost"] == 12_000 && tail["not_kept"] == "limit", "{tail:#}");
    ensure!(tail["text"].as_str().is_some_and(|text| text.ends_with("11999\n12000\n")), "{tail:#}");
    ensure!(human.contains("│ 12000") && human.contains("lines before this"), "{human}");
    Ok(())
}

/// The loss is in a pipe inside the command. What the command printed has arrived, and is not kept.
#[test]
#[ignore = "needs root"]
fn of_a_pipeline_the_text_between_its_commands_is_kept() -> Result<()> {
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-tail")?);
    let recorder =
        Recorder::start(folder.path(), &["--cgroup", cgroup.name()?, "--keep-tail", "64KiB"])?;
    let line = "seq 1 2000 | (head -1; sleep .3); echo printed";
    run(&cgroup, &["dash", "-c", line], None)?;
    let lost = entry(folder.path(), "dash")?;
    recorder.stop()?;
    ensure!(lost["has_loss"] == true, "{lost:#}");
    let (_, json) = answers(&folder, "dash")?;
    let [tail] = json["tails"].as_array().context("no tails")?.as_slice() else {
        anyhow::bail!("{:#}", json["tails"])
    };
    ensure!(tail["written"] == 8_893 && tail["kept"] == tail["lost"], "{tail:#}");
    ensure!(tail["text"].as_str().is_some_and(|text| text.ends_with("1999\n2000\n")), "{tail:#}");
    Ok(())
}

/// A command can lose more streams than have a tail in its entry.
#[test]
#[ignore = "needs root"]
fn streams_beyond_the_sixteenth_are_counted() -> Result<()> {
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-tail")?);
    let recorder =
        Recorder::start(folder.path(), &["--cgroup", cgroup.name()?, "--keep-tail", "4KiB"])?;
    let line = "for i in $(seq 19); do seq 1 2000 | sleep .05; done; echo printed";
    run(&cgroup, &["dash", "-c", line], None)?;
    entry(folder.path(), "dash")?;
    recorder.stop()?;
    let (human, json) = answers(&folder, "dash")?;
    let kept = json["tails"].as_array().context("no tails")?.len();
    ensure!(kept == 16, "{kept} tails");
    ensure!(json["more_tails"] == 3, "{}", json["more_tails"]);
    ensure!(human.contains("3 further streams lost output"), "{human}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn output_that_arrived_is_in_no_file() -> Result<()> {
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-tail")?);
    let recorder =
        Recorder::start(folder.path(), &["--cgroup", cgroup.name()?, "--keep-tail", "64KiB"])?;
    // The text is not in the command line.
    run(&cgroup, &["dash", "-c", "echo deli''vered-Marker"], None)?;
    run(&cgroup, &["bash", "-c", "echo lo''st-Marker"], Some(1))?;
    let (arrived, lost) = (entry(folder.path(), "dash")?, entry(folder.path(), "bash")?);
    ensure!(arrived["rule"] == "delivered" && lost["has_loss"] == true, "{arrived:#} {lost:#}");
    let while_it_runs = contents(folder.path())?;
    recorder.stop()?;
    for contents in [while_it_runs, contents(folder.path())?] {
        ensure!(!has(&contents, "delivered-Marker"), "delivered output was written");
    }
    // The search finds what is there.
    ensure!(has(&contents(folder.path())?, "ost-Marker"), "lost output is not there");
    let (_, json) = answers(&folder, "bash")?;
    ensure!(json["tails"][0]["text"] == "ost-Marker\n", "{json:#}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn secrets_are_hidden_before_they_are_written() -> Result<()> {
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-tail")?);
    let arguments =
        ["--cgroup", cgroup.name()?, "--keep-tail", "4KiB", "--redact", "password=[^ ]*"];
    let recorder = Recorder::start(folder.path(), &arguments)?;
    // Eight bytes are read: the pattern must see the beginning of the line too.
    let line =
        "echo \"pass''word=First-$((6 * 7)) x\" | tr -d \"'\"; echo pass''word=Second-$((6 * 7)) y";
    run(&cgroup, &["dash", "-c", line], Some(10))?;
    entry(folder.path(), "dash")?;
    recorder.stop()?;
    let (human, json) = answers(&folder, "dash")?;
    let texts = json["tails"].as_array().context("no tails")?;
    ensure!(texts[0]["text"] == "[redacted] x\n[redacted] y\n", "{json:#}");
    ensure!(human.contains("│ [redacted] y"), "{human}");
    let contents = contents(folder.path())?;
    for secret in ["First-42", "Second-42", "rst-42"] {
        ensure!(!has(&contents, secret), "{secret} was written");
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn without_the_option_nothing_is_kept() -> Result<()> {
    let (folder, cgroup) = (TempDir::new()?, ScratchCgroup::create("tracer-tail")?);
    let recorder = Recorder::start(folder.path(), &["--cgroup", cgroup.name()?])?;
    // No thread takes captured output.
    let threads = fs::read_dir(format!("/proc/{}/task", recorder.pid()))?;
    for thread in threads {
        let name = fs::read_to_string(thread?.path().join("comm"))?;
        ensure!(name.trim() != "tails", "a thread keeps tails");
    }
    run(&cgroup, &["dash", "-c", "echo lo''st-Marker"], Some(1))?;
    let lost = entry(folder.path(), "dash")?;
    recorder.stop()?;
    ensure!(lost["has_loss"] == true, "{lost:#}");
    let (human, json) = answers(&folder, "dash")?;
    ensure!(json.get("tails").is_none() && !human.contains("the end of fd"), "{human}");
    ensure!(!has(&contents(folder.path())?, "ost-Marker"), "lost output was written");
    Ok(())
}
