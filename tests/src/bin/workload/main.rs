//! Programs that do real I/O in a known way and write down what the kernel returned.
//!
//! `workload PATH [IDENTITY]` writes several sizes to fd 1 and fd 2 through one kind of system
//! call and one kind of fd; `workload SCENARIO` plays one story (errors, process trees).
//! No standard library I/O touches fd 1 or fd 2, and nothing is buffered.

mod fresh;
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
        let identity = Identity::from_word(word).with_context(|| format!("identity {word}?"))?;
        gate::wait()?;
        return identity::write(ledger, name, path, identity);
    }
    let Some(scenario) = scenarios::find(name) else { bail!("no workload is called {name}") };
    if scenario.gate == scenarios::Gate::AtStart {
        gate::wait()?;
    }
    (scenario.play)(ledger)
}
