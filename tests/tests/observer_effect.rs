//! No observer effect: output, its order and the exit status are the same with and without tracer.
//! `pipe_ends` tests the time of SIGPIPE and end of file.
//!
//! The programs are in `tests/corpus`. Each runs once untraced and then under every kind of trace, in the
//! same harness.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};
use tracer_tests::{
    docker::image,
    observer::{Observed, Streams, Subject, by_pid},
    privilege::require_root,
    refusal::run_command,
    tracer::binary,
};

/// A program and its expected result, so that two equal failures do not pass.
struct Entry {
    interpreter: &'static str,
    script: &'static str,
    code: Option<i32>,
    signal: Option<i32>,
    prints: &'static str,
}

const CORPUS: [Entry; 5] = [
    Entry {
        interpreter: "bash",
        script: "coreutils.sh",
        code: Some(42),
        signal: None,
        prints: "a terminal: 1\n",
    },
    Entry {
        interpreter: "bash",
        script: "git.sh",
        code: Some(128),
        signal: None,
        prints: "CONFLICT (content)",
    },
    Entry {
        interpreter: "python3",
        script: "python.py",
        code: None,
        signal: Some(9),
        prints: "Broken pipe",
    },
    Entry {
        interpreter: "bash",
        script: "shell.sh",
        code: Some(0),
        signal: None,
        prints: "0 failures\n",
    },
    Entry {
        interpreter: "bash",
        script: "itself.sh",
        code: Some(0),
        signal: None,
        prints: "NoNewPrivs:\t0\n",
    },
];

impl Entry {
    fn subject(&self) -> Result<Subject> {
        Subject::of_corpus(self.interpreter, self.script)
    }

    fn check(&self, observed: &Observed) -> Result<()> {
        let stdout = String::from_utf8_lossy(&observed.stdout);
        ensure!(
            stdout.contains(self.prints),
            "{} did not print {:?}: {stdout}",
            self.script,
            self.prints
        );
        let end = (observed.code, observed.signal);
        ensure!(end == (self.code, self.signal), "{} ended with {end:?}", self.script);
        Ok(())
    }
}

/// A program and its untraced result.
struct Baseline {
    subject: Subject,
    streams: Streams,
    untraced: Observed,
}

impl Baseline {
    fn of(entry: &Entry, streams: Streams) -> Result<Self> {
        let subject = entry.subject()?;
        let untraced = subject.untraced(streams)?;
        entry.check(&untraced)?;
        Ok(Self { subject, streams, untraced })
    }

    fn check_same(&self, traced: &Observed) -> Result<()> {
        traced
            .check_same(&self.untraced)
            .with_context(|| format!("{:?}, {:?}", self.subject, self.streams))
    }
}

/// All programs at once under one tracer, first without and then with a capture of all fds.
#[test]
#[ignore = "needs root"]
fn running_programs_behave_the_same_when_traced() -> Result<()> {
    require_root()?;
    let mut corpus = Vec::new();
    for entry in &CORPUS {
        for streams in [Streams::Apart, Streams::Together] {
            corpus.push(Baseline::of(entry, streams)?);
        }
    }
    let subjects: Vec<_> = corpus.iter().map(|it| (&it.subject, it.streams)).collect();
    let directory = tempfile::tempdir()?;
    let out = directory.path().join("out");
    let counted = by_pid(&subjects, |tracer| tracer)?;
    let captured = by_pid(&subjects, |tracer| tracer.arg("--all-fds").arg("--capture").arg(&out))?;
    for (number, baseline) in corpus.iter().enumerate() {
        baseline.check_same(counted.get(number).context("counted")?)?;
        baseline.check_same(captured.get(number).context("captured")?).context("captured")?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn programs_that_tracer_starts_behave_the_same() -> Result<()> {
    require_root()?;
    for (number, entry) in CORPUS.iter().enumerate() {
        let directory = tempfile::tempdir()?;
        let out = directory.path().join("out").display().to_string();
        let baseline = Baseline::of(entry, Streams::Together)?;
        let options = if number % 2 == 0 { &[][..] } else { &["--capture", &out] };
        baseline.check_same(&baseline.subject.as_command(Streams::Together, options)?)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and docker"]
fn a_container_behaves_the_same_when_traced() -> Result<()> {
    let script = "seq 1 3000; echo trouble >&2; cat /none; yes | head -n 1; exit 3";
    let subject = Subject::new(&["docker", "run", "--rm", &image()?, "sh", "-c", script])?;
    // The engine forwards the two streams in parallel, so their relative order is random.
    let plain = subject.untraced(Streams::Apart)?;
    ensure!((plain.code, plain.stdout.len()) == (Some(3), 13_895), "{:?}", plain.code);
    let traced = by_pid(&[(&subject, Streams::Apart)], |tracer| tracer)?;
    traced.first().context("one")?.check_same(&plain)?;
    subject.as_command(Streams::Apart, &[])?.check_same(&plain)
}

/// A Perl program that prints its own signals and streams. A shell script would show the changes that the
/// shell makes to start a program.
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

/// Ignored signals and closed streams are passed on to the command, although the Rust runtime changes both
/// in tracer itself.
#[test]
#[ignore = "needs root"]
fn a_command_inherits_signals_and_streams_unchanged() -> Result<()> {
    require_root()?;
    let directory = tempfile::tempdir()?;
    let [found, report] = ["found", "report"].map(|name| directory.path().join(name));
    let setups = [
        ":",
        "trap '' PIPE",
        "trap '' INT HUP",
        "exec <&-",
        "exec >&-",
        "exec 2>&-",
        "exec <&- >&-",
    ];
    for setup in setups {
        let look = |tracer: &str| -> Result<(String, Vec<u8>, Vec<u8>)> {
            let mut shell = Command::new("sh");
            let line = format!("{setup}; exec {tracer} perl -e \"$0\" \"$1\"");
            shell.args(["-c", &line, LOOK]).arg(&found).arg(binary()?).arg(&report);
            let output = run_command(&mut shell)?;
            let found = fs::read_to_string(&found)
                .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
            Ok((found, output.stdout, output.stderr))
        };
        let (traced, plain) = (look("\"$2\" -q -o \"$3\" --")?, look("")?);
        ensure!(traced == plain, "after `{setup}`: {traced:?}, untraced {plain:?}");
    }
    Ok(())
}
