//! Options that SET, MSETEX and GETEX share, including the expiry.

use crate::base::number::parse_i64;
use crate::keyspace::Expiry;
use crate::resp::{Args, Error};

/// Condition under which SET or MSETEX sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// Sets unconditionally.
    Always,
    /// NX: sets only if the key does not exist.
    Absent,
    /// XX: sets only if the key exists.
    Present,
    /// IFEQ: sets only if the old value equals the argument at this index.
    Equal(usize),
}

/// Expiry option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// None given.
    Unspecified,
    /// KEEPTTL or PERSIST, which take no number.
    Keyword,
    /// A number in this unit, at this argument index.
    Given(Unit, usize),
}

/// Unit and start of an expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// EX: seconds from now.
    Seconds,
    /// PX: milliseconds from now.
    Millis,
    /// EXAT: Unix seconds.
    UnixSeconds,
    /// PXAT: Unix milliseconds.
    UnixMillis,
}

impl Unit {
    /// Returns the unit that an option names, or `None` for another option.
    pub(super) fn named(option: &[u8]) -> Option<Unit> {
        if option.eq_ignore_ascii_case(b"EX") {
            Some(Unit::Seconds)
        } else if option.eq_ignore_ascii_case(b"PX") {
            Some(Unit::Millis)
        } else if option.eq_ignore_ascii_case(b"EXAT") {
            Some(Unit::UnixSeconds)
        } else if option.eq_ignore_ascii_case(b"PXAT") {
            Some(Unit::UnixMillis)
        } else {
            None
        }
    }

    /// Parses an expiry and returns it in Unix milliseconds, below 2^63. Returns an error if the
    /// number is not positive or the result overflows.
    pub(super) fn deadline(self, arg: &[u8], now_ms: u64, command: &str) -> Result<u64, Error> {
        let number = parse_i64(arg).ok_or(Error::NotInteger)?;
        let scale = match self {
            Unit::Seconds | Unit::UnixSeconds => 1_000,
            Unit::Millis | Unit::UnixMillis => 1,
        };
        let start = match self {
            Unit::Seconds | Unit::Millis => now_ms as i64,
            Unit::UnixSeconds | Unit::UnixMillis => 0,
        };
        let at = if number > 0 { number.checked_mul(scale) } else { None };
        let at = at.and_then(|ms| ms.checked_add(start));
        at.map(|at| at as u64).ok_or_else(|| Error::invalid_expire(command))
    }
}

/// Parsed options of one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub condition: Condition,
    /// GET: replies with the old value.
    pub get: bool,
    pub lifetime: Lifetime,
}

impl Options {
    const NONE: Options =
        Options { condition: Condition::Always, get: false, lifetime: Lifetime::Unspecified };

    /// Returns the expiry to set. Without an expiry option, setting a key clears its expiry.
    /// `command` is the name in the error text.
    pub(super) fn expiry(
        &self,
        args: &Args<'_>,
        now_ms: u64,
        command: &str,
    ) -> Result<Expiry, Error> {
        Ok(match self.lifetime {
            Lifetime::Unspecified => Expiry::Clear,
            Lifetime::Keyword => Expiry::Keep,
            Lifetime::Given(unit, at) => Expiry::At(unit.deadline(&args[at], now_ms, command)?),
        })
    }

    /// Parses the options of SET, which begin at argument 3.
    pub(super) fn of_set(args: &Args<'_>) -> Result<Options, Error> {
        let mut options = Options::NONE;
        let mut index = 3;
        while index < args.len() {
            let option = &args[index];
            if option.eq_ignore_ascii_case(b"GET") {
                options.get = true;
            } else if option.eq_ignore_ascii_case(b"IFEQ") && index + 1 < args.len() {
                let equal = Condition::Equal(index + 1);
                options.condition = either(options.condition, Condition::Always, equal)?;
                index += 1;
            } else if !options.take_presence(option)? {
                index += options.take_lifetime(args, index, b"KEEPTTL")?;
            }
            index += 1;
        }
        Ok(options)
    }

    /// Parses the options of MSETEX, which begin at argument `first`.
    pub(super) fn of_msetex(args: &Args<'_>, first: usize) -> Result<Options, Error> {
        let mut options = Options::NONE;
        let mut index = first;
        while index < args.len() {
            if !options.take_presence(&args[index])? {
                index += options.take_lifetime(args, index, b"KEEPTTL")?;
            }
            index += 1;
        }
        Ok(options)
    }

    /// Parses the options of GETEX, which begin at argument 2.
    pub(super) fn of_getex(args: &Args<'_>) -> Result<Options, Error> {
        let mut options = Options::NONE;
        let mut index = 2;
        while index < args.len() {
            index += 1 + options.take_lifetime(args, index, b"PERSIST")?;
        }
        Ok(options)
    }

    /// Applies NX or XX; returns false for another option.
    fn take_presence(&mut self, option: &[u8]) -> Result<bool, Error> {
        let condition = if option.eq_ignore_ascii_case(b"NX") {
            Condition::Absent
        } else if option.eq_ignore_ascii_case(b"XX") {
            Condition::Present
        } else {
            return Ok(false);
        };
        self.condition = either(self.condition, Condition::Always, condition)?;
        Ok(true)
    }

    /// Applies an expiry option at argument `at`: a unit, or `keyword`, which takes no number.
    /// Returns the number of arguments that follow the option. An option may be repeated; the last
    /// one counts.
    fn take_lifetime(
        &mut self,
        args: &Args<'_>,
        at: usize,
        keyword: &[u8],
    ) -> Result<usize, Error> {
        let option = &args[at];
        if option.eq_ignore_ascii_case(keyword) {
            self.lifetime = either(self.lifetime, Lifetime::Unspecified, Lifetime::Keyword)?;
            return Ok(0);
        }
        let Some(unit) = Unit::named(option) else { return Err(Error::Syntax) };
        let is_first = match self.lifetime {
            Lifetime::Unspecified => true,
            Lifetime::Keyword => false,
            Lifetime::Given(other, _) => other == unit,
        };
        if !is_first || at + 1 >= args.len() {
            return Err(Error::Syntax);
        }
        self.lifetime = Lifetime::Given(unit, at + 1);
        Ok(1)
    }
}

/// Returns `new` if `old` is `nothing` or equal to `new`. Anything else is a syntax error.
fn either<T: PartialEq>(old: T, nothing: T, new: T) -> Result<T, Error> {
    if old == nothing || old == new { Ok(new) } else { Err(Error::Syntax) }
}
