//! Text: strings of traced programs (shared, escaped, redacted), and numbers in words.

mod arguments;
pub(crate) mod bounded_line;
pub mod errno;
mod escape;
pub mod json;
mod list;
pub mod redact;
pub mod signal;
pub mod units;
mod variables;

pub use self::{
    arguments::{Arguments, Beginning},
    escape::{escape, is_hazard, shorten},
    list::{list, list_of, name},
    variables::Variables,
};
