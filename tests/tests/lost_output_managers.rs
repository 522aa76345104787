//! Output that the manager read from the pipe and did not hand out: what the kernel counted
//! against what the worker's log claims, in both of its formats.

use anyhow::{Result, ensure};
use tracer_tests::{
    expect,
    goproc::{ANSWER_LIMIT, Account, Behaviour, CONTAINER, LogFormat},
    managed::{Goproc, Managed},
    report::Claim,
};

const FIVE_THOUSAND: [&str; 4] = ["head", "-c", "5000", "/dev/zero"];
const FAILING: [&str; 3] = ["sh", "-c", "seq 1 500; echo no >&2; exit 3"];

/// Traces a manager once with each log format; pipes are drained, so nothing is lost below.
fn each_format(
    behaviour: Behaviour,
    argv: &[&str],
    check: fn(&Managed) -> Result<()>,
) -> Result<()> {
    for format in LogFormat::ALL {
        let managed = Goproc::new(behaviour).logging(format).trace(argv)?;
        let checked = managed.check().and_then(|()| check(&managed));
        checked.map_err(|error| error.context(format!("{format:?}")))?;
    }
    Ok(())
}

/// The claims on both streams are the manager's truth.
fn claims_agree(managed: &Managed) -> Result<()> {
    let Account { pid, ns_pid, .. } = managed.account;
    for (name, truth) in [("stdout", &managed.account.stdout), ("stderr", &managed.account.stderr)]
    {
        let expected = Claim {
            pid,
            ns_pid,
            container: Some(CONTAINER.to_owned()),
            stream: name.to_owned(),
            written: Some(truth.read),
            read: Some(truth.read),
            handed_out: Some(truth.handed_out),
        };
        let claim = managed.report.claim(pid, name)?;
        ensure!(*claim == expected, "claimed is {claim:?}, true is {expected:?}");
    }
    Ok(())
}

fn delivered(managed: &Managed) -> Result<()> {
    let stdout = &managed.account.stdout;
    ensure!(stdout.handed_out == stdout.read, "{:?}", managed.account);
    managed.headline("delivered")?.about(managed.account.pid)?;
    managed.report.never_says("read_then_lost")?;
    claims_agree(managed)
}

/// All of stdout was read and nothing of it handed out.
fn all_lost(managed: &Managed) -> Result<()> {
    let stdout = &managed.account.stdout;
    ensure!(stdout.handed_out == 0 && stdout.read > 0, "{:?}", managed.account);
    let finding = managed.headline("read_then_lost")?.about(managed.account.pid)?;
    finding.expect("read", stdout.read)?.expect("handed_out", 0)?.expect("lost", stdout.read)?;
    finding.fact("source")?;
    ensure!(finding.severity == "loss", "{finding:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_faithful_manager_is_not_accused() -> Result<()> {
    each_format(Behaviour::Faithful, &["sh", "-c", "seq 1 500; seq 1 90 >&2"], delivered)
}

/// G1: the second reading is empty by design.
#[test]
#[ignore = "needs root"]
fn an_empty_second_reading_is_no_loss() -> Result<()> {
    each_format(Behaviour::Empties, &FIVE_THOUSAND, delivered)
}

/// G2: what a failing command wrote cannot be asked for; no line of the log names its pid.
#[test]
#[ignore = "needs root"]
fn output_of_a_failed_command_that_was_dropped_is_lost_in_the_manager() -> Result<()> {
    each_format(Behaviour::DropOnFailure, &FAILING, |managed| {
        ensure!(managed.account.code == Some(3), "{:?}", managed.account);
        all_lost(managed)
    })
}

/// G2, the other half: the same manager keeps what a good command wrote.
#[test]
#[ignore = "needs root"]
fn output_of_a_command_that_succeeded_is_not() -> Result<()> {
    each_format(Behaviour::DropOnFailure, &FIVE_THOUSAND, delivered)
}

/// G4: the manager's exit code is not the kernel's; the report has the kernel's.
#[test]
#[ignore = "needs root"]
fn a_flattened_exit_code_loses_no_output() -> Result<()> {
    each_format(Behaviour::FlattenExit, &FAILING, |managed| {
        let told = (managed.account.code, managed.account.told_code);
        ensure!(told == (Some(3), Some(1)), "{:?}", managed.account);
        delivered(managed)
    })
}

/// G5: the answer is no UTF-8, and the buffer is empty already.
#[test]
#[ignore = "needs root"]
fn bytes_that_are_no_text_are_lost_in_the_manager() -> Result<()> {
    each_format(Behaviour::Utf8Only, &["printf", r"\377\376abc"], all_lost)
}

#[test]
#[ignore = "needs root"]
fn text_gets_through_a_manager_that_takes_only_text() -> Result<()> {
    each_format(Behaviour::Utf8Only, &["printf", r"gr\303\274n"], delivered)
}

/// G6: one byte more than an answer may have.
#[test]
#[ignore = "needs root"]
fn an_answer_over_the_limit_is_lost_in_the_manager() -> Result<()> {
    let over = (ANSWER_LIMIT + 1).to_string();
    each_format(Behaviour::Limit, &["head", "-c", &over, "/dev/zero"], all_lost)
}

#[test]
#[ignore = "needs root"]
fn an_answer_at_the_limit_gets_through() -> Result<()> {
    let at = ANSWER_LIMIT.to_string();
    each_format(Behaviour::Limit, &["head", "-c", &at, "/dev/zero"], delivered)
}

/// G7: the first answer did not arrive; its repetition says 0 and success.
#[test]
#[ignore = "needs root"]
fn a_repeated_request_finds_an_empty_buffer() -> Result<()> {
    each_format(Behaviour::Retry, &FIVE_THOUSAND, |managed| {
        all_lost(managed)?;
        claims_agree(managed)
    })
}

/// G12: the log speaks of pids that only its container knows.
#[test]
#[ignore = "needs root"]
fn pids_of_the_log_are_those_of_its_own_namespace() -> Result<()> {
    for (behaviour, check) in [
        (Behaviour::Faithful, delivered as fn(&Managed) -> Result<()>),
        (Behaviour::Retry, all_lost),
    ] {
        let goproc = Goproc::new(behaviour).logging(LogFormat::Json).with_own_pids();
        let managed = goproc.trace(&FIVE_THOUSAND)?;
        let Account { pid, ns_pid, .. } = managed.account;
        ensure!(pid != ns_pid, "one namespace: {:?}", managed.account);
        managed.check()?;
        check(&managed)?;
        claims_agree(&managed)?;
    }
    Ok(())
}

/// Below its log's lines the manager closed too early: the pipe is the place of the loss.
#[test]
#[ignore = "needs root"]
fn what_was_never_read_is_not_charged_to_the_log() -> Result<()> {
    let goproc = Goproc::new(Behaviour::NoRead).bytes(100).logging(LogFormat::Console);
    let managed = goproc.trace(&FIVE_THOUSAND)?;
    managed.check()?;
    managed.headline("unread")?.about(managed.account.pid)?.expect("unread", 4900)?;
    managed.report.never_says("read_then_lost")?;
    let claim = managed.report.claim(managed.account.pid, "stdout")?;
    let numbers = (claim.written, claim.read, claim.handed_out);
    ensure!(numbers == (Some(5000), Some(100), Some(100)), "{claim:?}");
    expect::no_losses(&managed.report)
}

/// The same losses, and nobody's log: what the manager read is all that can be known.
#[test]
#[ignore = "needs root"]
fn without_a_log_the_manager_is_not_accused() -> Result<()> {
    let managed = Goproc::new(Behaviour::Retry).trace(&FIVE_THOUSAND)?;
    managed.check()?;
    managed.headline("delivered")?.about(managed.account.pid)?;
    managed.report.never_says("read_then_lost")?;
    ensure!(managed.report.claims.is_empty(), "{:?}", managed.report.claims);
    Ok(())
}
