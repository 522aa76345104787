//! A case of the corpus for a reader: its program, and the screen that tracer shows about it.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use xtask::workspace::Workspace;

use super::{
    case::{self, Case},
    judge::Grade,
    runner::Runner,
};

/// Where a story runs. The path is on its screen, so it is always the same.
const FOLDER: &str = "/tmp/story";
/// A busy machine may spoil a run.
const TRIALS: usize = 3;
/// The line of each script that reads the cases' functions.
const LIBRARY: &str = "/../lib.sh\"\n";

/// What a page shows of a case.
pub(crate) struct Story {
    /// The folder's name.
    pub(crate) name: String,
    /// The script, without the lines that all scripts begin with.
    pub(crate) program: String,
    /// The command line of tracer, for a shell.
    pub(crate) command: String,
    /// tracer's report.
    pub(crate) report: String,
}

/// Runs the case whose name begins with `number`. Fails unless tracer's answer is the truth.
pub(crate) fn tell(workspace: &Workspace, tracer: &Path, number: &str) -> Result<Story> {
    let case = find(workspace, number)?;
    if let Some(program) = case.missing() {
        bail!("{} needs {program}, which this machine does not have", case.name);
    }
    let mut why = String::new();
    for _ in 0..TRIALS {
        let folder = empty_folder()?;
        let wrapper = wrapper(&folder, tracer)?;
        let runner =
            Runner { tracer: &wrapper, recorder: None, target: workspace.target(), times: 1 };
        let answer = runner.run_in(&case, &folder)?;
        if answer.judgement.grade == Grade::Right {
            let story = read(&case, tracer, &folder)?;
            remove(&folder)?;
            return Ok(story);
        }
        why = format!("{} ({})", answer.sentence, answer.judgement.why);
    }
    bail!("tracer does not say the truth about {}: {why}", case.name);
}

/// The titles of the cases whose first finding is of this rule, with the names of their folders.
pub(crate) fn of_rule(root: &Path, rule: &str) -> Result<Vec<(String, String)>> {
    let cases = case::load_all(&root.join("tests/cases"), &[])?;
    let is_of = |case: &Case| case.description.truth.rule.first().is_some_and(|r| r == rule);
    Ok(cases.into_iter().filter(is_of).map(|case| (case.name, case.description.title)).collect())
}

fn find(workspace: &Workspace, number: &str) -> Result<Case> {
    let prefix = format!("{number}-");
    let mut cases = case::load_all(&workspace.root().join("tests/cases"), &[])?;
    cases.retain(|case| case.name.starts_with(&prefix));
    ensure!(cases.len() == 1, "{} cases have the number {number}", cases.len());
    cases.pop().context("no case")
}

fn empty_folder() -> Result<PathBuf> {
    let folder = PathBuf::from(FOLDER);
    remove(&folder)?;
    fs::create_dir(&folder).context("cannot create the folder of a story")?;
    Ok(folder)
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// A program in tracer's place that also records the session, and keeps the arguments.
fn wrapper(folder: &Path, tracer: &Path) -> Result<PathBuf> {
    let path = folder.join("tracer");
    let script = format!(
        "#!/bin/sh\nprintf '%s\\0' \"$@\" >{FOLDER}/arguments\n\
         exec {} --record {FOLDER}/session \"$@\"\n",
        quoted(&tracer.to_string_lossy())
    );
    fs::write(&path, script)
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
        .context("cannot write the program of a story")?;
    Ok(path)
}

fn read(case: &Case, tracer: &Path, folder: &Path) -> Result<Story> {
    let script = fs::read_to_string(&case.script).context("cannot read the script of a case")?;
    let (_, program) = script.split_once(LIBRARY).context("the script does not read lib.sh")?;
    let arguments = fs::read_to_string(folder.join("arguments")).context("no arguments")?;
    let arguments: Vec<&str> = arguments.split_terminator('\0').collect();
    let report = Command::new(tracer)
        .args(["report", "--color", "never"])
        .arg(folder.join("session"))
        .output()
        .context("cannot start the tool")?;
    Ok(Story {
        name: case.name.clone(),
        program: program.trim_end().to_owned(),
        command: command_line(&arguments)?,
        report: String::from_utf8(report.stdout).context("the report is no text")?,
    })
}

/// The command line as a user types it: without the options with which the cases get their report (see `lib.sh`).
fn command_line(arguments: &[&str]) -> Result<String> {
    let output = arguments.iter().position(|argument| *argument == "-o");
    let rest = output.and_then(|at| arguments.get(at + 2..)).context("no -o FILE")?;
    ensure!(!rest.is_empty(), "the case has no target");
    Ok(rest.iter().fold("tracer".to_owned(), |line, argument| line + " " + &quoted(argument)))
}

/// An argument as a shell reads it.
fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use xtask::command;

    use super::*;

    #[test]
    fn the_options_of_the_corpus_are_not_shown() {
        let line = ["-q", "--format", "json", "-o", "/w/r", "--", "sh", "-c", "echo 'x'"];
        assert_eq!(command_line(&line).unwrap(), r"tracer -- sh -c 'echo '\''x'\'''");
        let line = ["-q", "-o", "/w/r", "--follow-readers", "3", "--pid", "7"];
        assert_eq!(command_line(&line).unwrap(), "tracer --follow-readers 3 --pid 7");
        assert!(command_line(&["-q", "-o", "/w/r"]).is_err());
    }

    #[test]
    fn the_shell_reads_back_what_was_quoted() {
        for argument in ["", "plain/x-1", "two words", "it's", "a\nb", "$HOME"] {
            let script = format!("printf %s {}", quoted(argument));
            let said = command::capture(Command::new("sh").args(["-c", &script])).unwrap();
            assert_eq!(said, argument);
        }
    }
}
