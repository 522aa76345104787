//! Compares a history with what the jobs did.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::Value;

use super::Goal;
use crate::{
    jobs::{Account, KINDS, Kind, Planted},
    recorder::why,
    tracer::binary,
};

/// How far the end of a job in the history may be from when the manager saw it, in microseconds.
const NEAR_US: i64 = 30_000_000;
/// About how many planted jobs `tracer why` is asked at most.
const MOST_ASKED: usize = 240;
/// How many differences are printed.
const MOST_TOLD: usize = 3;

/// An entry of a job that was planted, or that has a loss.
#[derive(Clone, Debug)]
pub(super) struct Odd {
    name: String,
    pid: u64,
    ended_us: i64,
    rule: String,
    has_loss: bool,
    sentence: String,
}

/// What the history tells.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    entries: u64,
    /// By stream: 1 is stdout, 2 is stderr.
    bytes: [u64; 3],
    unsure: u64,
    odd: Vec<Odd>,
    /// Gaps by reason, with their events.
    gaps: BTreeMap<String, u64>,
}

impl Told {
    /// Reads all of it, as a script would.
    pub(super) fn read(history: &Path) -> Result<Self> {
        let mut command = Command::new(binary()?);
        command.args(["history", "--format", "ndjson", "--history"]).arg(history);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("stdout is not piped")?;
        let mut told = Self::default();
        for line in BufReader::new(stdout).lines() {
            told.add(&serde_json::from_str(&line?)?)?;
        }
        let status = child.wait()?;
        ensure!(status.success(), "tracer history ended with {status}");
        Ok(told)
    }

    fn add(&mut self, item: &Value) -> Result<()> {
        let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
        if item["type"] == "gap" {
            *self.gaps.entry(text("reason")).or_default() += item["events"].as_u64().unwrap_or(0);
            return Ok(());
        }
        if item["type"] != "entry" || item["is_interim"] == true {
            return Ok(());
        }
        self.entries += 1;
        for stream in item["streams"].as_array().into_iter().flatten() {
            let fd = stream["fd"].as_u64().and_then(|fd| usize::try_from(fd).ok());
            let sum =
                fd.and_then(|fd| self.bytes.get_mut(fd)).context("an fd that is no output")?;
            *sum += stream["bytes"].as_u64().context("no bytes")?;
        }
        let (name, has_loss) = (text("name"), item["has_loss"] == true);
        let is_planted = KINDS.iter().any(|kind| kind.name == name);
        self.unsure += u64::from(item["confidence"] != "certain" && !is_planted);
        if is_planted || has_loss {
            self.odd.push(Odd {
                name,
                pid: item["pid"].as_u64().context("no pid")?,
                ended_us: item["ended_us"].as_i64().context("no end")?,
                rule: text("rule"),
                has_loss,
                sentence: text("sentence"),
            });
        }
        Ok(())
    }
}

/// The kind of a planted job.
fn kind_of(planted: &Planted) -> Result<Kind> {
    let found = KINDS.into_iter().find(|kind| kind.name == planted.kind);
    found.with_context(|| format!("no kind {}", planted.kind))
}

/// Planted jobs that the history does not have as they were, and losses in it that were not planted. Pids come again: a
/// job is found by its pid, its name and its time.
fn differences(account: &Account, told: &Told) -> Result<(Vec<String>, Vec<String>)> {
    let mut by_pid: BTreeMap<(u64, &str), Vec<&Odd>> = BTreeMap::new();
    for odd in &told.odd {
        by_pid.entry((odd.pid, odd.name.as_str())).or_default().push(odd);
    }
    let mut missing = Vec::new();
    for planted in &account.planted {
        let kind = kind_of(planted)?;
        let entries = by_pid.entry((planted.pid.into(), kind.name)).or_default();
        let is_near = |odd: &&Odd| (odd.ended_us - planted.ended_us).abs() < NEAR_US;
        let found = entries.iter().position(is_near).map(|at| entries.remove(at));
        match found {
            Some(odd) if (odd.rule.as_str(), odd.has_loss) == (kind.rule, kind.is_lost) => {}
            Some(odd) => missing.push(format!("{} is {}: {}", kind.name, odd.rule, odd.sentence)),
            None => missing.push(format!("{} (pid {}) has no entry", kind.name, planted.pid)),
        }
    }
    let rest = by_pid.into_values().flatten();
    let others = rest.map(|odd| format!("{}: {}", odd.name, odd.sentence)).collect();
    Ok((missing, others))
}

/// What `tracer why` does not answer as it should.
fn unanswered(account: &Account, history: &Path) -> Result<(usize, Vec<String>)> {
    let step = account.planted.len().div_ceil(MOST_ASKED).max(1);
    // A step that the number of kinds divides would ask about one kind only.
    let step = if step.is_multiple_of(2) || step.is_multiple_of(3) { step + 1 } else { step };
    let asked: Vec<&Planted> = account.planted.iter().step_by(step).collect();
    let mut wrong = Vec::new();
    for planted in &asked {
        let kind = kind_of(planted)?;
        let at = Timestamp::from_microsecond(planted.ended_us)?.to_string();
        let (pid, name) = (planted.pid.to_string(), format!("^{}$", kind.name));
        let answer = why(history, &["--pid", &pid, "--name", &name, "--at", &at])?;
        let text = String::from_utf8_lossy(&answer.stdout);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        // Only sentences about losses and warnings end with their rule.
        let is_named = || !kind.is_lost && text.contains(&format!("(pid {pid})"));
        let is_told = text.contains(&format!("[{}]", kind.rule)) || is_named();
        if !is_told || answer.status.code() == Some(1) && !kind.is_lost && kind.rule != "discarded"
        {
            wrong.push(format!("{} ({}): {text}", kind.name, answer.status));
        }
    }
    Ok((asked.len(), wrong))
}

/// The goals about what is told.
pub(super) fn all(account: &Account, told: &Told, history: &Path) -> Result<Vec<Goal>> {
    let (asked, wrong) = unanswered(account, history)?;
    let mut goals = of_counts(account, told)?;
    goals.push(
        Goal::new(
            "`tracer why` about planted losses",
            format!("{asked} answers"),
            wrong.is_empty(),
        )
        .measured(format!("{}{}", asked - wrong.len(), examples(&wrong))),
    );
    Ok(goals)
}

fn of_counts(account: &Account, told: &Told) -> Result<Vec<Goal>> {
    let (missing, others) = differences(account, told)?;
    let planted = account.planted.len();
    let (written, read) = ([account.stdout, account.stderr], [told.bytes[1], told.bytes[2]]);
    let bytes = |sums: [u64; 2]| format!("{} + {} B", sums[0], sums[1]);
    let gaps = told.gaps.iter().map(|(reason, events)| format!("{reason} {events}"));
    let gaps: Vec<_> = gaps.collect();
    Ok(vec![
        Goal::new("jobs in the history", account.jobs.to_string(), told.entries == account.jobs)
            .measured(told.entries.to_string()),
        Goal::new("bytes of stdout + stderr", bytes(written), written == read)
            .measured(bytes(read)),
        Goal::new("planted losses that are told", planted.to_string(), missing.is_empty())
            .measured(format!("{}{}", planted - missing.len(), examples(&missing))),
        Goal::new("other losses that are told", "0", others.is_empty()).measured(format!(
            "{}{}",
            others.len(),
            examples(&others)
        )),
        Goal::new("unsure findings about other jobs", "0", told.unsure == 0)
            .measured(told.unsure.to_string()),
        Goal::new("what the recorder did not see", "nothing", gaps.is_empty())
            .measured(if gaps.is_empty() { "nothing".to_owned() } else { gaps.join(", ") }),
    ])
}

fn examples(texts: &[String]) -> String {
    if texts.is_empty() {
        return String::new();
    }
    format!(" ({})", texts.iter().take(MOST_TOLD).cloned().collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        let planted = Planted { kind: "job-unread".into(), pid: 7, ended_us: 5_000_000 };
        Account { jobs: 2, stdout: 3_010, planted: vec![planted], ..Account::default() }
    }

    fn entry(name: &str, bytes: u64, rule: &str) -> Value {
        let loss = rule == "unread";
        serde_json::json!({ "type": "entry", "is_interim": false, "name": name, "pid": 7,
            "ended_us": 5_000_001, "rule": rule, "has_loss": loss, "sentence": "", "confidence": "certain",
            "streams": [{ "fd": 1, "bytes": bytes }] })
    }

    fn reached(items: &[Value]) -> Vec<bool> {
        let mut told = Told::default();
        items.iter().for_each(|item| told.add(item).unwrap());
        of_counts(&account(), &told).unwrap().iter().map(|goal| goal.is_reached).collect()
    }

    #[test]
    fn a_history_that_agrees_reaches_all_goals() {
        let good = [entry("jobs", 10, "delivered"), entry("job-unread", 3_000, "unread")];
        assert_eq!(reached(&good), [true; 6]);
        let mut interim = good[0].clone();
        interim["is_interim"] = true.into();
        assert_eq!(reached(&[good[0].clone(), good[1].clone(), interim]), [true; 6]);
    }

    #[test]
    fn each_difference_is_noticed() {
        let (short, lost) = (entry("jobs", 10, "delivered"), entry("job-unread", 3_000, "unread"));
        let of = |items: &[&Value]| reached(&items.iter().copied().cloned().collect::<Vec<_>>());
        assert_eq!(of(&[&lost]), [false, false, true, true, true, true]);
        let unseen = entry("job-unread", 3_000, "delivered");
        assert_eq!(of(&[&short, &unseen]), [true, true, false, true, true, true]);
        let invented = entry("jobs", 10, "unread");
        assert_eq!(of(&[&invented, &lost]), [true, true, true, false, true, true]);
        let mut later = lost.clone();
        later["ended_us"] = 50_000_000.into();
        assert_eq!(of(&[&short, &later]), [true, true, false, false, true, true]);
        let gap = serde_json::json!({ "type": "gap", "reason": "ring_full", "events": 3 });
        assert_eq!(of(&[&short, &lost, &gap]), [true, true, true, true, true, false]);
        let mut unsure = short.clone();
        unsure["confidence"] = "unsure".into();
        assert_eq!(of(&[&unsure, &lost]), [true, true, true, true, false, true]);
    }
}
