//! An unprivileged program that takes the name of an engine, of a log or of a container, and files and clocks that
//! tracer sees otherwise than its target does.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tracer_tests::{
    deadline::{DEADLINE, OwnedChild, describe, patient},
    privilege::require_root,
    recorder::{self, Recorder, entries},
    refusal::run_command,
    small_disk::SmallDisk,
    tracer::{binary, lines},
};

/// The user of every target.
const NOBODY: u32 = 65534;
/// Id of a container that no engine has.
const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A directory that [`NOBODY`] owns.
fn work() -> Result<TempDir> {
    require_root()?;
    let directory = tempfile::tempdir()?;
    chown(directory.path(), Some(NOBODY), Some(NOBODY))?;
    Ok(directory)
}

/// Runs a shell line as [`NOBODY`] in this directory under tracer; returns the report.
fn traced(directory: &Path, options: &[&str], line: &str) -> Result<Value> {
    let mut command = Command::new(binary()?);
    command.args(["--quiet", "--format", "json", "-o", "-"]).args(options);
    command.args(["--user", "65534", "--", "sh", "-c", line]).current_dir(directory);
    report_of(&mut command)
}

fn report_of(command: &mut Command) -> Result<Value> {
    let output = run_command(command)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("no report; {}; stderr: {stderr}", describe(output.status)))
}

/// What an unprivileged program serves as an engine's socket.
const ENGINES: &str = "
import os, socket, sys, time
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
kind, path = sys.argv[1:]
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen(0)
full = []
try:
    while kind == 'full':
        full.append(socket.socket(socket.AF_UNIX))
        full[-1].setblocking(False)
        full[-1].connect(path)
except BlockingIOError: pass
print('serves', flush=True)
time.sleep(60 if kind == 'full' else 0)
while True:
    client, _ = server.accept()
    try:
        client.recv(4096)
        client.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\n[')
        many = b'{\"Id\":\"a\"},' * 20000
        for _ in range(1 if kind == 'many' else 1000): client.sendall(many)
        client.sendall(b'{\"Id\":\"b\"}]')
    except OSError: pass
    client.close()
";

/// Has tracer ask the engine of an unprivileged program for a container. Returns its sentence.
fn asked(kind: &str) -> Result<String> {
    let work = work()?;
    let socket = work.path().join("docker.sock");
    let mut command = Command::new("python3");
    command.arg("-c").arg(ENGINES).arg(kind).arg(&socket).stdout(Stdio::piped());
    let mut engine = OwnedChild::spawn(&mut command, "the engine")?;
    let said = lines(engine.take_stdout()?).recv_timeout(*DEADLINE).context("no engine")?;
    ensure!(said == "serves", "{said}");
    let mut command = Command::new(binary()?);
    command.args(["--container", "web"]).stderr(Stdio::piped());
    command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
    let began = Instant::now();
    let mut tracer = OwnedChild::spawn(&mut command, "tracer")?;
    let stderr = lines(tracer.take_stderr()?);
    let status = tracer.wait()?;
    // An engine has five seconds.
    ensure!(began.elapsed() < patient(Duration::from_secs(8)), "after {:?}", began.elapsed());
    ensure!(status.code() == Some(3), "{}", describe(status));
    Ok(stderr.iter().collect::<Vec<_>>().join("\n"))
}

#[test]
#[ignore = "needs root"]
fn an_engine_that_takes_no_connection_or_answers_without_end_is_named() -> Result<()> {
    let words = [
        ("full", "did not answer within 5 s"),
        ("many", "is served by uid 65534 and lists 20001 containers, more than are looked at"),
        ("long", "answered with more than is read"),
    ];
    for (kind, expected) in words {
        let said = asked(kind)?;
        ensure!(said.contains(expected), "{kind}: {said}");
    }
    Ok(())
}

/// A program called dockerd reads a FIFO and writes a file like a container's log that has less.
#[test]
#[ignore = "needs root"]
fn a_program_called_dockerd_does_not_forge_a_loss() -> Result<()> {
    let work = work()?;
    let script = format!(
        r#"mkdir -p containers/{ID}; mkfifo {ID}-stdout; cp /bin/sh dockerd
        ./dockerd -c "read line < {ID}-stdout; printf '%s\n' '{{\"log\":\"x\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-26T20:00:00Z\"}}' > containers/{ID}/{ID}-json.log" &
        (head -c 4999 /dev/zero | tr '\0' a; echo) > {ID}-stdout; wait"#
    );
    let report = traced(work.path(), &["--all-fds"], &script)?;
    let log = fs::read_to_string(work.path().join(format!("containers/{ID}/{ID}-json.log")))?;
    ensure!(log.starts_with(r#"{"log":"x\n""#), "the forgery did not run: {log}");
    let forged = findings(&report).find(|finding| finding["rule"] == "read_then_lost");
    ensure!(forged.is_none(), "forged: {forged:?}");
    Ok(())
}

fn findings(report: &Value) -> impl Iterator<Item = &Value> {
    report["findings"].as_array().into_iter().flatten()
}

/// Sixty-four sparse files with names like logs would take minutes to read.
#[test]
#[ignore = "needs root"]
fn files_named_like_logs_are_not_read() -> Result<()> {
    let work = work()?;
    let begin = Instant::now();
    let script = "mkdir containers; for i in $(seq 64); do echo x > containers/$i-json.log; \
                  truncate -s 255M containers/$i-json.log; done";
    traced(work.path(), &["--all-fds"], script)?;
    let seconds = begin.elapsed();
    ensure!(seconds < Duration::from_secs(15), "the report came after {seconds:?}");
    Ok(())
}

/// The user owns a cgroup, as below `user@.service`, and names one in it like a container's.
#[test]
#[ignore = "needs root"]
fn a_cgroup_with_the_name_of_a_container_is_traced_with_a_word() -> Result<()> {
    let work = work()?;
    let cgroup = Delegated::create(NOBODY, &format!("docker-{ID}.scope"))?;
    let mut sleeper = cgroup.start(Path::new("sleep"), "60")?;
    sleeper.send(b"go\n")?;
    let mut command = Command::new(binary()?);
    command.args(["--format", "json", "--duration", "1s", "--container", ID]);
    let report = report_of(command.current_dir(work.path()))?;
    let doubt = report["target"]["doubt"].as_str().context("no doubt")?;
    ensure!(doubt.starts_with("no engine lists it"), "{doubt}");
    drop(sleeper);
    Ok(())
}

/// The same for the recorder, whatever it records, and for a name like a unit's. With root as the owner, the names count.
#[test]
#[ignore = "needs root"]
fn the_recorder_gives_no_entry_a_name_that_a_user_gave_to_a_cgroup() -> Result<()> {
    let work = work()?;
    let program = work.path().join("forger");
    symlink("/usr/bin/seq", &program)?;
    let unit = format!("tracer-forged-{}.service", std::process::id());
    let container = format!("docker-{ID}.scope");
    for (scope, name, asks, owner) in [
        (&["--containers"][..], &container, ["--container", ID], NOBODY),
        (&["--unit", "tracer-forged-*"], &unit, ["--unit", &unit], NOBODY),
        (&["--cgroup", "tracergiven*.slice/*"], &container, ["--container", ID], NOBODY),
        (&["--cgroup", "tracergiven*.slice/*"], &unit, ["--unit", &unit], NOBODY),
        (&["--containers"], &container, ["--container", ID], 0),
        (&["--unit", "tracer-forged-*"], &unit, ["--unit", &unit], 0),
    ] {
        let history = tempfile::tempdir()?;
        let recorder = Recorder::start(history.path(), scope)?;
        let cgroup = Delegated::create(owner, name)?;
        let mut child = cgroup.start(&program, "50")?;
        child.send(b"go\n")?;
        child.wait()?;
        // It is judged when its pipe is gone.
        drop(child);
        let entry = recorder::entry(history.path(), "forger")?;
        let place = entry["place"].as_object().context("no place")?;
        ensure!(place["cgroup"] == format!("/{}/{name}", cgroup.name()), "{place:?}");
        let (_, printed) = recorder.end()?;
        let found = entries(history.path(), &asks)?.len();
        let is_named = place.iter().any(|(field, value)| field != "cgroup" && !value.is_null());
        let context = format!("{scope:?}, uid {owner}: {place:?}, {found} found, {printed:?}");
        ensure!(is_named == (owner == 0) && found == usize::from(owner == 0), "{context}");
        let is_told = printed.iter().any(|line| line.contains("is recorded by its path"));
        ensure!(is_told == (owner != 0 && scope[0] != "--cgroup"), "{context}");
    }
    Ok(())
}

/// A slice with one cgroup in it, both of one user's, in each hierarchy that tracer may choose.
struct Delegated {
    slices: Vec<PathBuf>,
    inner: String,
}

impl Delegated {
    fn create(owner: u32, inner: &str) -> Result<Self> {
        let mut created = Self { slices: Vec::new(), inner: inner.to_owned() };
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        for mount in mounts.lines() {
            let fields: Vec<&str> = mount.split(' ').collect();
            let [_, point, kind, options, ..] = fields[..] else { continue };
            let is_memory = kind == "cgroup" && options.split(',').any(|it| it == "memory");
            if kind != "cgroup2" && !is_memory {
                continue;
            }
            let slice = Path::new(point).join(created.name());
            let inner = slice.join(inner);
            fs::create_dir_all(&inner)?;
            for directory in [&slice, &inner] {
                chown(directory, Some(owner), None)?;
                chown(directory.join("cgroup.procs"), Some(owner), None)?;
            }
            created.slices.push(slice);
        }
        ensure!(!created.slices.is_empty(), "no hierarchy of cgroups");
        Ok(created)
    }

    fn name(&self) -> String {
        format!("tracergiven{}.slice", std::process::id())
    }

    /// Starts a shell as [`NOBODY`] in the inner cgroup, which waits for a line and executes a program with one argument.
    /// The test does not read its output.
    fn start(&self, program: &Path, argument: &str) -> Result<OwnedChild> {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c"]);
        command.arg("read go; exec \"$@\"").arg("sh").arg(program).arg(argument);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = OwnedChild::spawn(&mut command, "the user's program")?;
        // Only root may move a process into a cgroup of another user's from the root cgroup.
        for slice in &self.slices {
            fs::write(slice.join(&self.inner).join("cgroup.procs"), child.pid().to_string())?;
        }
        Ok(child)
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        for slice in &self.slices {
            for _ in 0..100 {
                if fs::remove_dir(slice.join(&self.inner)).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            // Fails while it has members. In that case the test has already failed.
            let _ = fs::remove_dir(slice);
        }
    }
}

/// The kernel's time stamps are of the initial time namespace, tracer's clock is a day and more ahead or behind.
#[test]
#[ignore = "needs root"]
fn times_are_right_in_a_time_namespace() -> Result<()> {
    let work = work()?;
    for offset in ["100000", "-1000"] {
        let mut command = Command::new("unshare");
        command.args(["--time", "--fork", "--boottime", offset, "--"]).arg(binary()?);
        command.args(["--quiet", "--format", "json", "-o", "-"]);
        command.args(["--user", "65534", "--", "sh", "-c"]);
        let report = report_of(command.arg("sleep 0.3; echo x > out").current_dir(work.path()))?;
        let seconds = report["window"]["seconds"].as_f64().context("no window")?;
        ensure!((0.3..20.0).contains(&seconds), "{offset}: the trace took {seconds} s");
        let rows = report["processes"].as_array().into_iter().flatten();
        let mut times = rows.flat_map(|process| process["fds"].as_array().into_iter().flatten());
        let first = times.find_map(|row| row["first_write_ms"].as_f64()).context("no write")?;
        ensure!((290.0..20_000.0).contains(&first), "{offset}: first write after {first} ms");
    }
    Ok(())
}

/// What the report says about the file with this path.
fn file_now(report: &Value, path: &str) -> Result<String> {
    let mut objects = report["objects"].as_array().into_iter().flatten();
    let file = objects.find(|object| object["path"].as_str() == Some(path));
    let file = file.with_context(|| format!("{path} is not in {}", report["objects"]))?;
    Ok(file["now"].as_str().unwrap_or("unknown").to_owned())
}

/// A file in a mount namespace that has ended, and a removed file.
#[test]
#[ignore = "needs root"]
fn a_file_of_another_mount_namespace_is_not_called_removed() -> Result<()> {
    let work = work()?;
    fs::create_dir(work.path().join("m"))?;
    fs::set_permissions(work.path().join("m"), fs::Permissions::from_mode(0o777))?;
    let script = "unshare -rm sh -c 'mount -t tmpfs none m && echo x > m/hidden && echo y > kept'; \
                  echo z > removed; rm removed; mkdir d; echo z > d/removed; rm -r d";
    let report = traced(work.path(), &["--all-fds"], script)?;
    let path = |name: &str| work.path().join(name).display().to_string();
    for (name, expected) in
        [("m/hidden", "not_visible"), ("kept", "same"), ("removed", "gone"), ("d/removed", "gone")]
    {
        let now = file_now(&report, &path(name))?;
        ensure!(now == expected, "{name} is {now}, expected {expected}");
    }
    Ok(())
}

/// tracer runs below another root, as in a rescue system, and its target outside of it.
#[test]
#[ignore = "needs root"]
fn a_file_outside_of_tracers_root_is_not_called_removed() -> Result<()> {
    let work = work()?;
    let report = work.path().join("report");
    let script = r#"set -e; mkdir root; mount -t tmpfs none root; mkdir root/chroot; cd root/chroot
        for d in proc sys dev bin lib lib64 usr etc; do [ -e /$d ] || continue; mkdir $d; mount --rbind /$d $d; done
        cp "$1" tracer; mkdir tmp
        setpriv --reuid=65534 --regid=65534 --clear-groups sh -c 'cd "$0"; read go < go; echo x > out; exit 3' "$2" & pid=$!
        chroot . /tracer --format json --output /report --pid $pid --all-fds > /dev/null 2> log & tracer=$!
        i=0; until grep -q attached log; do sleep 0.1; i=$((i+1)); [ $i -lt 150 ] || { cat log >&2; exit 9; }; done
        echo go > "$2/go"; wait $pid || true; wait $tracer || true; cp report "$2/report""#;
    run_command(Command::new("mkfifo").arg(work.path().join("go")))?;
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(binary()?).arg(work.path());
    let output = run_command(command.current_dir(work.path()))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {stderr}", describe(output.status));
    let report: Value = serde_json::from_slice(&fs::read(report)?)?;
    let out = work.path().join("out");
    ensure!(out.exists(), "the target wrote no file");
    let now = file_now(&report, &out.display().to_string())?;
    ensure!(now == "not_visible", "the file is {now}");
    Ok(())
}

/// Many short processes, each with less output than the limit of one stream.
#[test]
#[ignore = "needs root"]
fn a_capture_keeps_to_its_limits_whatever_many_processes_write() -> Result<()> {
    const MIB: u64 = 1 << 20;
    let disk = SmallDisk::mount(32 * MIB as usize)?;
    // `root` may write below the reserve, so the sum of the files shows whether tracer did.
    for (options, most, reason) in [
        (&["--capture-max", "4MiB", "--capture-reserve", "0"][..], 4 * MIB, "total"),
        (&["--capture-reserve", "24MiB"], 8 * MIB, "reserve"),
        (&[], 29 * MIB, "reserve"),
    ] {
        let directory = disk.join("out");
        let path = directory.display().to_string();
        let options = [options, &["--capture", &path]].concat();
        let script = "for i in 1 2 3 4 5 6 7 8; do head -c 5M /dev/zero | cat > /dev/null; done";
        let report = traced(work()?.path(), &options, script)?;
        let size: u64 = fs::read_dir(&directory)?
            .map(|entry| Ok(entry?.metadata()?.len()))
            .sum::<Result<u64>>()?;
        ensure!(size <= most + MIB, "{options:?}: the capture has {size} bytes");
        let streams = report["capture"]["streams"].as_array().context("no streams")?;
        let mut reasons = std::collections::BTreeSet::new();
        for stream in streams {
            let sum = |name: &str| stream[name].as_u64().unwrap_or(0);
            ensure!(sum("written") == sum("kept") + sum("cut") + sum("missing"), "{stream}");
            let gaps = stream["gaps"].as_array().into_iter().flatten();
            reasons.extend(gaps.filter_map(|gap| gap["reason"].as_str()));
        }
        ensure!(reasons.contains(reason), "{options:?}: {reasons:?}");
        fs::remove_dir_all(&directory)?;
    }
    Ok(())
}

/// `echo` into two thousand files: the sentence names some, and counts the others.
#[test]
#[ignore = "needs root"]
fn output_into_many_files_is_a_short_sentence() -> Result<()> {
    let work = work()?;
    let script = "i=0; while [ $i -lt 1500 ]; do echo x > $i; i=$((i+1)); done; \
                  bash -c 'exec -a \"$(printf \"a\\nb\\n%05000d\")\" sleep 0'";
    let report = traced(work.path(), &[], script)?;
    for finding in findings(&report) {
        let message = finding["message"].as_str().context("no message")?;
        ensure!(message.len() < 4_000 && !message.contains('\n'), "{message}");
    }
    let verdict = report["verdict"].as_str().context("no verdict")?;
    ensure!(verdict.contains("and 1,496 more"), "{verdict}");
    Ok(())
}
