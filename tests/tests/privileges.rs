//! Privileges of tracer and its command, and safe creation of output files.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tempfile::TempDir;
use tracer_tests::{
    capture::Capture,
    deadline::{raw_pid, wait_until},
    expect::{self, MatchBy},
    privilege::{
        BPF, DAC_READ_SEARCH, KILL, NONE, SYS_PTRACE, has, has_only, privileges, require_root,
    },
    procfs::commands_of,
    refusal::{ENVIRONMENT, check, run, run_command},
    tracer::{Tracer, binary, parse},
    truth::{TRUTH_ENV, Truth},
    workload::sibling_binary,
};

/// The uid and the gid of the unprivileged account that is named `nobody`.
const NOBODY: u32 = 65_534;

#[test]
#[ignore = "needs root"]
fn the_doctor_names_needed_and_kept_capabilities() -> Result<()> {
    require_root()?;
    let output = run(&["doctor", "--color", "never"])?;
    let words = String::from_utf8(output.stdout)?.split_whitespace().collect::<Vec<_>>().join(" ");
    for sentence in [
        "attaching needs CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE",
        "keeps CAP_BPF, CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, gives up all others",
    ] {
        ensure!(words.contains(sentence), "no `{sentence}` in: {words}");
    }
    Ok(())
}

/// Traces a command with a tracer that has only these capabilities; the result must be exact.
fn exact_with(capabilities: &str) -> Result<()> {
    require_root()?;
    let directory = tempfile::tempdir()?;
    let [truth, report] = ["truth.jsonl", "report.json"].map(|name| directory.path().join(name));
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--bounding-set=-all,{capabilities}"))
        .arg(binary()?)
        .args(["-q", "--format", "json", "-o"])
        .arg(&report)
        .arg("--capture")
        .arg(directory.path().join("out"))
        .arg("--")
        .arg(sibling_binary("workload")?)
        .args(["write", "exec"])
        .env(TRUTH_ENV, &truth);
    let output = run_command(&mut command)?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let truth = Truth::load(&truth).with_context(|| stderr.clone())?;
    let report = parse(&fs::read_to_string(&report).with_context(|| stderr.clone())?)?;
    expect::rows_agree(&report, &truth, MatchBy::Fd).context(stderr)?;
    expect::no_losses(&report)?;
    Capture::load(&directory.path().join("out"))?.is_complete()
}

/// The capabilities that the doctor names suffice, and so do their alternatives.
#[test]
#[ignore = "needs root"]
fn a_trace_needs_no_more_capabilities_than_the_doctor_names() -> Result<()> {
    for capabilities in [
        "+bpf,+perfmon,+sys_ptrace",
        "+bpf,+perfmon,+sys_ptrace,+dac_read_search",
        "+sys_admin,+sys_ptrace,+dac_override",
    ] {
        exact_with(capabilities).context(capabilities)?;
    }
    let mut less = Command::new("setpriv");
    less.arg("--bounding-set=-all,+bpf,+sys_ptrace").arg(binary()?).args(["-q", "--", "true"]);
    check(&run_command(&mut less)?, ENVIRONMENT, &["CAP_PERFMON"])
}

/// The output of a shell line with and without tracer, each started by `prefix`.
fn with_and_without(prefix: &[&str], line: &str) -> Result<[String; 2]> {
    require_root()?;
    let directory = tempfile::tempdir()?;
    let report = directory.path().join("report");
    let run = |traced: bool| -> Result<String> {
        let [first, rest @ ..] = prefix else { anyhow::bail!("no program") };
        let mut command = Command::new(first);
        command.args(rest);
        if traced {
            command.arg(binary()?).args(["-q", "-o"]).arg(&report).arg("--");
        }
        let output = run_command(command.args(["sh", "-c", line]))?;
        ensure!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    };
    Ok([run(true)?, run(false)?])
}

#[test]
#[ignore = "needs root"]
fn a_command_has_the_same_privileges_as_without_tracer() -> Result<()> {
    for prefix in [&["env"][..], &["setpriv", "--inh-caps=+kill,+chown", "--groups=4,24"]] {
        let [traced, plain] = with_and_without(prefix, "cat /proc/self/status")?;
        let [traced, plain] = [privileges(&traced), privileges(&plain)];
        ensure!(traced.len() > 8 && traced == plain, "{traced:?}, untraced {plain:?}");
    }
    Ok(())
}

/// Tracer has additional groups here, which it must not leak.
#[test]
#[ignore = "needs root"]
fn a_command_of_another_user_has_no_privileges_of_root() -> Result<()> {
    require_root()?;
    let mut command = Command::new("setpriv");
    command
        .args(["--groups=0,4,24,27"])
        .arg(binary()?)
        .args(["-q", "-o", "/dev/null", "--user", "nobody", "--"])
        .args(["sh", "-c", "cat /proc/self/status; echo groups:$(id -G)"]);
    let output = run_command(&mut command)?;
    let printed = String::from_utf8(output.stdout)?;
    let four = [NOBODY; 4].map(|id| id.to_string()).join(" ");
    let one = NOBODY.to_string();
    has(&printed, &[("Uid", &four), ("Gid", &four), ("Groups", &one)])?;
    has(&printed, &["CapEff", "CapPrm", "CapInh", "CapAmb"].map(|name| (name, NONE)))?;
    let plain = run_command(Command::new("id").args(["-G", "nobody"]))?;
    let groups = format!("groups:{}", String::from_utf8(plain.stdout)?);
    ensure!(printed.ends_with(&groups), "{groups} is not the end of {printed}");
    Ok(())
}

/// Tracer keeps CAP_KILL to be able to kill the command.
#[test]
#[ignore = "needs root"]
fn a_tracer_of_another_users_command_can_signal_it() -> Result<()> {
    let tracer = Tracer::default()
        .args(["--user", "nobody", "--", "sleep", "60"])
        .launch()?
        .wait_attached()?;
    let status = fs::read_to_string(format!("/proc/{}/status", tracer.pid()))?;
    has_only(&status, BPF | DAC_READ_SEARCH | SYS_PTRACE | KILL)?;
    let command = wait_until("the command", || Ok(commands_of(tracer.pid())?.first().copied()))?;
    rustix::process::kill_process(raw_pid(command)?, Signal::KILL)?;
    tracer.finish()?;
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_command_of_another_user_that_cannot_start_leaves_no_folder() -> Result<()> {
    let directory = tempfile::tempdir()?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
    let program = directory.path().join("program");
    fs::write(&program, "#!/nonexistent/interpreter\n")?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let program = program.display().to_string();
    let out = directory.path().join("out").display().to_string();
    let output = run(&["-q", "--capture", &out, "--user", "nobody", "--", &program])?;
    check(&output, ENVIRONMENT, &[&program, "interpreter"])?;
    ensure!(!Path::new(&out).exists(), "the folder of a trace that never started is left");
    Ok(())
}

/// All files of a run are private, with any umask.
#[test]
#[ignore = "needs root"]
fn files_are_private_with_any_umask() -> Result<()> {
    require_root()?;
    for umask in ["0", "022", "0777"] {
        let parent = tempfile::tempdir()?;
        for options in ["-o report --record session", "-o again --capture out --recover lost"] {
            let script = format!(
                "umask {umask}; cd \"$1\"; exec \"$0\" -q {options} -- sh -c 'echo one; echo two >&2'"
            );
            let mut shell = Command::new("sh");
            shell.args(["-c", &script]).arg(binary()?).arg(parent.path());
            let output = run_command(&mut shell)?;
            ensure!(output.stderr == b"two\n", "{}", String::from_utf8_lossy(&output.stderr));
        }
        let (file, folder) = (0o600, 0o700);
        for (name, expected) in [
            ("report", file),
            ("session", file),
            ("again", file),
            ("out", folder),
            ("lost", folder),
        ] {
            let mode = fs::metadata(parent.path().join(name))?.mode() & 0o7777;
            ensure!(mode == expected, "{name} has mode {mode:o} under umask {umask}");
        }
        // `load` checks the mode of every file.
        let capture = Capture::load(&parent.path().join("out"))?;
        capture.is_complete().with_context(|| format!("umask {umask}"))?;
        ensure!(!fs::read_to_string(parent.path().join("report"))?.is_empty(), "no report");
    }
    Ok(())
}

/// A shared directory like `/tmp`, and a directory that an attacker wants tracer to write to.
fn shared_and_aim() -> Result<(TempDir, TempDir)> {
    require_root()?;
    let (shared, aim) = (tempfile::tempdir()?, tempfile::tempdir()?);
    fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o1777))?;
    Ok((shared, aim))
}

/// Checks that tracer refuses this output path, names it in one line, and does not start the command.
fn refused(option: &str, path: &Path, names: &[&str]) -> Result<()> {
    let (path, directory) = (path.display().to_string(), tempfile::tempdir()?);
    let touched = directory.path().join("touched");
    let command = ["--", "touch", &touched.display().to_string()].map(str::to_owned);
    let mut arguments = vec!["-q", option, &path];
    if option == "--recover" {
        arguments.push("--show");
    }
    arguments.extend(command.iter().map(String::as_str));
    let output = run(&arguments)?;
    let names: Vec<&str> = names.iter().copied().chain([path.as_str()]).collect();
    check(&output, ENVIRONMENT, &names).with_context(|| format!("{option} {path}"))?;
    ensure!(!touched.exists(), "the command was started");
    Ok(())
}

/// Independent of the sysctl `fs.protected_symlinks`.
#[test]
#[ignore = "needs root"]
fn a_link_in_a_shared_folder_is_not_followed() -> Result<()> {
    let (shared, aim) = shared_and_aim()?;
    let precious = aim.path().join("precious");
    fs::write(&precious, "precious")?;
    let [to_file, to_folder] = ["file", "folder"].map(|name| shared.path().join(name));
    symlink(&precious, &to_file)?;
    symlink(aim.path(), &to_folder)?;
    for link in [&to_file, &to_folder] {
        lchown(link, Some(NOBODY), None)?;
    }
    for option in ["-o", "--record", "--capture"] {
        refused(option, &to_file, &["symbolic link"])?;
        // Nor as a component of a path.
        refused(option, &to_folder.join("new"), &["symbolic link of uid 65534"])?;
    }
    ensure!(fs::read_to_string(&precious)? == "precious", "it was written to");
    ensure!(fs::read_dir(aim.path())?.count() == 1, "a file was created there");
    // A link of the same user is safe.
    lchown(&to_folder, Some(0), None)?;
    let report = to_folder.join("report").display().to_string();
    run(&["-q", "-o", &report, "--", "true"])?;
    ensure!(aim.path().join("report").is_file(), "the user's own link was not followed");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_file_of_another_user_in_a_shared_folder_is_not_written_to() -> Result<()> {
    let (shared, aim) = shared_and_aim()?;
    let [theirs, second] = ["theirs", "second"].map(|name| shared.path().join(name));
    fs::write(&theirs, "mine")?;
    chown(&theirs, Some(NOBODY), None)?;
    let precious = aim.path().join("precious");
    fs::write(&precious, "mine")?;
    fs::hard_link(&precious, &second)?;
    for option in ["-o", "--record"] {
        refused(option, &theirs, &["uid 65534"])?;
        refused(option, &second, &["another name"])?;
    }
    for path in [&theirs, &precious] {
        let mut text = String::new();
        fs::File::open(path)?.read_to_string(&mut text)?;
        ensure!(text == "mine", "{} was written to", path.display());
        let mode = fs::metadata(path)?.mode() & 0o7777;
        ensure!(mode == 0o644, "{} has mode {mode:o} now", path.display());
    }
    Ok(())
}
