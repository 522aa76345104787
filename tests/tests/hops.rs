//! Hops of a program's output through other processes, and how much each of them forwarded.

use std::{
    io::Write,
    process::{ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use tracer_tests::{
    deadline::OwnedChild,
    docker::trace_managed,
    expect,
    goproc::{Account, Behaviour, Stage},
    managed::Goproc,
    procfs::target_of,
    reader::Reader,
    report::{Report, Step},
    scenario::trace,
    stdio::Kind,
    tracer::Tracer,
    workload::{Workload, sibling_binary},
};

fn step(pid: u32, comm: &str, object: &str, bytes: u64) -> Step {
    Step { pid, comm: comm.to_owned(), object: object.to_owned(), bytes }
}

/// A sleeping process. As an additional target it keeps a trace running.
fn sleeper() -> Result<OwnedChild> {
    let mut command = Command::new("sleep");
    command.arg("600").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    OwnedChild::spawn(&mut command, "sleep 600")
}

/// Bytes that this test read from an object, according to the report.
fn read_by_test(report: &Report, object: &str) -> Result<u64> {
    let object = report.object(object).with_context(|| format!("{object} is not listed"))?;
    let own = std::process::id();
    let reader = object.readers.iter().find(|reader| reader.pid == own);
    Ok(reader.with_context(|| format!("this test is not a reader of {object:?}"))?.bytes)
}

/// The command's output is complete after one hop and short after two.
#[test]
#[ignore = "needs root"]
fn a_relay_in_the_tree_that_forwards_a_part_is_a_hop() -> Result<()> {
    let relay = Goproc::new(Behaviour::SlowRelay).bytes(5000).following("2");
    let managed = relay.trace(&["head", "-c", "20000", "/dev/zero"])?;
    managed.check()?;
    ensure!(managed.relayed.len() == 5000, "{} bytes were forwarded", managed.relayed.len());
    let Account { manager, pid, stdout, .. } = &managed.account;
    let steps = managed.report.chain(*pid, 1)?.writers();
    let last = steps.get(1).context("only one step")?;
    let expected =
        [step(*pid, "head", &stdout.object, 20_000), step(*manager, "goproc", &last.object, 5000)];
    ensure!(steps.starts_with(&expected), "{steps:#?}");
    ensure!(read_by_test(&managed.report, &last.object)? == 5000, "{:?}", managed.report.objects);
    Ok(())
}

/// A relay ignores refused packets. Its client gets all others.
#[test]
#[ignore = "needs root"]
fn a_relay_that_ignores_errors_lacks_the_refused_bytes() -> Result<()> {
    let relay = Goproc::new(Behaviour::PacketRelay).following("3");
    let managed = relay.trace(&["head", "-c", "1000000", "/dev/zero"])?;
    managed.check()?;
    let Account { manager, pid, stdout, .. } = &managed.account;
    let accepted = stdout.delivered;
    let relayed = managed.relayed.len();
    ensure!(accepted < 1_000_000 && relayed == accepted, "{accepted} bytes were accepted");
    let steps = managed.report.chain(*pid, 1)?.writers();
    let shape: Vec<_> = steps.iter().map(|step| (step.comm.as_str(), step.bytes)).collect();
    let expected = [("head", 1_000_000), ("goproc", accepted), ("cat", accepted)];
    ensure!(shape.starts_with(&expected) && steps[1].pid == *manager, "{steps:#?}");
    Ok(())
}

/// Two nested managers, neither of them a target: tracer finds both as readers.
#[test]
#[ignore = "needs root"]
fn readers_are_followed_outside_the_traced_tree() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let inner_account = directory.path().join("inner.json");
    let inner_account = inner_account.to_str().context("a path of the test is not UTF-8")?;
    let goproc = sibling_binary("goproc")?;
    let script = r#"head -c 1 "$GOPROC_LATER" >/dev/null; exec head -c 20000 /dev/zero"#;
    let inner =
        [&*goproc, "--behaviour", "slow-relay", "--bytes", "7000", "--account", inner_account];
    let argv = [&inner[..], &["--", "sh", "-c", script]].concat();
    let mut outer = Goproc::new(Behaviour::SlowRelay).bytes(3000).spawn(&argv)?;
    outer.open_gate()?;
    let inner = tracer_tests::managed::account_at(inner_account.as_ref(), Stage::Started)?;
    let sleeper = sleeper()?;
    let tracer = Tracer::on_pid(inner.pid)
        .arg("--pid")
        .arg(sleeper.pid().to_string())
        .args(["--follow-readers", "4"])
        .start()?;
    outer.resume_command()?;
    let (account, relayed) = outer.finish()?;
    ensure!(relayed.len() == 3000, "{} bytes were forwarded", relayed.len());
    tracer.interrupt()?;
    let report = tracer.finish()?.report()?;
    expect::no_losses(&report)?;
    let steps = report.chain(inner.pid, 1)?.writers();
    let [first, _, last] = steps.as_slice() else { bail!("{steps:#?}") };
    // Some shells have `head` in them, and their name stays.
    ensure!(["head", "sh"].contains(&first.comm.as_str()), "{steps:#?}");
    let expected = [
        step(inner.pid, &first.comm, &inner.stdout.object, 20_000),
        step(inner.manager, "goproc", &account.stdout.object, 7000),
        step(account.manager, "goproc", &last.object, 3000),
    ];
    ensure!(steps.starts_with(&expected), "{steps:#?}");
    ensure!(read_by_test(&report, &last.object)? == 3000, "{:?}", report.objects);
    Ok(())
}

/// Starts `dd`, which forwards all of its input by one write.
fn relay_in_one_write(input: ChildStdout) -> Result<OwnedChild> {
    let mut command = Command::new("dd");
    command
        .args(["bs=1M", "count=1", "iflag=fullblock", "status=none"])
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    OwnedChild::spawn(&mut command, "dd")
}

/// The relay's write exceeds the capacity of its pipe, so most of it is read before the write returns.
/// Objects that the relay did not write to are not listed.
#[test]
#[ignore = "needs root"]
fn bytes_read_before_a_relays_first_write_returns_are_counted() -> Result<()> {
    const LINE: &str = "read go; head -c 200000 /dev/zero; exec >/dev/null; read done";
    let mut shell = Command::new("sh");
    shell.args(["-c", LINE]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut target = OwnedChild::spawn(&mut shell, LINE)?;
    let mut go = target.take_stdin()?;
    let mut relay = relay_in_one_write(target.take_stdout()?)?;
    let (stdout, stderr) = (target_of(relay.pid(), 1)?, target_of(relay.pid(), 2)?);

    let tracer = Tracer::on_pid(target.pid()).start()?;
    go.write_all(b"\n")?;
    let received = Reader::of_stdout(&mut relay)?.finish()?;
    drop(go);
    let report = tracer.finish()?.report()?;
    expect::no_losses(&report)?;
    let passed = report.object(&stdout).with_context(|| format!("no {stdout}: {report:#?}"))?;
    ensure!(received.len() == 200_000 && passed.written == Some(200_000), "{passed:#?}");
    ensure!(passed.read == Some(200_000) && passed.balanced == Some(true), "{passed:#?}");
    ensure!(report.object(&stderr).is_none(), "{stderr} is listed: {:#?}", report.objects);
    Ok(())
}

/// The manager writes once, in the same clock tick in which its row is created. The write has a time and
/// comes after the reads.
#[test]
#[ignore = "needs root"]
fn a_file_that_a_manager_writes_once_is_the_last_hop() -> Result<()> {
    let managed = trace_managed(&["head", "-c", "300", "/dev/zero"], &[])?;
    managed.check()?;
    let steps = managed.report.chain(managed.account.pid, 1)?.writers();
    let [_, manager] = steps.as_slice() else { bail!("{steps:#?}") };
    ensure!(manager.comm == "manager" && manager.object.ends_with("account.json"), "{steps:#?}");
    ensure!(manager.bytes == serde_json::to_vec(&managed.account)?.len() as u64, "{steps:#?}");
    Ok(())
}

/// Bytes written to one end of a terminal or a socket pair are read at its peer.
#[test]
#[ignore = "needs root"]
fn both_ends_of_a_terminal_and_of_a_socket_pair_are_joined() -> Result<()> {
    for kind in [Kind::Pty, Kind::Socket] {
        let traced = trace(&Workload::new("write").on(kind))?;
        expect::exact(&traced)?;
        let pid = traced.workload.pid;
        let is_stdout = |(owner, fd): (u32, Option<i32>)| owner == pid && fd == Some(1);
        let row = traced.report.rows().find(|(owner, row)| is_stdout((*owner, row.fd)));
        let (_, row) = row.context("fd 1 is not listed")?;
        let object = traced.report.object(&row.object);
        let object = object.with_context(|| format!("{} is not listed", row.object))?;
        let joined = object.joined.as_ref();
        joined.with_context(|| format!("{kind:?}: no peer: {object:?}"))?;
        let read = read_by_test(&traced.report, &object.id)?;
        // The trace can end before the reader has read everything.
        ensure!(read > 0 && read <= row.bytes, "{kind:?}: {read} of {} read", row.bytes);
        ensure!(object.balanced != Some(false), "{object:?}");
        traced.report.has_no_loss()?;
    }
    Ok(())
}
