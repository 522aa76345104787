//! The faulty process manager without a tracer: each behaviour works as documented, and account and log
//! are correct. The tests of lost output depend on this. They need no root.

use anyhow::{Context, Result, ensure};
use tracer_tests::{
    goproc::{ANSWER_LIMIT, Account, Behaviour, CONTAINER, FIVE_THOUSAND, LogFormat, Stage},
    managed::Goproc,
    workload::sibling_binary,
};

/// Runs a manager without a tracer; returns its account, its log, and the number of bytes it forwarded.
fn run(goproc: &Goproc, argv: &[&str]) -> Result<(Account, String, u64)> {
    let mut running = goproc.spawn(argv)?;
    running.open_gate()?;
    running.account_at(Stage::Done)?;
    let log = running.log_text()?;
    let (account, relayed) = running.finish()?;
    Ok((account, log, relayed.len()))
}

fn account(behaviour: Behaviour, bytes: usize, argv: &[&str]) -> Result<Account> {
    Ok(run(&Goproc::new(behaviour).bytes(bytes), argv)?.0)
}

/// Bytes of stdout that were read, delivered and left unread.
fn stdout(account: &Account) -> (u64, u64, Option<u64>) {
    let stream = &account.stdout;
    (stream.read, stream.delivered, stream.unread)
}

#[test]
fn a_faithful_manager_delivers_every_byte_of_both_streams() -> Result<()> {
    let account = account(Behaviour::Faithful, 0, &["sh", "-c", "seq 1 500; echo no >&2; exit 3"])?;
    ensure!(stdout(&account) == (1892, 1892, Some(0)), "{account:?}");
    ensure!((account.stderr.read, account.stderr.delivered) == (3, 3), "{account:?}");
    ensure!((account.code, account.reported_code) == (Some(3), Some(3)), "{account:?}");
    Ok(())
}

#[test]
fn output_lost_in_the_manager_was_read() -> Result<()> {
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
    for (behaviour, argv, read, delivered) in cases {
        let account = account(behaviour, 0, argv)?;
        ensure!(stdout(&account) == (read, delivered, Some(0)), "{behaviour:?}: {account:?}");
    }
    Ok(())
}

#[test]
fn output_left_in_the_pipe_was_not_read() -> Result<()> {
    let endless = ["yes"];
    let waiting = ["sh", "-c", "head -c 5000 /dev/zero; exec sleep 60"];
    let cases: [(Behaviour, usize, &[&str], u64, u64); 3] = [
        (Behaviour::NoRead, 0, &FIVE_THOUSAND, 0, 5000),
        (Behaviour::NoRead, 100, &FIVE_THOUSAND, 100, 4900),
        (Behaviour::KillClose, 5000, &waiting, 0, 5000),
    ];
    for (behaviour, bytes, argv, read, unread) in cases {
        let account = account(behaviour, bytes, argv)?;
        let (actual_read, _, actual_unread) = stdout(&account);
        let actual = (actual_read, actual_unread);
        ensure!(actual == (read, Some(unread)), "{behaviour:?}: {account:?}");
    }
    let account = account(Behaviour::CloseEarly, 100, &endless)?;
    ensure!((account.stdout.read, account.signal) == (100, Some(13)), "{account:?}");
    Ok(())
}

#[test]
fn a_non_blocking_stdout_accepts_64000_bytes_of_a_writer_that_ignores_errors() -> Result<()> {
    let workload = sibling_binary("workload")?;
    let account = account(Behaviour::Nonblock, 0, &[&workload, "ignores-errors"])?;
    // The pipe has 16 pages of 4,096 bytes. A write does not use the last 96 bytes of a page.
    ensure!(stdout(&account) == (64_000, 64_000, Some(0)), "{account:?}");
    Ok(())
}

#[test]
fn a_competing_reader_and_a_relay_account_for_their_bytes() -> Result<()> {
    let account = account(Behaviour::OtherReader, 1000, &FIVE_THOUSAND)?;
    let other_reader = account.other_reader.context("no other reader")?;
    ensure!((account.stdout.read, other_reader.bytes) == (4000, 1000), "{account:?}");
    let (account, _, relayed) =
        run(&Goproc::new(Behaviour::SlowRelay).bytes(1500), &FIVE_THOUSAND)?;
    ensure!(stdout(&account) == (5000, 1500, Some(0)) && relayed == 1500, "{account:?}");
    Ok(())
}

#[test]
fn a_packet_relay_accounts_for_the_bytes_its_socket_accepted() -> Result<()> {
    let relay = Goproc::new(Behaviour::PacketRelay);
    let (account, _, relayed) = run(&relay, &["head", "-c", "1000000", "/dev/zero"])?;
    let (read, accepted, unread) = stdout(&account);
    ensure!((read, unread) == (1_000_000, Some(0)) && accepted == relayed, "{account:?}");
    ensure!(0 < accepted && accepted < read, "{account:?}");
    Ok(())
}

#[test]
fn a_flattened_exit_code_is_1_for_every_failure() -> Result<()> {
    let account = account(Behaviour::FlattenExit, 0, &["sh", "-c", "exit 3"])?;
    ensure!((account.code, account.reported_code) == (Some(3), Some(1)), "{account:?}");
    Ok(())
}

/// Only the relayed line of the guest has byte counts at another level than debug.
#[test]
fn the_console_log_has_the_format_of_zerolog() -> Result<()> {
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
fn the_json_log_has_one_object_per_line_and_none_for_a_lost_answer() -> Result<()> {
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
fn a_console_log_has_colours_if_no_color_is_empty() -> Result<()> {
    let goproc = Goproc::new(Behaviour::Empties).logging(LogFormat::Console);
    let (_, log, _) = run(&goproc.env("NO_COLOR", ""), &["echo", "x"])?;
    ensure!(log.contains("\x1b[36mstdout_len=\x1b[0m2\n"), "{log:?}");
    ensure!(log.contains("\x1b[36mstdout_len=\x1b[0m0\n"), "second request: {log:?}");
    Ok(())
}
