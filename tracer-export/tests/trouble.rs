//! What an export meets: hostile texts, no history, a copy, damage, closed pipes, full disks.

mod common;

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::json;
use tempfile::TempDir;
use tracer_history::{Entry, Limits, Writer};

use self::common::{
    BEGIN, entry, ndjson, parquet, plan, program, read_parquet, refused, rows_of, sums_of_entries,
    sums_of_rows, write,
};

#[test]
fn hostile_texts_arrive_as_they_are() {
    let folder = TempDir::new().unwrap();
    let texts = [
        "two\nlines\r\n\u{2028}",
        "\0\u{1}\u{7f}\u{9b}31m\x1b]0;title\x07",
        r#"","rule":"delivered"},{"\u0022"#,
        "\u{fffd}\u{1f4a9}\u{202e}\u{feff}\u{10ffff}",
        &"x\u{e4}".repeat(32 << 10),
        "",
    ];
    let hostile = |(pid, text): (u32, &&str)| {
        let mut entry = entry(pid, 10, 0);
        entry.name = (*text).into();
        entry.command = (*text).into();
        entry.sentence = (*text).into();
        entry.place.container = Some((*text).into());
        entry.streams[0].reader = Some((*text).into());
        entry
    };
    write(folder.path(), &(1..).zip(&texts).map(hostile).collect::<Vec<_>>());
    let lines = ndjson(folder.path(), &["--node", texts[0]]);
    assert_eq!(lines, parquet(folder.path(), &["--node", texts[0]]));
    for (row, text) in lines.iter().zip(texts) {
        for column in ["name", "command", "sentence", "container", "reader"] {
            assert_eq!(row[column], *text, "{column}");
        }
        assert_eq!(row["node"], texts[0]);
    }
    assert_eq!(lines.len(), texts.len());
}

/// Its memory is that of a row group, which ends early if the texts are long.
#[test]
fn long_texts_end_a_row_group() {
    let folder = TempDir::new().unwrap();
    let long =
        |pid: u32| Entry { command: format!("{pid:08}").repeat(8 << 10), ..entry(pid, 10, 3) };
    write(folder.path(), &(1..=600).map(long).collect::<Vec<_>>());
    let file = folder.path().join("out.parquet");
    let output = program(folder.path(), &["-o", file.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let reader = SerializedFileReader::new(File::open(&file).unwrap()).unwrap();
    assert_eq!(reader.num_row_groups(), 2);
    let rows = read_parquet(&file);
    assert_eq!(rows.len(), 600);
    assert_eq!(rows[599]["command"], *"00000600".repeat(8 << 10));
}

#[test]
fn nothing_is_an_export_without_rows() {
    let folder = TempDir::new().unwrap();
    assert!(ndjson(folder.path(), &[]).is_empty() && parquet(folder.path(), &[]).is_empty());
    write(folder.path(), &[]);
    assert!(ndjson(folder.path(), &[]).is_empty() && parquet(folder.path(), &[]).is_empty());
    let missing = folder.path().join("missing");
    refused(&program(&missing, &["--format=ndjson"]).output().unwrap(), "missing");
}

/// The files are copied while the writer runs, without those that only it can use.
#[test]
fn a_copy_and_a_history_that_is_written_have_the_same_rows() {
    let (folder, copy) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let plan = plan(9, 300);
    let limits = Limits { age: Duration::from_secs(1 << 32), ..Limits::default() };
    let writer = Writer::start(folder.path(), limits).unwrap();
    plan.iter().for_each(|entry| writer.add(entry.clone()));
    let expected = sums_of_entries(&plan);
    let is_written = || sums_of_rows(&ndjson(folder.path(), &[])) == expected;
    assert!((0..600).any(|_| is_written() || {
        std::thread::sleep(Duration::from_millis(50));
        false
    }));
    for file in fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
        if !file.file_name().to_string_lossy().ends_with("-shm") {
            fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
    }
    assert_eq!(parquet(copy.path(), &[]), parquet(folder.path(), &[]));
    assert_eq!(sums_of_rows(&parquet(copy.path(), &[])), expected);
    assert!(writer.close(Duration::from_secs(60)));
}

#[test]
fn damage_is_told_and_is_a_gap() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), &plan(10, 300));
    let whole = ndjson(folder.path(), &[]).len();
    let files = || fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
    let first = files().filter(|path| path.extension() == Some("db".as_ref())).min().unwrap();
    fs::write(&first, "no database").unwrap();
    let gaps = folder.path().join("gaps");
    let arguments = ["--format=ndjson", "--gaps", gaps.to_str().unwrap()];
    let output = program(folder.path(), &arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be read"), "{output:?}");
    let rows = rows_of(&output.stdout).len();
    assert!(rows > 0 && rows < whole, "{rows} of {whole}");
    let gaps = rows_of(&fs::read(&gaps).unwrap());
    let damaged = gaps.iter().find(|gap| gap["reason"] == "history_damaged").unwrap();
    assert_eq!(damaged["began"], "2024-11-18T00:00:00.000000Z");
    assert_eq!(damaged["events"], json!(null));
}

#[test]
fn gaps_have_the_same_columns_in_both_formats() {
    let folder = TempDir::new().unwrap();
    let writer = Writer::start(folder.path(), Limits { age: Duration::MAX, ..Limits::default() });
    let writer = writer.unwrap();
    let gap = tracer_history::Gap {
        from_us: BEGIN,
        until_us: BEGIN + 5,
        reason: "ring_full".into(),
        events: 7,
        bytes: 0,
        container: Some("web".into()),
    };
    writer.gap(gap);
    assert!(writer.close(Duration::from_secs(60)));
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (table, lines) = (path("gaps.parquet"), path("gaps.ndjson"));
    parquet(folder.path(), &["--node=n", "--gaps", &table]);
    ndjson(folder.path(), &["--node=n", "--gaps", &lines]);
    let rows = read_parquet(Path::new(&table));
    assert_eq!(rows, rows_of(&fs::read(&lines).unwrap()));
    let expected = json!([{
        "node": "n", "began": "2024-11-18T03:00:00.000000Z", "ended": "2024-11-18T03:00:00.000005Z",
        "reason": "ring_full", "events": 7, "bytes": null, "container": "web"
    }]);
    assert_eq!(json!(rows), expected);
}

#[test]
fn a_reader_that_leaves_is_no_error_for_lines_but_one_for_a_file() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), &plan(11, 4_000));
    let leave = |arguments: &[&str]| {
        let mut command = program(folder.path(), arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut begin = [0; 4];
        child.stdout.take().unwrap().read_exact(&mut begin).unwrap();
        (begin, child.wait_with_output().unwrap())
    };
    let (begin, output) = leave(&["--format", "ndjson"]);
    assert_eq!(&begin, b"{\"no");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let (begin, output) = leave(&["--format", "parquet"]);
    assert_eq!(&begin, b"PAR1");
    refused(&output, "standard output");
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let history = folder.path().join("history");
    write(&history, &plan(12, 4_000));
    for format in ["parquet", "ndjson"] {
        let output = program(&history, &["--format", format, "-o", "/dev/full"]).output().unwrap();
        refused(&output, "No space left");
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = program(&history, &["--format", format]).stdout(full).output().unwrap();
        refused(&output, "standard output");
        // A file that may have one block only. What was there stays.
        let file = folder.path().join("out");
        fs::write(&file, "before").unwrap();
        let program = program(&history, &["--format", format, "-o", file.to_str().unwrap()]);
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh"]);
        shell.arg(program.get_program()).args(program.get_args());
        refused(&shell.output().unwrap(), "File too large");
        assert_eq!(fs::read_to_string(&file).unwrap(), "before");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}

#[test]
fn a_file_is_private_and_replaced_when_it_is_whole() {
    let folder = TempDir::new().unwrap();
    let history = folder.path().join("history");
    write(&history, &[entry(1, 10, 0)]);
    let at = |name: &str| folder.path().join(name);
    fs::write(at("old"), "before").unwrap();
    fs::set_permissions(at("old"), fs::Permissions::from_mode(0o644)).unwrap();
    symlink("old", at("link")).unwrap();
    let to = |path: &Path| program(&history, &["-o", path.to_str().unwrap()]).output().unwrap();
    assert!(to(&at("link")).status.success());
    assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
    assert_eq!(fs::metadata(at("old")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(read_parquet(&at("old")).len(), 1);
    refused(&to(folder.path()), "directory");
    refused(&to(&at("missing/file")), "missing/file");
}
