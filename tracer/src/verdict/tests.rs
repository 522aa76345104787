//! Situations made up of a few events and rows, each beside one in which the verdict is another one.

mod scene;
mod sentences;
mod silence;
mod silence_above;
mod wanted;
