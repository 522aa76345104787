//! Bytes that were written and are not in the capture, in words.

use tracer_core::{capture::Reason, text::units::bytes};

/// `55 B missing: the ring was full`.
pub(super) fn missing(length: u64, reason: Reason, source: Option<&str>) -> String {
    let from = source.map(|source| format!(", from {source}")).unwrap_or_default();
    format!("{} missing: {}{from}", bytes(length), reason.words())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_names_where_it_came_from() {
        let words = missing(4096, Reason::Copied, Some("fd 4"));
        assert_eq!(words, "4,096 B missing: copied inside the kernel, from fd 4");
    }
}
