//! Parsers of arguments that commands of several families share, with the same error texts.

use crate::base::extended::Extended;
use crate::base::number::parse_i64;
use crate::exec::{Weighing, count_at, option_count};
use crate::resp::{Args, Error};
use std::ops::Range;

/// Parses an integer of 32 bits.
pub(super) fn int_at(arg: &[u8]) -> Result<i32, Error> {
    let number = parse_i64(arg).ok_or(Error::NotInteger)?;
    let outside = || Error::not_between(i64::from(i32::MIN), i64::from(i32::MAX));
    i32::try_from(number).map_err(|_| outside())
}

/// Elements in whose time a random element is drawn.
const DRAWN_WEIGHT: usize = 4;

/// Elements of a scan that are not worth a look at the value.
const SCANNED_LIGHT_MAX: usize = 100;

/// Weighs a command that draws a number of random elements. The count is argument 2; if it is
/// negative, elements may repeat.
pub(super) fn weigh_draw(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    let Some(count) = count_at(args, 2) else { return 0 };
    let count = count.saturating_mul(DRAWN_WEIGHT);
    let repeats = args[2].first() == Some(&b'-');
    let is_there = weighing.value(args, 1).is_some();
    if repeats && is_there { count } else { weighing.part(args, 1, count) }
}

/// Weighs a scan of the elements of a value.
pub(super) fn weigh_scan(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    let count = option_count(args, 3, b"COUNT").unwrap_or(0);
    if count <= SCANNED_LIGHT_MAX { count } else { weighing.part(args, 1, count) }
}

/// Parses the number of one of `databases` databases.
pub(super) fn database_at(arg: &[u8], databases: usize) -> Result<usize, Error> {
    let number = usize::try_from(int_at(arg)?).map_err(|_| Error::DbOutOfRange)?;
    if number < databases { Ok(number) } else { Err(Error::DbOutOfRange) }
}

/// Conditions of the EXPIRE commands on keys and fields. Several can apply together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conditions {
    /// NX: there is no old expiry.
    absent: bool,
    /// XX: there is an old expiry.
    present: bool,
    /// GT: the new expiry is later than the old. No expiry counts as infinitely late.
    greater: bool,
    /// LT: the new expiry is earlier than the old. No expiry counts as infinitely late.
    less: bool,
}

impl Conditions {
    /// Parses the arguments in a range of indexes.
    pub(super) fn of(args: &Args<'_>, range: Range<usize>) -> Result<Conditions, Error> {
        let mut all = Conditions::default();
        for option in range.map(|at| &args[at]) {
            if option.eq_ignore_ascii_case(b"NX") {
                all.absent = true;
            } else if option.eq_ignore_ascii_case(b"XX") {
                all.present = true;
            } else if option.eq_ignore_ascii_case(b"GT") {
                all.greater = true;
            } else if option.eq_ignore_ascii_case(b"LT") {
                all.less = true;
            } else {
                return Err(Error::quoting(&[b"ERR Unsupported option ", option]));
            }
        }
        if all.absent && (all.present || all.greater || all.less) {
            let text = "ERR NX and XX, GT or LT options at the same time are not compatible";
            return Err(Error::other(text));
        }
        if all.greater && all.less {
            let text = "ERR GT and LT options at the same time are not compatible";
            return Err(Error::other(text));
        }
        Ok(all)
    }

    /// Returns whether the conditions allow a change from expiry `old` to `new`.
    pub(super) fn allow(self, old: Option<u64>, new: u64) -> bool {
        let is_refused = (self.absent && old.is_some())
            || (self.present && old.is_none())
            || (self.greater && old.is_none_or(|old| new <= old))
            || (self.less && old.is_some_and(|old| new >= old));
        !is_refused
    }
}

/// Rounds to 64 significant bits; a tie goes to the even number.
fn to_64_bits(number: u128) -> u128 {
    let extra = (u128::BITS - number.leading_zeros()).saturating_sub(64);
    if extra == 0 {
        return number;
    }
    let (half, rest) = (1 << (extra - 1), number & ((1 << extra) - 1));
    let kept = number >> extra;
    let is_up = rest > half || (rest == half && kept & 1 == 1);
    (kept + u128::from(is_up)) << extra
}

/// Parses a blocking timeout in seconds and returns the deadline. The deadline and `now_ms` are in
/// Unix milliseconds. Returns `None`, no deadline, for 0.
pub(super) fn deadline_at(arg: &[u8], now_ms: u64) -> Result<Option<u64>, Error> {
    let not_float = || Error::other("ERR timeout is not a float or out of range");
    let too_long = || Error::other("ERR timeout is out of range");
    let seconds = Extended::parse(arg).ok_or_else(not_float)?;
    let (mantissa, exponent) = seconds.parts();
    let thousandths = to_64_bits(u128::from(mantissa) * 1_000);
    let is_negative = arg.starts_with(b"-");
    // Rounds towards positive infinity: a fraction of a millisecond above 0 becomes 1, a fraction
    // below 0 becomes 0.
    let timeout_ms = match exponent {
        _ if mantissa == 0 => 0,
        32.. => u128::MAX,
        0..32 => thousandths << exponent,
        _ if is_negative => thousandths.checked_shr(exponent.unsigned_abs()).unwrap_or(0),
        _ => {
            let rounding =
                1u128.checked_shl(exponent.unsigned_abs()).map_or(u128::MAX, |one| one - 1);
            let sum = thousandths.saturating_add(rounding);
            sum.checked_shr(exponent.unsigned_abs()).unwrap_or(1)
        }
    };
    match timeout_ms {
        0 => Ok(None),
        _ if is_negative => Err(Error::other("ERR timeout is negative")),
        ms => {
            let room = (i64::MAX as u64).saturating_sub(now_ms);
            match u64::try_from(ms) {
                Ok(ms) if ms <= room => Ok(Some(now_ms + ms)),
                _ => Err(too_long()),
            }
        }
    }
}
