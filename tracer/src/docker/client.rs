//! The command line of a docker client (`docker --help`, `docker run --help`).

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// Options before the subcommand that take a value: `--NAME VALUE` or `--NAME=VALUE`.
const WITH_VALUE: [&str; 7] =
    ["config", "context", "host", "log-level", "tlscacert", "tlscert", "tlskey"];
/// The same, of one letter: `-H VALUE`, `-HVALUE` or `-H=VALUE`.
const SHORT_WITH_VALUE: [char; 3] = ['H', 'c', 'l'];
/// The option of `docker run` with the file for the container's id.
const CID_FILE: &[u8] = b"--cidfile";

/// What a docker client is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// To create and start a container. The options for that begin at this word.
    Run(usize),
    /// To start a process in a container that runs already.
    Exec,
}

impl Client {
    /// Reads a command line. `None` for other programs and subcommands.
    #[must_use]
    pub fn of(argv: &[OsString]) -> Option<Self> {
        let program = Path::new(argv.first()?).file_name()?;
        if program != "docker" {
            return None;
        }
        let mut at = 1;
        while argv.get(at)?.as_bytes().starts_with(b"-") {
            at += words_of_option(argv.get(at)?)?;
        }
        if argv.get(at)? == "container" {
            at += 1;
        }
        match argv.get(at)?.to_str()? {
            "run" => Some(Self::Run(at + 1)),
            "exec" => Some(Self::Exec),
            _ => None,
        }
    }
}

/// How many words an option before the subcommand has. `None` if it does not look like one.
fn words_of_option(word: &OsStr) -> Option<usize> {
    let word = word.to_str()?;
    let takes_next = match word.strip_prefix("--") {
        Some("") => return None,
        Some(name) => WITH_VALUE.contains(&name),
        None => {
            let letters = word.strip_prefix('-').filter(|letters| !letters.is_empty())?;
            // What follows the letter in the same word is its value.
            letters.find(SHORT_WITH_VALUE).is_some_and(|at| at + 1 == letters.len())
        }
    };
    Some(if takes_next { 2 } else { 1 })
}

/// The option for the container's id.
pub(super) fn cid_file_option(path: &Path) -> OsString {
    let mut option = OsString::from("--cidfile=");
    option.push(path);
    option
}

/// Files that words name as the file for the container's id. They may be words of the container's own command.
pub(super) fn cid_files(words: &[OsString]) -> Vec<PathBuf> {
    let path = |value: &[u8]| PathBuf::from(OsStr::from_bytes(value));
    let named = words.iter().enumerate().filter_map(|(at, word)| {
        match word.as_bytes().strip_prefix(CID_FILE)? {
            [] => words.get(at + 1).map(|value| path(value.as_bytes())),
            [b'=', value @ ..] => Some(path(value)),
            _ => None,
        }
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn the_subcommand_is_found_behind_global_options() {
        for line in [
            "docker run | bb",
            "/usr/bin/docker run | bb",
            "docker container run | -d bb",
            "docker -H unix:///x run | bb",
            "docker -Hunix:///x run | bb",
            "docker -H=tcp://run run | bb",
            "docker -DH run run | bb",
            "docker -D --tls --tlsverify run | bb",
            "docker --host run --context=run -l debug --config run -c run run | bb",
            "docker --tlscacert a --tlscert b --tlskey c --log-level=info container run | bb",
        ] {
            let at = argv(line).iter().position(|word| word == "|").unwrap();
            let words = argv(&line.replace('|', ""));
            assert_eq!(Client::of(&words), Some(Client::Run(at)), "{line}");
        }
        for line in ["docker exec web ls", "docker -D container exec -it web sh"] {
            assert_eq!(Client::of(&argv(line)), Some(Client::Exec), "{line}");
        }
    }

    #[test]
    fn other_command_lines_are_none() {
        for line in [
            "",
            "docker",
            "docker -H",
            "docker -H run",
            "docker --context run",
            "docker --",
            "docker -- run bb",
            "docker - run",
            "docker compose run web",
            "docker pull run",
            "docker image run",
            "docker container",
            "docker ps run",
            "dockerd run",
            "podman run bb",
            "sudo docker run bb",
            "sh docker run bb",
        ] {
            assert_eq!(Client::of(&argv(line)), None, "{line}");
        }
    }

    #[test]
    fn files_for_the_id_are_all_that_may_be_some() {
        let files = |line: &str| cid_files(&argv(line));
        assert_eq!(files("--rm --cidfile=/a bb"), [Path::new("/a")]);
        assert_eq!(files("--cidfile a/b bb sh --cidfile=c"), [Path::new("a/b"), Path::new("c")]);
        assert!(files("--cidfiles=/a bb run cidfile=x --cidfile").is_empty());
        assert_eq!(cid_file_option(Path::new("/r/cid")), "--cidfile=/r/cid");
    }
}
