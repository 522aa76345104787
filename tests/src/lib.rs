//! Harness of the tests on the real kernel.
//!
//! A *workload* does real I/O and writes down what the kernel returned (its [`truth`]); the
//! [`tracer`] runs beside it; [`expect`] compares the two to the byte. Nothing here knows how
//! the tracer works: it is driven through its command line and read through its JSON report.
//!
//! Every wait has a deadline and says what it waited for; no sleep stands in for an event.

pub mod capture;
pub mod cgroup;
pub mod content;
pub mod deadline;
pub mod docker;
pub mod expect;
pub mod gate;
pub mod gated;
pub mod goproc;
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
pub mod reader;
pub mod refusal;
pub mod report;
pub mod rights;
pub mod scenario;
pub mod small_disk;
pub mod stdio;
pub mod storm;
pub mod tracer;
pub mod truth;
pub mod workload;
