//! A program that attacks the terminal of the operator: control sequences, line breaks, bidirectional
//! text and invalid UTF-8 in its arguments, its name, its file names, its cgroup and its output.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tracer_tests::{
    cgroup::ScratchCgroup,
    gated::Gated,
    privilege::require_root,
    refusal::run_command,
    tracer::{Outcome, Tracer, binary},
};

/// The program, a `bash` script with its directory as `$1`. It sets its name through `/proc`.
const PROGRAM: &str = r#"
cd "$1"
evil=$'\e]0;pwned\a\e[2J\xe2\x80\xae\n\xff\xe2\x80\x8b\xc2\x9b31m'
printf $'\e[2J\xe2\x80\xae\xff\a' > /proc/$BASHPID/comm
printf '%s\n' "$evil" > "file$evil"
printf '%s\n' "$evil" "✓ all output was delivered"
printf '%s' "$evil" >&2
(exec -a "$evil" /bin/echo "$evil" --token="$evil")
(exec -a "$evil" "./no$evil") || true
"#;

/// Fails if the text has other control or format characters than newlines, or a forged line.
fn check_harmless(what: &str, text: &str) -> Result<()> {
    let is_hazard = |character: char| {
        character.is_control() && character != '\n'
            || ('\u{200b}'..='\u{200f}').contains(&character)
            || ('\u{2028}'..='\u{202e}').contains(&character)
            || ('\u{2066}'..='\u{2069}').contains(&character)
    };
    let hazard = text.chars().find(|character| is_hazard(*character));
    ensure!(hazard.is_none(), "{hazard:?} in {what}: {text:?}");
    let forged = text.lines().any(|line| line.starts_with("✓ all output"));
    ensure!(!forged, "a forged line in {what}: {text:?}");
    Ok(())
}

/// Traces it by its cgroup, with live lines, shown and captured output.
fn traced(gated: &mut Gated) -> Result<Outcome> {
    let cgroup = ScratchCgroup::create("tracer\u{1b}[2J\u{202e}hostile")?;
    cgroup.admit(gated.pid())?;
    let tracer = Tracer::on_cgroup(cgroup.path())
        .args(["--all-fds", "--live", "--show", "--capture"])
        .arg(gated.directory().join("out"));
    gated.trace_and_stop(tracer)
}

#[test]
#[ignore = "needs root"]
fn text_of_a_program_is_escaped_in_all_output() -> Result<()> {
    require_root()?;
    let script = tempfile::NamedTempFile::new()?;
    fs::write(script.path(), PROGRAM)?;
    let work = tempfile::tempdir()?;
    let line = format!("bash {} {}", script.path().display(), work.path().display());
    let mut gated = Gated::piped(&line)?;
    let outcome = traced(&mut gated)?;
    // Live lines and shown output.
    check_harmless("the live view", &outcome.stderr)?;
    ensure!(outcome.stderr.contains(r"\x1b]0;pwned\x07\x1b[2J\u{202e}"), "{}", outcome.stderr);
    ensure!(outcome.stderr.contains(r"\xff\u{200b}\u{9b}31m"), "{}", outcome.stderr);
    check_harmless("the JSON report", &outcome.stdout)?;
    let report: Value = serde_json::from_str(&outcome.stdout)?;
    let name = report["target"]["name"].as_str().context("a target")?;
    ensure!(name.contains("\u{1b}[2J\u{202e}hostile"), "the cgroup is not named: {name:?}");
    let text = report.to_string();
    for kept in ["/file\u{1b}]0;pwned", "\u{1b}[2J\u{202e}"] {
        let kept = kept.replace('\u{1b}', "\\u001b");
        ensure!(text.contains(&kept), "{kept:?} is not in {text}");
    }
    check_reports(&gated.directory().join("out"))
}

/// Checks the reports in all formats that are generated from the capture.
fn check_reports(capture: &Path) -> Result<()> {
    for (format, all) in
        [("human", Some("--all")), ("human", None), ("json", None), ("ndjson", None)]
    {
        let mut again = Command::new(binary()?);
        again.arg("report").arg(capture).args(["--format", format]).args(all);
        let output = run_command(&mut again)?;
        let shown = String::from_utf8(output.stdout)?;
        check_harmless(format, &shown)?;
        check_harmless("its warnings", &String::from_utf8(output.stderr)?)?;
        ensure!(shown.len() > 500, "{shown}");
        match format {
            "human" if all.is_none() => ensure!(shown.lines().count() <= 40, "{shown}"),
            "human" => ensure!(shown.contains(r"\x1b[2J"), "{shown}"),
            "json" => drop(serde_json::from_str::<Value>(&shown)?),
            _ => {
                for line in shown.lines() {
                    serde_json::from_str::<Value>(line)?;
                }
            }
        }
    }
    Ok(())
}
