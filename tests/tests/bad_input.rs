//! Requests that cannot be fulfilled: one sentence that names the cause, an exit code, no panic.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use anyhow::{Result, anyhow, ensure};
use tracer_tests::{
    deadline::{OwnedChild, wait_until},
    privilege::require_root,
    refusal::{self, ENVIRONMENT, USAGE, check, run, run_command},
    tracer::{Tracer, binary, check_status},
    workload::Workload,
};

/// A pid that is not in use: its process has just ended.
fn ended_pid() -> Result<String> {
    let mut child = OwnedChild::spawn(&mut Command::new("true"), "true")?;
    child.wait()?;
    Ok(child.pid().to_string())
}

#[test]
#[ignore = "needs root"]
fn a_pid_that_does_not_exist_is_named() -> Result<()> {
    require_root()?;
    let pid = ended_pid()?;
    check(&run(&["--pid", &pid])?, ENVIRONMENT, &[&pid])
}

#[test]
#[ignore = "needs root"]
fn a_process_that_ended_but_was_not_reaped_is_named() -> Result<()> {
    require_root()?;
    let child = OwnedChild::spawn(&mut Command::new("true"), "true")?;
    let pid = child.pid();
    wait_until("the child to be a zombie", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Ok(stat.contains(") Z ").then_some(()))
    })?;
    check(&run(&["--pid", &pid.to_string()])?, ENVIRONMENT, &[&pid.to_string()])
}

#[test]
#[ignore = "needs root"]
fn pid_0_is_a_usage_error() -> Result<()> {
    check(&run(&["--pid", "0"])?, USAGE, &["0"])
}

#[test]
#[ignore = "needs root"]
fn a_negative_pid_is_a_usage_error() -> Result<()> {
    check(&run(&["--pid=-5"])?, USAGE, &["-5"])
}

#[test]
#[ignore = "needs root"]
fn a_pid_that_is_not_a_number_is_a_usage_error() -> Result<()> {
    check(&run(&["--pid", "sshd"])?, USAGE, &["sshd"])?;
    check(&run(&["--pid", ""])?, USAGE, &["--pid"])?;
    check(&run(&["--pid", "99999999999999999999"])?, USAGE, &["99999999999999999999"])
}

#[test]
#[ignore = "needs root"]
fn a_thread_id_is_refused_with_the_pid_of_its_process() -> Result<()> {
    require_root()?;
    let own = std::process::id().to_string();
    let thread = std::thread::spawn(move || {
        let tid = rustix::thread::gettid().as_raw_pid().to_string();
        check(&run(&["--pid", &tid])?, ENVIRONMENT, &[&tid, &own])
    });
    thread.join().map_err(|_| anyhow!("the thread panicked"))?
}

#[test]
#[ignore = "needs root"]
fn an_unprivileged_user_is_told_that_root_is_needed() -> Result<()> {
    require_root()?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("tracer");
    fs::copy(binary()?, &path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
    let mut target = OwnedChild::spawn(Command::new("sleep").arg("60"), "sleep")?;
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"])
        .arg(&path)
        .args(["--pid", &target.pid().to_string()]);
    let output = run_command(&mut command)?;
    target.signal(rustix::process::Signal::KILL)?;
    target.wait()?;
    check(&output, ENVIRONMENT, &["root"])
}

#[test]
#[ignore = "needs root"]
fn a_container_that_does_not_exist_is_named() -> Result<()> {
    require_root()?;
    check(&run(&["--container", "no-such-container"])?, ENVIRONMENT, &["no-such-container"])
}

#[test]
#[ignore = "needs root"]
fn a_cgroup_that_does_not_exist_is_named() -> Result<()> {
    require_root()?;
    check(&run(&["--cgroup", "/no/such/cgroup"])?, ENVIRONMENT, &["/no/such/cgroup"])
}

#[test]
#[ignore = "needs root"]
fn a_directory_that_is_not_a_cgroup_is_named() -> Result<()> {
    require_root()?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().display().to_string();
    check(&run(&["--cgroup", &path])?, ENVIRONMENT, &[&path])
}

#[test]
#[ignore = "needs root"]
fn a_report_that_cannot_be_written_is_named() -> Result<()> {
    require_root()?;
    let path = "/no/such/directory/report.json";
    check(&run(&["-o", path, "--", "true"])?, ENVIRONMENT, &[path])
}

#[test]
#[ignore = "needs root"]
fn a_command_that_does_not_exist_is_named() -> Result<()> {
    require_root()?;
    check(&run(&["--", "no-such-command-here"])?, ENVIRONMENT, &["no-such-command-here"])?;
    check(&run(&["--", "/no/such/command"])?, ENVIRONMENT, &["/no/such/command"])
}

#[test]
#[ignore = "needs root"]
fn a_command_that_is_not_executable_is_named() -> Result<()> {
    require_root()?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("plain.txt");
    fs::write(&path, "not a program\n")?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    let path = path.display().to_string();
    check(&run(&["--", &path])?, ENVIRONMENT, &[&path])
}

#[test]
#[ignore = "needs root"]
fn the_tracer_does_not_trace_itself() -> Result<()> {
    require_root()?;
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"exec "$0" --pid $$"#]).arg(binary()?);
    check(&run_command(&mut shell)?, USAGE, &["itself"])
}

/// Pids in a pid namespace differ from the pids that the kernel hooks get.
#[test]
#[ignore = "needs root"]
fn a_tracer_inside_a_pid_namespace_says_so() -> Result<()> {
    require_root()?;
    // `sleep` must not keep the output pipes open after tracer has ended.
    let script = r#"sleep 60 >/dev/null 2>&1 & exec "$0" --pid $!"#;
    let mut shell = Command::new("unshare");
    shell.args(["--pid", "--fork", "--mount-proc", "sh", "-c", script]).arg(binary()?);
    check(&run_command(&mut shell)?, ENVIRONMENT, &["pid namespace"])
}

#[test]
#[ignore = "needs root"]
fn one_of_several_targets_that_is_not_there_is_named() -> Result<()> {
    check(&run(&["--pid", "1", "--cgroup", "/x"])?, ENVIRONMENT, &["`/x`"])?;
    check(&run(&["--pid", "1", "--unit", "x-none", "--", "true"])?, ENVIRONMENT, &["x-none"])?;
    check(&run(&["--full", "--pid", "1"])?, USAGE, &["--name"])
}

#[test]
#[ignore = "needs root"]
fn no_target_is_a_usage_error_that_says_how_to_name_one() -> Result<()> {
    check(&run(&[])?, USAGE, &["--pid"])
}

#[test]
#[ignore = "needs root"]
fn unknown_options_and_bad_values_are_usage_errors() -> Result<()> {
    check(&run(&["--no-such-option"])?, USAGE, &["--no-such-option"])?;
    check(&run(&["--pid", "1", "--duration", "soon"])?, USAGE, &["soon"])?;
    check(&run(&["--pid", "1", "--format", "xml"])?, USAGE, &["xml"])?;
    check(&run(&["--pid", "1", "--fds", "one"])?, USAGE, &["one"])
}

/// `tracer … | head -1`: tracer cannot write all of its report.
#[test]
#[ignore = "needs root"]
fn a_closed_stdout_is_not_an_error() -> Result<()> {
    require_root()?;
    let mut running = Workload::new("wide").gated().spawn()?;
    let tracer = Tracer::on_pid(running.pid()).with_closed_stdout().start()?;
    running.open_gate()?;
    running.finish()?;
    let outcome = tracer.finish()?;
    let stderr = &outcome.stderr;
    ensure!(!stderr.contains("panicked") && !stderr.to_lowercase().contains("error"), "{stderr}");
    check_status(outcome.status)
}

#[test]
#[ignore = "needs root"]
fn closed_standard_streams_cause_no_panic() -> Result<()> {
    require_root()?;
    let mut shell = Command::new("sh");
    shell.args(["-c", r#""$0" -q -- true <&- >&- 2>&-; code=$?; echo $code"#]).arg(binary()?);
    let output = refusal::run_command(&mut shell)?;
    let code = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    // `true` writes nothing, which is a finding. A panic would exit with 101, a signal with 128 or more.
    ensure!(["0", "1", "3"].contains(&code.as_str()), "exit code {code}");
    Ok(())
}
