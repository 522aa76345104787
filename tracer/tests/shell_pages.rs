//! Completions in real shells, and manual pages in real readers. A shell or reader that is not installed is skipped.

#![allow(clippy::unwrap_used, reason = "everything here is a test")]

use std::{
    io::{Read as _, Write as _},
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

const TRACER: &str = env!("CARGO_BIN_EXE_tracer");
/// A shell here answers within a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is typed before the Tab key, and a part of the line that follows, which the shell must have added to.
const TYPED: [(&str, &str); 3] = [
    ("tracer --record-l", "--record-limit"),
    ("tracer explai", "explain"),
    ("tracer report --on", "--only-loss"),
];

/// Whether a program can be started; says so if not.
fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let found = command.status().is_ok();
    if !found {
        eprintln!("SKIPPED: {program} is not installed");
    }
    found
}

/// A shell on a terminal.
struct Shell {
    child: Child,
    keys: Option<ChildStdin>,
    screen: Receiver<Vec<u8>>,
    seen: String,
}

impl Shell {
    fn start(command: &str, home: &std::path::Path) -> Self {
        let mut script = Command::new("script");
        script.args(["--quiet", "--flush", "--return", "--command", command, "/dev/null"]);
        script.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        script.env("HOME", home).env("TERM", "dumb").env("LC_ALL", "C.UTF-8");
        let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = child.stdout.take().unwrap();
        let (send, screen) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                if send.send(bytes[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        let keys = child.stdin.take();
        Self { child, keys, screen, seen: String::new() }
    }

    fn press(&mut self, keys: &str) {
        self.keys.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this text is on the screen.
    fn wait_for(&mut self, text: &str) {
        let begin = Instant::now();
        while !self.seen.contains(text) {
            let rest = PATIENCE.saturating_sub(begin.elapsed());
            match self.screen.recv_timeout(rest) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("no {text} on the screen: {:?}", self.seen),
            }
        }
        self.seen.clear();
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The shell ends with its terminal, and the terminal with `script`.
        drop(self.keys.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a shell, sources the completions with `source`, and presses the Tab key. `format` is an option and the
/// beginning of its value.
fn completes(program: &str, command: &str, source: &str, format: &str) {
    if !(is_there("script") && is_there(program)) {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let mut shell = Shell::start(command, home.path());
    shell.press(&format!("{source}; printf ready-%s\\\\n 42\n"));
    shell.wait_for("ready-42");
    let value = format!("tracer {format}");
    for (typed, expected) in TYPED.into_iter().chain([(&*value, "ndjson")]) {
        assert!(!typed.contains(expected), "the terminal's echo would be enough");
        shell.press(&format!("{typed}\t"));
        shell.wait_for(expected);
        // Ctrl-U: an empty line again.
        shell.press("\u{15}");
    }
}

#[test]
fn bash_completes_options_and_actions() {
    let source = format!("source <({TRACER} completions bash)");
    completes("bash", "bash --norc --noprofile -i", &source, "--format nd");
}

#[test]
fn zsh_completes_options_and_actions() {
    let source = format!(
        "autoload -U compinit; compinit -u -D; source <({TRACER} completions zsh); unsetopt zle_bracketed_paste"
    );
    completes("zsh", "zsh -f -i", &source, "--format nd");
}

#[test]
fn fish_completes_options_and_actions() {
    let source = format!("{TRACER} completions fish | source");
    // clap_complete's script for fish completes no value that is a word of its own.
    completes("fish", "fish --no-config --private -i", &source, "--format=nd");
}

/// The standard output of `tracer` with these arguments.
fn tracer(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(TRACER).args(arguments).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    output.stdout
}

/// Every manual page: that of tracer, and those that it names.
fn pages() -> Vec<Vec<u8>> {
    let first = tracer(&["man"]);
    let text = String::from_utf8(first.clone()).unwrap();
    let named: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("tracer\\-")?.strip_suffix("(1)"))
        .map(|action| tracer(&["man", action]))
        .collect();
    assert!(named.len() >= 5, "{text}");
    [vec![first], named].concat()
}

/// Gives a page to a reader.
fn read_by(reader: &str, arguments: &[&str], page: &[u8]) -> Output {
    let mut command = Command::new(reader);
    command.args(arguments).env("MANWIDTH", "80").env("LC_ALL", "C.UTF-8");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let page = page.to_vec();
    let writer = thread::spawn(move || stdin.write_all(&page));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    output
}

#[test]
fn man_shows_each_page_without_a_warning() {
    if !is_there("man") {
        return;
    }
    for page in pages() {
        let output = read_by("man", &["--warnings", "-l", "-"], &page);
        let warnings = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && warnings.is_empty(), "{warnings}");
        let text = String::from_utf8_lossy(&output.stdout);
        for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS"] {
            assert!(text.contains(heading), "no {heading}: {text}");
        }
    }
}

#[test]
fn mandoc_finds_no_error_in_any_page() {
    if !is_there("mandoc") {
        return;
    }
    for page in pages() {
        let output = read_by("mandoc", &["-T", "lint", "-W", "error"], &page);
        let errors = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{errors}{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn there_is_no_page_about_an_unknown_action() {
    let output = Command::new(TRACER).args(["man", "nonsense"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let sentence = String::from_utf8(output.stderr).unwrap();
    assert!(sentence.contains("nonsense") && sentence.lines().count() == 1, "{sentence}");
}

#[test]
fn the_version_is_one_line_and_with_verbose_a_few() {
    let version = String::from_utf8(tracer(&["--version"])).unwrap();
    assert_eq!(version.lines().count(), 1);
    for arguments in [&["--version", "--verbose"][..], &["-Vv"], &["--verbose", "-V"]] {
        let verbose = String::from_utf8(tracer(arguments)).unwrap();
        assert!(verbose.starts_with(&version) && verbose.lines().count() == 6, "{verbose}");
    }
}
