#![allow(unsafe_code)]
//! Wall-clock time in the machine's time zone.

use std::mem::MaybeUninit;
use std::sync::Once;

/// A date and time in the local time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// For example 2026.
    pub year: i32,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 60.
    pub second: u32,
    /// The zone's offset in seconds, positive east of UTC.
    pub offset_s: i32,
}

unsafe extern "C" {
    // A POSIX function; the libc crate leaves it out on Linux.
    fn tzset();
}

/// Converts `unix_seconds` to the time zone that the environment had at the first call.
pub fn local_time(unix_seconds: i64) -> LocalTime {
    static ZONE: Once = Once::new();
    // SAFETY: tzset only reads the environment, which this program never changes, so no other
    // thread can be writing it.
    ZONE.call_once(|| unsafe { tzset() });
    let mut parts = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are valid for the call, and localtime_r keeps none of them.
    let result = unsafe { libc::localtime_r(&unix_seconds, parts.as_mut_ptr()) };
    assert!(!result.is_null(), "the year fits an int");
    // SAFETY: all-zero is a valid tm, and localtime_r has filled it in.
    let parts = unsafe { parts.assume_init() };
    LocalTime {
        year: parts.tm_year + 1900,
        month: parts.tm_mon as u32 + 1,
        day: parts.tm_mday as u32,
        hour: parts.tm_hour as u32,
        minute: parts.tm_min as u32,
        second: parts.tm_sec as u32,
        offset_s: parts.tm_gmtoff as i32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_in_range_and_follow_the_clock() {
        let start = local_time(1_700_000_000);
        let later = local_time(1_700_000_000 + 59);
        assert_eq!(start.year, 2023);
        assert_eq!(start.month, 11);
        assert!((14..=15).contains(&start.day));
        assert!(start.hour < 24 && start.minute < 60 && start.second < 60);
        assert_eq!((start.second + 59) % 60, later.second);
        assert!(start.offset_s.abs() <= 14 * 3600);
    }
}
