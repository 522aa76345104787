//! Numbers in words: bytes, counts, times.

use bytesize::ByteSize;

/// From this number of bytes on, a rounded value is added.
const ROUNDED_FROM: u64 = 10 * 1024;

/// `2,048 B`, `1,288,895 B`.
#[must_use]
pub fn exact(bytes: u64) -> String {
    format!("{} B", grouped(bytes))
}

/// `2,048 B`, `1,288,895 B (1.2 MiB)`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    let exact = exact(bytes);
    if bytes < ROUNDED_FROM {
        return exact;
    }
    format!("{exact} ({})", rounded(bytes))
}

/// `999 B`, `64.0 KiB`, `1.2 MiB`.
#[must_use]
pub fn rounded(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}

/// In at most six columns: `999 B`, `1.2 K`, `16.0 E`.
#[must_use]
pub fn short(bytes: u64) -> String {
    const UNITS: [char; 7] = ['B', 'K', 'M', 'G', 'T', 'P', 'E'];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let unit_name = UNITS.get(unit).copied().unwrap_or('E');
    if unit == 0 || value >= 99.95 {
        format!("{value:.0} {unit_name}")
    } else {
        format!("{value:.1} {unit_name}")
    }
}

/// A limit in whole MiB, rounded down: `512 MiB`.
#[must_use]
pub fn whole_mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// `1 write`, `3 writes`, `12,000 processes`.
#[must_use]
pub fn count(number: u64, noun: &str) -> String {
    let plural = match noun {
        _ if number == 1 => "",
        noun if noun.ends_with('s') => "es",
        _ => "s",
    };
    format!("{} {noun}{plural}", grouped(number))
}

/// Thousands separated by commas.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A duration in milliseconds: `0.4 ms`, `340 ms`, `1.24 s`, `2 min 5 s`, `3 h 20 min`.
#[must_use]
pub fn duration(ms: f64) -> String {
    if !ms.is_finite() {
        return "an unknown time".to_owned();
    }
    let ms = ms.max(0.0);
    let seconds = (ms / 1e3).round();
    if ms < 9.95 {
        format!("{} ms", decimals(ms, 1))
    } else if ms < 999.5 {
        format!("{ms:.0} ms")
    } else if ms < 59_995.0 {
        format!("{} s", decimals(ms / 1e3, 2))
    } else if seconds < 3600.0 {
        format!("{:.0} min {:.0} s", (seconds / 60.0).floor(), seconds % 60.0)
    } else {
        let minutes = (seconds / 60.0).round();
        format!("{:.0} h {:.0} min", (minutes / 60.0).floor(), minutes % 60.0)
    }
}

/// The time between two moments, rounded down: `3 min 5 s`, `2.0 s`, `12 ms`, `less than 1 ms`.
#[must_use]
pub fn span(later_ns: u64, earlier_ns: u64) -> String {
    let ms = later_ns.saturating_sub(earlier_ns) / 1_000_000;
    match ms {
        0 => "less than 1 ms".to_owned(),
        1..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        120_000..7_200_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// A time relative to the start of the trace, in milliseconds: `+12 ms`, `-1.5 s`.
#[must_use]
pub fn offset(ms: f64) -> String {
    format!("{}{}", if ms < 0.0 { '-' } else { '+' }, duration(ms.abs()))
}

fn decimals(value: f64, places: usize) -> String {
    let text = format!("{value:.places$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_exact_and_from_10_kib_also_rounded() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!((bytes(999), exact(1_288_895)), ("999 B".into(), "1,288,895 B".into()));
        assert_eq!(bytes(2048), "2,048 B");
        assert_eq!(bytes(10_239), "10,239 B");
        assert_eq!(bytes(10_240), "10,240 B (10.0 KiB)");
        assert_eq!(bytes(1_288_895), "1,288,895 B (1.2 MiB)");
        assert_eq!(bytes(u64::MAX), "18,446,744,073,709,551,615 B (16.0 EiB)");
    }

    #[test]
    fn rounded_bytes_have_a_unit() {
        assert_eq!((rounded(999), rounded(64 << 10)), ("999 B".into(), "64.0 KiB".into()));
        assert_eq!(whole_mib((512 << 20) + 7), "512 MiB");
        assert_eq!(
            (short(0), short(999), short(1000)),
            ("0 B".into(), "999 B".into(), "1.0 K".into())
        );
        for exponent in 0..64 {
            for bytes in [(1u64 << exponent) - 1, 1 << exponent, u64::MAX >> exponent] {
                assert!(short(bytes).len() <= 6, "{}", short(bytes));
            }
        }
    }

    #[test]
    fn a_span_has_a_suitable_unit() {
        let span_of = |ms: u64| span(ms * 1_000_000 + 5, 5);
        assert_eq!(span(400, 5), "less than 1 ms");
        assert_eq!((span_of(12), span_of(999)), ("12 ms".into(), "999 ms".into()));
        assert_eq!((span_of(1_000), span_of(61_250)), ("1.0 s".into(), "61.2 s".into()));
        assert_eq!(span_of(185_000), "3 min 5 s");
        assert_eq!(span_of(90_000_000), "25 h 0 min");
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(count(0, "write"), "0 writes");
        assert_eq!(count(1, "write"), "1 write");
        assert_eq!(count(12_000, "process"), "12,000 processes");
    }

    #[test]
    fn times_have_a_suitable_unit() {
        let cases = [
            (0.0, "0 ms"),
            (0.44, "0.4 ms"),
            (9.96, "10 ms"),
            (340.2, "340 ms"),
            (999.6, "1 s"),
            (1240.0, "1.24 s"),
            (3200.0, "3.2 s"),
            (59_996.0, "1 min 0 s"),
            (125_000.0, "2 min 5 s"),
            (3_599_900.0, "1 h 0 min"),
            (12_000_000.0, "3 h 20 min"),
            (f64::NAN, "an unknown time"),
        ];
        for (ms, shown) in cases {
            assert_eq!(duration(ms), shown);
        }
        assert_eq!(offset(12.0), "+12 ms");
        assert_eq!(offset(-1500.0), "-1.5 s");
    }
}
