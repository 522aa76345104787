//! Output by the 32-bit entry point, where system calls have other numbers.

use anyhow::Result;
use tracer_tests::expect::{MatchBy, every_identity};

#[test]
#[ignore = "needs root"]
fn compat_write_is_counted_to_the_byte() -> Result<()> {
    every_identity("compat-write", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn compat_writev_is_counted_to_the_byte() -> Result<()> {
    every_identity("compat-writev", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn compat_pwrite64_is_counted_to_the_byte() -> Result<()> {
    every_identity("compat-pwrite64", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn compat_send_by_socketcall_is_counted_to_the_byte() -> Result<()> {
    every_identity("compat-socketcall-send", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn compat_sendto_is_counted_to_the_byte() -> Result<()> {
    every_identity("compat-sendto", MatchBy::Fd)
}

#[test]
#[ignore = "needs root"]
fn compat_sendfile64_is_counted_to_the_byte() -> Result<()> {
    every_identity("compat-sendfile64", MatchBy::Fd)
}
