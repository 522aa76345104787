//! Whole texts on standard output, such as that of `tracer --version`.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use tracer_core::text::units::rounded;

use super::AppError;

/// Writes a text to standard output. A reader that closes it has read enough.
///
/// # Errors
/// [`AppError::Output`] if standard output cannot be written to.
pub fn print(text: &[u8]) -> Result<(), AppError> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => {
            result.map_err(|source| AppError::Output { path: "standard output".into(), source })
        }
    }
}

/// The version as one line; with `verbose` also the commit, the eBPF object and the compiler, one line each.
#[must_use]
pub fn version(verbose: bool) -> String {
    let mut text = concat!("tracer ", env!("CARGO_PKG_VERSION"), "\n").to_owned();
    if verbose {
        for (name, value) in [
            ("commit", env!("TRACER_COMMIT").to_owned()),
            ("eBPF object", object()),
            ("compiler", env!("TRACER_RUSTC").to_owned()),
            ("target", format!("{}, {}", env!("TRACER_TARGET"), linkage())),
            ("features", env!("TRACER_FEATURES").to_owned()),
        ] {
            // Writing to a string never fails.
            let _ = writeln!(text, "{:<13}{value}", format!("{name}:"));
        }
    }
    text
}

/// The embedded object: its size and what its programs are attached to.
fn object() -> String {
    match tracer_loader::object_bytes() {
        0 => "none: this binary cannot trace; build it with `cargo xtask build`".to_owned(),
        bytes => {
            let hooks: Vec<_> = tracer_loader::hook_names().collect();
            format!("{}, for {}", rounded(bytes as u64), hooks.join(", "))
        }
    }
}

fn linkage() -> &'static str {
    if cfg!(target_feature = "crt-static") { "static" } else { "dynamic" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_one_line() {
        assert_eq!(version(false), format!("tracer {}\n", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn the_long_version_says_how_the_binary_was_built() {
        let text = version(true);
        let lines: Vec<_> = text.lines().collect();
        let names =
            ["tracer ", "commit: ", "eBPF object: ", "compiler: rustc ", "target: ", "features: "];
        assert_eq!(lines.len(), names.len(), "{text}");
        for (line, name) in lines.iter().zip(names) {
            let squeezed: Vec<_> = line.split_whitespace().collect();
            assert!(squeezed.join(" ").starts_with(name.trim_end()), "{line}: not {name}");
        }
    }
}
