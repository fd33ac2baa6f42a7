//! Durations, sizes, shares and weekly windows as the config and the command line write them.
//!
//! Each has one reader and one writer; what the writer writes, the reader reads back as the same value.

use std::time::Duration;

/// Why a text is not a quantity. The message shows the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a duration.
    #[error(
        "a duration is a whole number and a unit (ms, s, m, h, d, w), such as \"2s\", \"15m\", \"6h\" or \"1d\""
    )]
    Duration,
    /// Not a size.
    #[error("a size is a whole number and a unit (B, KiB, MiB, GiB, TiB), such as \"8 MiB\" or \"512 KiB\"")]
    Size,
    /// Not a share.
    #[error("a share is a whole number from 1 to 100 and a percent sign, such as \"10%\"")]
    Share,
    /// Not a window.
    #[error(
        "a window is HH:MM-HH:MM with days before it if it is not daily, such as \"22:00-07:00\" or \"Mon-Fri 02:00-04:00\""
    )]
    Window,
    /// The number does not fit.
    #[error("the number is too large")]
    TooLarge,
}

const MILLISECONDS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Binary units first: they are what is written. The decimal ones are read as the SI means them.
const BYTES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
];

/// The leading digits as a number, and the unit after them, with a blank between allowed.
fn split(text: &str, error: UnitError) -> Result<(u64, &str), UnitError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(error);
    }
    // Only digits are left, so what cannot be parsed is too large.
    let number = number.parse().map_err(|_| UnitError::TooLarge)?;
    Ok((number, unit.strip_prefix(' ').unwrap_or(unit)))
}

/// A duration: a whole number and one of `ms s m h d w`. A bare `0` needs no unit.
///
/// # Errors
/// [`UnitError::Duration`] for any other form, [`UnitError::TooLarge`] beyond 2^64 - 1 milliseconds.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (number, unit) = split(text, UnitError::Duration)?;
    let (_, scale) = MILLISECONDS.iter().find(|(name, _)| *name == unit).ok_or(UnitError::Duration)?;
    number.checked_mul(*scale).map(Duration::from_millis).ok_or(UnitError::TooLarge)
}

/// The duration in the largest unit up to days that divides it: `"1d"`, `"90m"`. Below a millisecond is cut off.
pub fn format_duration(duration: Duration) -> String {
    let total = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if total == 0 {
        return "0s".to_owned();
    }
    let fits = MILLISECONDS.iter().skip(1).find(|(_, scale)| total.is_multiple_of(*scale));
    let (unit, scale) = fits.copied().unwrap_or(("ms", 1));
    format!("{}{unit}", total / scale)
}

/// A size in bytes: a whole number and one of `B KiB MiB GiB TiB` (powers of 1024) or `kB MB GB TB` (of 1000).
///
/// # Errors
/// [`UnitError::Size`] for any other form, [`UnitError::TooLarge`] beyond 2^64 - 1 bytes.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text, UnitError::Size)?;
    let (_, scale) = BYTES.iter().find(|(name, _)| *name == unit).ok_or(UnitError::Size)?;
    number.checked_mul(*scale).ok_or(UnitError::TooLarge)
}

/// The size in the largest binary unit that divides it: `"8 MiB"`, `"1000 B"`.
pub fn format_size(bytes: u64) -> String {
    if bytes == 0 {
        return "0 B".to_owned();
    }
    let fits = BYTES.iter().take(5).find(|(_, scale)| bytes.is_multiple_of(*scale));
    let (unit, scale) = fits.copied().unwrap_or(("B", 1));
    format!("{} {unit}", bytes / scale)
}

/// A share from 1 to 100 percent.
///
/// # Errors
/// [`UnitError::Share`] for anything else.
pub fn parse_share(text: &str) -> Result<u8, UnitError> {
    let digits = text.strip_suffix('%').ok_or(UnitError::Share)?;
    let digits = digits.strip_suffix(' ').unwrap_or(digits);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(UnitError::Share);
    }
    match digits.parse() {
        Ok(share @ 1..=100) => Ok(share),
        _ => Err(UnitError::Share),
    }
}

/// A time of the week that comes back: some days, from one minute of the day to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Bit 0 is Monday, bit 6 is Sunday: the days on which it begins. Never 0.
    pub days: u8,
    /// Minute of the day at which it begins, 0 to 1439.
    pub start: u16,
    /// Minute of the day at which it ends, 0 to 1439 and not `start`. Smaller than `start`: on the next day.
    pub end: u16,
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const EVERY_DAY: u8 = 0b111_1111;

/// A window: `HH:MM-HH:MM`, with days before it unless it is daily (`Mon-Fri`, `Sat,Sun`).
///
/// # Errors
/// [`UnitError::Window`] for any other form, and when it begins and ends at the same minute.
pub fn parse_window(text: &str) -> Result<Window, UnitError> {
    let parsed = || {
        let (days, times) = text.rsplit_once(' ').map_or((None, text), |(days, times)| (Some(days), times));
        let (start, end) = times.split_once('-')?;
        let days = days.map_or(Some(EVERY_DAY), days_of)?;
        let window = Window { days, start: minute_of(start)?, end: minute_of(end)? };
        (window.start != window.end).then_some(window)
    };
    parsed().ok_or(UnitError::Window)
}

fn minute_of(text: &str) -> Option<u16> {
    let number = |digits: &str| {
        let plain = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse::<u16>().ok()).flatten()
    };
    let (hours, minutes) = text.split_once(':')?;
    match (number(hours)?, number(minutes)?) {
        (hours @ 0..24, minutes @ 0..60) => Some(hours * 60 + minutes),
        _ => None,
    }
}

fn days_of(text: &str) -> Option<u8> {
    let day = |name: &str| DAYS.iter().position(|d| *d == name);
    text.split(',').try_fold(0, |days, part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        let length = (last + 7 - first) % 7;
        Some((0..=length).fold(days, |days, step| days | 1 << ((first + step) % 7)))
    })
}

/// The window as [`parse_window`] reads it.
pub fn format_window(window: Window) -> String {
    let Window { days, start, end } = window;
    let times = format!("{:02}:{:02}-{:02}:{:02}", start / 60, start % 60, end / 60, end % 60);
    if days & EVERY_DAY == EVERY_DAY {
        return times;
    }
    let names = DAYS.iter().enumerate().filter(|(i, _)| days & 1 << i != 0).map(|(_, name)| *name);
    format!("{} {times}", names.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        for (text, seconds) in
            [("2s", 2), ("15m", 900), ("6h", 21_600), ("1 d", 86_400), ("1w", 604_800), ("0", 0)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        for text in ["", "5", "s", "-1s", "+1s", "1.5h", "1h30m", "2 sec", " 2s", "2  s", "٣s", "2S"] {
            assert_eq!(parse_duration(text), Err(UnitError::Duration), "{text}");
        }
        assert_eq!(parse_duration("99999999999999999999s"), Err(UnitError::TooLarge));
        assert_eq!(parse_duration("18446744073709551615w"), Err(UnitError::TooLarge));
        assert_eq!(format_duration(Duration::from_secs(86_400)), "1d");
        assert_eq!(format_duration(Duration::from_secs(5400)), "90m");
    }

    #[test]
    fn sizes_and_shares() {
        assert_eq!(parse_size("8 MiB"), Ok(8 << 20));
        assert_eq!(parse_size("3MB"), Ok(3_000_000));
        for text in ["", "8", "MiB", "8 mib", "1.5 GiB", "-1 B", "8 MiB "] {
            assert_eq!(parse_size(text), Err(UnitError::Size), "{text}");
        }
        assert_eq!(parse_size("99999999 TiB"), Err(UnitError::TooLarge));
        assert_eq!((parse_share("10%"), parse_share("100 %")), (Ok(10), Ok(100)));
        for text in ["0%", "101%", "10", "%", "-5%", "+5%", "2.5%", "256%"] {
            assert_eq!(parse_share(text), Err(UnitError::Share), "{text}");
        }
    }

    #[test]
    fn windows() {
        assert_eq!(parse_window("22:00-07:00"), Ok(Window { days: EVERY_DAY, start: 1320, end: 420 }));
        assert_eq!(parse_window("Sat,Sun 02:00-04:30").map(|w| w.days), Ok(0b110_0000));
        assert_eq!(parse_window("Fri-Mon 02:00-04:30").map(|w| w.days), Ok(0b111_0001));
        for text in
            ["", "22:00", "22:00-22:00", "24:00-01:00", "2:00-3:00", "Foo 01:00-02:00", "Mon- 01:00-02:00"]
        {
            assert_eq!(parse_window(text), Err(UnitError::Window), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(n: u64, days in 1u8..128, start in 0u16..1440, end in 0u16..1440) {
            prop_assert_eq!(parse_duration(&format_duration(Duration::from_millis(n))), Ok(Duration::from_millis(n)));
            prop_assert_eq!(parse_size(&format_size(n)), Ok(n));
            prop_assume!(start != end);
            let window = Window { days, start, end };
            prop_assert_eq!(parse_window(&format_window(window)), Ok(window));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = (parse_duration(&text), parse_size(&text), parse_share(&text), parse_window(&text));
        }
    }
}
