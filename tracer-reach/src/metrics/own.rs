//! The process itself, by the names that all exporters have for it.

use std::{
    fmt, fs,
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};
use rustix::param::{clock_ticks_per_second, page_size};

/// Tells of the process at each scrape.
#[derive(Debug)]
pub(super) struct Own {
    start_seconds: f64,
}

impl Own {
    /// The process has started about now.
    pub(super) fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start_seconds: now.as_secs_f64() }
    }
}

/// What `/proc/self/stat` says (proc(5)).
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// Fields 14 and 15 are times, 23 and 24 sizes. The name, which may have blanks, is in parentheses before field 3.
    fn parse(text: &str) -> Option<Self> {
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let ticks = number(14)?.saturating_add(number(15)?);
        Some(Self {
            cpu_seconds: ticks as f64 / clock_ticks_per_second() as f64,
            virtual_bytes: number(23)?,
            resident_bytes: number(24)?.saturating_mul(page_size() as u64),
        })
    }
}

impl Collector for Own {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let start = ConstGauge::new(self.start_seconds);
        let (name, help) =
            ("process_start_time_seconds", "When the process started, in seconds since 1970.");
        start.encode(encoder.encode_descriptor(name, help, None, start.metric_type())?)?;
        let Some(stat) = Stat::read() else { return Ok(()) };
        let cpu = ConstCounter::new(stat.cpu_seconds);
        let (name, help) = ("process_cpu_seconds", "CPU time of the process.");
        cpu.encode(encoder.encode_descriptor(name, help, None, cpu.metric_type())?)?;
        for (name, help, bytes) in [
            ("process_virtual_memory_bytes", "Virtual memory of the process.", stat.virtual_bytes),
            (
                "process_resident_memory_bytes",
                "Resident memory of the process.",
                stat.resident_bytes,
            ),
        ] {
            let gauge = ConstGauge::new(bytes);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_those_of_the_manual() {
        let text = "7 (a b) c) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 7 8 20 0 9 0 100 4096000 10 0";
        let stat = Stat::parse(text).unwrap();
        let seconds = 200.0 / clock_ticks_per_second() as f64;
        let resident_bytes = 10 * page_size() as u64;
        let expected = Stat { cpu_seconds: seconds, virtual_bytes: 4_096_000, resident_bytes };
        assert_eq!(stat, expected);
        assert!(Stat::read().unwrap().resident_bytes > 0);
        assert_eq!(Stat::parse("7 (a) S 1"), None);
    }
}
