//! Text: strings of traced programs (shared, escaped, redacted), and numbers in words.

mod arguments;
pub(crate) mod bounded_line;
pub mod errno;
mod escape;
pub mod json;
pub mod redact;
pub mod units;
mod variables;

pub use self::{
    arguments::{Arguments, Beginning},
    escape::{escape, is_hazard, shorten},
    variables::Variables,
};
