//! The command line of a docker client (`docker --help`, `docker run --help`).

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use super::options::{Options, Word};

/// Options before the subcommand.
const GLOBAL: Options = Options {
    long: &["config", "context", "host", "log-level", "tlscacert", "tlscert", "tlskey"],
    short: &['H', 'c', 'l'],
};
/// Options of `docker exec`.
const EXEC: Options = Options {
    long: &["detach-keys", "env", "env-file", "user", "workdir"],
    short: &['e', 'u', 'w'],
};
/// Options of `docker start`.
const START: Options =
    Options { long: &["checkpoint", "checkpoint-dir", "detach-keys"], short: &[] };
/// The option of `docker run` with the file for the container's id.
const CID_FILE: &[u8] = b"--cidfile";

/// A docker client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Where its engine is, if its command line says so.
    pub host: Option<String>,
    /// What it asks its engine for.
    pub asks: Asks,
}

/// What a docker client asks its engine for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asks {
    /// To create and start a container. The options for that begin at this word.
    Run(usize),
    /// To start a command in a container that runs already.
    Exec {
        /// The container's name or id.
        container: String,
        /// The command.
        words: Vec<OsString>,
    },
    /// To start containers that exist.
    Start(Vec<String>),
    /// To start what a file of `docker compose` describes.
    Compose,
}

impl Client {
    /// Reads a command line. `None` for other programs and subcommands, and for what the client itself refuses.
    #[must_use]
    pub fn of(argv: &[OsString]) -> Option<Self> {
        let program = Path::new(argv.first()?).file_name()?;
        if program == "docker-compose" {
            return Some(Self { host: None, asks: Asks::Compose });
        }
        if program != "docker" {
            return None;
        }
        let (mut at, host) = subcommand(argv)?;
        if argv.get(at)? == "container" {
            at += 1;
        }
        let asks = match argv.get(at)?.to_str()? {
            "run" => Asks::Run(at + 1),
            "exec" => exec(argv, at + 1)?,
            "start" => start(argv, at + 1)?,
            "compose" => Asks::Compose,
            _ => return None,
        };
        Some(Self { host, asks })
    }
}

/// The place of the subcommand, and the engine that options before it name.
fn subcommand(argv: &[OsString]) -> Option<(usize, Option<String>)> {
    let (mut at, mut host) = (1, None);
    loop {
        match GLOBAL.word(argv, at)? {
            (Word::Argument, _) if argv.get(at)? != "-" => return Some((at, host)),
            (Word::Argument | Word::End, _) => return None,
            (Word::Option { name, value }, size) => {
                if matches!(name, "host" | "H") {
                    host = value;
                }
                at += size;
            }
        }
    }
}

fn exec(argv: &[OsString], from: usize) -> Option<Asks> {
    let at = EXEC.first_argument(argv, from)?;
    let words = argv.get(at + 1..)?;
    let container = argv.get(at)?.to_str()?.to_owned();
    (!words.is_empty()).then(|| Asks::Exec { container, words: words.to_vec() })
}

fn start(argv: &[OsString], from: usize) -> Option<Asks> {
    let places = START.arguments(argv, from)?;
    let name = |at: &usize| Some(argv.get(*at)?.to_str()?.to_owned());
    let names: Option<Vec<String>> = places.iter().map(name).collect();
    names.filter(|names| !names.is_empty()).map(Asks::Start)
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
            let asks = Client::of(&words).map(|client| client.asks);
            assert_eq!(asks, Some(Asks::Run(at)), "{line}");
        }
    }

    #[test]
    fn the_container_and_the_command_of_an_exec_are_found() {
        for line in [
            "docker exec web ls -u x",
            "docker -D container exec -it web ls -u x",
            "docker exec -ditu root --env A=B -eC --workdir=/ -- web ls -u x",
            "docker exec --privileged --user root --env-file f web ls -u x",
        ] {
            let asks = Client::of(&argv(line)).map(|client| client.asks);
            let words = argv("ls -u x");
            assert_eq!(asks, Some(Asks::Exec { container: "web".into(), words }), "{line}");
        }
        for line in ["docker exec", "docker exec web", "docker exec -it web", "docker exec -u web"]
        {
            assert_eq!(Client::of(&argv(line)), None, "{line}");
        }
    }

    #[test]
    fn the_containers_of_a_start_are_found() {
        let started = |line: &str| Client::of(&argv(line)).map(|client| client.asks);
        let names = |names: &[&str]| {
            Some(Asks::Start(names.iter().map(|name| (*name).to_owned()).collect()))
        };
        assert_eq!(started("docker start -ai web"), names(&["web"]));
        assert_eq!(started("docker start web -a --detach-keys x db"), names(&["web", "db"]));
        assert_eq!(started("docker container start --checkpoint c web"), names(&["web"]));
        assert_eq!(started("docker start -a"), None);
    }

    #[test]
    fn the_engine_on_the_command_line_and_compose_are_known() {
        let host = |line: &str| Client::of(&argv(line)).unwrap().host;
        for line in [
            "docker -H unix:///x exec a b",
            "docker -Hunix:///x start a",
            "docker -D --host=unix:///x run bb",
        ] {
            assert_eq!(host(line).as_deref(), Some("unix:///x"), "{line}");
        }
        assert_eq!(host("docker exec -H tcp://x b"), None);
        for line in
            ["docker compose -f x up", "/usr/bin/docker-compose run web", "docker -D compose"]
        {
            assert_eq!(Client::of(&argv(line)).unwrap().asks, Asks::Compose, "{line}");
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
