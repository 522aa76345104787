//! A session file (`tracer report FILE`): gives a sentence, or a report that is harmless in every form.

use tracer_core::recording::read;

use crate::oracle::{check_report, check_sentence};

/// How much memory the session of an input may take. Some inputs do not fit and are cut.
const MEMORY: u64 = 1 << 20;

/// Takes any bytes as a session file.
pub fn check(input: &[u8]) {
    match read(input, MEMORY) {
        Ok(recording) => {
            recording.left_out.iter().for_each(|why| check_sentence(&why.to_string()));
            if let Some((line, fault)) = &recording.first_damage {
                assert!(recording.damaged > 0 && *line > 1, "line {line}: {fault}");
                check_sentence(fault);
            }
            check_report(&recording.report().0);
        }
        Err(error) => check_sentence(&error.to_string()),
    }
}
