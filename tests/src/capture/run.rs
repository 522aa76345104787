//! Traces a workload and captures its output.

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::Capture;
use crate::{
    expect,
    kernel::{URING_IS_COUNTED, is_at_least},
    scenario::{Traced, trace_with},
    tracer::Tracer,
    workload::Workload,
};

/// A traced workload with its capture.
#[derive(Debug)]
pub struct Captured {
    /// The workload's results and the report.
    pub traced: Traced,
    /// The capture.
    pub capture: Capture,
    /// Parent directory of the capture; removed when dropped.
    pub parent: TempDir,
}

/// Captures a workload and checks the capture against the report. `None` if this kernel lacks a
/// feature that the workload needs.
pub fn capture(workload: &Workload) -> Result<Option<Captured>> {
    capture_with(workload, |tracer| tracer)
}

/// [`capture`] with more arguments for tracer.
pub fn capture_with(
    workload: &Workload,
    adjust: impl FnOnce(Tracer) -> Tracer,
) -> Result<Option<Captured>> {
    let parent = tempfile::tempdir()?;
    let directory = parent.path().join("out");
    let traced = trace_with(workload, |tracer| adjust(tracer).arg("--capture").arg(&directory))?;
    if let Some(reason) = &traced.workload.skipped {
        eprintln!("SKIPPED: workload {}: {reason}", traced.words);
        return Ok(None);
    }
    let context =
        || format!("workload {}; stderr of tracer: {}", traced.words, traced.tracer.stderr);
    let capture = Capture::load(&directory).with_context(context)?;
    capture.check_report(&traced.report).with_context(context)?;
    Ok(Some(Captured { traced, capture, parent }))
}

impl Captured {
    /// Checks a complete capture: it has exactly the bytes that were read, no gaps, and the run is
    /// [`expect::exact`].
    pub fn check(&self) -> Result<()> {
        self.check_as(|captured, received| captured == received)
    }

    /// Like [`Self::check`], for requests that the kernel may execute and complete in different orders.
    pub fn check_in_any_order(&self) -> Result<()> {
        self.check_as(|captured, received| counts(captured) == counts(received))
    }

    fn check_as(&self, is_same: impl Fn(&[u8], &[u8]) -> bool) -> Result<()> {
        if self.is_untraceable()? {
            return self.check_untraceable();
        }
        self.capture.is_complete()?;
        self.check_arrived(is_same)?;
        expect::exact(&self.traced)
    }

    /// Whether the workload uses io_uring on a kernel where tracer cannot count that.
    fn is_untraceable(&self) -> Result<bool> {
        Ok(self.traced.words.starts_with("uring") && !is_at_least(URING_IS_COUNTED)?)
    }

    /// Checks that nothing is captured and that the report has the reason.
    fn check_untraceable(&self) -> Result<()> {
        self.check_arrived(|captured, received| captured.is_empty() && !received.is_empty())?;
        expect::uring_loss_is_reported(&self.traced.report)
    }

    fn check_arrived(&self, is_same: impl Fn(&[u8], &[u8]) -> bool) -> Result<()> {
        let Traced { workload, report, words, .. } = &self.traced;
        for (object, received) in workload.objects.iter().zip(&workload.received) {
            let Some(received) = received else { continue };
            let captured = self.capture.written_to(report, object)?;
            let first = captured.iter().zip(&received.bytes).position(|(a, b)| a != b);
            ensure!(
                is_same(&captured, &received.bytes),
                "{words}, {object}: {} bytes arrived, {} were captured; first difference at \
                 {first:?}",
                received.len(),
                captured.len()
            );
        }
        Ok(())
    }

    /// The bytes that were read from fd 1.
    pub fn received(&self) -> Result<&[u8]> {
        self.traced.workload.stdout()
    }

    /// The stream of the workload's first process through this fd.
    pub fn stream(&self, fd: i32) -> Result<&super::Stream> {
        self.capture.stream(self.traced.workload.pid, fd)
    }
}

/// Number of occurrences of each byte value.
fn counts(bytes: &[u8]) -> Vec<u64> {
    let mut counts = vec![0; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    counts
}
