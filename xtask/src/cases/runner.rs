//! Runs the script of a case and reads what tracer left behind.

use std::{
    fs::{self, File},
    io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use xtask::cargo;

use super::{
    case::Case,
    judge::{self, Judgement, Report},
};

/// A script that runs longer is killed.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// How often to look whether a script has ended.
const TURN: Duration = Duration::from_millis(10);
/// The variable that names the tool to a script.
const TRACER: &str = "TRACER";
/// The variable that names the tool to the program in its place.
const RECORDER: &str = "RECORDER";
/// The variable that names a script's scratch folder.
const SCRATCH: &str = "W";

/// Runs cases with one tool.
pub(crate) struct Runner<'a> {
    /// The tool's absolute path.
    pub(crate) tracer: &'a Path,
    /// The tool that [`Self::tracer`] has record and asks afterwards, if it is not the tool itself.
    pub(crate) recorder: Option<&'a Path>,
    /// cargo's target directory, which scripts need not know.
    pub(crate) target: &'a Path,
    /// How often each case runs.
    pub(crate) times: u16,
}

/// What became of a case.
pub(crate) enum Outcome {
    /// This machine does not have the program.
    Skipped(String),
    /// It ran.
    Judged(Answer),
}

/// tracer's first sentence, if there is one, and the judgement about it.
#[derive(Clone)]
pub(crate) struct Answer {
    /// The first sentence.
    pub(crate) sentence: String,
    /// The judgement.
    pub(crate) judgement: Judgement,
}

impl Runner<'_> {
    /// Runs a case as often as asked for, unless a program is missing.
    pub(crate) fn perform(&self, case: &Case) -> Result<Outcome> {
        if let Some(program) = case.missing() {
            return Ok(Outcome::Skipped(program.to_owned()));
        }
        let answers = (0..self.times).map(|_| self.run(case)).collect::<Result<Vec<_>>>();
        let answers = answers.with_context(|| format!("cannot run {}", case.name))?;
        combine(answers).map(Outcome::Judged).context("no run")
    }

    fn run(&self, case: &Case) -> Result<Answer> {
        let folder = TempDir::with_prefix("case-").context("cannot create a scratch folder")?;
        self.run_in(case, folder.path())
    }

    /// Runs a case once, with its scratch folder and its messages in an empty folder.
    pub(super) fn run_in(&self, case: &Case, folder: &Path) -> Result<Answer> {
        let scratch = folder.join("w");
        fs::create_dir(&scratch).context("cannot create a scratch folder")?;
        let log = folder.join("log");
        let ended = wait(&mut self.start(case, &scratch, &log)?)?;
        let answer = if ended {
            read_answer(case, &scratch)
        } else {
            Err(format!("not done after {} s", TIME_LIMIT.as_secs()))
        };
        Ok(answer.unwrap_or_else(|why| Answer {
            sentence: last_line(&log),
            judgement: Judgement::wrong(why),
        }))
    }

    /// Starts the script in a process group of its own, with its messages in a file.
    fn start(&self, case: &Case, scratch: &Path, log: &Path) -> Result<Child> {
        let out = File::options().create(true).append(true).open(log);
        let out = out.context("cannot create the log of a case")?;
        let mut script = Command::new(&case.script);
        // The programs of a case get the user's environment, not cargo's.
        cargo::forget_cargo(&mut script, self.target);
        script
            .env(TRACER, self.tracer)
            .env(SCRATCH, scratch)
            .envs(self.recorder.map(|tool| (RECORDER, tool)))
            .current_dir(scratch)
            .stdin(Stdio::null())
            .stderr(out.try_clone().context("cannot share the log of a case")?)
            .stdout(out)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", case.script.display()))
    }
}

/// Waits for a script; false if it had to be killed. Nothing of its process group survives.
fn wait(script: &mut Child) -> Result<bool> {
    let start = Instant::now();
    let mut has_ended = false;
    while !has_ended && start.elapsed() < TIME_LIMIT {
        thread::sleep(TURN);
        has_ended = script.try_wait().context("cannot wait for a case")?.is_some();
    }
    if let Some(group) = i32::try_from(script.id()).ok().and_then(Pid::from_raw) {
        // An error says that the group is empty.
        let _ = kill_process_group(group, Signal::KILL);
    }
    script.wait().context("cannot wait for a case")?;
    Ok(has_ended)
}

/// Reads and judges what tracer said; an error text if it said nothing.
fn read_answer(case: &Case, scratch: &Path) -> Result<Answer, String> {
    let text = |name| fs::read_to_string(scratch.join(name));
    let none = |error: io::Error| format!("no report: {error}");
    let report: Report = serde_json::from_str(&text("report.json").map_err(none)?)
        .map_err(|error| format!("no report: {error}"))?;
    let exit = text("exit").ok().and_then(|exit| exit.trim().parse().ok());
    let exit = exit.ok_or("no exit code")?;
    let judgement = judge::judge(&case.description.truth, &report, exit);
    Ok(Answer { sentence: report.verdict, judgement })
}

/// The worst of several answers; if their grades differ, this is what is wrong.
fn combine(answers: Vec<Answer>) -> Option<Answer> {
    let words: Vec<_> = answers.iter().map(|answer| answer.judgement.grade.word()).collect();
    let differ = words.windows(2).any(|pair| pair[0] != pair[1]);
    let why = format!("differs from run to run: {}", words.join(", "));
    let mut worst = answers.into_iter().max_by_key(|answer| answer.judgement.grade)?;
    if differ {
        worst.judgement = Judgement::wrong(why);
    }
    Some(worst)
}

/// The last line of a script's messages.
fn last_line(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().last().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{super::judge::Grade, *};

    fn answer(grade: Grade) -> Answer {
        Answer {
            sentence: grade.word().to_owned(),
            judgement: Judgement { grade, why: String::new() },
        }
    }

    #[test]
    fn equal_grades_stay() {
        let same = combine(vec![answer(Grade::Weak), answer(Grade::Weak)]).unwrap();
        assert_eq!(same.judgement, answer(Grade::Weak).judgement);
    }

    #[test]
    fn different_grades_are_wrong_and_the_worst_is_quoted() {
        let mixed = combine(vec![answer(Grade::Right), answer(Grade::Weak)]).unwrap();
        assert_eq!(mixed.sentence, "weak");
        assert_eq!(
            mixed.judgement,
            Judgement::wrong("differs from run to run: right, weak".to_owned())
        );
    }

    #[test]
    fn what_a_script_leaves_running_is_killed() {
        let mut script = Command::new("sh")
            .args(["-c", "sleep 1000 & echo $!"])
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = script.stdout.take().unwrap();
        assert!(wait(&mut script).unwrap());
        // The pipe ends because the sleeping process, which holds it as well, is gone.
        io::copy(&mut output, &mut io::sink()).unwrap();
    }
}
