//! Real children: what they inherit, when they start, and what is reported if they do not.

use std::{
    fs::File,
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    thread,
    time::Duration,
};

use rustix::pipe::{PipeFlags, pipe_with};

use super::*;
use crate::sys::inherited::{LAST_SIGNAL, was_ignored};

fn shell(script: &str) -> Launch {
    let argv = ["sh", "-c", script].map(OsString::from).to_vec();
    Launch { argv, user: None, pty: false }
}

fn run(launch: &Launch) -> ExitStatus {
    start(launch).unwrap().release(|| true).unwrap().wait().unwrap()
}

/// Runs a script that writes to the file `$out`. Returns what it wrote.
fn output_of(script: &str, user: Option<&str>) -> String {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let out = directory.path().join("out");
    let script = format!("out={}; {script}", out.display());
    assert!(run(&Launch { user: user.map(str::to_owned), ..shell(&script) }).success());
    std::fs::read_to_string(out).unwrap()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn the_command_starts_only_when_released_and_keeps_its_pid() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let launched = start(&shell(&format!("echo $$ > {}; exit 7", out.display()))).unwrap();
    let pid = launched.pid();
    thread::sleep(Duration::from_millis(50));
    assert!(!out.exists());
    let syscall = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    if let Some(number) = syscall.split(' ').next().filter(|number| number.parse::<i64>().is_ok()) {
        assert!(number == "7" || number == "271", "waits in poll or ppoll, not in {number}");
    }
    let mut running = launched.release(|| true).unwrap();
    assert_eq!(running.pid(), pid);
    assert_eq!(running.wait().unwrap().code(), Some(7));
    assert_eq!(running.wait().unwrap().code(), Some(7), "asked again");
    assert_eq!(std::fs::read_to_string(out).unwrap(), format!("{pid}\n"));
}

#[test]
fn a_child_that_is_never_released_is_gone() {
    let launched = start(&shell("exit 0")).unwrap();
    let process = format!("/proc/{}", launched.pid());
    assert!(Path::new(&process).exists());
    drop(launched);
    assert!(!Path::new(&process).exists());
}

#[test]
fn a_child_killed_before_its_release_is_reported() {
    let launched = start(&shell("exit 0")).unwrap();
    rustix::process::kill_process(launched.parked.pid(), Signal::KILL).unwrap();
    let error = launched.release(|| true).unwrap_err();
    assert!(matches!(error, LaunchError::EndedEarly { .. }), "{error}");
    assert!(error.to_string().contains("signal: 9"), "{error}");
}

#[test]
fn what_cannot_be_executed_is_reported_on_release() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("program");
    for (content, expected) in [
        ("plain text", "no script that begins with `#!`"),
        ("#!/no/such/interpreter\n", "interpreter it asks for does not exist"),
    ] {
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        let argv = vec![path.clone().into_os_string()];
        let launched = start(&Launch { argv, user: None, pty: false }).unwrap();
        let process = format!("/proc/{}", launched.pid());
        let error = launched.release(|| true).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.is_usage());
        assert!(!Path::new(&process).exists(), "it is reaped");
    }
}

#[test]
fn what_is_missing_is_reported_before_anything_is_started() {
    let launch = |argv: &[&str], user: Option<&str>| Launch {
        argv: argv.iter().map(OsString::from).collect(),
        user: user.map(str::to_owned),
        pty: false,
    };
    let error = start(&launch(&[], None)).unwrap_err();
    assert!(error.is_usage() && !error.to_string().is_empty());
    let error = start(&launch(&["no-such-command"], None)).unwrap_err();
    assert!(matches!(error, LaunchError::CommandNotFound { .. }));
    let error = start(&launch(&["true"], Some("no-such-user"))).unwrap_err();
    assert!(matches!(error, LaunchError::UnknownUser { .. }));
    let error = start(&launch(&["true", "a\0b"], None)).unwrap_err();
    assert!(matches!(error, LaunchError::ZeroByte { .. }));
}

#[test]
fn signals_and_descriptors_are_as_without_a_tracer() {
    let keep = File::open("/dev/null").unwrap();
    let (reader, _writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let script = "ls /proc/self/fd > $out; cat /proc/self/status >> $out";
    let output = output_of(script, None);
    drop((keep, reader));
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = |text: &str, field: &str| -> u64 {
        let line = text.lines().find(|line| line.starts_with(field)).unwrap();
        u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
    };
    const SIGPIPE: u64 = 1 << 12;
    assert_eq!(mask(&own, "SigIgn") & SIGPIPE, SIGPIPE, "every Rust program ignores it");
    // Threads give libc's own signals a handler in this process, too.
    let ignored = (1..=LAST_SIGNAL).filter(|signal| was_ignored(*signal));
    let before = ignored.fold(0, |set, signal| set | 1 << (signal - 1));
    assert_eq!(mask(&output, "SigIgn"), before);
    assert_eq!((mask(&output, "SigBlk"), mask(&output, "SigCgt")), (0, 0));
    let descriptors: Vec<_> = output.lines().take_while(|line| !line.contains("Name")).collect();
    let plain = std::process::Command::new("ls").arg("/proc/self/fd").output().unwrap().stdout;
    assert_eq!(descriptors, String::from_utf8(plain).unwrap().lines().collect::<Vec<_>>());
}

#[test]
fn the_command_can_be_signalled_and_awaited_by_its_pidfd() {
    let mut running = start(&shell("exec sleep 60")).unwrap().release(|| true).unwrap();
    assert_eq!(running.try_wait().unwrap(), None);
    running.signal(Signal::TERM).unwrap();
    let mut fds =
        [rustix::event::PollFd::from_borrowed_fd(running.pidfd(), rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut fds, None).unwrap();
    assert_eq!(running.try_wait().unwrap().unwrap().signal(), Some(15));
}

#[test]
fn another_user_has_its_ids_groups_and_variables() {
    if !is_root() {
        return;
    }
    let script =
        "(id -u; id -g; id -G; echo $USER $LOGNAME $HOME; grep CapEff /proc/self/status) > $out";
    let output = output_of(script, Some("nobody"));
    let expected = "65534\n65534\n65534\nnobody nobody /nonexistent\nCapEff:\t0000000000000000\n";
    assert_eq!(output, expected);
}

#[test]
fn without_privilege_another_user_is_refused() {
    if is_root() {
        return;
    }
    let error = start(&Launch { user: Some("root".to_owned()), ..shell("exit 0") }).unwrap_err();
    assert!(matches!(error, LaunchError::CannotSwitchUser { .. }), "{error}");
}

/// Runs a script on a new terminal whose input is `input`. Returns what it wrote to the terminal.
fn on_terminal(script: &str, input: &[u8], user: Option<&str>) -> (String, ExitStatus) {
    let (input_reader, input_writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let (output_reader, output_writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    File::from(input_writer).write_all(input).unwrap();
    let launch = Launch { pty: true, user: user.map(str::to_owned), ..shell(script) };
    let streams = Streams { input: input_reader, output: output_writer };
    let launched = start_between(&launch, || Ok(streams)).unwrap();
    let reader = thread::spawn(move || {
        let mut text = String::new();
        File::from(output_reader).read_to_string(&mut text).unwrap();
        text
    });
    let mut running = launched.release(|| true).unwrap();
    let status = running.wait().unwrap();
    running.finish_relay(|| true).unwrap();
    drop(running);
    (reader.join().unwrap(), status)
}

#[test]
fn a_terminal_is_on_every_standard_stream_and_controls_the_session() {
    let script = "test -t 0 && test -t 1 && test -t 2 && echo hello > /dev/tty && ps -o tty= -p $$ | grep -q pts && exit 3";
    let (output, status) = on_terminal(script, b"", None);
    assert_eq!((output.as_str(), status.code()), ("hello\r\n", Some(3)));
}

#[test]
fn input_reaches_the_terminal_and_ends() {
    let (output, _) = on_terminal("cat; echo end", b"one\ntwo", None);
    assert_eq!(output, "one\r\ntwoend\r\n", "and is not echoed");
}

#[test]
fn ctrl_c_interrupts_the_command() {
    // A shell's background jobs inherit this, and so would the command.
    if was_ignored(libc::SIGINT) {
        return;
    }
    let (_, status) = on_terminal("echo ready; exec sleep 60", b"\x03", None);
    assert_eq!(status.signal(), Some(2));
}

#[test]
fn the_last_bytes_are_never_lost() {
    for _ in 0..20 {
        let (output, _) = on_terminal("seq 1 20000; printf last", b"", None);
        assert_eq!(output.lines().count(), 20001);
        assert!(output.ends_with("20000\r\nlast"), "{:?}", &output[output.len() - 20..]);
    }
}

#[test]
fn what_stays_in_the_background_does_not_hold_up_the_end() {
    let begun = std::time::Instant::now();
    let (output, _) = on_terminal("trap '' HUP; sleep 20 & printf done", b"", None);
    assert_eq!(output, "done");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn the_terminal_belongs_to_the_user() {
    if !is_root() {
        return;
    }
    let (output, _) =
        on_terminal("stat -L -c %U /dev/fd/0; echo again > $(tty)", b"", Some("nobody"));
    assert_eq!(output, "nobody\r\nagain\r\n");
}

#[test]
fn a_reader_that_is_gone_is_reported_and_does_not_hold_up_the_command() {
    let (output_reader, output) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let (input, _input_writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    drop(output_reader);
    let launch = Launch { pty: true, ..shell("seq 1 100000") };
    let launched = start_between(&launch, || Ok(Streams { input, output })).unwrap();
    let mut running = launched.release(|| true).unwrap();
    assert!(running.wait().unwrap().success());
    let error = running.finish_relay(|| true).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn a_real_terminal_is_raw_while_relayed_and_restored_after() {
    use rustix::{
        pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
        termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
    };
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let real = openpt(flags).unwrap();
    unlockpt(&real).unwrap();
    let side = ioctl_tiocgptpeer(&real, flags).unwrap();
    let size = Winsize { ws_row: 33, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&side, size).unwrap();
    let copy = || rustix::io::fcntl_dupfd_cloexec(&side, 3).unwrap();
    let launch = Launch { pty: true, ..shell("stty size") };
    let streams = Streams { input: copy(), output: copy() };
    let mut running = start_between(&launch, || Ok(streams)).unwrap().release(|| true).unwrap();
    running.wait().unwrap();
    running.resize_terminal().unwrap();
    running.finish_relay(|| true).unwrap();
    // The test is not in the foreground of this terminal, so the relay must not change the terminal.
    assert!(tcgetattr(&side).unwrap().local_modes.contains(LocalModes::ICANON));
    let mut text = [0; 64];
    let length = rustix::io::read(&real, &mut text).unwrap();
    assert!(text[..length].starts_with(b"33 77"), "{:?}", &text[..length]);
}
