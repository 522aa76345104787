//! The processes that the helper was asked about.

use std::collections::BTreeMap;

use tracer_common::id::ProcessId;

/// The most processes that are asked about at a time, and sandboxes: any program can have the name of a sandbox.
pub(super) const MOST_ASKED: usize = 1024;

/// A process that the helper was asked about.
struct Question {
    process: ProcessId,
    /// Whether it got another image before the answer came: the answer may be about the image before.
    has_other_image: bool,
}

/// What to do with a process that has the name of a sandbox.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask the helper.
    Ask,
    /// It was asked.
    Wait,
    /// There are too many.
    Full,
}

/// The processes that the helper was asked about, without those that are no sandboxes.
#[derive(Default)]
pub(super) struct Asked {
    questions: BTreeMap<u32, Question>,
}

impl Asked {
    /// What to do now that a process has an image with the name of a sandbox.
    pub(super) fn next(&mut self, process: ProcessId) -> Next {
        let known = self.questions.get_mut(&process.tgid);
        if let Some(question) = known.filter(|question| question.process == process) {
            question.has_other_image = true;
            return Next::Wait;
        }
        if self.questions.len() < MOST_ASKED { Next::Ask } else { Next::Full }
    }

    /// Forgets processes that are not there any more.
    pub(super) fn retain(&mut self, is_there: impl Fn(u32) -> bool) {
        self.questions.retain(|pid, _| is_there(*pid));
    }

    /// The helper is asked now.
    pub(super) fn asks(&mut self, process: ProcessId) {
        self.questions.insert(process.tgid, Question { process, has_other_image: false });
    }

    /// The process with this pid that was asked about.
    pub(super) fn get(&self, pid: u32) -> Option<ProcessId> {
        self.questions.get(&pid).map(|question| question.process)
    }

    /// The answer: it is no sandbox. It may become one, and then has another image. Returns the process if it has one
    /// already.
    #[must_use]
    pub(super) fn is_none(&mut self, pid: u32) -> Option<ProcessId> {
        let question = self.questions.remove(&pid)?;
        question.has_other_image.then_some(question.process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(tgid: u32, start_ns: u64) -> ProcessId {
        ProcessId { tgid, start_ns, ..ProcessId::default() }
    }

    #[test]
    fn an_image_that_comes_before_the_answer_is_asked_about_too() {
        let mut asked = Asked::default();
        assert_eq!(asked.next(process(7, 1)), Next::Ask);
        asked.asks(process(7, 1));
        assert_eq!(asked.next(process(7, 1)), Next::Wait);
        assert_eq!(asked.is_none(7), Some(process(7, 1)));
        // It has no further image.
        asked.asks(process(7, 1));
        assert_eq!(asked.is_none(7), None);
        assert_eq!(asked.next(process(7, 1)), Next::Ask);
    }

    #[test]
    fn another_process_with_the_pid_is_another_question() {
        let mut asked = Asked::default();
        asked.asks(process(7, 1));
        assert_eq!(asked.next(process(7, 2)), Next::Ask);
        assert_eq!(asked.is_none(7), None);
    }

    #[test]
    fn there_is_a_limit() {
        let mut asked = Asked::default();
        (0..1024).for_each(|tgid| asked.asks(process(tgid, 1)));
        assert_eq!(asked.next(process(1024, 1)), Next::Full);
        assert_eq!(asked.is_none(3), None);
        assert_eq!(asked.next(process(1024, 1)), Next::Ask);
        asked.asks(process(1024, 1));
        assert_eq!(asked.next(process(1025, 1)), Next::Full);
        asked.retain(|pid| pid > 100);
        assert_eq!(asked.next(process(1025, 1)), Next::Ask);
        assert_eq!((asked.get(100), asked.get(101)), (None, Some(process(101, 1))));
    }
}
