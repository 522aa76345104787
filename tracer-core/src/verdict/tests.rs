//! Situations of a few events and rows, each next to a similar one with another verdict.

mod adopted;
mod agreement;
mod changes;
mod commands;
mod cuts;
mod engine_log;
mod failures;
mod fates;
mod files;
mod hangs;
mod helpers;
mod inside;
mod jobs;
mod limits;
mod many;
mod others;
mod refusals;
mod relays;
mod scene;
mod sentences;
mod shared;
mod silence;
mod silence_above;
mod terminals;
mod wanted;
