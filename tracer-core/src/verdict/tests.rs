//! Situations made up of a few events and rows, each beside one in which the verdict is another one.

mod met_running;
mod scene;
mod sentences;
mod silence;
mod silence_above;
mod wanted;
