//! Sums of docker's json-file log for each stream, to compare with what dockerd read: its log driver may have dropped
//! a part.

use super::{
    Stream,
    lines::{Line, LineSplitter},
    wrapper::DockerLine,
};

/// Adds up a `*-json.log`, in chunks. It may start at any line of the file.
///
/// The sums are of the stored text. Docker replaces each byte that is not UTF-8 by U+FFFD, which has three bytes, so
/// the sums for binary output exceed the bytes written.
#[derive(Debug, Default)]
pub struct DockerLogTally {
    splitter: LineSplitter,
    sums: Sums,
}

#[derive(Debug, Default)]
struct Sums {
    stdout_bytes: u64,
    stderr_bytes: u64,
    lines: u64,
    bad: u64,
}

impl DockerLogTally {
    /// An empty tally.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the lines that end in this chunk.
    pub fn feed(&mut self, chunk: &[u8]) {
        let Self { splitter, sums } = self;
        splitter.feed(chunk, |line| sums.add(line));
    }

    /// Adds the last line of a complete file, if it has no line break.
    pub fn finish(&mut self) {
        let Self { splitter, sums } = self;
        splitter.finish(|line| sums.add(line));
    }

    /// Bytes of stdout in the log, line breaks included.
    #[must_use]
    pub fn stdout_bytes(&self) -> u64 {
        self.sums.stdout_bytes
    }

    /// Bytes of stderr in the log, line breaks included.
    #[must_use]
    pub fn stderr_bytes(&self) -> u64 {
        self.sums.stderr_bytes
    }

    /// Lines of the file, bad and blank ones included. A long line of output takes several.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.sums.lines
    }

    /// Lines that are neither blank nor a docker log object of stdout or stderr. Their bytes are not in the sums.
    #[must_use]
    pub fn bad(&self) -> u64 {
        self.sums.bad
    }
}

impl Sums {
    fn add(&mut self, line: Line<'_>) {
        self.lines = self.lines.saturating_add(1);
        let parsed = match line {
            Line::Whole(text) if text.trim_ascii().is_empty() => return,
            Line::Whole(text) => serde_json::from_slice::<DockerLine>(text).ok(),
            Line::TooLong { .. } => None,
        };
        let Some(DockerLine { log, stream, .. }) = parsed else {
            self.bad = self.bad.saturating_add(1);
            return;
        };
        let sum = match stream {
            Stream::Stdout => &mut self.stdout_bytes,
            Stream::Stderr => &mut self.stderr_bytes,
        };
        *sum = sum.saturating_add(u64::try_from(log.len()).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOG: &str = concat!(
        r#"{"log":"hello\n","stream":"stdout","time":"2026-08-19T10:00:00.000000001Z"}"#,
        "\n",
        r#"{"log":"\u003cé\u0000\r\n","stream":"stderr","time":"2026-08-19T10:00:00.1Z"}"#,
        "\n\n",
        r#"{"log":"no break","stream":"stdout","attrs":{"tag":"x"},"time":"2026-08-19T10:00:01Z"}"#,
        "\n",
        r#"{"log":"cut"#,
        "\n",
        r#"{"log":"x","stream":"stdin","time":"2026-08-19T10:00:01Z"}"#,
        "\n",
    );

    fn sums(tally: &DockerLogTally) -> (u64, u64, u64, u64) {
        (tally.stdout_bytes(), tally.stderr_bytes(), tally.lines(), tally.bad())
    }

    #[test]
    fn decoded_bytes_are_summed_by_stream() {
        let mut tally = DockerLogTally::new();
        tally.feed(LOG.as_bytes());
        assert_eq!(sums(&tally), (6 + 8, 6, 6, 2));
    }

    #[test]
    fn a_last_line_counts_when_the_file_is_complete() {
        let mut tally = DockerLogTally::new();
        tally.feed(br#"{"log":"abc","stream":"stderr","time":""}"#);
        assert_eq!(sums(&tally), (0, 0, 0, 0));
        tally.finish();
        assert_eq!(sums(&tally), (0, 3, 1, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn chunk_borders_do_not_matter(size in 1_usize..40, junk: Vec<u8>) {
            let mut log = LOG.as_bytes().to_vec();
            log.extend(junk);
            let (mut whole, mut chunked) = (DockerLogTally::new(), DockerLogTally::new());
            whole.feed(&log);
            whole.finish();
            log.chunks(size).for_each(|chunk| chunked.feed(chunk));
            chunked.finish();
            prop_assert_eq!(sums(&whole), sums(&chunked));
        }

        #[test]
        fn any_text_counts_its_own_length(texts: Vec<String>) {
            let mut tally = DockerLogTally::new();
            for log in &texts {
                let line = serde_json::json!({"log": log, "stream": "stdout", "time": ""});
                tally.feed(format!("{line}\n").as_bytes());
            }
            let bytes: usize = texts.iter().map(String::len).sum();
            prop_assert_eq!(sums(&tally), (bytes as u64, 0, texts.len() as u64, 0));
        }
    }
}
