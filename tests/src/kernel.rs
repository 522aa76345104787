//! The running kernel's version, for what tracer promises only from some version on.
//!
//! Tests ask here, and not tracer, what is to be expected.

use anyhow::{Context, Result};

/// The first kernel whose io_uring tracepoints name the request, and with it the file.
pub const URING_IS_COUNTED: (u32, u32) = (5, 19);

/// Whether the running kernel is this one or newer.
pub fn is_at_least(version: (u32, u32)) -> Result<bool> {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let running = parse(&release).with_context(|| format!("what kernel is `{release}`?"))?;
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
