//! A traced workload with its capture.

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::Capture;
use crate::{
    expect,
    kernel::{URING_IS_COUNTED, is_at_least},
    scenario::{Traced, trace_with},
    tracer::Tracer,
    workload::Workload,
};

/// A workload that was captured.
#[derive(Debug)]
pub struct Captured {
    /// Both sides of the run.
    pub traced: Traced,
    /// What was captured.
    pub capture: Capture,
    /// Where; gone with this.
    pub parent: TempDir,
}

/// Captures a workload from before its first write to the end of its tree; `None` when this kernel
/// does not offer its subject. The report's books agree with the folder's.
pub fn capture(workload: &Workload) -> Result<Option<Captured>> {
    capture_with(workload, |tracer| tracer)
}

/// The same with further arguments for the tracer.
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
        || format!("workload {}; the tracer said: {}", traced.words, traced.tracer.stderr);
    let capture = Capture::load(&directory).with_context(context)?;
    capture.check_report(&traced.report).with_context(context)?;
    Ok(Some(Captured { traced, capture, parent }))
}

impl Captured {
    /// The law of a capture that had room: what was read is what the capture has, byte for byte,
    /// nothing is missing, and the tracer lost nothing.
    pub fn check(&self) -> Result<()> {
        self.check_as(|captured, received| captured == received)
    }

    /// The same where the kernel may take requests in another order than it completes them.
    pub fn check_in_any_order(&self) -> Result<()> {
        self.check_as(|captured, received| counts(captured) == counts(received))
    }

    fn check_as(&self, is_same: impl Fn(&[u8], &[u8]) -> bool) -> Result<()> {
        if self.is_out_of_sight()? {
            return self.check_told();
        }
        self.capture.is_complete()?;
        self.check_arrived(is_same)?;
        expect::exact(&self.traced)
    }

    /// Whether it writes in a way of which this kernel does not tell.
    fn is_out_of_sight(&self) -> Result<bool> {
        Ok(self.traced.words.starts_with("uring") && !is_at_least(URING_IS_COUNTED)?)
    }

    /// Nothing of what arrived is captured, and the report says why.
    fn check_told(&self) -> Result<()> {
        self.check_arrived(|captured, received| captured.is_empty() && !received.is_empty())?;
        expect::uring_is_told(&self.traced.report)
    }

    fn check_arrived(&self, is_same: impl Fn(&[u8], &[u8]) -> bool) -> Result<()> {
        let Traced { workload, report, words, .. } = &self.traced;
        for (object, received) in workload.objects.iter().zip(&workload.received) {
            let Some(received) = received else { continue };
            let captured = self.capture.written_to(report, object)?;
            let first = captured.iter().zip(&received.bytes).position(|(a, b)| a != b);
            ensure!(
                is_same(&captured, &received.bytes),
                "{words}, {object}: {} bytes arrived, {} were captured; the first that differs: \
                 {first:?}",
                received.len(),
                captured.len()
            );
        }
        Ok(())
    }

    /// What the reader of fd 1 got.
    pub fn received(&self) -> Result<&[u8]> {
        let received = self.traced.workload.received[0].as_ref();
        Ok(&received.context("nothing can arrive there")?.bytes)
    }

    /// The workload's own stream through this fd.
    pub fn stream(&self, fd: i32) -> Result<&super::Stream> {
        self.capture.stream(self.traced.workload.pid, fd)
    }
}

/// How often each byte occurs.
fn counts(bytes: &[u8]) -> Vec<u64> {
    let mut counts = vec![0; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    counts
}
