//! No observer effect: output, its order and the end are as without a tracer (`pipe_ends` has the moments).
//!
//! The corpus is in `tests/corpus`. Everything runs once with nobody watching and again under every kind
//! of trace, through the same harness.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};
use tracer_tests::{
    docker::image,
    observer::{Observed, Streams, Subject, by_pid},
    privilege::require_root,
    refusal::run_command,
    tracer::binary,
};

/// What the corpus must have done by itself, so that two failures are not taken for sameness.
struct Entry {
    interpreter: &'static str,
    script: &'static str,
    code: Option<i32>,
    signal: Option<i32>,
    says: &'static str,
}

const CORPUS: [Entry; 5] = [
    Entry {
        interpreter: "bash",
        script: "coreutils.sh",
        code: Some(42),
        signal: None,
        says: "a terminal: 1\n",
    },
    Entry {
        interpreter: "bash",
        script: "git.sh",
        code: Some(128),
        signal: None,
        says: "CONFLICT (content)",
    },
    Entry {
        interpreter: "python3",
        script: "python.py",
        code: None,
        signal: Some(9),
        says: "Broken pipe",
    },
    Entry {
        interpreter: "bash",
        script: "shell.sh",
        code: Some(0),
        signal: None,
        says: "0 failures\n",
    },
    Entry {
        interpreter: "bash",
        script: "itself.sh",
        code: Some(0),
        signal: None,
        says: "NoNewPrivs:\t0\n",
    },
];

impl Entry {
    fn subject(&self) -> Result<Subject> {
        Subject::of_corpus(self.interpreter, self.script)
    }

    fn check(&self, observed: &Observed) -> Result<()> {
        let said = String::from_utf8_lossy(&observed.stdout);
        ensure!(said.contains(self.says), "{} did not say {:?}: {said}", self.script, self.says);
        let end = (observed.code, observed.signal);
        ensure!(end == (self.code, self.signal), "{} ended with {end:?}", self.script);
        Ok(())
    }
}

/// A part of the corpus, and what it does with nobody watching.
struct Watched {
    subject: Subject,
    streams: Streams,
    plain: Observed,
}

impl Watched {
    fn of(entry: &Entry, streams: Streams) -> Result<Self> {
        let subject = entry.subject()?;
        let plain = subject.untraced(streams)?;
        entry.check(&plain)?;
        Ok(Self { subject, streams, plain })
    }

    fn is_like(&self, traced: &Observed) -> Result<()> {
        traced
            .is_like(&self.plain)
            .with_context(|| format!("{:?}, {:?}", self.subject, self.streams))
    }
}

/// All at once under one tracer, first counted, then with every byte on every fd captured.
#[test]
#[ignore = "needs root"]
fn programs_met_running_write_what_they_would_have_written() -> Result<()> {
    require_root()?;
    let mut corpus = Vec::new();
    for entry in &CORPUS {
        for streams in [Streams::Apart, Streams::Together] {
            corpus.push(Watched::of(entry, streams)?);
        }
    }
    let subjects: Vec<_> = corpus.iter().map(|it| (&it.subject, it.streams)).collect();
    let directory = tempfile::tempdir()?;
    let out = directory.path().join("out");
    let counted = by_pid(&subjects, |tracer| tracer)?;
    let captured = by_pid(&subjects, |tracer| tracer.arg("--all-fds").arg("--capture").arg(&out))?;
    for (number, watched) in corpus.iter().enumerate() {
        watched.is_like(counted.get(number).context("counted")?)?;
        watched.is_like(captured.get(number).context("captured")?).context("captured")?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn programs_that_tracer_starts_write_what_they_would_have_written() -> Result<()> {
    require_root()?;
    for (number, entry) in CORPUS.iter().enumerate() {
        let directory = tempfile::tempdir()?;
        let out = directory.path().join("out").display().to_string();
        let watched = Watched::of(entry, Streams::Together)?;
        let options = if number % 2 == 0 { &[][..] } else { &["--capture", &out] };
        watched.is_like(&watched.subject.as_command(Streams::Together, options)?)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and docker"]
fn a_container_writes_what_it_would_have_written() -> Result<()> {
    let script = "seq 1 3000; echo trouble >&2; cat /none; yes | head -n 1; exit 3";
    let subject = Subject::new(&["docker", "run", "--rm", &image()?, "sh", "-c", script])?;
    // The engine passes the two streams on side by side: their order is chance, traced or not.
    let plain = subject.untraced(Streams::Apart)?;
    ensure!((plain.code, plain.stdout.len()) == (Some(3), 13_895), "{:?}", plain.code);
    let traced = by_pid(&[(&subject, Streams::Apart)], |tracer| tracer)?;
    traced.first().context("one")?.is_like(&plain)?;
    subject.as_command(Streams::Apart, &[])?.is_like(&plain)
}

/// What a program finds of its signals and streams, by a program that looks at itself: a shell would show
/// what it does to start the one that looks.
const LOOK: &str = r#"
    my @found = map { my $to = readlink("/proc/self/fd/$_") // "closed"; $to =~ s/\d+//g; "$_ $to\n" } 0 .. 2;
    opendir(my $fds, "/proc/self/fd");
    push @found, join(" ", sort grep { !/\./ } readdir($fds)), "\n";
    open(my $status, "<", "/proc/self/status");
    push @found, grep { /^(Sig[BIC]|ShdPnd|Cap|NoNewPrivs)/ } <$status>;
    push @found, "out: ", syswrite(STDOUT, "out\n") // "$!", "\n";
    push @found, "err: ", syswrite(STDERR, "err\n") // "$!", "\n";
    push @found, "in: ", sysread(STDIN, my $byte, 1) // "$!", "\n";
    open(my $out, ">", $ARGV[0]);
    print $out @found;
"#;

/// SIGPIPE ignored, a stream closed beforehand: it is the same, though Rust's runtime changes both for
/// tracer itself.
#[test]
#[ignore = "needs root"]
fn a_command_finds_signals_and_streams_as_they_were() -> Result<()> {
    require_root()?;
    let directory = tempfile::tempdir()?;
    let [found, report] = ["found", "report"].map(|name| directory.path().join(name));
    let befores = [
        ":",
        "trap '' PIPE",
        "trap '' INT HUP",
        "exec <&-",
        "exec >&-",
        "exec 2>&-",
        "exec <&- >&-",
    ];
    for before in befores {
        let look = |tracer: &str| -> Result<(String, Vec<u8>, Vec<u8>)> {
            let mut shell = Command::new("sh");
            let line = format!("{before}; exec {tracer} perl -e \"$0\" \"$1\"");
            shell.args(["-c", &line, LOOK]).arg(&found).arg(binary()?).arg(&report);
            let output = run_command(&mut shell)?;
            let found = fs::read_to_string(&found)
                .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
            Ok((found, output.stdout, output.stderr))
        };
        let (traced, plain) = (look("\"$2\" -q -o \"$3\" --")?, look("")?);
        ensure!(traced == plain, "after `{before}`: {traced:?}, untraced {plain:?}");
    }
    Ok(())
}
