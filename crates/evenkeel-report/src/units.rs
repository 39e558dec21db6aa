//! Numbers as people read them: three significant digits and the unit that suits.
//!
//! 1 234 567 ns is `1.23ms`; 250 of 1000 is `25.0%`; 1 234 567 events are `1,234,567`. Everything is integer arithmetic
//! with ties rounded up, so a report is the same on every platform.
use evenkeel::time::{MS, Ns, SEC, US};

/// A span of time in three significant digits: `0`, `850ns`, `12.3us`, `187ms`, `1.50s`, `1234s`.
pub fn duration(ns: Ns) -> String {
    match ns {
        0 => String::from("0"),
        1..US => format!("{ns}ns"),
        // 999.5 us and more would print as `1000us`, so the next unit begins half a digit early.
        US..999_500 => scaled(ns, US, "us"),
        999_500..999_500_000 => scaled(ns.max(MS), MS, "ms"),
        _ => scaled(ns.max(SEC), SEC, "s"),
    }
}

/// `value / unit` in three significant digits, at least one of them before the point.
fn scaled(value: u64, unit: u64, name: &str) -> String {
    let hundredths = rounded(value, unit / 100);
    if hundredths < 1_000 {
        return format!("{}.{:02}{name}", hundredths / 100, hundredths % 100);
    }
    let tenths = rounded(value, unit / 10);
    if tenths < 1_000 {
        return format!("{}.{}{name}", tenths / 10, tenths % 10);
    }
    format!("{}{name}", rounded(value, unit))
}

fn rounded(value: u64, unit: u64) -> u64 {
    value / unit + u64::from(value % unit >= unit.div_ceil(2))
}

/// A length of time that a user gave, in full: `1500ms` is `1.5s`, 1 234 567 ns is `1.234567ms`.
pub fn exact_duration(ns: Ns) -> String {
    let (unit, name) = match ns {
        0 => return String::from("0s"),
        1..US => return format!("{ns}ns"),
        US..MS => (US, "us"),
        MS..SEC => (MS, "ms"),
        _ => (SEC, "s"),
    };
    let digits = unit.ilog10() as usize;
    let fraction = format!("{:0digits$}", ns % unit);
    match fraction.trim_end_matches('0') {
        "" => format!("{}{name}", ns / unit),
        fraction => format!("{}.{fraction}{name}", ns / unit),
    }
}

/// `part` of `whole` in percent with one digit after the point; `-` of nothing.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return String::from("-");
    }
    let per_mille = (u128::from(part) * 1000 + u128::from(whole) / 2) / u128::from(whole);
    format!("{}.{}%", per_mille / 10, per_mille % 10)
}

/// A count with commas between thousands.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 task`, `2 tasks`: for words whose plural ends in s.
pub fn plural(number: u64, word: &str) -> String {
    format!("{} {word}{}", count(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_significant_digits() {
        let cases = [
            (0, "0"),
            (1, "1ns"),
            (999, "999ns"),
            (1_000, "1.00us"),
            (9_994, "9.99us"),
            (9_995, "10.0us"),
            (12_345, "12.3us"),
            (99_949, "99.9us"),
            (99_950, "100us"),
            (999_499, "999us"),
            (999_500, "1.00ms"),
            (187_400_000, "187ms"),
            (999_499_999, "999ms"),
            (999_500_000, "1.00s"),
            (1_500_000_000, "1.50s"),
            (61_000_000_000, "61.0s"),
            (12_345_600_000_000, "12346s"),
        ];
        for (ns, text) in cases {
            assert_eq!(duration(ns), text, "{ns}");
        }
        assert!(duration(u64::MAX).ends_with('s'));
    }

    #[test]
    fn given_times_are_shown_in_full() {
        for (ns, text) in
            [(0, "0s"), (17, "17ns"), (1_500_000_000, "1.5s"), (1_234_567, "1.234567ms"), (2_000, "2us")]
        {
            assert_eq!(exact_duration(ns), text);
        }
    }

    #[test]
    fn shares_and_counts() {
        assert_eq!(percent(1, 3), "33.3%");
        assert_eq!(percent(2, 3), "66.7%");
        assert_eq!(percent(5, 5), "100.0%");
        assert_eq!(percent(1, 0), "-");
        assert_eq!(percent(u64::MAX, u64::MAX), "100.0%");
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!((plural(1, "task"), plural(2, "task")), ("1 task".into(), "2 tasks".into()));
    }
}
