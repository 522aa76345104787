//! Starts other programs. Errors name the program and its arguments.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// Directories of system programs that are often missing from the `PATH` of unprivileged users.
const SYSTEM_DIRS: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// Time between two lines that say that a program still runs.
const PROGRESS: Duration = Duration::from_secs(30);

/// Prints a message on standard error. Standard output is for the programs that a task runs.
pub fn say(message: &str) {
    eprintln!("xtask: {message}");
}

/// Runs a program to its end. Its standard output goes to standard error. A line each half minute says that it still
/// runs.
pub fn run(command: &mut Command) -> Result<()> {
    let name = name(command);
    let status = with_progress(&name, PROGRESS, say, || {
        command.stdin(Stdio::null()).stdout(io::stderr()).status()
    })
    .with_context(|| format!("cannot start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", line(command));
    }
    Ok(())
}

/// Calls `say` in each `interval` until `work` is done.
fn with_progress<T>(name: &str, interval: Duration, say: fn(&str), work: impl FnOnce() -> T) -> T {
    let (done, is_done) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let begin = Instant::now();
            while is_done.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                say(&format!("`{name}` still runs, {} s so far", begin.elapsed().as_secs()));
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// Runs a program to its end and returns its standard output.
pub fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", line(command)))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed: {}: {}", line(command), output.status, stderr.trim());
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` wrote something that is not UTF-8", line(command)))
}

/// Reads lines in a thread, so that the caller can wait for one with a timeout.
pub fn lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    send_lines(output, sender);
    receiver
}

/// Like [`lines`], into a channel that may have other senders.
pub fn send_lines(output: impl Read + Send + 'static, to: Sender<String>) {
    thread::spawn(move || {
        // Bytes: output need not be UTF-8.
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if to.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
}

/// Whether a program starts and succeeds. Its output is discarded.
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The path of a program in `PATH` or in the directories of system programs.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_DIRS.map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| is_executable(file))
}

/// Whether a file exists and has an execute permission.
pub(crate) fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The program's name and the first of its arguments that are no options, such as `cargo install bpf-linker`.
fn name(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = command
        .get_args()
        .map(|arg| arg.to_string_lossy())
        .filter(|arg| !arg.starts_with('-') && !arg.contains('='))
        .take(2);
    words.fold(program.to_string_lossy().into_owned(), |name, word| name + " " + &word)
}

/// The program's name and arguments, for messages.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut line = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&arg.to_string_lossy());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_named_with_its_arguments_and_status() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c exit 3` failed: exit status: 3");
    }

    #[test]
    fn a_program_that_takes_long_is_named_again_and_again() {
        static SAID: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
        let said = || SAID.lock().unwrap().clone();
        let say = |text: &str| SAID.lock().unwrap().push(text.to_owned());
        let mut apt = Command::new("/usr/bin/apt-get");
        apt.args(["-qq", "-o", "Dpkg::Use-Pty=0", "install", "--yes", "rustc-web", "other"]);
        with_progress(&name(&apt), Duration::from_millis(1), say, || {
            while said().len() < 2 {
                thread::yield_now();
            }
        });
        assert_eq!(said()[1], "`apt-get install rustc-web` still runs, 0 s so far");
        with_progress("quick", Duration::from_secs(60), say, || ());
        assert!(said().iter().all(|line| !line.contains("quick")));
    }

    #[test]
    fn a_failing_captured_program_is_quoted() {
        let error = capture(Command::new("sh").args(["-c", "echo why >&2; exit 1"])).unwrap_err();
        assert!(error.to_string().ends_with("exit status: 1: why"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("no-such-program-here")).unwrap_err();
        assert_eq!(error.to_string(), "cannot start `no-such-program-here`");
    }

    #[test]
    fn programs_are_found_by_name() {
        assert!(find("sh").is_some());
        assert_eq!(find("no-such-program-here"), None);
    }
}
