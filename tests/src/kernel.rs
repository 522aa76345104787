//! The running kernel's version. Tests derive from it what to expect of tracer, instead of asking
//! tracer.

use anyhow::{Context, Result};

/// The first kernel whose io_uring tracepoints have the request, from which the file follows.
pub const URING_IS_COUNTED: (u32, u32) = (5, 19);

/// The first kernel in which a call at which seccomp kills its thread still returns; before, the thread ends in it.
pub const KILLED_CALL_RETURNS: (u32, u32) = (5, 16);

/// Whether the running kernel has this version (major, minor) or a newer one.
pub fn is_at_least(version: (u32, u32)) -> Result<bool> {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let running =
        parse(&release).with_context(|| format!("cannot parse the kernel release `{release}`"))?;
    Ok(running >= version)
}

fn parse(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(parse("5.10.0-46-cloud-amd64"), Some((5, 10)));
        assert_eq!(parse("7.2.13+deb14-cloud-amd64"), Some((7, 2)));
        assert!(parse("5.10.0") < Some(URING_IS_COUNTED) && parse("6.1.0") > Some((5, 19)));
        assert_eq!(parse("unknown"), None);
    }
}
