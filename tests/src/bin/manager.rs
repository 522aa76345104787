//! [`process_manager`] as a program, to be the root of a traced process tree:
//! `manager ACCOUNT_FILE -- COMMAND …`. Waits at the gate, runs the command, writes the account.

use std::{env, fs};

use anyhow::{Context, Result, ensure};
use tracer_tests::{gate, process_manager};

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let (account_file, argv) = words.split_first().context("usage: manager FILE -- COMMAND …")?;
    ensure!(argv.first().is_some_and(|word| word == "--"), "usage: manager FILE -- COMMAND …");
    gate::wait()?;
    let account = process_manager::run(&argv[1..])?;
    fs::write(account_file, serde_json::to_vec(&account)?)
        .with_context(|| format!("cannot write {account_file}"))
}
