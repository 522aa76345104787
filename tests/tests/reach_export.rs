//! `tracer export`: what databases say about the exported rows is what the recorder counted.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;
use tracer_tests::{
    cgroup::ScratchCgroup,
    deadline::wait_until,
    python,
    recorder::{Recorder, entries, start_in},
    refusal::{self, ENVIRONMENT},
    tracer::binary,
};

/// The databases, as pip names them.
const PACKAGES: [&str; 3] = ["duckdb==2.0.1", "datafusion==55.0.0", "chdb==4.4.0"];

/// Bytes lost by place and rule; `None` if no row of them has the number.
type Lost = BTreeMap<(String, String), Option<u64>>;

/// Runs a command in a cgroup, which writes `written` bytes, and reads a part of them. The command ends, and then its
/// reader.
fn write_and_read(cgroup: &ScratchCgroup, written: usize, read: usize) -> Result<()> {
    let mut child = start_in(cgroup, &["head", "-c", &written.to_string(), "/dev/zero"])?;
    let mut stdout = child.take_stdout()?;
    std::io::Read::read_exact(&mut stdout, &mut vec![0; read])?;
    child.wait()?;
    Ok(())
}

/// Exports a history to a file, through `tracer export`.
fn export(history: &Path, format: &str, file: &Path, node: &str) -> Result<()> {
    let mut command = Command::new(binary()?);
    command.args(["export", "--format", format, "--node", node, "--since", "30d", "--history"]);
    let output = refusal::run_command(command.arg(history).arg("-o").arg(file))?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    Ok(())
}

/// What the recorder counted, as `tracer history` lists it.
fn figures(history: &Path) -> Result<Lost> {
    let mut figures = Lost::new();
    for entry in entries(history, &["--since", "1d"])? {
        let text = |value: &Value| value.as_str().map(str::to_owned).context("no text");
        let place = &entry["place"];
        let place =
            if place["container"].is_null() { &place["cgroup"] } else { &place["container"] };
        let sum = figures.entry((text(place)?, text(&entry["rule"])?)).or_default();
        for stream in entry["streams"].as_array().into_iter().flatten() {
            if let Some(lost) = stream["fate"]["lost"].as_u64() {
                *sum = Some(sum.unwrap_or(0) + lost);
            }
        }
    }
    Ok(figures)
}

/// A copy of a history in which everything ended three days earlier.
fn earlier(history: &Path, copy: &Path) -> Result<()> {
    const DAYS: i64 = 3;
    const DAY_US: i64 = 86_400_000_000;
    fs::create_dir(copy)?;
    for file in fs::read_dir(history)? {
        let path = file?.path();
        let name = path.file_name().and_then(|name| name.to_str()).context("no name")?;
        // `2026-11-28.0.db`
        let Some((day, rest)) = name.split_once('.').filter(|_| name.ends_with(".db")) else {
            continue;
        };
        let day: jiff::civil::Date = day.parse()?;
        let day = day.checked_sub(jiff::Span::new().days(DAYS))?;
        let moved = copy.join(format!("{day}.{rest}"));
        fs::copy(&path, &moved)?;
        let connection = Connection::open(&moved)?;
        // SCHEMA.md: an id is the end of a command in µs, times 1024, and a number.
        let shift = DAYS * DAY_US * 1024;
        connection.execute("UPDATE entries SET id = id - ?1", [shift])?;
        connection.close().map_err(|(_, error)| error)?;
    }
    Ok(())
}

/// What each database answers in each format.
fn answers(parquet: &Path, ndjson: &Path) -> Result<Vec<(String, Lost)>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/lost.py");
    let mut command = Command::new(python::with_packages("queries", &PACKAGES)?);
    let output = refusal::run_command(command.arg(script).arg(parquet).arg(ndjson))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    text.lines()
        .map(|line| {
            let answer: Value = serde_json::from_str(line)?;
            let rows: Vec<(String, String, Option<u64>)> =
                serde_json::from_value(answer["rows"].clone())?;
            let rows = rows.into_iter().map(|(place, rule, lost)| ((place, rule), lost));
            Ok((answer["engine"].to_string(), rows.collect()))
        })
        .collect()
}

#[test]
#[ignore = "needs root, and the network once"]
fn databases_say_what_the_recorder_counted() -> Result<()> {
    let folder = TempDir::new()?;
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    let few = ScratchCgroup::create("tracer-export-few")?;
    let many = ScratchCgroup::create("tracer-export-many")?;
    let names = ["--cgroup", few.name()?, "--cgroup", many.name()?];
    let recorder = Recorder::start(&at("history"), &names)?;
    write_and_read(&few, 3_000, 1_000)?;
    write_and_read(&few, 700, 700)?;
    for _ in 0..2 {
        write_and_read(&many, 5_000, 500)?;
        write_and_read(&many, 64, 64)?;
    }
    wait_until("all entries", || {
        let found = entries(&at("history"), &[])?;
        let heads = found.iter().filter(|entry| entry["name"] == "head").count();
        Ok((heads == 6).then_some(()))
    })?;
    // While the recorder runs.
    for format in ["parquet", "ndjson"] {
        fs::create_dir(at(format))?;
        export(&at("history"), format, &at(format).join(format!("today.{format}")), "a")?;
    }
    recorder.stop()?;
    let expected = figures(&at("history"))?;
    let of = |cgroup: &ScratchCgroup, rule: &str| -> Result<Option<u64>> {
        let place = format!("/{}", cgroup.name()?);
        Ok(expected.get(&(place, rule.to_owned())).copied().flatten())
    };
    ensure!(of(&few, "unread")? == Some(2_000), "{expected:?}");
    ensure!(of(&many, "unread")? == Some(9_000), "{expected:?}");
    ensure!(of(&few, "delivered")? == Some(0), "{expected:?}");
    // Another node, whose commands all ended before yesterday.
    earlier(&at("history"), &at("earlier"))?;
    for format in ["parquet", "ndjson"] {
        let file = at(format).join(format!("earlier.{format}"));
        export(&at("earlier"), format, &file, "b")?;
        ensure!(fs::metadata(&file)?.len() > 1_000, "nothing earlier in {}", file.display());
    }
    let answers = answers(&at("parquet"), &at("ndjson"))?;
    ensure!(answers.len() == 6, "{answers:?}");
    for (engine, answer) in answers {
        ensure!(answer == expected, "{engine}: {answer:?} instead of {expected:?}");
    }
    Ok(())
}

#[test]
#[ignore = "needs the binary"]
fn without_its_program_the_export_names_it() -> Result<()> {
    let folder = TempDir::new()?;
    let alone = folder.path().join("tracer");
    fs::copy(binary()?, &alone)?;
    let run = |folders: &str| {
        refusal::run_command(Command::new(&alone).arg("export").env("PATH", folders))
    };
    refusal::check(&run("")?, ENVIRONMENT, &["tracer-export", "cargo build"])?;
    // What stands in the current folder is not started.
    refusal::check(&run(".:relative")?, ENVIRONMENT, &["tracer-export"])?;
    let beside = binary()?.with_file_name("tracer-export");
    ensure!(beside.is_file(), "no {}: cargo build --package tracer-export", beside.display());
    let found = beside.parent().context("no folder")?.to_string_lossy().into_owned();
    let missing = folder.path().join("no-history").to_string_lossy().into_owned();
    let output = refusal::run_command(
        Command::new(&alone).args(["export", "--history", &missing]).env("PATH", found),
    )?;
    refusal::check(&output, ENVIRONMENT, &["tracer-export:", "no-history"])
}
