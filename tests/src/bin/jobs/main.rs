//! A manager of many short jobs in a cgroup: `jobs manage CGROUP`. It knows what became of each byte.
//!
//! It reads requests from stdin, one JSON line each, and answers with what the jobs did
//! (`tracer_tests::jobs`). Most jobs are forked straight into the cgroup and run no program of their own (`clone3` with
//! `CLONE_INTO_CGROUP`), because that is the cheapest process with two pipes that a recorder judges by itself. The others
//! are this program again, under another name: `jobs do WHAT`.

mod manager;
mod planted;
mod program;
mod spawn;

use std::{env, process::ExitCode};

use anyhow::{Context as _, Result, bail};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("jobs: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let words: Vec<String> = env::args().collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.get(1..).context("no arguments")? {
        ["manage", cgroup] => manager::run(cgroup.as_ref()).map(|()| ExitCode::SUCCESS),
        ["do", what, rest @ ..] => program::run(what, rest),
        _ => bail!("usage: jobs manage CGROUP"),
    }
}
