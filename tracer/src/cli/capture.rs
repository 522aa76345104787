//! The arguments about captured output.

use std::{num::NonZeroU64, path::PathBuf};

use clap::Args;
use tracer_core::{capture::Keep, text::redact::Redact};

use crate::settings::{CaptureSettings, size};

/// The smallest ring, in bytes. It holds more than one full record of each CPU.
const SMALLEST_RING: u64 = 64 << 10;
/// The largest ring, in bytes: a power of two that fits into the map's `max_entries`.
const LARGEST_RING: u64 = 1 << 30;

/// `--capture` and what goes with it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Captured output")]
pub(super) struct CaptureArgs {
    /// Save the output itself in this folder: one file for each process and stream.
    ///
    /// Off by default, because the folder then holds everything private that the programs print. tracer
    /// creates it with mode 0700 and its files with 0600, never through symbolic links. It also holds the
    /// session, so `tracer report DIR` reports it again, and an index that says which write put which
    /// bytes where. What tracer could not keep is a gap of known length, and the report says so. The
    /// report shows bytes that were written and never read.
    #[arg(long, value_name = "DIR", conflicts_with = "record", value_parser = folder)]
    capture: Option<PathBuf>,
    /// Print the output on stderr while it is written; each line begins with its process and stream.
    ///
    /// Control characters are made visible. `│` stands before lines, `┆` before text that does not end
    /// in a line feed, or not yet. Without --capture nothing is saved.
    #[arg(long)]
    show: bool,
    /// With --show: pass on control characters unchanged. A program can then change the terminal, for
    /// example hide lines or change colours.
    #[arg(long, requires = "show")]
    raw: bool,
    /// Most bytes kept of each stream (500k, 64MiB); more becomes a gap.
    ///
    /// Its lines in the index may take as many bytes, and at least 64 MiB: a stream of more than half a
    /// million tiny writes ends there. With --capture-tail the index holds every write of the trace.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", requires = "capture", value_parser = size)]
    capture_limit: NonZeroU64,
    /// Most bytes kept of all streams together, with their lines in the index; more becomes a gap.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", requires = "capture", value_parser = size)]
    capture_max: NonZeroU64,
    /// Free space that the capture leaves on its disk; bytes beyond become a gap.
    ///
    /// The default is 5 % of the disk, at least 1 GiB, but at most 10 % of it. 0 fills the disk.
    #[arg(long, value_name = "SIZE", requires = "capture", value_parser = reserve)]
    capture_reserve: Option<u64>,
    /// Of a stream that is longer than the limit, keep the last bytes instead of the first.
    #[arg(long, requires = "capture")]
    capture_tail: bool,
    /// Memory for output between kernel and disk, 64KiB to 1GiB, rounded up to a power of two.
    ///
    /// More memory means fewer gaps when programs write in bursts.
    #[arg(long, value_name = "SIZE", default_value = "32MiB", value_parser = ring)]
    capture_buffer: u32,
    /// Hide what matches wherever tracer shows output: in --show and in the report. Repeatable.
    ///
    /// REGEX has the syntax of Rust's regex crate, for example 'token=[^ ]+'. It is matched against whole
    /// lines; a secret spread over several lines is not found. The files of --capture and --recover hold
    /// the output unchanged.
    #[arg(long, value_name = "REGEX")]
    redact: Vec<String>,
    /// With --capture: write each lost output to a file of its own in this folder (mode 0700, files 0600).
    #[arg(long, value_name = "DIR", requires = "capture", value_parser = folder)]
    recover: Option<PathBuf>,
}

impl CaptureArgs {
    /// The settings; `None` if no output is captured.
    pub(super) fn choice(self) -> Result<Option<CaptureSettings>, String> {
        if self.capture.is_none() && !self.show {
            return match self.redact.is_empty() {
                true => Ok(None),
                false => Err("--redact hides parts of output that is shown: add --show or \
                              --capture DIR"
                    .to_owned()),
            };
        }
        if self.capture.is_some() && self.capture == self.recover {
            return Err(
                "--capture and --recover name the same folder: give each a folder of its own"
                    .to_owned(),
            );
        }
        Ok(Some(CaptureSettings {
            directory: self.capture,
            limit: self.capture_limit.get(),
            keep: if self.capture_tail { Keep::Last } else { Keep::First },
            max: self.capture_max.get(),
            reserve: self.capture_reserve,
            ring_bytes: self.capture_buffer,
            show: self.show,
            raw: self.raw,
            redact: redact(&self.redact)?,
            recover: self.recover,
        }))
    }
}

/// The patterns of `--redact`; `None` if there are none.
pub(super) fn redact(patterns: &[String]) -> Result<Option<Redact>, String> {
    if patterns.is_empty() {
        return Ok(None);
    }
    Redact::new(patterns).map(Some).map_err(|error| error.to_string())
}

/// A folder to write to.
pub(super) fn folder(text: &str) -> Result<PathBuf, String> {
    match text {
        "" | "-" => Err("name a folder to save the output in".to_owned()),
        path => Ok(path.into()),
    }
}

/// A size that may be 0.
fn reserve(text: &str) -> Result<u64, String> {
    if text == "0" { Ok(0) } else { size(text).map(NonZeroU64::get) }
}

/// Size of a ring, rounded up to a power of two as the kernel wants it.
fn ring(text: &str) -> Result<u32, String> {
    let size = size(text)?.get();
    if !(SMALLEST_RING..=LARGEST_RING).contains(&size) {
        return Err("the buffer is 64KiB to 1GiB large".to_owned());
    }
    u32::try_from(size.next_power_of_two()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::{Parser as _, error::ErrorKind};

    use super::*;
    use crate::cli::Cli;

    fn parsed(args: &[&str]) -> Result<Option<CaptureSettings>, String> {
        let args = ["tracer", "--pid", "1"].iter().chain(args);
        let cli = Cli::try_parse_from(args).map_err(|error| error.to_string())?;
        cli.into_settings().map(|settings| settings.capture)
    }

    fn refused(args: &[&str]) -> ErrorKind {
        let args = ["tracer", "--pid", "1"].iter().chain(args);
        Cli::try_parse_from(args).unwrap_err().kind()
    }

    #[test]
    fn nothing_is_captured_unless_asked_for() {
        assert!(parsed(&[]).unwrap().is_none());
        assert!(parsed(&["--capture-buffer", "1MiB"]).unwrap().is_none());
        let sentence = parsed(&["--redact", "x"]).unwrap_err();
        assert!(sentence.contains("add --show"), "{sentence}");
    }

    #[test]
    fn a_folder_alone_has_sound_defaults() {
        let capture = parsed(&["--capture", "out"]).unwrap().unwrap();
        assert_eq!(capture.directory, Some("out".into()));
        assert_eq!((capture.limit, capture.keep), (64 << 20, Keep::First));
        assert_eq!((capture.ring_bytes, capture.show, capture.raw), (32 << 20, false, false));
        assert_eq!((capture.max, capture.reserve), (1 << 30, None));
        assert!(capture.redact.is_none() && capture.recover.is_none());
    }

    #[test]
    fn every_choice_arrives() {
        let args = "--capture out --show --raw --capture-limit 500k --capture-tail \
                    --capture-buffer 100KiB --capture-max 2GiB --capture-reserve 0 --redact a+ --redact b+ --recover lost";
        let args: Vec<&str> = args.split_whitespace().collect();
        let capture = parsed(&args).unwrap().unwrap();
        assert_eq!((capture.limit, capture.keep), (500_000, Keep::Last));
        assert_eq!((capture.ring_bytes, capture.show, capture.raw), (128 << 10, true, true));
        assert_eq!((capture.max, capture.reserve), (2 << 30, Some(0)));
        assert_eq!(capture.recover, Some("lost".into()));
        let redact = capture.redact.unwrap();
        assert_eq!(&*redact.line(b"xaayb"), b"x[redacted]y[redacted]");
    }

    #[test]
    fn showing_needs_no_folder() {
        let capture = parsed(&["--show"]).unwrap().unwrap();
        assert!(capture.show && capture.directory.is_none());
    }

    #[test]
    fn what_needs_something_else_says_so() {
        for args in [
            &["--raw"][..],
            &["--raw", "--capture", "out"],
            &["--show", "--capture-tail"],
            &["--show", "--capture-limit", "1MiB"],
            &["--show", "--capture-max", "1MiB"],
            &["--show", "--capture-reserve", "1MiB"],
            &["--show", "--recover", "lost"],
        ] {
            assert_eq!(refused(args), ErrorKind::MissingRequiredArgument, "{args:?}");
        }
        let both = ["--capture", "out", "--record", "file"];
        assert_eq!(refused(&both), ErrorKind::ArgumentConflict);
        let sentence = parsed(&["--capture", "out", "--recover", "out"]).unwrap_err();
        assert!(sentence.contains("same folder"), "{sentence}");
    }

    #[test]
    fn sizes_are_checked() {
        for bad in ["0", "", "many", "-1", "5 parsecs"] {
            let flag = format!("--capture-limit={bad}");
            assert_eq!(refused(&["--capture", "out", &flag]), ErrorKind::ValueValidation, "{bad}");
        }
        for (text, bytes) in [("64KiB", 1 << 16), ("65537", 1 << 17), ("1GiB", 1 << 30)] {
            assert_eq!(ring(text), Ok(bytes));
        }
        for bad in ["65535", "1025MiB", "16EiB"] {
            assert!(ring(bad).unwrap_err().contains("64KiB to 1GiB"), "{bad}");
        }
    }

    #[test]
    fn a_bad_pattern_and_a_bad_folder_are_told_in_one_sentence() {
        let sentence = parsed(&["--show", "--redact", "(a"]).unwrap_err();
        assert!(sentence.contains("(a") && sentence.lines().count() == 1, "{sentence}");
        assert_eq!(refused(&["--capture", "-"]), ErrorKind::ValueValidation);
    }
}
