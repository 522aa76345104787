//! Programs that do known I/O and record what the kernel returned.
//!
//! `workload PATH [IDENTITY]` writes several sizes to fd 1 and fd 2 by one kind of system call and
//! one kind of fd. `workload SCENARIO` runs a scenario, such as errors or process trees. Nothing uses
//! the standard library's stdout or stderr, and nothing is buffered.

mod identity;
mod ledger;
mod paths;
mod process;
mod scenarios;
mod sys;

use std::{env, process::ExitCode};

use anyhow::{Context, Result, bail};
use tracer_tests::{gate, paths::Identity};

use crate::ledger::Ledger;

fn main() -> ExitCode {
    process::arm_watchdog();
    let mut ledger = match Ledger::open() {
        Ok(ledger) => ledger,
        Err(error) => {
            eprintln!("workload: {error:#}");
            return ExitCode::from(2);
        }
    };
    match run(&mut ledger).and_then(|()| ledger.publish()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ledger.publish_failure(&format!("{error:#}"));
            ExitCode::from(sys::exit_code_of(&error) as u8)
        }
    }
}

fn run(ledger: &mut Ledger) -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let (name, words) = words.split_first().context("usage: workload NAME [IDENTITY]")?;
    if let Some(path) = paths::find(name) {
        let word = words.first().map_or("direct", String::as_str);
        let identity =
            Identity::from_word(word).with_context(|| format!("unknown identity {word}"))?;
        gate::wait()?;
        return identity::write(ledger, name, path, identity);
    }
    let Some(scenario) = scenarios::find(name) else { bail!("unknown workload {name}") };
    if scenario.gate == scenarios::Gate::AtStart {
        gate::wait()?;
    }
    (scenario.run)(ledger)
}
