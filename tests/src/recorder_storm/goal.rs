//! Goals, with what was measured.

/// A goal.
#[derive(Clone, Debug)]
pub struct Goal {
    /// What is measured.
    pub text: &'static str,
    /// What is wanted.
    pub bound: String,
    /// What was measured.
    pub measured: String,
    /// Whether that is what is wanted.
    pub is_reached: bool,
}

impl Goal {
    /// A goal whose measured value is to be added.
    pub fn new(text: &'static str, bound: impl Into<String>, is_reached: bool) -> Self {
        Self { text, bound: bound.into(), measured: String::new(), is_reached }
    }

    /// Adds what was measured.
    pub fn measured(self, measured: impl Into<String>) -> Self {
        Self { measured: measured.into(), ..self }
    }
}
