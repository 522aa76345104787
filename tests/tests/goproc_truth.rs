//! The faulty process manager without a tracer: each behaviour does what it is named after, and
//! its account and its log say so. The tests of lost output rest on this. No root needed.

use anyhow::{Context, Result, ensure};
use tracer_tests::{
    goproc::{ANSWER_LIMIT, Account, Behaviour, CONTAINER, LogFormat, Stage},
    managed::Goproc,
};

/// A manager that went its way alone: its account, its log, and what it passed on.
fn run(goproc: &Goproc, argv: &[&str]) -> Result<(Account, String, u64)> {
    let mut running = goproc.spawn(argv)?;
    running.open_gate()?;
    running.account_at(Stage::Done)?;
    let log = running.log_text()?;
    let (account, relayed) = running.finish()?;
    Ok((account, log, relayed.len()))
}

fn alone(behaviour: Behaviour, bytes: usize, argv: &[&str]) -> Result<Account> {
    Ok(run(&Goproc::new(behaviour).bytes(bytes), argv)?.0)
}

/// Read, handed out and left inside, of stdout.
fn stdout(account: &Account) -> (u64, u64, Option<u64>) {
    let stream = &account.stdout;
    (stream.read, stream.handed_out, stream.left_inside)
}

const FIVE_THOUSAND: [&str; 4] = ["head", "-c", "5000", "/dev/zero"];

#[test]
fn a_faithful_manager_hands_out_every_byte_of_both_streams() -> Result<()> {
    let account = alone(Behaviour::Faithful, 0, &["sh", "-c", "seq 1 500; echo no >&2; exit 3"])?;
    ensure!(stdout(&account) == (1892, 1892, Some(0)), "{account:?}");
    ensure!((account.stderr.read, account.stderr.handed_out) == (3, 3), "{account:?}");
    ensure!((account.code, account.told_code) == (Some(3), Some(3)), "{account:?}");
    Ok(())
}

#[test]
fn what_a_manager_loses_above_its_pipe_it_has_read() -> Result<()> {
    let over = (ANSWER_LIMIT + 1).to_string();
    let over = ["head", "-c", &over, "/dev/zero"];
    let at = ANSWER_LIMIT.to_string();
    let at = ["head", "-c", &at, "/dev/zero"];
    let failed = ["sh", "-c", "seq 1 500; exit 3"];
    let binary = ["printf", r"\377\376abc"];
    let cases: [(Behaviour, &[&str], u64, u64); 8] = [
        (Behaviour::Empties, &FIVE_THOUSAND, 5000, 5000),
        (Behaviour::DropOnFailure, &failed, 1892, 0),
        (Behaviour::DropOnFailure, &FIVE_THOUSAND, 5000, 5000),
        (Behaviour::Utf8Only, &binary, 5, 0),
        (Behaviour::Utf8Only, &FIVE_THOUSAND, 5000, 5000),
        (Behaviour::Limit, &over, 4_194_305, 0),
        (Behaviour::Limit, &at, 4_194_304, 4_194_304),
        (Behaviour::Retry, &FIVE_THOUSAND, 5000, 0),
    ];
    for (behaviour, argv, read, handed_out) in cases {
        let account = alone(behaviour, 0, argv)?;
        ensure!(stdout(&account) == (read, handed_out, Some(0)), "{behaviour:?}: {account:?}");
    }
    Ok(())
}

#[test]
fn what_a_manager_leaves_in_its_pipe_it_has_not_read() -> Result<()> {
    let endless = ["yes"];
    let waiting = ["sh", "-c", "head -c 5000 /dev/zero; exec sleep 60"];
    let cases: [(Behaviour, usize, &[&str], u64, u64); 3] = [
        (Behaviour::NoRead, 0, &FIVE_THOUSAND, 0, 5000),
        (Behaviour::NoRead, 100, &FIVE_THOUSAND, 100, 4900),
        (Behaviour::KillClose, 5000, &waiting, 0, 5000),
    ];
    for (behaviour, bytes, argv, read, left) in cases {
        let account = alone(behaviour, bytes, argv)?;
        let (has_read, _, has_left) = stdout(&account);
        ensure!((has_read, has_left) == (read, Some(left)), "{behaviour:?}: {account:?}");
    }
    let account = alone(Behaviour::CloseEarly, 100, &endless)?;
    ensure!((account.stdout.read, account.signal) == (100, Some(13)), "{account:?}");
    Ok(())
}

#[test]
fn a_non_blocking_stdout_takes_64000_bytes_of_a_heedless_writer() -> Result<()> {
    let workload = tracer_tests::workload::sibling_binary("workload")?;
    let workload = workload.to_str().context("a path of this build is not UTF-8")?;
    let account = alone(Behaviour::Nonblock, 0, &[workload, "heedless"])?;
    // 100 bytes do not fit in what is left of a page: 40 in each of 16.
    ensure!(stdout(&account) == (64_000, 64_000, Some(0)), "{account:?}");
    Ok(())
}

#[test]
fn a_thief_and_a_relay_account_for_their_parts() -> Result<()> {
    let account = alone(Behaviour::Thief, 1000, &FIVE_THOUSAND)?;
    let thief = account.thief.context("no thief")?;
    ensure!((account.stdout.read, thief.bytes) == (4000, 1000), "{account:?}");
    let (account, _, relayed) =
        run(&Goproc::new(Behaviour::SlowRelay).bytes(1500), &FIVE_THOUSAND)?;
    ensure!(stdout(&account) == (5000, 1500, Some(0)) && relayed == 1500, "{account:?}");
    Ok(())
}

#[test]
fn a_relay_of_packets_accounts_for_what_its_socket_took() -> Result<()> {
    let relay = Goproc::new(Behaviour::PacketRelay);
    let (account, _, relayed) = run(&relay, &["head", "-c", "1000000", "/dev/zero"])?;
    let (read, taken, left) = stdout(&account);
    ensure!((read, left) == (1_000_000, Some(0)) && taken == relayed, "{account:?}");
    ensure!(0 < taken && taken < read, "{account:?}");
    Ok(())
}

#[test]
fn a_flattened_exit_code_is_1_whatever_it_was() -> Result<()> {
    let account = alone(Behaviour::FlattenExit, 0, &["sh", "-c", "exit 3"])?;
    ensure!((account.code, account.told_code) == (Some(3), Some(1)), "{account:?}");
    Ok(())
}

/// Only what a guest relays names its numbers anywhere but at the debug level.
#[test]
fn the_console_log_has_the_shape_of_zerolog() -> Result<()> {
    let goproc = Goproc::new(Behaviour::Faithful).logging(LogFormat::Console).env("NO_COLOR", "1");
    let (account, log, _) = run(&goproc, &["echo", "two words"])?;
    let pid = account.ns_pid;
    let expected = [
        format!("INF process manager is ready container_id={CONTAINER}"),
        format!(
            "INF 3:04PM DBG read stdout container_id={CONTAINER} pid={pid} stdout_len=999999 \
             container_id={CONTAINER}"
        ),
        format!(
            r#"DBG sandbox process started cmd=["echo","two words"] container_id={CONTAINER} pid={pid}"#
        ),
        format!("DBG read stdout container_id={CONTAINER} pid={pid} stdout_len=10"),
        format!("DBG read stderr container_id={CONTAINER} pid={pid} stderr_len=0"),
    ];
    let without_time = |line: &str| line.split_once("M ").map(|(_, rest)| rest.to_owned());
    let lines: Option<Vec<_>> = log.lines().map(without_time).collect();
    ensure!(lines.as_deref() == Some(&expected[..]), "{log}");
    Ok(())
}

#[test]
fn the_json_log_has_one_object_a_line_and_none_for_a_lost_answer() -> Result<()> {
    let goproc = Goproc::new(Behaviour::Limit).logging(LogFormat::Json);
    let (_, log, _) = run(&goproc, &["head", "-c", "4194305", "/dev/zero"])?;
    let lines: Vec<serde_json::Value> =
        log.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let debug: Vec<_> = lines.iter().filter(|line| line["level"] == "debug").collect();
    let messages: Vec<_> = debug.iter().map(|line| line["message"].as_str()).collect();
    ensure!(messages == [Some("sandbox process started"), Some("read stderr")], "{log}");
    Ok(())
}

#[test]
fn a_console_log_is_coloured_unless_that_is_refused() -> Result<()> {
    let goproc = Goproc::new(Behaviour::Empties).logging(LogFormat::Console);
    let (_, log, _) = run(&goproc.env("NO_COLOR", ""), &["echo", "x"])?;
    ensure!(log.contains("\x1b[36mstdout_len=\x1b[0m2\n"), "{log:?}");
    ensure!(log.contains("\x1b[36mstdout_len=\x1b[0m0\n"), "the second reading: {log:?}");
    Ok(())
}
