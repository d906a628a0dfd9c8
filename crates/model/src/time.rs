//! Points in time, spans written by people, and revisions.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// A point in time: milliseconds since the Unix epoch, UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This time plus a span; stops at the end of time.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// A text is no point in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a time; write one as 2026-11-23T12:03:11Z")]
pub struct BadTimestamp {
    /// What was given.
    pub text: String,
}

impl Timestamp {
    /// Reads a time as RFC 3339 writes it: `2026-11-23T12:03:11.207Z`, or with an offset.
    ///
    /// # Errors
    /// [`BadTimestamp`] names the text; times before 1970 are refused.
    pub fn parse(text: &str) -> Result<Self, BadTimestamp> {
        read_timestamp(text).map(Self).ok_or_else(|| BadTimestamp {
            text: text.to_owned(),
        })
    }
}

fn read_timestamp(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let mut date = date.splitn(3, '-');
    let year = digits(date.next()?, 4)?;
    let month = digits(date.next()?, 2).filter(|month| (1..=12).contains(month))?;
    let day = digits(date.next()?, 2)?;
    let days = days_from_civil(year, month, day)?;
    let zone = time.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = time.split_at(zone);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.splitn(3, ':');
    let hour = digits(time.next()?, 2).filter(|hour| *hour < 24)?;
    let minute = digits(time.next()?, 2).filter(|minute| *minute < 60)?;
    let second = digits(time.next()?, 2).filter(|second| *second < 60)?;
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Finer than a millisecond is cut off.
    let millis: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let local = (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + millis;
    match zone.split_at_checked(1)? {
        ("Z" | "z", "") => Some(local),
        (sign, offset) => {
            let (hours, minutes) = offset.split_once(':')?;
            let hours = digits(hours, 2).filter(|hours| *hours < 24)?;
            let minutes = digits(minutes, 2).filter(|minutes| *minutes < 60)?;
            let offset = (hours * 60 + minutes) * 60_000;
            if sign == "-" {
                local.checked_add(offset)
            } else {
                local.checked_sub(offset)
            }
        }
    }
}

/// A number of exactly so many digits.
fn digits(text: &str, count: usize) -> Option<u64> {
    let is_number = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

/// The inverse of [`civil_from_days`]; `None` before 1970 and for days that a month lacks.
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    let shifted_year = year - u64::from(month <= 2).min(year);
    let (era, year_of_era) = (shifted_year / 400, shifted_year % 400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    (civil_from_days(days) == (year, month, day)).then_some(days)
}

/// RFC 3339 in UTC with milliseconds: `2026-11-23T12:03:11.207Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, millis) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute) = (millis / 3_600_000, millis / 60_000 % 60);
        let (second, fraction) = (millis / 1000 % 60, millis % 1000);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z"
        )
    }
}

/// Days since 1970-01-01 to (year, month, day) of the Gregorian calendar.
/// Source: H. Hinnant, "chrono-compatible low-level date algorithms".
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// A point in the catalogue's history.
///
/// 41 bits of milliseconds since 2026-01-01T00:00:00Z and 12 bits of counter:
/// always below 2^53, so that every JSON reader keeps it whole; never 0; monotone
/// over restarts because the clock is. It is the watch cursor and the answer to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(u64);

impl Revision {
    /// Before everything: what an empty catalogue has.
    pub const FIRST: Self = Self(1);
    /// 2026-01-01T00:00:00Z in milliseconds since the Unix epoch.
    const EPOCH_MILLIS: u64 = 1_767_225_600_000;
    const COUNTER_BITS: u32 = 12;
    /// The greatest that JSON's readers keep whole.
    const LAST: u64 = (1 << 53) - 1;

    /// A revision that somebody sent back; 0 becomes [`Self::FIRST`].
    #[must_use]
    pub const fn from_u64(raw: u64) -> Self {
        if raw == 0 { Self::FIRST } else { Self(raw) }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The first revision of a moment that much later, never above what fits.
    #[must_use]
    pub fn ahead(self, span: Duration) -> Self {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let more = millis.saturating_mul(1 << Self::COUNTER_BITS);
        Self(self.0.saturating_add(more).min(Self::LAST))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Hands out revisions, each greater than the one before, whatever the clock does.
#[derive(Debug)]
pub struct RevisionClock {
    last: Revision,
}

impl RevisionClock {
    /// Continues after `last`.
    #[must_use]
    pub const fn new(last: Revision) -> Self {
        Self { last }
    }

    /// The next revision at the time `now`. A clock that stands still or goes back
    /// is bridged by the counter, which may run ahead of it.
    pub fn next(&mut self, now: Timestamp) -> Revision {
        let millis = now.as_millis().saturating_sub(Revision::EPOCH_MILLIS);
        let from_clock = millis << Revision::COUNTER_BITS;
        self.last = Revision(from_clock.max(self.last.0 + 1));
        self.last
    }
}

/// A text that is not a span of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a duration; write a number with ms, s, m, h or d, like `30s`")]
pub struct BadSpan {
    /// What was given.
    pub text: String,
}

/// Reads `250ms`, `30s`, `5m`, `2h`, `1d` or a sum like `1m30s`.
///
/// # Errors
/// [`BadSpan`] names the offending text; a bare number is refused, since its unit is a guess.
pub fn parse_span(text: &str) -> Result<Duration, BadSpan> {
    let bad = || BadSpan {
        text: text.to_owned(),
    };
    let mut rest = text;
    let mut millis: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let scale = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(bad()),
        };
        let number: u64 = number.parse().map_err(|_| bad())?;
        let part = number.checked_mul(scale).ok_or_else(bad)?;
        millis = millis.checked_add(part).ok_or_else(bad)?;
        rest = tail;
    }
    if text.is_empty() {
        Err(bad())
    } else {
        Ok(Duration::from_millis(millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_rise_even_when_the_clock_goes_back() {
        let mut clock = RevisionClock::new(Revision::FIRST);
        let a = clock.next(Timestamp::from_millis(1_800_000_000_000));
        let b = clock.next(Timestamp::from_millis(1_700_000_000_000));
        assert!(b > a);
        assert!(b.as_u64() < 1 << 53);
    }

    #[test]
    fn timestamps_print_as_rfc_3339() {
        assert_eq!(
            Timestamp::from_millis(0).to_string(),
            "1970-01-01T00:00:00.000Z"
        );
        assert_eq!(
            Timestamp::from_millis(1_767_225_600_000).to_string(),
            "2026-01-01T00:00:00.000Z"
        );
        assert_eq!(
            Timestamp::from_millis(951_782_400_123).to_string(),
            "2000-02-29T00:00:00.123Z"
        );
    }

    #[test]
    fn timestamps_are_read_as_they_are_printed() {
        for millis in [0, 951_782_400_123, 1_767_225_600_000, 4_102_444_799_999] {
            let time = Timestamp::from_millis(millis);
            assert_eq!(Timestamp::parse(&time.to_string()), Ok(time));
        }
        let noon = Timestamp::parse("2026-11-23T12:00:00Z").unwrap();
        for same in [
            "2026-11-23T13:30:00+01:30",
            "2026-11-23 10:00:00.0000-02:00",
        ] {
            assert_eq!(Timestamp::parse(same), Ok(noon), "{same}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            "2026",
            "2026-11-23",
            "2026-11-23T12:00",
            "2026-11-23T12:00:00",
            "1969-12-31T23:59:59Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:61Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00Zx",
            "2026-01-01T00:00:00+1:00",
            "1970-01-01T00:00:00+01:00",
            "2026-1-1T0:0:0Z",
        ] {
            assert!(Timestamp::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_need_a_unit() {
        assert_eq!(parse_span("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_span("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["", "5", "s", "5 s", "-1s", "1y", "99999999999999999999s"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
    }
}
