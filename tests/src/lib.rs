//! Harness of the tests that run tracer on the real kernel.
//!
//! A *workload* does real I/O and records what the kernel returned (its [`truth`]). [`tracer`] traces
//! it. [`expect`] compares the two, byte by byte. The harness uses only tracer's command line and
//! its JSON report, nothing of its implementation.
//!
//! Every wait has a deadline and names the awaited event. No test sleeps instead of waiting for an
//! event.

pub mod browser;
pub mod capture;
pub mod cgroup;
pub mod cgroup_trace;
pub mod collector;
pub mod content;
pub mod cri;
pub mod deadline;
pub mod docker;
pub mod expect;
pub mod fexit;
pub mod frozen_disk;
pub mod gate;
pub mod gated;
pub mod goproc;
pub mod gvisor;
pub mod jobs;
pub mod journal;
pub mod kernel;
pub mod kernel_objects;
pub mod managed;
pub mod memory_limit;
pub mod observer;
pub mod paths;
pub mod privilege;
pub mod process_manager;
pub mod procfs;
pub mod program;
pub mod prometheus;
pub mod python;
pub mod reader;
pub mod recorder;
pub mod recorder_storm;
pub mod refusal;
pub mod report;
pub mod scenario;
pub mod small_disk;
pub mod stdio;
pub mod still_fs;
pub mod storm;
pub mod tables;
pub mod terminal;
pub mod tracer;
pub mod truth;
pub mod workload;
