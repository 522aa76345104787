//! Output that the manager read but did not deliver: the kernel's counts against the claims of the
//! worker's log, in both of its formats.

use anyhow::{Result, ensure};
use tracer_tests::{
    expect,
    goproc::{ANSWER_LIMIT, Account, Behaviour, CONTAINER, FIVE_THOUSAND, LogFormat},
    managed::{Goproc, Managed},
    report::Claim,
};

const FAILING: [&str; 3] = ["sh", "-c", "seq 1 500; echo no >&2; exit 3"];

/// Traces a manager once with each log format. Its pipes are drained.
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

/// Checks the claims about both streams against the manager's account.
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
            handed_out: Some(truth.delivered),
        };
        let claim = managed.report.claim(pid, name)?;
        ensure!(*claim == expected, "reported is {claim:?}, expected {expected:?}");
    }
    Ok(())
}

fn delivered(managed: &Managed) -> Result<()> {
    let stdout = &managed.account.stdout;
    ensure!(stdout.delivered == stdout.read, "{:?}", managed.account);
    managed.headline("delivered")?.about(managed.account.pid)?;
    managed.report.has_no_finding("read_then_lost")?;
    claims_agree(managed)
}

/// Checks that all of stdout was read and none of it delivered.
fn all_lost(managed: &Managed) -> Result<()> {
    let stdout = &managed.account.stdout;
    ensure!(stdout.delivered == 0 && stdout.read > 0, "{:?}", managed.account);
    let finding = managed.headline("read_then_lost")?.about(managed.account.pid)?;
    finding.expect("read", stdout.read)?.expect("handed_out", 0)?.expect("lost", stdout.read)?;
    finding.fact("source")?;
    ensure!(finding.severity == "loss", "{finding:?}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_faithful_manager_has_no_loss() -> Result<()> {
    each_format(Behaviour::Faithful, &["sh", "-c", "seq 1 500; seq 1 90 >&2"], delivered)
}

/// The second request gets no bytes by design.
#[test]
#[ignore = "needs root"]
fn an_empty_second_answer_is_no_loss() -> Result<()> {
    each_format(Behaviour::Empties, &FIVE_THOUSAND, delivered)
}

/// The output of a failed command cannot be requested, and the log does not have its pid.
#[test]
#[ignore = "needs root"]
fn discarded_output_of_a_failed_command_is_lost_in_the_manager() -> Result<()> {
    each_format(Behaviour::DropOnFailure, &FAILING, |managed| {
        ensure!(managed.account.code == Some(3), "{:?}", managed.account);
        all_lost(managed)
    })
}

/// The same manager keeps the output of a successful command.
#[test]
#[ignore = "needs root"]
fn output_of_a_successful_command_is_not_lost_in_that_manager() -> Result<()> {
    each_format(Behaviour::DropOnFailure, &FIVE_THOUSAND, delivered)
}

/// The report has the exit code of the kernel, not the one of the manager.
#[test]
#[ignore = "needs root"]
fn a_flattened_exit_code_loses_no_output() -> Result<()> {
    each_format(Behaviour::FlattenExit, &FAILING, |managed| {
        let codes = (managed.account.code, managed.account.reported_code);
        ensure!(codes == (Some(3), Some(1)), "{:?}", managed.account);
        delivered(managed)
    })
}

/// The answer is not UTF-8 and fails after the buffer was emptied.
#[test]
#[ignore = "needs root"]
fn bytes_that_are_not_utf_8_are_lost_in_the_manager() -> Result<()> {
    each_format(Behaviour::Utf8Only, &["printf", r"\377\376abc"], all_lost)
}

#[test]
#[ignore = "needs root"]
fn utf_8_is_delivered_by_a_manager_that_requires_it() -> Result<()> {
    each_format(Behaviour::Utf8Only, &["printf", r"gr\303\274n"], delivered)
}

/// One byte more than the limit.
#[test]
#[ignore = "needs root"]
fn an_answer_over_the_limit_is_lost_in_the_manager() -> Result<()> {
    let over = (ANSWER_LIMIT + 1).to_string();
    each_format(Behaviour::Limit, &["head", "-c", &over, "/dev/zero"], all_lost)
}

#[test]
#[ignore = "needs root"]
fn an_answer_at_the_limit_is_delivered() -> Result<()> {
    let at = ANSWER_LIMIT.to_string();
    each_format(Behaviour::Limit, &["head", "-c", &at, "/dev/zero"], delivered)
}

/// The first answer is lost; the repeated request succeeds with 0 bytes.
#[test]
#[ignore = "needs root"]
fn output_is_lost_if_the_first_answer_is_lost() -> Result<()> {
    each_format(Behaviour::Retry, &FIVE_THOUSAND, |managed| {
        all_lost(managed)?;
        claims_agree(managed)
    })
}

/// The log has pids of the container's namespace.
#[test]
#[ignore = "needs root"]
fn pids_in_the_log_are_resolved_in_its_namespace() -> Result<()> {
    for (behaviour, check) in [
        (Behaviour::Faithful, delivered as fn(&Managed) -> Result<()>),
        (Behaviour::Retry, all_lost),
    ] {
        let goproc = Goproc::new(behaviour).logging(LogFormat::Json).in_pid_namespace();
        let managed = goproc.trace(&FIVE_THOUSAND)?;
        let Account { pid, ns_pid, .. } = managed.account;
        ensure!(pid != ns_pid, "one namespace: {:?}", managed.account);
        managed.check()?;
        check(&managed)?;
        claims_agree(&managed)?;
    }
    Ok(())
}

/// The manager closes the pipe too early, so the loss is in the pipe, not in the log.
#[test]
#[ignore = "needs root"]
fn unread_output_is_no_loss_in_the_manager() -> Result<()> {
    let goproc = Goproc::new(Behaviour::NoRead).bytes(100).logging(LogFormat::Console);
    let managed = goproc.trace(&FIVE_THOUSAND)?;
    managed.check()?;
    managed.headline("unread")?.about(managed.account.pid)?.expect("unread", 4900)?;
    managed.report.has_no_finding("read_then_lost")?;
    let claim = managed.report.claim(managed.account.pid, "stdout")?;
    let numbers = (claim.written, claim.read, claim.handed_out);
    ensure!(numbers == (Some(5000), Some(100), Some(100)), "{claim:?}");
    expect::no_losses(&managed.report)
}

/// Without a log only the manager's reads are known.
#[test]
#[ignore = "needs root"]
fn without_a_log_no_loss_in_the_manager_is_reported() -> Result<()> {
    let managed = Goproc::new(Behaviour::Retry).trace(&FIVE_THOUSAND)?;
    managed.check()?;
    managed.headline("delivered")?.about(managed.account.pid)?;
    managed.report.has_no_finding("read_then_lost")?;
    ensure!(managed.report.claims.is_empty(), "{:?}", managed.report.claims);
    Ok(())
}
