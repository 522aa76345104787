//! The arguments about what a human report shows.

use clap::Args;

use crate::render::{Format, Grep, View};

/// `--all`, `--only-loss` and `--grep`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct ViewArgs {
    /// Show the whole report: every process, stream and finding [default: one screen of 40 lines].
    #[arg(long)]
    all: bool,
    /// Show only findings of lost output, and their processes.
    #[arg(long)]
    only_loss: bool,
    /// Show only the findings and processes whose message or command line matches.
    ///
    /// REGEX has the syntax of Rust's regex crate, for example 'cc1|^make '.
    #[arg(long, value_name = "REGEX")]
    grep: Option<String>,
}

impl ViewArgs {
    /// What a report in this format shows.
    pub(super) fn choice(self, format: Format) -> Result<View, String> {
        let names =
            [(self.all, "--all"), (self.only_loss, "--only-loss"), (self.grep.is_some(), "--grep")];
        match names.into_iter().find(|(is_set, _)| *is_set) {
            Some((_, name)) if format != Format::Human => {
                return Err(format!(
                    "{name} selects what a human report shows: leave it out, because a report in any \
                     other format has no parts to choose from"
                ));
            }
            _ => {}
        }
        let grep = self.grep.as_deref().map(Grep::new).transpose()?;
        Ok(View { all: self.all, only_loss: self.only_loss, grep })
    }
}
