//! Numbers, sizes, durations and moments as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use toban_model::{Lang, Time};

/// A length of time by its two largest units: `2 h 52 m`, `42 s`, `0.04 s`; `2 時間 52 分`.
pub fn duration(seconds: f64, lang: Lang) -> String {
    if !seconds.is_finite() {
        return "?".into();
    }
    let seconds = seconds.max(0.0);
    let unit = |n: u64, en: &str, ja: &str| match lang {
        Lang::En => format!("{n} {en}"),
        Lang::Ja => format!("{n} {ja}"),
    };
    if seconds < 9.95 {
        let s = match lang {
            Lang::En => "s",
            Lang::Ja => "秒",
        };
        return format!("{} {s}", decimals(seconds));
    }
    let total = seconds.round() as u64;
    let (days, hours, minutes, secs) = (total / 86_400, total / 3600 % 24, total / 60 % 60, total % 60);
    let parts = [
        (days, unit(days, "d", "日")),
        (hours, unit(hours, "h", "時間")),
        (minutes, unit(minutes, "m", "分")),
        (secs, unit(secs, "s", "秒")),
    ];
    let first = parts.iter().position(|(n, _)| *n > 0).unwrap_or(3);
    let shown = parts[first..].iter().take(2).filter(|(n, _)| *n > 0).map(|(_, text)| text.as_str());
    shown.collect::<Vec<_>>().join(" ")
}

/// A whole number with its thousands set apart: `48,211`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of bytes by powers of ten, as disks and networks are sold: `1.2 MB`.
pub fn bytes(n: f64) -> String {
    let mut n = n;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if n.abs() < 999.5 {
            return format!("{} {unit}", if unit == "B" { format!("{n:.0}") } else { decimals(n) });
        }
        n /= 1000.0;
    }
    format!("{} PB", decimals(n))
}

/// A vital's value with its unit: `4 %`, `1.2 MB/s`, `12 ms`, `48,211`.
pub fn value(n: f64, unit: &str) -> String {
    if !n.is_finite() {
        return "?".into();
    }
    match unit {
        "B" => bytes(n),
        "B/s" => format!("{}/s", bytes(n)),
        "" => decimals(n),
        unit => format!("{} {unit}", decimals(n)),
    }
}

/// Two or three digits that matter, no more: `0.04`, `1.2`, `61`, `48,211`.
fn decimals(n: f64) -> String {
    let size = n.abs();
    let text = if size >= 99.5 {
        count(size.round() as u64)
    } else if size >= 9.95 {
        format!("{size:.0}")
    } else {
        let text = if size >= 0.995 { format!("{size:.1}") } else { format!("{size:.2}") };
        // `0.30` reads as if the last digit were known.
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    // What rounds to nothing has no sign.
    if n < 0.0 && text != "0" { format!("-{text}") } else { text }
}

fn zoned(at: Time, tz: &TimeZone) -> jiff::Zoned {
    let timestamp = Timestamp::from_microsecond(at.as_micros()).unwrap_or(if at < Time::ZERO {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    });
    timestamp.to_zoned(tz.clone())
}

/// A moment as people write it, with the zone: `2020-12-24 19:02:40 JST`.
pub fn moment(at: Time, tz: &TimeZone) -> String {
    zoned(at, tz).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// A moment in a table whose heading has the zone: `12-24 19:02:40`.
pub(crate) fn short_moment(at: Time, tz: &TimeZone) -> String {
    zoned(at, tz).strftime("%m-%d %H:%M:%S").to_string()
}

/// A moment as programs read it: `2020-12-24T19:02:40+09:00`.
pub fn rfc3339(at: Time, tz: &TimeZone) -> String {
    zoned(at, tz).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (seconds, en, ja) in [
            (0.0, "0 s", "0 秒"),
            (0.042, "0.04 s", "0.04 秒"),
            (9.94, "9.9 s", "9.9 秒"),
            (9.96, "10 s", "10 秒"),
            (42.4, "42 s", "42 秒"),
            (60.0, "1 m", "1 分"),
            (243.0, "4 m 3 s", "4 分 3 秒"),
            (3600.0, "1 h", "1 時間"),
            (10_363.0, "2 h 52 m", "2 時間 52 分"),
            (1_123_200.0, "13 d", "13 日"),
            (90_061.0, "1 d 1 h", "1 日 1 時間"),
            (f64::NAN, "?", "?"),
            (-3.0, "0 s", "0 秒"),
        ] {
            assert_eq!(duration(seconds, Lang::En), en, "{seconds}");
            assert_eq!(duration(seconds, Lang::Ja), ja, "{seconds}");
        }
    }

    #[test]
    fn numbers() {
        for (n, unit, text) in [
            (48_211.0, "", "48,211"),
            (1_234_567.0, "", "1,234,567"),
            (0.3, "", "0.3"),
            (0.0, "%", "0 %"),
            (-0.0, "%", "0 %"),
            (-0.001, "", "0"),
            (-5.25, "", "-5.2"),
            (-1234.0, "", "-1,234"),
            (4.0, "%", "4 %"),
            (61.4, "%", "61 %"),
            (1_210_000.0, "B/s", "1.2 MB/s"),
            (999.6, "B", "1 kB"),
            (512.0, "B", "512 B"),
            (17e9, "B", "17 GB"),
            (12.0, "ms", "12 ms"),
            (f64::INFINITY, "", "?"),
        ] {
            assert_eq!(value(n, unit), text, "{n}");
        }
    }

    #[test]
    fn moments() {
        let tz = TimeZone::get("Asia/Tokyo").unwrap();
        let at = Time::from_secs(1_608_804_160);
        assert_eq!(moment(at, &tz), "2020-12-24 19:02:40 JST");
        assert_eq!(rfc3339(at, &tz), "2020-12-24T19:02:40+09:00");
        assert_eq!(rfc3339(at, &TimeZone::UTC), "2020-12-24T10:02:40+00:00");
        // Beyond the calendar: no panic.
        assert!(!moment(Time::from_secs(i64::MAX), &tz).is_empty());
        assert!(!moment(Time::from_secs(i64::MIN), &tz).is_empty());
    }
}
