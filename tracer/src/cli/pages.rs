//! Shell completions and manual pages, which clap makes from the description of the command line.

use std::io;

use clap::{Command, CommandFactory as _};
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

use super::{Cli, Shell};

/// The completions of a shell, as a script.
#[must_use]
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    let shell = clap_complete::Shell::from(shell);
    clap_complete::generate(shell, &mut Cli::command(), "tracer", &mut script);
    script
}

/// The manual page of an action, or of tracer itself, in roff.
///
/// # Errors
/// A sentence for the user if there is no such action.
pub fn man_page(action: Option<&str>) -> Result<Vec<u8>, String> {
    let mut tracer = Cli::command().disable_help_subcommand(true);
    tracer.build();
    let command = match action {
        None => tracer,
        Some(name) => tracer.find_subcommand(name).cloned().ok_or_else(|| {
            format!("tracer has no action {name}, so there is no page about it: see tracer man")
        })?,
    };
    let mut page = Vec::new();
    write(&command, &mut page).map_err(|error| format!("cannot make the page: {error}"))?;
    Ok(page)
}

fn write(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let source = concat!("tracer ", env!("CARGO_PKG_VERSION"));
    // Without a date, readers of roff take the next field for it.
    let man = Man::new(command.clone()).source(source).date(" ");
    man.render_title(page)?;
    man.render_name_section(page)?;
    let mut roff = Roff::new();
    add_synopsis(&mut roff, command);
    roff.to_writer(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(page)?;
    }
    let after = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let mut roff = Roff::new();
    after.split("\n\n").for_each(|section| add_section(&mut roff, section));
    roff.to_writer(page)
}

/// Adds the usage as in `--help`. clap_mangen would list each option, and would leave out the `--` before a command.
fn add_synopsis(roff: &mut Roff, command: &Command) {
    let usage = command.clone().render_usage().to_string();
    roff.control("SH", ["SYNOPSIS"]).control("nf", []);
    for line in usage.trim_start_matches("Usage:").lines() {
        roff.text([roman(line.trim())]);
    }
    roff.control("fi", []);
}

/// Adds a section of the text after the options: its first line is the heading. Lines of a table, whose columns are two
/// spaces apart, stay as they are; prose is filled.
fn add_section(roff: &mut Roff, section: &str) {
    let Some((heading, body)) = section.split_once('\n') else { return };
    let lines = || body.lines().map(|line| line.strip_prefix("  ").unwrap_or(line));
    let is_table = lines().any(|line| line.trim_start().contains("  "));
    roff.control("SH", [heading]);
    if is_table {
        roff.control("nf", []);
    }
    for line in lines() {
        roff.text([roman(line)]);
    }
    if is_table {
        roff.control("fi", []);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions() -> impl Iterator<Item = String> {
        let names: Vec<_> =
            Cli::command().get_subcommands().map(|it| it.get_name().to_owned()).collect();
        names.into_iter()
    }

    fn page(action: Option<&str>) -> String {
        String::from_utf8(man_page(action).unwrap()).unwrap()
    }

    #[test]
    fn the_page_of_tracer_names_the_page_of_each_action() {
        let tracer = page(None);
        for action in actions() {
            assert!(tracer.contains(&format!("tracer\\-{action}(1)")), "{action}: {tracer}");
            let title = format!(".TH tracer-{action} 1 ");
            let page = page(Some(&action));
            assert!(page.contains(&title), "{page}");
        }
        assert!(!tracer.contains("tracer\\-help(1)"), "{tracer}");
    }

    #[test]
    fn texts_after_the_options_become_sections() {
        let tracer = page(None);
        for heading in ["EXAMPLES", "\"WHERE THE REPORT GOES\"", "\"EXIT CODE\""] {
            assert!(tracer.contains(&format!("\n.SH {heading}\n")), "{heading}: {tracer}");
        }
        assert!(tracer.contains("\ntracer [OPTIONS] [\\-\\- <COMMAND>...]\n"), "{tracer}");
    }

    /// `add_section` relies on it.
    #[test]
    fn texts_after_the_options_have_headings_in_capitals() {
        let mut tracer = Cli::command();
        tracer.build();
        for command in tracer.get_subcommands().chain([&tracer]) {
            let after = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            for section in after.split("\n\n").filter(|section| !section.is_empty()) {
                let heading = section.lines().next().unwrap_or_default();
                assert_eq!(heading, heading.to_uppercase(), "{}", command.get_name());
            }
        }
    }

    #[test]
    fn a_page_about_nothing_is_refused_in_one_sentence() {
        let sentence = man_page(Some("nonsense")).unwrap_err();
        assert!(sentence.contains("nonsense") && sentence.lines().count() == 1, "{sentence}");
    }

    #[test]
    fn completions_of_each_shell_know_options_and_actions() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(completions(shell)).unwrap();
            for word in actions().chain(["record-limit".to_owned()]) {
                assert!(script.contains(&word), "{shell:?} does not know {word}");
            }
        }
    }
}
