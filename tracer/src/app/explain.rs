//! `tracer explain`: what a finding means.

use std::io::{self, IsTerminal as _, Write as _};

use super::{
    AppError,
    output::{wants_color, width_of},
};
use crate::{
    render::{self, Style},
    settings::ColorChoice,
};

/// Prints the text of a rule, or the list of all rules.
///
/// # Errors
/// [`AppError`] if there is no such rule, or if standard output cannot be written to.
pub fn explain(rule: Option<&str>, color: ColorChoice) -> Result<(), AppError> {
    if let Some(name) = rule.filter(|name| !render::is_rule(name)) {
        return Err(AppError::NoSuchRule { name: name.to_owned() });
    }
    let stdout = io::stdout();
    let style = Style { color: wants_color(color, stdout.is_terminal()), width: width_of(&stdout) };
    let mut out = stdout.lock();
    match render::explain(rule, &style, &mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => {
            result.map_err(|source| AppError::Output { path: "standard output".into(), source })
        }
    }
}
