//! The contenders: starts each, waits until it is attached, and reads its counts.

use std::{fs, process::Command, thread, time::Duration};

use anyhow::{Result, bail};
use tempfile::TempDir;
use xtask::command;

use super::count::{Counted, TracerCounts};
use crate::harness::{
    fixture::Fixture,
    procfs::{fdinfos, field},
    report,
    tool::Tool,
};

/// One column of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contender {
    /// No tracer.
    Native,
    /// An empty eBPF program on tracer's hook.
    Floor,
    /// tracer, counting.
    Tracer,
    /// tracer, counting with the hooks of Linux 7.0 and later.
    NonPreemptible,
    /// tracer, counting with fexit.
    Fexit,
    /// tracer, with `--capture`.
    Capture,
    /// bpftrace with `question.bt`.
    Bpftrace,
    /// `strace -f -e trace=write,writev`.
    Strace,
    /// `perf trace -s -e write,writev`.
    PerfTrace,
}

/// Pause after a tracer's end, in which a kernel worker frees its programs and maps.
const SETTLE: Duration = Duration::from_millis(30);

impl Contender {
    /// All contenders of the comparison, in the order of each round. Not every kernel lets fexit programs be attached.
    pub(crate) const ALL: [Self; 8] = [
        Self::Native,
        Self::Floor,
        Self::Tracer,
        Self::NonPreemptible,
        Self::Capture,
        Self::Bpftrace,
        Self::Strace,
        Self::PerfTrace,
    ];

    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Floor => "floor",
            Self::Tracer => "tracer",
            Self::NonPreemptible => "tracer, 7.x",
            Self::Fexit => "tracer, fexit",
            Self::Capture => "tracer --capture",
            Self::Bpftrace => "bpftrace",
            Self::Strace => "strace",
            Self::PerfTrace => "perf trace",
        }
    }

    /// Divides the number of measured calls, because each call takes longer.
    pub(crate) fn slowness(self) -> u64 {
        match self {
            Self::Strace => 50,
            Self::PerfTrace => 10,
            _ => 1,
        }
    }

    /// Whether the target must end before the tracer. perf reads its buffers when its target ends, and discards them
    /// when it is interrupted.
    pub(crate) fn ends_with_target(self) -> bool {
        self == Self::PerfTrace
    }

    /// The program that it needs.
    fn program(self) -> Option<&'static str> {
        match self {
            Self::Native
            | Self::Floor
            | Self::Tracer
            | Self::NonPreemptible
            | Self::Fexit
            | Self::Capture => None,
            Self::Bpftrace => Some("bpftrace"),
            Self::Strace => Some("strace"),
            Self::PerfTrace => Some("perf"),
        }
    }

    /// The reason why it cannot run, if any.
    pub(crate) fn absence(self) -> Option<String> {
        let program = self.program()?;
        command::find(program).is_none().then(|| format!("{program} is not installed"))
    }

    /// Waits until tracer has detached `sys_exit`, in whose place the programs of [`Self::Fexit`] count.
    pub(crate) fn settle(self, attached: &mut Attached) -> Result<()> {
        match (&mut attached.tool, self) {
            (Some(tool), Self::Fexit) => tool.wait_until("detach sys_exit", |pid| {
                fdinfos(pid).is_ok_and(|mut infos| {
                    !infos.any(|text| field(&text, "tp_name:") == Some("sys_exit"))
                })
            }),
            _ => Ok(()),
        }
    }

    /// Attaches it to the process tree of `pid`.
    pub(crate) fn attach(self, fixture: &Fixture, pid: u32) -> Result<Attached> {
        let pid = pid.to_string();
        let (tool, ready) = match self {
            Self::Native => return Ok(Attached { contender: self, tool: None, files: None }),
            Self::Floor => {
                let mut floor = Command::new(&fixture.floor);
                floor.arg(&fixture.floor_object);
                (Tool::start("floor", &mut floor)?, "floor: attached")
            }
            Self::Tracer | Self::NonPreemptible | Self::Fexit | Self::Capture => {
                return self.attach_tracer(fixture, &pid);
            }
            Self::Bpftrace => {
                let mut bpftrace = Command::new("bpftrace");
                bpftrace.args(["-B", "none"]).arg(&fixture.question).arg(&pid);
                (Tool::start("bpftrace", &mut bpftrace)?, "attached")
            }
            Self::Strace => {
                let mut strace = Command::new("strace");
                strace.args(["-f", "-e", "trace=write,writev", "-o", "/dev/null", "-p", &pid]);
                (Tool::start("strace", &mut strace)?, "attached")
            }
            Self::PerfTrace => return self.attach_perf(&pid),
        };
        self.attached(tool, ready, None)
    }

    fn attach_tracer(self, fixture: &Fixture, pid: &str) -> Result<Attached> {
        let files = fixture.new_directory()?;
        let mut tracer = Command::new(&fixture.tracer);
        tracer.args(["--pid", pid, "--format", "json", "-o"]).arg(files.path().join("report"));
        match self {
            Self::Capture => tracer.arg("--capture").arg(files.path().join("capture")),
            Self::NonPreemptible => tracer.args(["--hooks", "non-preemptible"]),
            Self::Fexit => tracer.args(["--attach", "fexit"]),
            _ => tracer.args(["--hooks", "tp_btf"]),
        };
        let tool = Tool::start("tracer", &mut tracer)?;
        self.attached(tool, "tracer: attached", Some(files))
    }

    /// perf prints nothing when it is attached. It has then opened its events and sleeps in `poll`.
    fn attach_perf(self, pid: &str) -> Result<Attached> {
        let mut perf = Command::new("perf");
        perf.args(["trace", "-s", "-e", "write,writev", "-p", pid]);
        let mut tool = Tool::start("perf", &mut perf)?;
        tool.wait_until("attach", |perf| has_events(perf) && is_polling(perf))?;
        Ok(Attached { contender: self, tool: Some(tool), files: None })
    }

    fn attached(self, mut tool: Tool, ready: &str, files: Option<TempDir>) -> Result<Attached> {
        tool.wait_for(ready)?;
        Ok(Attached { contender: self, tool: Some(tool), files })
    }
}

/// An attached contender.
pub(crate) struct Attached {
    contender: Contender,
    tool: Option<Tool>,
    files: Option<TempDir>,
}

impl Attached {
    /// The pid of the tracer.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.tool.as_ref().map(Tool::pid)
    }

    /// Ends it and returns what it counted. `root` is the root of the traced tree.
    pub(crate) fn finish(self, root: u32) -> Result<Counted> {
        let Some(tool) = self.tool else { return Ok(Counted::Nothing) };
        let (status, output) = match self.contender {
            Contender::Bpftrace => tool.interrupt_until_end()?,
            // The floor ends at the end of its input, perf when its target ends.
            Contender::Floor | Contender::PerfTrace => tool.finish()?,
            _ => {
                tool.interrupt()?;
                tool.finish()?
            }
        };
        let counted = match (self.contender, self.files) {
            (
                Contender::Tracer
                | Contender::NonPreemptible
                | Contender::Fexit
                | Contender::Capture,
                Some(files),
            ) => {
                // 1 means that output was lost. Other codes mean that there is no report.
                if !matches!(status.code(), Some(0 | 1)) {
                    bail!("tracer ended with {status}: {}", output.join(" / "));
                }
                let report = report::read(&files.path().join("report"))?;
                Counted::Tracer(TracerCounts::of(&report, root))
            }
            (Contender::Bpftrace, _) => Counted::Bytes(bpftrace_sum(&output)),
            (Contender::PerfTrace, _) => Counted::Calls(perf_sum(&output)),
            _ => Counted::Nothing,
        };
        thread::sleep(SETTLE);
        Ok(counted)
    }
}

/// Sum of the bytes of fd 1 in lines `@bytes[PID, FD]: SUM`.
fn bpftrace_sum(output: &[String]) -> u64 {
    output
        .iter()
        .filter_map(|line| line.strip_prefix("@bytes[")?.split_once("]: "))
        .filter(|(key, _)| key.ends_with(", 1"))
        .filter_map(|(_, sum)| sum.trim().parse::<u64>().ok())
        .sum()
}

/// Sum of the calls in lines `write CALLS …` and `writev CALLS …` of all threads' summaries.
fn perf_sum(output: &[String]) -> u64 {
    output
        .iter()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            matches!(words.next()?, "write" | "writev")
                .then(|| words.next()?.parse::<u64>().ok())?
        })
        .sum()
}

fn has_events(pid: u32) -> bool {
    let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    fds.flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .any(|link| link.to_string_lossy().contains("perf_event"))
}

/// Whether a process sleeps in `poll` or `ppoll` (numbers of x86-64).
fn is_polling(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/syscall"))
        .is_ok_and(|line| line.starts_with("7 ") || line.starts_with("271 "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn bpftraces_sums_are_added_for_fd_1_alone() {
        let output = lines(
            "attached\n\n@bytes[6269, 2]: 97\n@bytes[6269, 1]: 32000\n@bytes[70, 1]: 5\n@bytes[71, 11]: 9",
        );
        assert_eq!(bpftrace_sum(&output), 32005);
    }

    #[test]
    fn perfs_calls_are_added_over_all_threads() {
        let output = lines(
            " Summary of events:\n\n load (60), 40 events, 66.7%\n\n   syscall  calls errors total\n\
             ---- ----\n   write     20      0     0.1\n\n load (61)\n   write     3   0  0.1\n   writev 9 0\n read 7 0",
        );
        assert_eq!(perf_sum(&output), 32);
    }
}
