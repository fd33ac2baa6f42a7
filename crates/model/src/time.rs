//! Points in time as filesystems and the ledger know them: nanoseconds, UTC.

use std::fmt;

/// A point in time: seconds since 1970-01-01T00:00:00Z and nanoseconds within that second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Seconds since the epoch; negative before it. Filesystems may hold any value.
    pub seconds: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nanos: u32,
}

impl Timestamp {
    /// A timestamp of these parts; nanoseconds beyond a second are cut to its end.
    pub const fn new(seconds: i64, nanos: u32) -> Timestamp {
        Timestamp { seconds, nanos: if nanos > 999_999_999 { 999_999_999 } else { nanos } }
    }

    /// The same moment, `seconds` earlier; stops at the ends of the range.
    pub const fn minus_seconds(self, seconds: i64) -> Timestamp {
        Timestamp { seconds: self.seconds.saturating_sub(seconds), nanos: self.nanos }
    }

    /// Microseconds since the epoch, for storage; stops at the ends of the range.
    pub fn as_micros(self) -> i64 {
        let micros = i128::from(self.seconds) * 1_000_000 + i128::from(self.nanos / 1_000);
        micros.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    /// The moment of [`Timestamp::as_micros`].
    pub fn from_micros(micros: i64) -> Timestamp {
        Timestamp::new(micros.div_euclid(1_000_000), (micros.rem_euclid(1_000_000) * 1_000) as u32)
    }

    /// The moment of an RFC 3339 text with an offset; none when it is not one.
    pub fn from_rfc3339(text: &str) -> Option<Timestamp> {
        let time: jiff::Timestamp = text.parse().ok()?;
        let nanos = time.as_nanosecond();
        let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).ok()?;
        Some(Timestamp::new(seconds, nanos.rem_euclid(1_000_000_000) as u32))
    }

    /// RFC 3339 in UTC with `digits` decimal places (6 or 9). A time that RFC 3339 cannot
    /// express (before year 0 or after year 9999, which a filesystem may hold) is written as `@SECONDS.FRACTION`.
    fn rfc3339(self, digits: u8) -> String {
        match jiff::Timestamp::new(self.seconds, self.nanos as i32) {
            Ok(t) if t.as_second() >= -62_167_219_200 => format!("{t:.prec$}", prec = digits as usize),
            _ => {
                let fraction = format!("{:09}", self.nanos);
                format!("@{}.{}", self.seconds, fraction.get(..digits as usize).unwrap_or(&fraction))
            }
        }
    }

    /// With nanoseconds, for comparing times of files by eye.
    pub fn to_rfc3339_nanos(self) -> String {
        self.rfc3339(9)
    }
}

/// RFC 3339 in UTC with microseconds, the contract's form.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339(6))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_the_contract_form() {
        assert_eq!(Timestamp::new(0, 1_999).to_string(), "1970-01-01T00:00:00.000001Z");
        assert_eq!(Timestamp::new(-1, 0).to_string(), "1969-12-31T23:59:59.000000Z");
        assert_eq!(Timestamp::new(-1, 500_000_000).to_string(), "1969-12-31T23:59:59.500000Z");
    }

    #[test]
    fn reads_what_it_prints() {
        for time in
            [Timestamp::new(0, 1_000), Timestamp::new(-5, 999_999_000), Timestamp::new(1_700_000_000, 0)]
        {
            assert_eq!(Timestamp::from_rfc3339(&time.to_string()), Some(time));
        }
        assert_eq!(
            Timestamp::from_rfc3339("2026-11-24T10:00:00+01:00"),
            Some(Timestamp::new(1_795_510_800, 0))
        );
        assert_eq!(Timestamp::from_rfc3339("yesterday"), None);
    }

    #[test]
    fn times_beyond_rfc3339_are_printed_and_do_not_panic() {
        assert_eq!(Timestamp::new(i64::MAX, 5).to_string(), format!("@{}.000000", i64::MAX));
        assert_eq!(Timestamp::new(i64::MIN, 0).to_string(), format!("@{}.000000", i64::MIN));
    }

    #[test]
    fn micros_round_trip_before_and_after_the_epoch() {
        for micros in [i64::MIN, -1_500_001, -1, 0, 1, 1_700_000_000_123_456, i64::MAX] {
            assert_eq!(Timestamp::from_micros(micros).as_micros(), micros);
        }
    }
}
