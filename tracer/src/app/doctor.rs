//! `tracer doctor`: whether a trace works on this machine.

use std::io::{self, IsTerminal as _, Write as _};

use tracer_loader::check_hooks;

use super::output::{wants_color, width_of};
use crate::{
    doctor::{self, Status},
    render::{self, DoctorLine, LineStatus, Style},
    settings::ColorChoice,
};

/// Checks the machine and prints the results. Returns whether a trace would work.
///
/// # Errors
/// Standard output cannot be written to.
pub fn doctor(color: ColorChoice) -> io::Result<bool> {
    let mut lines: Vec<DoctorLine> = doctor::inspect()
        .into_iter()
        .map(|check| DoctorLine {
            ok: match check.status {
                Status::Ok => LineStatus::Ok,
                Status::Warn => LineStatus::Warn,
                Status::Fail => LineStatus::Fail,
            },
            name: check.name.to_owned(),
            found: check.found,
            cure: check.cure,
        })
        .collect();
    // If a requirement is not met, no program loads, and the verifier's errors would only distract.
    if works(&lines) {
        lines.extend(hooks());
    } else {
        lines.push(not_tried());
    }
    let stdout = io::stdout();
    let style = Style { color: wants_color(color, stdout.is_terminal()), width: width_of(&stdout) };
    let mut out = stdout.lock();
    let works = works(&lines);
    match render::doctor(&lines, &style, &mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(works),
        result => result.map(|()| works),
    }
}

fn works(lines: &[DoctorLine]) -> bool {
    lines.iter().all(|line| line.ok != LineStatus::Fail)
}

fn not_tried() -> DoctorLine {
    let found = "not tried: a line above says why no program can be loaded".to_owned();
    DoctorLine { ok: LineStatus::Warn, name: "hooks".into(), found, cure: None }
}

/// Loads the program of each hook. Returns one line for each.
fn hooks() -> Vec<DoctorLine> {
    match check_hooks() {
        Ok(checks) => checks
            .into_iter()
            .map(|check| {
                let (ok, found, cure) = match (check.refused, check.optional) {
                    (None, _) => (LineStatus::Ok, format!("loads ({})", check.purpose), None),
                    (Some(reason), true) => (LineStatus::Warn, reason, None),
                    (Some(reason), false) => (LineStatus::Fail, reason, Some(REFUSED.to_owned())),
                };
                DoctorLine { ok, name: format!("hook {}", check.name), found, cure }
            })
            .collect(),
        Err(error) => vec![DoctorLine {
            ok: LineStatus::Fail,
            name: "hooks".into(),
            found: error.to_string(),
            cure: None,
        }],
    }
}

const REFUSED: &str = "fix what the lines above say; if they are all ✓, report this line as a bug";
